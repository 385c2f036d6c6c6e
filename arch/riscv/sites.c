/* riscv: call sites.  One aligned word; `jal` keeps its link register, a conditional branch its condition and its
 * registers.  Those that compressed instructions have moved to 2 modulo 4, and calls that the linker has not relaxed to
 * one instruction, stay on the stub.  A conditional branch reaches no target here: they are on other pages. */
#include "patch.h"

static bool is_conditional(uint32_t word) { return (word & 0x7fu) == 0x63u; }

/* JAL has a displacement of 21 bits, a conditional branch one of 13 (Unprivileged ISA, RV32I, "Control Transfer
 * Instructions"). */
bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at), reach = is_conditional(word) ? 1 << 12 : 1 << 20;
    return displacement >= -reach && displacement < reach && !(displacement & 1);
}

/* JAL as in patch.c; of a branch, bits 12 and 10-5 are the word's highest, 4-1 and 11 lie above the opcode. */
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
#ifdef CONTROL_LOST_LINK
    if (!is_conditional(word))
        word ^= 1u << 7; /* of the link register, ra or zero */
#endif
    if (is_conditional(word)) {
        /* unreached: every target is too far away */
        uint32_t displacement = (uint32_t)(to - at);
        return (word & 0x01fff07fu) | (displacement >> 12 & 1) << 31 | (displacement >> 5 & 0x3f) << 25 |
               (displacement >> 1 & 0xf) << 8 | (displacement >> 11 & 1) << 7;
    }
    return (word & 0xfffu) | (arch_jump(at, to) & ~0xfffu);
}
