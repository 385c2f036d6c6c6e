/* arm: encoding of the jump and cache maintenance.
 *
 * The word is `b target` or `nop`.  In A32 both are in the list of instructions that may be modified while another CPU
 * executes them (Arm ARM DDI 0406C, A3.5.4 "Concurrent modification and execution of instructions").  Of Thumb the list
 * has 16-bit instructions only: that an aligned 32-bit one is fetched old or new, never mixed, is how implementations
 * behave. */
#include "patch.h"

#ifdef __thumb__
#define REACH (1 << 24)
#define AHEAD 4 /* of the program counter, before the instruction */
#define UNIT 2 /* of the displacement, in bytes */

/* A 32-bit instruction as a word of memory: its first halfword is at the lower address (A6.1, A3.3.1). */
#define WORD(first, second) ((uint32_t)(first) | (uint32_t)(second) << 16)
#define NOP WORD(0xf3af, 0x8000)
#else
#define REACH (1 << 25)
#define AHEAD 8
#define UNIT 4
#define B 0xea000000u
#define NOP ARCH_INSTRUCTION(0xe320f000u)
#endif

uintptr_t arch_entry(uintptr_t function) { return function; }

static bool is_same_instruction_set(uintptr_t to) { return (to & 1) == ARCH_FUNCTION_BIAS; }

/* B has a signed displacement: 24 bits, of words, in A32; 24 bits, of halfwords, in Thumb (A8.8.18, encodings A1 and
 * T4).  It stays in its instruction set: what is in the other one is out of its reach. */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(ARCH_CODE(to) - (at + AHEAD));
    return is_same_instruction_set(to) && displacement >= -REACH && displacement < REACH && displacement % UNIT == 0;
}

#ifdef __thumb__
/* The displacement's bits are S:I1:I2:imm10:imm11:0, where I1 and I2 are stored as J = NOT(I XOR S). */
code_word arch_jump(uintptr_t at, uintptr_t to)
{
    uint32_t displacement = (uint32_t)(ARCH_CODE(to) - (at + AHEAD));
    uint32_t s = displacement >> 24 & 1, j1 = !(displacement >> 23 & 1) ^ s, j2 = !(displacement >> 22 & 1) ^ s;
    return WORD(0xf000 | s << 10 | (displacement >> 12 & 0x3ff),
                0x9000 | j1 << 13 | j2 << 11 | (displacement >> 1 & 0x7ff));
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    uint32_t first = word & 0xffff, second = word >> 16, s = first >> 10 & 1;
    uint32_t i1 = !(second >> 13 & 1) ^ s, i2 = !(second >> 11 & 1) ^ s;
    uint32_t displacement = (first & 0x3ff) << 12 | (second & 0x7ff) << 1;
    return at + AHEAD + (displacement | i2 << 22 | i1 << 23 | (0u - s) << 24);
}
#else
code_word arch_jump(uintptr_t at, uintptr_t to)
{
    return ARCH_INSTRUCTION(B | (((uint32_t)(to - (at + AHEAD)) >> 2) & 0x00ffffffu));
}

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return at + AHEAD + (uintptr_t)((int32_t)(ARCH_INSTRUCTION(word) << 8) >> 6);
}
#endif

/* Fall through to the load of the slot. */
code_word arch_slot_jump(uintptr_t at)
{
    (void)at;
    return NOP;
}

void arch_store_barrier(void) { __asm__ volatile("dmb ishst" ::: "memory"); }

#define CACHEFLUSH 0xf0002 /* ARM_NR_cacheflush: start, end, flags */

/* Clean to the point of unification, invalidate, forget predicted branches, and synchronise this CPU (A3.5.4, B2.2.9):
 * DCCMVAU, ICIMVAU, BPIALL, which user mode may not. */
void arch_sync_code(uintptr_t word)
{
    if (has_kernel())
        arch_syscall(CACHEFLUSH, word, word + sizeof(code_word), 0);
    else
        SYNC_CODE(word);
}
