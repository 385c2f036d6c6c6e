/* powerpc: encoding of the jump and cache maintenance.
 *
 * The word is `b target` or `nop`; these two are the patch class, the only instructions that may be modified while
 * another CPU executes them (Power ISA, Book II, 1.8.1 "Concurrent Modification and Execution of Instructions"). */
#include "patch.h"

#define B 0x48000000u
#define NOP 0x60000000u

/* ELFv1: the code that the descriptor names; there is one TOC, so r2 may stay.
 *
 * ELFv2: a function that uses the TOC begins with two instructions that make r2 from r12 (or, in a fixed image, from a
 * constant); a jump that does not set r12 must go past them (ELFv2 ABI, "Function Prologue").  What is written in asm
 * here has none. */
uintptr_t arch_entry(uintptr_t function)
{
#if defined(ARCH_DESCRIPTORS)
    return function ? ARCH_CODE(function) : 0;
#elif defined(__powerpc64__)
    const volatile uint32_t *code = (const volatile uint32_t *)function;
    if (code) {
        uint32_t first = code[0] >> 16, second = code[1] >> 16;
        if ((first == 0x3c4c || first == 0x3c40) && second == 0x3842) /* addis r2,r12 or lis r2; addi r2,r2 */
            return function + 8; /* unreached: what calls are led to here is asm, or uses no TOC */
    }
    return function;
#else
    return function;
#endif
}

/* B: 26-bit signed byte displacement from the instruction itself, [-32 MiB, +32 MiB) (Book I, 2.4). */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at);
    return displacement >= -(1 << 25) && displacement < 1 << 25 && !(displacement & 3);
}

code_word arch_jump(uintptr_t at, uintptr_t to) { return B | ((uint32_t)(to - at) & 0x03fffffcu); }

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return at + (uintptr_t)(intptr_t)((int32_t)((word & 0x03fffffcu) << 6) >> 6);
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

void arch_store_barrier(void) { __asm__ volatile("sync" ::: "memory"); }

/* Write the data cache's block to memory, invalidate the instruction cache's, and discard what this CPU has fetched
 * already (Book II, 1.8 "Instruction Storage"). */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word);
}
