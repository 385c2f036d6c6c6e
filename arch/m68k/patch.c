/* m68k: the jump's operand and cache maintenance.
 *
 * The opcode never changes, and the operand, the target's address, is naturally aligned, so it changes in one transfer
 * on a 32-bit bus (MC68040 User's Manual, section 7, "Misaligned Operands"). */
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
#define FLUSH_SCOPE_LINE 1
#define FLUSH_CACHE_BOTH 3

/* Push the data cache's line to memory and invalidate it in both caches (MC68040 User's Manual, section 4,
 * "Instruction and Data Caches").  That is CPUSH, which is privileged, and not of the 68020 that this is compiled for: a
 * process asks the kernel.  NOP waits for the store and discards what was fetched ahead. */
void arch_sync_code(uintptr_t word)
{
    if (has_kernel()) {
        register long number __asm__("d0") = SYS_CACHEFLUSH;
        register uintptr_t address __asm__("d1") = word;
        register long scope __asm__("d2") = FLUSH_SCOPE_LINE, cache __asm__("d3") = FLUSH_CACHE_BOTH;
        register long length __asm__("d4") = sizeof(code_word);
        __asm__ volatile("trap #0" : "+d"(number) : "d"(address), "d"(scope), "d"(cache), "d"(length) : "memory");
    } else {
        SYNC_CODE(word);
    }
}
