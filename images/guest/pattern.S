/* The bytes that CRC and CHACHA work on: byte i is 7 * i + 3.  The linker script lets them end where an unmapped page
 * begins, so that a read past their end is a fault. */
#include "wire.h"

    .section .edge, "a"
    .globl work_pattern
    .type work_pattern, STT_OBJECT
work_pattern:
    i = 0
    .rept   PATTERN_SIZE
    .byte   (7 * i + 3) & 255
    i = i + 1
    .endr
    .size   work_pattern, PATTERN_SIZE
