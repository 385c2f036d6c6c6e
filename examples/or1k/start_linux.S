/* or1k: entry as a Linux process, entry for an engine without an operating system, and the system call.  The instruction
 * behind a jump is executed before it takes effect. */
    .text
    .globl _start
    .type _start, %function
_start:
    l.jal   linux_main
    l.ori   r3, r1, 0               /* arguments, environment, auxiliary vector */
    l.trap  1

/* farm_enter: r1 is set; runs one program and then jumps to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    l.jal   farm_run
    l.nop
    l.j     farm_stop
    l.nop

    .balign 64
    .globl farm_stop
farm_stop:
    l.nop

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    l.ori   r11, r3, 0
    l.ori   r3, r4, 0
    l.ori   r4, r5, 0
    l.ori   r5, r6, 0
    l.sys   1
    l.jr    r9
    l.nop
