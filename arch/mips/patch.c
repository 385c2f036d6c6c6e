/* mips: encoding of the jump and cache maintenance.
 *
 * The word is `j target` or `nop`.  The manual says nothing of code that changes while another CPU executes it; an
 * aligned word is fetched whole, and its delay slot is a `nop` before and after. */
#include "patch.h"

#define J 0x08000000u
#define NOP 0u

uintptr_t arch_entry(uintptr_t function) { return function; }

/* J: 28 bits within the aligned region of 256 MiB that holds the delay slot (MIPS Architecture For Programmers, Volume
 * II-A, "J"). */
#define REGION_BITS 28

bool arch_reaches(uintptr_t at, uintptr_t to) { return (at + 4) >> REGION_BITS == to >> REGION_BITS && !(to & 3); }

code_word arch_jump(uintptr_t at, uintptr_t to)
{
    (void)at;
    return J | (((uint32_t)to >> 2) & 0x03ffffffu);
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return (at + 4) >> REGION_BITS << REGION_BITS | (uintptr_t)(word & 0x03ffffffu) << 2;
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

void arch_store_barrier(void) { __asm__ volatile("sync" ::: "memory"); }

/* Write the data cache's line back and invalidate the instruction cache's, wait for it, and discard what this CPU has
 * fetched already (Volume II-A, "SYNCI"; "JR.HB"). */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word);
}
