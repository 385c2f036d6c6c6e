/* loongarch: encoding of the jump and cache maintenance.
 *
 * The word is `b target` or `nop`, naturally aligned like every instruction, and one store replaces it.  The reference
 * manual does not say what another core fetches meanwhile; Linux's jump labels rely on it (arch.toml, atomicity). */
#include "patch.h"

#define B 0x50000000u
#define NOP 0x03400000u

uintptr_t arch_entry(uintptr_t function) { return function; }

/* B: 26-bit signed word displacement from the instruction itself, [-128 MiB, +128 MiB) (LoongArch Reference Manual,
 * volume 1, 2.2.5 "Branch Instructions"). */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at);
    return displacement >= -(1 << 27) && displacement < 1 << 27 && !(displacement & 3);
}

/* The displacement's low 16 bits lie above its high 10. */
code_word arch_jump(uintptr_t at, uintptr_t to)
{
    uint32_t displacement = (uint32_t)(to - at) >> 2;
    return B | (displacement & 0xffffu) << 10 | (displacement >> 16 & 0x3ffu);
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    uint32_t displacement = (word >> 10 & 0xffffu) | (word & 0x3ffu) << 16;
    return at + (uintptr_t)(intptr_t)((int32_t)(displacement << 6) >> 4);
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

void arch_store_barrier(void) { __asm__ volatile("dbar 0" ::: "memory"); }

/* Hardware keeps the instruction cache coherent; IBAR 0 discards what this core has fetched already, once the store is
 * visible (volume 1, 2.2.8 "Barrier Instructions").  Other cores need one of their own. */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word);
}
