/* arm64: entry as a Linux process, entry for an engine without an operating system, and the system call. */
    .text
    .globl _start
    .type _start, %function
_start:
    mov     x29, #0                 /* the kernel aligned sp */
    mov     x0, sp                  /* arguments, environment, auxiliary vector */
    bl      linux_main
    brk     #0

/* farm_enter: sp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    mov     x29, #0
    bl      farm_run
    adrp    x16, farm_stop
    add     x16, x16, :lo12:farm_stop
    br      x16

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, %function
arch_syscall6:
    ldr     x8, [x0]
    ldp     x4, x5, [x0, #40]
    ldp     x2, x3, [x0, #24]
    ldp     x0, x1, [x0, #8]
    svc     #0
    ret

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    mov     x8, x0
    mov     x0, x1
    mov     x1, x2
    mov     x2, x3
    svc     #0
    ret
