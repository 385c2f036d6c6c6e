/* What an architecture supplies to the mechanisms that poke code (arch/NAME/patch.c, sites.c).  A stub's word
 * (ARCH_CODE_WORD) is what one store replaces: an instruction, or the operand of one.
 *
 * An architecture whose jump reaches every address has no data slot: it leaves ARCH_STUB_SLOT undefined and supplies
 * neither arch_slot_jump nor arch_store_barrier. */
#ifndef PATCH_H
#define PATCH_H

#include "mechanism.h"

/* Where a jump to a function must go: its local entry where the ABI has two (ELFv2), else the address itself. */
uintptr_t arch_entry(uintptr_t function);

/* A jump in the stub at `at` reaches `to`: never what lies between two instructions. */
bool arch_reaches(uintptr_t at, uintptr_t to);

/* The word that makes the stub at `at` jump to `to`, which it reaches; and the reverse. */
code_word arch_jump(uintptr_t at, uintptr_t to);
uintptr_t arch_jump_target(uintptr_t at, code_word word);

/* The word that makes the stub at `at` go through its data slot. */
code_word arch_slot_jump(uintptr_t at);

/* Orders the store to the slot before the store to the word, for other CPUs. */
void arch_store_barrier(void);

/* Makes the word at `word`, just stored, what this CPU fetches; the sequence is the architecture manual's, or the
 * kernel's where there is one (has_kernel) and user mode may not do it. */
void arch_sync_code(uintptr_t word);

/* Its instructions, where ARCH_SYNC_CODE (arch.h) has them: asm that makes the word at `word` what is fetched. */
#ifndef ARCH_SYNC_CLOBBERS
#define ARCH_SYNC_CLOBBERS "memory"
#endif
#define SYNC_LINE(step, text) text "\n\t"
#define SYNC_CODE(word) __asm__ volatile(ARCH_SYNC_CODE(SYNC_LINE)::"r"(word) : ARCH_SYNC_CLOBBERS)

/* sites.c: a call site is a branch whose displacement lies in the 32-bit word at `at`.  The word that makes it lead to
 * `to`, which it reaches; link bit, condition and whatever else `word` holds are kept. */
bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to);
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to);

#endif
