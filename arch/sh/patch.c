/* sh: what is patched is a literal, the address itself; and cache maintenance, for code that is made at run time. */
#include "patch.h"

uintptr_t arch_entry(uintptr_t function) { return function; }

bool arch_reaches(uintptr_t at, uintptr_t to)
{
    (void)at, (void)to;
    return true;
}

code_word arch_jump(uintptr_t at, uintptr_t to)
{
    (void)at;
    return to;
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    (void)at;
    return word;
}

#define SYS_CACHEFLUSH 123
#define WRITE_BACK_AND_FETCH_ANEW (2 | 4) /* CACHEFLUSH_D_WB, CACHEFLUSH_I */

/* A literal is loaded through the data cache, so the next load finds it.  Code is not: the instruction cache knows no
 * store, and what invalidates it is privileged (SH-4 Software Manual, "Instruction Cache (IC)"), so a process asks the
 * kernel. */
void arch_sync_code(uintptr_t word)
{
    __asm__ volatile("" ::: "memory");
    if (has_kernel())
        arch_syscall(SYS_CACHEFLUSH, word, sizeof(code_word), WRITE_BACK_AND_FETCH_ANEW);
}
