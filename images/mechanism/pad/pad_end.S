/* Behind the last function: it, too, has all its bytes. */
#include "arch.h"

    .section .stub.function.99, "ax"
#ifdef __riscv
    .option norelax                 /* or the assembler leaves it to the linker to take away what is too much */
#endif
    .balign MECHANISM_BYTES
