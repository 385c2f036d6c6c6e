/* arm64: encoding of the jump and cache maintenance.
 *
 * The word is `b target` or `nop`; both are in the list of instructions that may be modified while another CPU executes
 * them (Arm ARM DDI 0487, B2.2.5 "Concurrent modification and execution of instructions"). */
#include "patch.h"

#define B 0x14000000u
#define NOP 0xd503201fu

uintptr_t arch_entry(uintptr_t function) { return function; }

/* B: 26-bit signed word displacement from the instruction itself, [-128 MiB, +128 MiB) (C6.2.26). */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + ARCH_STUB_WORD));
    return displacement >= -(1 << 27) && displacement < 1 << 27 && !(displacement & 3);
}

code_word arch_jump(uintptr_t at, uintptr_t to)
{
    at += ARCH_STUB_WORD;
    return ARCH_INSTRUCTION(B | (((uint32_t)(to - at) >> 2) & 0x03ffffffu));
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return at + ARCH_STUB_WORD + (uintptr_t)(intptr_t)((int32_t)(ARCH_INSTRUCTION(word) << 6) >> 4);
}

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return ARCH_INSTRUCTION(NOP);
}

void arch_store_barrier(void) { __asm__ volatile("dmb ishst" ::: "memory"); }

/* Clean to the point of unification, invalidate, and synchronise this CPU (B2.4.4). */
void arch_sync_code(uintptr_t word)
{
    SYNC_CODE(word);
}
