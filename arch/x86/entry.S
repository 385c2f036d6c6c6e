/* x86: the patchable functions as ordinary functions, for mechanisms that overwrite an entry.  Each begins with another
 * prologue and goes on to its default target; all arguments (al of a variadic call too), the return address and the
 * flags that a call keeps pass through.  A jump of five bytes takes the place of what stands there, which is awkward to
 * move since
 *
 *      64 bits                         32 bits
 *   0  mov slot(%rip), %r11            jc, short                   is relative to rip, of seven bytes; has two ends
 *   1  jmp *slot(%rip)                 mov slot, %eax              is a jump already; is not relative
 *   2  jc, short                       jmp, short                  has two ends; is a jump already, of two bytes
 *   3  lea target(%rip), %r11          jmp target                  is relative to rip; is a jump already
 *   4  push, pop, jrcxz                push, pop, jecxz            has no form that reaches further
 *   5  endbr64, push %rbp              endbr32, push %ebp          the pad must stay first; the jump fits exactly
 *   6  call                            call                        comes back, to where it was moved
 *   7  push, mov, lea -16(%rsp), %rsp  push, mov, lea              the last straddles the jump's end
 *   8  cmpl $target, slot(%rip)        call __x86.get_pc_thunk.ax  does not end in the displacement; whoever it calls
 *                                                                  looks at the return address, which must be the
 *                                                                  original one
 *
 * and so on, from 9 on again as from 0. */
#include "arch.h"
#include "entry.h"
#include "wire.h"

.macro tail
    .balign ENTRY_HEAD, 0xcc
.endm

.macro entry n, target
    .balign ENTRY_BYTES, 0xcc
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
#ifdef __x86_64__
    .if \n % ENTRY_PROLOGUES == 0
    movq    1f(%rip), %r11
    jmp     *%r11
    tail
1:  .quad   \target
    .elseif \n % ENTRY_PROLOGUES == 1
    jmp     *1f(%rip)
    tail
1:  .quad   \target
    .elseif \n % ENTRY_PROLOGUES == 2
    jc      1f
    jmp     \target
    tail
1:  jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 3
    leaq    \target(%rip), %r11
    jmp     *%r11
    .elseif \n % ENTRY_PROLOGUES == 4
    pushq   $0                      /* rcx, which carries no argument of functions 4 and 13 */
    popq    %rcx
    jrcxz   1f
    ud2
    tail
1:  jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 5
    endbr64
    pushq   %rbp
    movq    %rsp, %rbp
    popq    %rbp
    jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 6
    call    entry_called
    jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 7
    pushq   %rbp
    movq    %rsp, %rbp
    leaq    -16(%rsp), %rsp
    leave
    jmp     \target
    .else
    cmpl    $\target, 1f(%rip)
    jne     2f
    jmp     \target
    tail
1:  .quad   \target                /* of which the upper half is 0 */
2:  ud2
    .endif
#else
    .if \n % ENTRY_PROLOGUES == 0
    jc      1f
    jmp     \target
    tail
1:  jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 1
    movl    1f, %eax
    jmp     *%eax
    tail
1:  .long   \target
    .elseif \n % ENTRY_PROLOGUES == 2
    jmp     1f
    tail
1:  jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 3
    jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 4
    pushl   $0
    popl    %ecx
    jecxz   1f
    ud2
    tail
1:  jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 5
    endbr32
    pushl   %ebp
    movl    %esp, %ebp
    popl    %ebp
    jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 6
    call    entry_called
    jmp     \target
    .elseif \n % ENTRY_PROLOGUES == 7
    pushl   %ebp
    movl    %esp, %ebp
    leal    -16(%esp), %esp
    leave
    jmp     \target
    .else
    call    entry_pc_thunk
2:  jmp     *1f - 2b(%eax)
    tail
1:  .long   \target
    .endif
#endif
.endm

    .section .stub, "ax"
    FOR_EACH_ENTRY
    .balign ENTRY_BYTES, 0xcc

    .text
    .balign 16, 0xcc
    .type entry_called, @function
entry_called:
    ret
#ifndef __x86_64__
    .type entry_pc_thunk, @function
entry_pc_thunk:
    movl    (%esp), %eax
    ret
#endif
