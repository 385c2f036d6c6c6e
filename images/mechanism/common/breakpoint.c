/* Breakpoints under a kernel; without one the engine branches to farm_breakpoint (arch/NAME/breakpoint.S) by itself. */
#include "breakpoint.h"
#include "breakpoint_arch.h"

enum { SIGTRAP = 5, SA_SIGINFO = 4, SA_RESTORER = 0x04000000, SA_NODEFER = 0x40000000 }; /* of Linux */

/* Of membarrier(2). */
enum { EXPEDITED_SYNC_CORE = 1 << 5, REGISTER_EXPEDITED_SYNC_CORE = 1 << 6 };

static bool are_on;

/* The kernel's own struct sigaction, which is not the C library's. */
struct action {
    void (*handler)(int, void *, uint8_t *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static void on_trap(int signal, void *info, uint8_t *context)
{
    uintptr_t *pc = (uintptr_t *)(context + CONTEXT_PC);
    uintptr_t to = mechanism_breakpoint(*pc - BREAKPOINT_BYTES);
    (void)signal, (void)info;
    if (!to)
        arch_syscall(ARCH_SYS_EXIT_GROUP, 128 + SIGTRAP, 0, 0);
    *pc = to;
}

void breakpoints_on(void)
{
    const struct action action = {on_trap, SA_SIGINFO | SA_RESTORER | SA_NODEFER, breakpoint_return, 0};
    if (are_on || !has_kernel())
        return;
    arch_syscall6((const uintptr_t[7]){ARCH_SYS_RT_SIGACTION, SIGTRAP, (uintptr_t)&action, 0, sizeof action.mask});
    arch_syscall(ARCH_SYS_MEMBARRIER, REGISTER_EXPEDITED_SYNC_CORE, 0, 0);
    are_on = true;
}

/* A kernel that has no such call runs the process on one CPU, or has not been told how to serialise the others: either
 * way nobody else is known to run this guest, which has one thread. */
__attribute__((noinline)) void every_cpu_serialises(void)
{
    if (has_kernel())
        arch_syscall(ARCH_SYS_MEMBARRIER, EXPEDITED_SYNC_CORE, 0, 0);
    __asm__ volatile("" ::: "memory");
}
