/* sh: entry as a Linux process, entry for an engine without an operating system, and the system call. */
    .text
    .balign 4
    .globl _start
    .type _start, %function
_start:
    mov     r15, r4                 /* arguments, environment, auxiliary vector */
    mov.l   1f, r0
    jsr     @r0
    nop
    .word   0xfffd                  /* no instruction */
    .balign 4
1:  .long   linux_main

/* farm_enter: r15 is set; runs one program and then jumps to farm_stop, where the engine stops. */
    .balign 4
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    mov.l   1f, r0
    jsr     @r0
    nop
    mov.l   2f, r0
    jmp     @r0
    nop
    .balign 4
1:  .long   farm_run
2:  .long   farm_stop

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .balign 4
    .globl arch_syscall6
    .type arch_syscall6, %function
arch_syscall6:
    mov     r4, r2
    mov.l   @r2+, r3
    mov.l   @r2+, r4
    mov.l   @r2+, r5
    mov.l   @r2+, r6
    mov.l   @r2+, r7
    mov.l   @r2+, r0
    mov.l   @r2+, r1
    trapa   #0x16                   /* with six arguments */
    rts
    nop

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .balign 4
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    mov     r4, r3
    mov     r5, r4
    mov     r6, r5
    mov     r7, r6
    trapa   #0x13                   /* with three arguments */
    rts
    nop
