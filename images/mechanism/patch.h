/* What an architecture supplies to the `stub` mechanism (arch/NAME/patch.c).  A stub's word is the 32-bit word that
 * is poked: an instruction, or the operand of one. */
#ifndef PATCH_H
#define PATCH_H

#include "guest.h"

/* Where a jump to a function must go: its local entry where the ABI has two (ELFv2), else the address itself. */
uintptr_t arch_entry(uintptr_t function);

/* A jump in the stub at `at` reaches `to`. */
bool arch_reaches(uintptr_t at, uintptr_t to);

/* The word that makes the stub at `at` jump to `to`, which it reaches; and the reverse. */
uint32_t arch_jump(uintptr_t at, uintptr_t to);
uintptr_t arch_jump_target(uintptr_t at, uint32_t word);

/* The word that makes the stub at `at` go through its data slot. */
uint32_t arch_slot_jump(uintptr_t at);

/* What surrounds the word at `at` is a stub. */
bool arch_is_stub(uintptr_t at);

/* Orders the store to the slot before the store to the word, for other CPUs. */
void arch_store_barrier(void);

/* Makes the word at `word`, just stored, what this CPU fetches; the sequence is the architecture manual's. */
void arch_sync_code(uintptr_t word);

#endif
