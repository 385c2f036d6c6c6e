/* x86-64: the patchable functions, each with a prologue that bistro's relocation says it knows (bistro_x86_64.c), for
 * jumps of 5 and of 12 bytes; the farm's own entry.S has others, which it refuses.  All goes on to the default target.
 *
 *   0, 2, 3   mov $imm32 to registers that are free; functions 0 to 3 keep flags, and what lies below the stack
 *   1         a conditional jump that is taken or not, by flags that nobody has set
 *   4, 8 ..   push, mov %rsp to %rbp, push, sub $imm32 from %rsp
 *   5, 9 ..   sub $imm32 from %rsp, mov to the stack
 *   6, 10 ..  cmp in memory, a conditional jump that is taken
 *   7, 11 ..  cmp in memory, a conditional jump that is not taken */
#include "arch.h"
#include "entry.h"
#include "wire.h"

.macro tail
    .balign ENTRY_HEAD, 0xcc
.endm

.macro sub_rsp bytes
    .byte   0x48, 0x81, 0xec        /* the form with 32 bits, which is the one that bistro knows */
    .long   \bytes
.endm

.macro entry n, target
    .balign ENTRY_BYTES, 0xcc
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .if \n < 4
    .if \n == 1
    jc      1f
    .endif
    movl    $1, %ecx
    movl    $2, %edx
    movl    $3, %esi
    jmp     \target
    tail
1:  jmp     \target
    .elseif \n % 4 == 0
    pushq   %rbp
    movq    %rsp, %rbp
    pushq   %rbx
    sub_rsp 16
    movq    -8(%rbp), %rbx
    leave
    jmp     \target
    .elseif \n % 4 == 1
    sub_rsp 24
    movq    %rdi, 8(%rsp)
    addq    $24, %rsp
    jmp     \target
    .else
    cmpl    $0x12345678, 2f(%rip) /* the form with 32 bits, likewise */
    .if \n % 4 == 2
    je      1f
    ud2
    .else
    jne     1f
    jmp     \target
    .endif
    tail
1:  jmp     \target
2:  .long   0x12345678
    .endif
.endm

    .section .stub, "ax"
    FOR_EACH_ENTRY
    .balign ENTRY_BYTES, 0xcc
