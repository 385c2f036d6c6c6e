/* sh: what is patched is a literal, the address itself. */
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

/* A literal is loaded through the data cache, so the next load finds it. */
void arch_sync_code(uintptr_t word)
{
    (void)word;
    __asm__ volatile("" ::: "memory");
}
