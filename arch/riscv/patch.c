/* riscv: encoding of the jump and cache maintenance.
 *
 * The word is `jal zero, target` or `nop`.  It is naturally aligned, and such a word is fetched in one piece where the
 * platform has Ziccif (RISC-V Profiles, RVA20: "instruction fetch atomicity"), as every Linux platform is expected to:
 * another hart executes the old jump or the new one. */
#include "patch.h"

#define JAL 0x0000006fu
#define NOP 0x00000013u

uintptr_t arch_entry(uintptr_t function) { return function; }

/* JAL: 21-bit signed byte displacement from the instruction itself, [-1 MiB, +1 MiB) (Unprivileged ISA, RV32I,
 * "Unconditional Jumps"). */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at);
    return displacement >= -(1 << 20) && displacement < 1 << 20 && !(displacement & 1);
}

/* Displacement bits 20, 10-1, 11 and 19-12, from the most significant bit of the word on. */
code_word arch_jump(uintptr_t at, uintptr_t to)
{
    uint32_t displacement = (uint32_t)(to - at);
    return JAL | (displacement >> 20 & 1) << 31 | (displacement >> 1 & 0x3ff) << 21 | (displacement >> 11 & 1) << 20 |
           (displacement & 0xff000u);
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    uint32_t low = (word >> 21 & 0x3ff) << 1 | (word >> 20 & 1) << 11 | (word & 0xff000u);
    return at + low - (uintptr_t)(word >> 31 << 20);
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

void arch_store_barrier(void) { __asm__ volatile("fence w, w" ::: "memory"); }

/* This hart's stores become visible to its own fetches; another one needs a FENCE.I of its own (Unprivileged ISA,
 * "Zifencei").  There is no cache maintenance by address. */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word);
}
