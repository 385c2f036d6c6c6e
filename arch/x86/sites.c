/* x86: call sites.  `call`, `jmp` and `jcc` have a 32-bit operand that is relative to its own end; the opcode never
 * changes.
 *
 * The operand lies anywhere, but within one aligned quadword, where a store is not torn whoever made the CPU: AMD
 * promises no more (APM volume 2, "Access Atomicity"), Intel a whole cache line (SDM volume 3A, "Guaranteed Atomic
 * Operations").  Those that cross one are left on the stub (arch.toml). */
#include "patch.h"

#define OPERAND_BYTES 4

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + OPERAND_BYTES));
    (void)word;
    return displacement == (int32_t)displacement;
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    (void)word;
    return (uint32_t)(to - (at + OPERAND_BYTES));
}
