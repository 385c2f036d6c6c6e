/* riscv: instructions of a prologue, moved (Unprivileged ISA, "RV32I", "RV64I" and "C": Instruction Set Listings).
 *
 * The jump is an aligned word, which one store replaces.  What patch.c says of its fetch holds where one instruction of
 * four bytes stood there; of two compressed ones, or of one and a half, another hart may have executed the first, and
 * must be kept away or brought to a FENCE.I. */
#include "detour.h"

#define JALR_T1 0x00030067u /* jalr zero, t1 */
#define T1 6u

enum { LOAD = 0x03, AUIPC = 0x17, BRANCH = 0x63, JALR = 0x67, JAL = 0x6f };

/* There is nothing before the jump. */
uintptr_t entry_jump(uintptr_t entry, const uint8_t *linked, uint8_t *head)
{
    (void)linked, (void)head;
    return entry;
}

/* Bits `low` up to below `low + n` of value, at `at`. */
static uint32_t bits(uint32_t value, uint32_t low, uint32_t n, uint32_t at) { return (value >> low & ((1u << n) - 1)) << at; }

static uintptr_t sign_extended(uint32_t value, uint32_t n)
{
    return (uintptr_t)(intptr_t)((int32_t)(value << (32 - n)) >> (32 - n));
}

/* A literal's value into a register, which holds the literal's page before: auipc, ld (lw). */
static void put_load(struct annex *annex, uint32_t to, uintptr_t literal)
{
    uint32_t offset = (uint32_t)(literal - annex_end(annex)), width = sizeof(uintptr_t) == 8 ? 3 : 2;
    annex_put32(annex, AUIPC | to << 7 | ((offset + 0x800) & 0xfffff000u));
    annex_put32(annex, (uint32_t)LOAD | to << 7 | width << 12 | to << 15 | offset << 20);
}

static void put_address(struct annex *annex, uint32_t to, uintptr_t address)
{
    put_load(annex, to, annex_literal(annex, address));
}

/* No register is free, so a branch is one that reaches 1 MiB. */
void annex_jump(struct annex *annex, uintptr_t to)
{
    uintptr_t at = annex_end(annex);
    if (!arch_reaches(at, to))
        annex->failed = true; /* unreached: the annex lies beside the function, and its branches lead nowhere else */
    annex_put32(annex, arch_jump(at, to));
}

void annex_slot_jump(struct annex *annex)
{
    put_load(annex, T1, annex->at + ANNEX_SLOT);
    annex_put32(annex, JALR_T1);
}

/* A call, from `back - size`: it returns to where it would have, which is never overwritten. */
static void put_call(struct annex *annex, uint32_t link, uintptr_t to, uintptr_t back)
{
    if (link)
        put_address(annex, link, annex_leads(annex, back));
    annex_jump(annex, annex_leads(annex, to));
}

/* A branch with two ends: it branches across a jump. */
static void put_conditional(struct annex *annex, uint32_t funct3, uint32_t first, uint32_t second, uintptr_t to)
{
    annex_put32(annex, BRANCH | funct3 << 12 | first << 15 | second << 20 | 8u << 7); /* 8 bytes on */
    annex_put32(annex, arch_jump(annex_end(annex), annex_end(annex) + 8));
    annex_jump(annex, annex_leads(annex, to));
}

static uintptr_t branch_offset(uint32_t i)
{
    return sign_extended(bits(i, 8, 4, 1) | bits(i, 25, 6, 5) | bits(i, 7, 1, 11) | bits(i, 31, 1, 12), 13);
}

static uintptr_t compressed_jump_offset(uint32_t i)
{
    return sign_extended(bits(i, 3, 3, 1) | bits(i, 11, 1, 4) | bits(i, 2, 1, 5) | bits(i, 7, 1, 6) | bits(i, 6, 1, 7) |
                             bits(i, 9, 2, 8) | bits(i, 8, 1, 10) | bits(i, 12, 1, 11),
                         12);
}

static uintptr_t compressed_branch_offset(uint32_t i)
{
    return sign_extended(bits(i, 3, 2, 1) | bits(i, 10, 2, 3) | bits(i, 2, 1, 5) | bits(i, 5, 2, 6) | bits(i, 12, 1, 8), 9);
}

/* Compressed: quadrant and funct3 say which (Unprivileged ISA, "RVC Instruction Set Listings"). */
static struct moved move_compressed(struct annex *annex, uintptr_t from, uint32_t i)
{
    struct moved moved = {2, false};
    uint32_t which = (i & 3) << 3 | i >> 13;
    bool is_jal = which == 011 && sizeof(uintptr_t) == 4; /* c.addiw where addresses have 64 bits */
    if (which == 015 || is_jal) { /* c.j, c.jal */
        put_call(annex, is_jal ? 1 : 0, from + compressed_jump_offset(i), from + 2);
        moved.ends = true;
    } else if (which == 016 || which == 017) { /* c.beqz, c.bnez */
        put_conditional(annex, which & 1, 8 + bits(i, 7, 3, 0), 0, from + compressed_branch_offset(i));
    } else if (!(i & 0xffff)) { /* no instruction */
        moved.size = 0; /* unreached: no prologue of this guest has one */
    } else {
        annex_put16(annex, (uint16_t)i);
        moved.ends = which == 024 && !bits(i, 2, 5, 0) && !bits(i, 12, 1, 0); /* c.jr */
    }
    return moved;
}

struct moved move_instruction(struct annex *annex, uintptr_t from)
{
    const volatile uint16_t *half = (const volatile uint16_t *)from;
    uint32_t i = half[0];
    if ((i & 3) != 3)
        return move_compressed(annex, from, i);
    struct moved moved = {4, false};
    i |= (uint32_t)half[1] << 16;
    uint32_t opcode = i & 0x7f, to = bits(i, 7, 5, 0);
    if ((i & 0x1f) == 0x1f || (i & 0x5f) == 0x0b || (i & 0x5f) == 0x5b) { /* longer, or a vendor's own */
        moved.size = 0; /* unreached: no prologue of this guest has one */
    } else if (opcode == AUIPC && to) { /* of no register it is lpad, a landing pad (Zicfilp) */
        put_address(annex, to, from + sign_extended(i & 0xfffff000u, 32));
    } else if (opcode == JAL) {
        put_call(annex, to, arch_jump_target(from, i), from + 4);
        moved.ends = true;
    } else if (opcode == BRANCH) {
        put_conditional(annex, bits(i, 12, 3, 0), bits(i, 15, 5, 0), bits(i, 20, 5, 0), from + branch_offset(i));
    } else {
        annex_put32(annex, i);
        moved.ends = opcode == JALR && !to;
    }
    return moved;
}

/* Zeros, or c.nop. */
bool is_filling(uintptr_t start, uintptr_t end)
{
    for (; start < end; start += 2)
        if (*(const volatile uint16_t *)start > 1)
            return false; /* unreached: entry.h promises that whatever is in the head may be moved */
    return true;
}
