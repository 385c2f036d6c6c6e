/* s390x: the mask of the jump.
 *
 * The word is the byte that holds the mask of `brcl` (and four bits of its opcode): the mask of a conditional branch is
 * the only part of an instruction that may be modified while another CPU executes it (z/Architecture Principles of
 * Operation, "Instruction Fetching", as Linux's commit de5012b41e5c "s390/ftrace: implement hotpatching" puts it to
 * use).  So the jump in place leads to the default target or nowhere, and all others are reached through the slot. */
#include "patch.h"

#define ALWAYS 0xf4 /* mask 15 */
#define NEVER 0x04  /* mask 0 */

uintptr_t arch_entry(uintptr_t function) { return function; }

/* BRCL: 32-bit signed displacement in halfwords from the instruction itself ("Branch Relative on Condition Long"). */
static uintptr_t linked_target(uintptr_t at)
{
    const volatile uint16_t *displacement = (const volatile uint16_t *)(at + 2);
    int32_t halfwords = (int32_t)((uint32_t)displacement[0] << 16 | displacement[1]);
    return at + 2 * (uintptr_t)(intptr_t)halfwords;
}

/* The displacement stays as the linker made it. */
bool arch_reaches(uintptr_t at, uintptr_t to) { return to == linked_target(at); }

code_word arch_jump(uintptr_t at, uintptr_t to)
{
    (void)at, (void)to;
    return ALWAYS;
}

uintptr_t arch_jump_target(uintptr_t at, code_word word) { return word == ALWAYS ? linked_target(at) : 0; }

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NEVER;
}

/* Stores of one CPU are seen in program order ("Storage-Operand Store References"): only the compiler is held. */
void arch_store_barrier(void) { __asm__ volatile("" ::: "memory"); }

/* Caches are coherent, and a CPU sees its own store to an instruction by the same address at once ("Conceptual
 * Sequence").  Serialization makes the store visible to the others before what follows ("CPU Serialization"). */
void arch_sync_code(uintptr_t word) { __asm__ volatile("bcr 15,0" ::"r"(word) : "memory"); }
