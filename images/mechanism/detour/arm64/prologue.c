/* arm64: instructions of a prologue, moved (Arm ARM DDI 0487, C4.1 "A64 instruction set encoding").
 *
 * Landing pad and branch lie in one aligned doubleword, which one store replaces.  Behind `bti` only the branch changes:
 * an aligned word, which another CPU fetches old or new.  Of `paciasp`, which is a landing pad too, and the instruction
 * behind it both change: what it has signed must be authenticated before anybody else is entered.  A CPU that fetches
 * the one old and the other new would be lost, and the old instructions are not in the list of those that may be
 * modified while another CPU executes them (B2.2.5): it must be kept away, or brought to an ISB. */
#include "detour.h"

#define B 0x14000000u
#define BTI_C 0xd503245fu
#define LDR_X_LITERAL 0x58000000u
#define BR_X16 0xd61f0200u
#define SLOT_REGISTER 16u
#define LINK_REGISTER 30u

static uint32_t instruction_at(uintptr_t at) { return ARCH_INSTRUCTION(*(const volatile uint32_t *)at); }

/* bti, bti c, bti j, bti jc (C6.2.50): hint #32 to #38. */
static bool is_landing_pad(uint32_t i) { return (i & 0xffffff3fu) == 0xd503241fu; }

/* paciasp, pacibsp (C6.2.254, C6.2.257). */
static bool signs_return_address(uint32_t i) { return i == 0xd503233fu || i == 0xd503237fu; }

uintptr_t entry_jump(uintptr_t entry, const uint8_t *linked, uint8_t *head)
{
    uint32_t first = instruction_at((uintptr_t)linked);
    if (signs_return_address(first))
        *(uint32_t *)head = ARCH_INSTRUCTION(BTI_C);
    bool behind = signs_return_address(first) || is_landing_pad(first);
    return entry + (behind ? 4 : 0) - ARCH_STUB_WORD;
}

static void put(struct annex *annex, uint32_t instruction) { annex_put32(annex, ARCH_INSTRUCTION(instruction)); }

static int32_t sign_extended(uint32_t value, uint32_t bits) { return (int32_t)(value << (32 - bits)) >> (32 - bits); }

/* imm19 in bits 23 to 5, of words (LDR literal, B.cond, CBZ). */
static uintptr_t imm19(uintptr_t from, uint32_t i)
{
    return from + (uintptr_t)(intptr_t)sign_extended(i >> 5, 19) * 4;
}

/* LDR Xt, literal: 19 bits, of words (C6.2.167). */
static void put_load(struct annex *annex, uint32_t to, uintptr_t literal)
{
    put(annex, LDR_X_LITERAL | ((uint32_t)(literal - annex_end(annex)) >> 2 & 0x7ffff) << 5 | to);
}

static void put_address(struct annex *annex, uint32_t to, uintptr_t address)
{
    put_load(annex, to, annex_literal(annex, address));
}

/* No register is free, so a branch is one that reaches 128 MiB. */
void annex_jump(struct annex *annex, uintptr_t to)
{
    uintptr_t stub = annex_end(annex) - ARCH_STUB_WORD;
    if (!arch_reaches(stub, to))
        annex->failed = true; /* unreached: the annex lies beside the function */
    annex_put32(annex, arch_jump(stub, to));
}

void annex_slot_jump(struct annex *annex)
{
    put_load(annex, SLOT_REGISTER, annex->at + ANNEX_SLOT);
    put(annex, BR_X16);
}

/* A branch with two ends, whose displacement lies in `bits` bits from bit 5 on: it branches across a jump. */
static void put_conditional(struct annex *annex, uint32_t i, uint32_t bits, uintptr_t to)
{
    uint32_t field = ((1u << bits) - 1) << 5;
    put(annex, (i & ~field) | 2u << 5);
    put(annex, B | 2);
    annex_jump(annex, annex_leads(annex, to));
}

/* LDR (literal) of W, X, LDRSW: the register that is loaded holds the address before.  PRFM is a hint, and lost.  Of a
 * vector register no address can be made, so the instruction has to reach. */
static bool move_load(struct annex *annex, uintptr_t from, uint32_t i)
{
    static const uint32_t loads[] = {0xb9400000u, 0xf9400000u, 0xb9800000u}; /* ldr w, ldr x, ldrsw [x] */
    uint32_t to = i & 31, size = i >> 30;
    uintptr_t literal = imm19(from, i);
    if (i & 1u << 26) {
        intptr_t distance = (intptr_t)(literal - annex_end(annex)); /* unreached: no prologue of this guest has one */
        put(annex, (i & ~(0x7ffffu << 5)) | ((uint32_t)distance >> 2 & 0x7ffff) << 5); /* unreached: likewise */
        return distance >= -(1 << 20) && distance < 1 << 20; /* unreached: likewise */
    }
    if (size == 3 || to == 31)
        return true; /* unreached: no prologue of this guest has one */
    put_address(annex, to, literal);
    put(annex, loads[size] | to << 5 | to);
    return true;
}

static void move_address(struct annex *annex, uintptr_t from, uint32_t i)
{
    intptr_t offset = sign_extended((i >> 5 & 0x7ffff) << 2 | (i >> 29 & 3), 21);
    uintptr_t address = i >> 31 ? (from & ~(uintptr_t)0xfff) + (uintptr_t)offset * 0x1000 : from + (uintptr_t)offset;
    if ((i & 31) != 31)
        put_address(annex, i & 31, address);
}

struct moved move_instruction(struct annex *annex, uintptr_t from)
{
    uint32_t i = instruction_at(from);
    struct moved moved = {sizeof i, false};
    if ((i & 0x7c000000u) == 0x14000000u) { /* B, BL */
        uintptr_t to = from + (uintptr_t)(intptr_t)sign_extended(i, 26) * 4;
        if (i >> 31)
            put_address(annex, LINK_REGISTER, annex_leads(annex, from + sizeof i));
        annex_jump(annex, annex_leads(annex, to));
        moved.ends = true;
    } else if ((i & 0xff000000u) == 0x54000000u || (i & 0x7e000000u) == 0x34000000u) { /* B.cond, CBZ, CBNZ */
        put_conditional(annex, i, 19, imm19(from, i));
    } else if ((i & 0x7e000000u) == 0x36000000u) { /* TBZ, TBNZ */
        put_conditional(annex, i, 14, from + (uintptr_t)(intptr_t)sign_extended(i >> 5, 14) * 4);
    } else if ((i & 0x1f000000u) == 0x10000000u) { /* ADR, ADRP */
        move_address(annex, from, i);
    } else if ((i & 0x3b000000u) == 0x18000000u) { /* LDR (literal), LDRSW, PRFM */
        moved.size = move_load(annex, from, i) ? moved.size : 0;
    } else {
        put(annex, i);
        moved.ends = (i & 0xfe000000u) == 0xd6000000u && (i & 0x00600000u) != 0x00200000u; /* BR, RET, not BLR */
    }
    return moved;
}

/* What is overwritten are whole instructions. */
bool is_filling(uintptr_t start, uintptr_t end) { return start == end; } /* unreached: likewise */
