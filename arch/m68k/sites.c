/* m68k: call sites.  The word is the operand of JSR, JMP, BSR.L, BRA.L or Bcc.L, the last four of their six bytes: an
 * address, or what to add to the address of the word itself.  The opcode before it never changes. */
#include "patch.h"

/* JSR and JMP with an absolute long operand (M68000 Family Programmer's Reference Manual, section 4). */
static bool is_absolute(uintptr_t at) { return (((const volatile uint16_t *)at)[-1] & 0xffbf) == 0x4eb9; }

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    (void)at, (void)word, (void)to;
    return true;
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    (void)word;
    return is_absolute(at) ? to : to - at;
}
