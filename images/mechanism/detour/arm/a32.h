/* The A32 half of prologue.c, which alone includes it: an instruction is one word. */

static void put(struct annex *annex, uint32_t instruction) { annex_put32(annex, ARCH_INSTRUCTION(instruction)); }

/* LDR (literal): 12 bits and a sign, from the instruction's address + 8 (A8.8.64). */
static void put_literal_load(struct annex *annex, uint32_t to, uintptr_t from)
{
    int32_t offset = (int32_t)(from - (annex_end(annex) + 8));
    put(annex, offset < 0 ? 0xe51f0000u | to << 12 | (uint32_t)-offset : 0xe59f0000u | to << 12 | (uint32_t)offset);
}

/* What is at an address into a register; pc: by the stack, since no register is free. */
static void put_load(struct annex *annex, uint32_t to, uintptr_t address)
{
    if (to == PC) {
        put(annex, 0xe92d0003u); /* push {r0, r1} */
        put_value(annex, 0, address);
        put(annex, 0xe5900000u); /* ldr r0, [r0] */
        put(annex, 0xe58d0004u); /* str r0, [sp, #4] */
        put(annex, 0xe8bd8001u); /* pop {r0, pc} */
    } else {
        put_value(annex, to, address);
        put(annex, 0xe5900000u | to << 16 | to << 12); /* ldr to, [to] */
    }
}

/* The operand of 8 bits, rotated (A5.2.4). */
static uint32_t immediate(uint32_t i)
{
    uint32_t by = (i >> 8 & 0xf) * 2, value = i & 0xff;
    return by ? value >> by | value << (32 - by) : value;
}

static bool reads_pc(uint32_t i, uint32_t at) { return (i >> at & 0xf) == PC; }

/* Of instructions that are written anew, those with a condition: a branch across what is written. */
static uint32_t begin_condition(struct annex *annex, uint32_t condition)
{
    uint32_t at = annex->size;
    if (condition != ALWAYS)
        put(annex, (condition ^ 1) << 28 | 0x0a000000u);
    return at;
}

static void end_condition(struct annex *annex, uint32_t condition, uint32_t at)
{
    if (condition != ALWAYS && !annex->failed)
        *(uint32_t *)(annex->bytes + at) |= ARCH_INSTRUCTION((annex->size - at - 8) / 4);
}

/* An instruction that says where it lies is written anew. */
static bool is_rewritten(struct annex *annex, uintptr_t from, uint32_t i)
{
    uintptr_t pc = from + 8;
    if ((i & 0x0e000000u) == 0x0a000000u) { /* B, BL */
        uintptr_t to = pc + (uintptr_t)sign_extended(i, 24) * 4;
        if (i & 1u << 24)
            put_call(annex, to, from + sizeof i);
        else
            annex_jump(annex, annex_leads(annex, to));
    } else if ((i & 0x0f7f0000u) == 0x051f0000u && (i >> 12 & 0xf) != SP) { /* LDR (literal) */
        uint32_t offset = i & 0xfff;
        put_load(annex, i >> 12 & 0xf, i & 1u << 23 ? pc + offset : pc - offset);
    } else if ((i & 0x0fff0000u) == 0x028f0000u || (i & 0x0fff0000u) == 0x024f0000u) { /* ADD, SUB of pc: ADR */
        uintptr_t to = i & 1u << 23 ? pc + immediate(i) : pc - immediate(i);
        if ((i >> 12 & 0xf) == PC)
            annex_leads(annex, to);
        put_value(annex, i >> 12 & 0xf, to);
    } else {
        return false;
    }
    return true;
}

/* It does the same anywhere: it does not read the pc, as far as anybody can tell without knowing it better. */
static bool may_be_copied(uint32_t i)
{
    bool is_register_form = !(i & 1u << 25);
    if (i >> 28 == 0xf) /* NEON's, and barriers; the rest is not worth its decoding */
        return (i & 0x0e000000u) == 0x02000000u || (i & 0x0fffff00u) == 0x057ff000u ||
               ((i & 0x0f100000u) == 0x04000000u && !reads_pc(i, 16));
    switch (i >> 25 & 7) {
    case 0:
        if ((i & 0x0f0000f0u) == 0x00000090u) /* multiplications */
            return !reads_pc(i, 16) && !reads_pc(i, 8) && !reads_pc(i, 0);
        if ((i & 0x0f0000f0u) == 0x01000090u) /* LDREX, ...: fields that they do not use are ones */
            return !reads_pc(i, 16);
        if ((i & 0x00000090u) == 0x00000090u) /* LDRH, LDRD, ... */
            return !reads_pc(i, 16) && !(!(i & 1u << 22) && reads_pc(i, 0));
        if ((i & 0x01900000u) == 0x01000000u) /* MRS, MSR, BX, CLZ, ... */
            return !reads_pc(i, 0);
        return !reads_pc(i, 16) && !reads_pc(i, 0) && !(i & 1u << 4 && reads_pc(i, 8));
    case 1:
        if ((i & 0x01900000u) == 0x01000000u) /* MOVW, MOVT, MSR, of which MOVT keeps half of what it writes */
            return (i & 0x00700000u) != 0x00400000u || !reads_pc(i, 12);
        return !reads_pc(i, 16);
    case 2:
    case 3:
        if (!is_register_form && i & 1u << 4) /* media, of which BFC has ones where others have a register */
            return (i & 0x0fe0007fu) == 0x07c0001fu || !(reads_pc(i, 0) || ((i & 0x01800000u) == 0 && reads_pc(i, 16)));
        return !reads_pc(i, 16) && !(!is_register_form && reads_pc(i, 0)) && !(!(i & 1u << 20) && reads_pc(i, 12));
    case 4: /* LDM, STM */
        return !reads_pc(i, 16) && !(!(i & 1u << 20) && i & 1u << PC);
    case 6: /* VLDR, ... */
        return !reads_pc(i, 16);
    case 7: /* MCR */
        return !((i & 0x01100010u) == 0x00000010u && reads_pc(i, 12));
    default:
        return true;
    }
}

/* It writes the pc. */
static bool branches(uint32_t i)
{
    uint32_t class = i >> 25 & 7;
    if (class == 4)
        return i & 1u << 20 && i & 1u << PC;
    if ((i & 0x0ffffff0u) == 0x012fff10u) /* BX */
        return true;
    bool loads = (class == 2 || (class == 3 && !(i & 1u << 4))) && (i & 0x00500000u) == 0x00100000u;
    bool computes = class <= 1 && (i & 0x01800000u) != 0x01000000u && !(class == 0 && (i & 0x90) == 0x90);
    return (loads || computes) && (i >> 12 & 0xf) == PC;
}

struct moved move_instruction(struct annex *annex, uintptr_t from)
{
    uint32_t i = ARCH_INSTRUCTION(*(const volatile uint32_t *)from), condition = i >> 28;
    struct moved moved = {sizeof i, false};
    if (condition != 0xf) {
        uint32_t at = begin_condition(annex, condition);
        if (is_rewritten(annex, from, i)) {
            end_condition(annex, condition, at);
            moved.ends = condition == ALWAYS && ((i & 0x0e000000u) == 0x0a000000u || (i >> 12 & 0xf) == PC);
            return moved;
        }
        annex->size = at;
    }
    moved.size = may_be_copied(i) ? moved.size : 0;
    moved.ends = condition == ALWAYS && branches(i);
    put(annex, i);
    return moved;
}

/* What is overwritten is one instruction. */
bool is_filling(uintptr_t start, uintptr_t end) { return start == end; } /* unreached: likewise */
