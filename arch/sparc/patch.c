/* sparc: encoding of the call and cache maintenance.
 *
 * The word is always a `call`.  It is an aligned word, so a store to it is atomic (SPARC Architecture Manual version 9,
 * 8.2 "Memory Location"); that a CPU which executes it meanwhile fetches the old one or the new one, each whole, is how
 * implementations behave, and Linux relies on it; the manual promises the new one once FLUSH is done (A.20). */
#include "patch.h"

#define CALL 0x40000000u
#define SLOT_LOAD 12 /* from the stub's address */

uintptr_t arch_entry(uintptr_t function) { return function; }

/* CALL: 30-bit signed word displacement from the instruction itself, [-2 GiB, +2 GiB) (V9, A.8): all of 32 bits. */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + ARCH_STUB_WORD));
    return displacement == (int32_t)displacement && !(displacement & 3);
}

code_word arch_jump(uintptr_t at, uintptr_t to)
{
    return CALL | (((uint32_t)(to - (at + ARCH_STUB_WORD)) >> 2) & 0x3fffffffu);
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return at + ARCH_STUB_WORD + (uintptr_t)(intptr_t)(int32_t)(word << 2);
}

#ifdef ARCH_STUB_SLOT
code_word arch_slot_jump(uintptr_t at) { return arch_jump(at, at + SLOT_LOAD); }

/* Under TSO, which is what Linux runs, stores are seen in program order; this orders them under PSO too. */
void arch_store_barrier(void) { __asm__ volatile("stbar" ::: "memory"); }
#endif

/* FLUSH makes the doubleword's instruction fetches, here and in time everywhere, come after the store (V9, A.20).  A V8
 * CPU may execute up to five instructions before it is done (SPARC Architecture Manual version 8, B.32). */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word & -(uintptr_t)ARCH_SYNC_BLOCK);
}
