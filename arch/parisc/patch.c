/* parisc: encoding of the jump and cache maintenance.
 *
 * The word is `b,n target` or `nop`.  It is aligned, so a store to it is atomic (PA-RISC 1.1 Architecture and
 * Instruction Set Reference Manual, "Memory Reference Instructions"); that a CPU which executes it meanwhile fetches
 * the old one or the new one, each whole, is how implementations behave.  The manual promises the new one once the
 * caches are synchronised. */
#include "patch.h"

#define B_N 0xe8000002u
#define NOP 0x08000240u
#define AHEAD 8           /* of a branch, from where its displacement counts: the instruction behind the delay slot */

uintptr_t arch_entry(uintptr_t function) { return function; }

/* BL: 17-bit signed word displacement, [-256 KiB, +256 KiB) ("Branch Instructions"; assemble_17 in "Instruction
 * Formats"). */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + AHEAD));
    return displacement >= -(1 << 18) && displacement < 1 << 18 && !(displacement & 3);
}

/* The sign is bit 0; the five bits below it are w1; the next one is the last of w2, whose others follow. */
code_word arch_jump(uintptr_t at, uintptr_t to)
{
    uint32_t words = (uint32_t)(to - (at + AHEAD)) >> 2;
    return B_N | (words >> 16 & 1) | (words >> 11 & 0x1f) << 16 | (words >> 10 & 1) << 2 | (words & 0x3ff) << 3;
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    uint32_t words = (word & 1) << 16 | (word >> 16 & 0x1f) << 11 | (word >> 2 & 1) << 10 | (word >> 3 & 0x3ff);
    return at + AHEAD + (uintptr_t)(intptr_t)((int32_t)(words << 15) >> 13);
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

/* Stores of one CPU are seen in program order (PA-RISC 2.0 Architecture, "Memory Ordering Model"): only the compiler is
 * held. */
void arch_store_barrier(void) { __asm__ volatile("" ::: "memory"); }

/* Write the data cache's line to memory, remove the instruction cache's, wait for both, and let seven instructions pass
 * that may have been fetched already ("Instruction Cache", "SYNC"). */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word);
}
