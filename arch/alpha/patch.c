/* alpha: encoding of the jump and instruction memory barrier.
 *
 * The word is `br target` or `nop`: one naturally aligned longword, which STL writes whole (Alpha Architecture
 * Handbook, chapter 5, "Granularity of Memory Access").  A CPU that executes the stub meanwhile fetches the old
 * instruction or the new one, and may go on with the old one until it executes an IMB itself (6.7.3 "Instruction
 * Memory Barrier"). */
#include "patch.h"

#define BR 0xc3e00000u
#define NOP 0x47ff041fu /* bis $31, $31, $31 */

uintptr_t arch_entry(uintptr_t function) { return function; }

/* C that uses its global pointer begins with `ldah $29, high($27)`.  The jump leaves $27 what the caller made it, so
 * only the way through the slot leads there. */
static bool needs_procedure_value(uintptr_t code)
{
#ifdef CONTROL_NO_ENTRY_REGISTER
    return !code;
#else
    return *(const volatile uint32_t *)code >> 16 == 0x27bbu;
#endif
}

/* BR: 21-bit signed displacement in words from the next instruction, [-4 MiB, +4 MiB) (4.3 "Control Instructions"). */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + 4));
    return displacement >= -(1 << 22) && displacement < 1 << 22 && !(displacement & 3) && !needs_procedure_value(to);
}

code_word arch_jump(uintptr_t at, uintptr_t to) { return BR | ((uint32_t)(to - (at + 4)) >> 2 & 0x1fffffu); }

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return at + 4 + (uintptr_t)(intptr_t)((int32_t)((word & 0x1fffffu) << 11) >> 9);
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

void arch_store_barrier(void) { __asm__ volatile("wmb" ::: "memory"); }

/* IMB: what this CPU has stored is what it fetches from now on (6.7.3). */
void arch_sync_code(uintptr_t word) { SYNC_CODE(word); }
