/* The Thumb half of prologue.c, which alone includes it: an instruction is one halfword or two, the first of which is
 * at the lower address (A6.1). */

static bool is_wide(uint32_t first) { return first >> 11 >= 0x1d; }

static void put_wide(struct annex *annex, uint32_t first, uint32_t second)
{
    annex_put16(annex, (uint16_t)first);
    annex_put16(annex, (uint16_t)second);
}

/* What the pc is to an instruction that addresses data. */
static uintptr_t aligned_pc(uintptr_t at) { return (at + 4) & ~(uintptr_t)3; }

/* LDR.W (literal): 12 bits and a sign (A8.8.64, T2). */
static void put_literal_load(struct annex *annex, uint32_t to, uintptr_t from)
{
    int32_t offset = (int32_t)(from - aligned_pc(annex_end(annex)));
    if (offset < 0)
        put_wide(annex, 0xf85f, to << 12 | (uint32_t)-offset); /* unreached: no prologue of this guest is so long */
    else
        put_wide(annex, 0xf8df, to << 12 | (uint32_t)offset);
}

/* What is at an address into a register; pc: by the stack, since no register is free. */
static void put_load(struct annex *annex, uint32_t to, uintptr_t address)
{
    if (to == PC) {
        annex_put16(annex, 0xb403); /* push {r0, r1} */
        put_value(annex, 0, address);
        annex_put16(annex, 0x6800); /* ldr r0, [r0] */
        annex_put16(annex, 0x9001); /* str r0, [sp, #4] */
        annex_put16(annex, 0xbd01); /* pop {r0, pc} */
    } else {
        put_value(annex, to, address);
        put_wide(annex, 0xf8d0 | to, to << 12); /* ldr.w to, [to] */
    }
}

/* A branch of two bytes across a jump of four. */
static void put_conditional(struct annex *annex, uint32_t across, uintptr_t to)
{
    annex_put16(annex, (uint16_t)across);
    annex_jump(annex, annex_leads(annex, to));
}

static uint32_t not_if(uint32_t condition) { return 0xd000 | (condition ^ 1) << 8; } /* B<c>, to where it lies + 4 */

enum outcome { COPIED, REWRITTEN, REFUSED };

static enum outcome move_narrow(struct annex *annex, uintptr_t from, uint32_t i, bool *ends)
{
    uint32_t low = i >> 8 & 7;
    if (i >> 11 == 0x09) { /* LDR (literal) */
        put_load(annex, low, aligned_pc(from) + (i & 0xff) * 4);
    } else if (i >> 11 == 0x14) { /* ADR */
        put_value(annex, low, aligned_pc(from) + (i & 0xff) * 4);
    } else if (i >> 12 == 0xd && (i >> 8 & 0xf) < 14) { /* B<c> */
        put_conditional(annex, not_if(i >> 8 & 0xf) | 1, from + 4 + (uintptr_t)sign_extended(i, 8) * 2);
    } else if (i >> 11 == 0x1c) { /* B */
        annex_jump(annex, annex_leads(annex, from + 4 + (uintptr_t)sign_extended(i, 11) * 2));
        *ends = true;
    } else if ((i & 0xf500) == 0xb100) { /* CBZ, CBNZ */
        uintptr_t to = from + 4 + ((i >> 3 & 0x1f) << 1 | (i >> 9 & 1) << 6);
        put_conditional(annex, ((i ^ 0x0800) & 0xfd07) | 1 << 3, to);
    } else {
        uint32_t operation = i >> 8 & 3, to = (i & 7) | (i >> 4 & 8);
        bool is_special = i >> 10 == 0x11; /* ADD, CMP, MOV of any register, BX, BLX */
        if (is_special && ((i >> 3 & 0xf) == PC || (operation < 2 && to == PC)))
            return REFUSED; /* unreached: no prologue of this guest has one */
        annex_put16(annex, (uint16_t)i);
        *ends = (is_special && ((operation == 3 && !(i & 0x80)) || (operation == 2 && to == PC))) || i >> 8 == 0xbd;
        return COPIED;
    }
    return REWRITTEN;
}

/* B<c>.W: bits S:J2:J1:imm6:imm11:0 (A8.8.18, T3). */
static uintptr_t far_conditional(uint32_t first, uint32_t second)
{
    uint32_t value = (first >> 10 & 1) << 20 | (second >> 11 & 1) << 19 | (second >> 13 & 1) << 18 |
                     (first & 0x3f) << 12 | (second & 0x7ff) << 1;
    return (uintptr_t)sign_extended(value, 21);
}

/* Of the rest, those that read the pc, or would: loads, stores and table branches with that base, and data processing
 * but for MOV and MVN, which have no first operand. */
static bool has_base_pc(uint32_t first, uint32_t second)
{
    uint32_t group = first >> 9, operation = first >> 5 & 0xf;
    bool accesses = group == 0x74 || group == 0x76 || group == 0x7c || group == 0x7e;
    bool processes = (group == 0x75 || ((first & 0xfa00) == 0xf000 && !(second >> 15))) && operation >> 1 != 1;
    return ((accesses || processes) && (first & 0xf) == PC) || (group == 0x75 && (second & 0xf) == PC);
}

/* TBB, TBH: what the table has is a distance from the instruction, wherever the table is (A8.8.237). */
static bool is_table_branch(uint32_t first, uint32_t second)
{
    return (first & 0xfff0) == 0xe8d0 && (second & 0xffe0) == 0xf000;
}

static bool loads_pc(uint32_t first, uint32_t second)
{
    bool multiple = (first & 0xfe50) == 0xe810 && second >> 15;
    bool single = (first & 0xff70) == 0xf850 && second >> 12 == PC;
    return multiple || single;
}

static enum outcome move_wide(struct annex *annex, uintptr_t from, uint32_t first, uint32_t second, bool *ends)
{
    uint32_t i = first | second << 16, offset = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | (second & 0xff);
    bool is_branch = first >> 11 == 0x1e && second >> 15;
    if (is_branch && (second & 0x5000) == 0x1000) { /* B.W */
        annex_jump(annex, annex_leads(annex, arch_jump_target(from, i)));
        *ends = true;
    } else if (is_branch && (second & 0x5000) == 0x5000) { /* BL */
        put_call(annex, arch_jump_target(from, i), from + 4);
        *ends = true;
    } else if (is_branch && (second & 0x5000) == 0 && (first >> 6 & 0xf) < 14) { /* B<c>.W */
        put_conditional(annex, not_if(first >> 6 & 0xf) | 1, from + 4 + far_conditional(first, second));
    } else if ((first & 0xff7f) == 0xf85f && second >> 12 != SP) { /* LDR.W (literal) */
        uintptr_t pc = aligned_pc(from);
        put_load(annex, second >> 12, first & 0x80 ? pc + (second & 0xfff) : pc - (second & 0xfff));
        *ends = second >> 12 == PC;
    } else if ((first & 0xfbff) == 0xf20f && !(second >> 15)) { /* ADR.W */
        put_value(annex, second >> 8 & 0xf, aligned_pc(from) + offset);
    } else if ((first & 0xfbff) == 0xf2af && !(second >> 15)) { /* ADR.W, before it */
        put_value(annex, second >> 8 & 0xf, aligned_pc(from) - offset);
    } else if (has_base_pc(first, second) || is_table_branch(first, second) ||
               (is_branch && (second & 0x5000) == 0x4000)) { /* BLX: to A32 */
        return REFUSED;
    } else {
        put_wide(annex, first, second);
        *ends = loads_pc(first, second);
        return COPIED;
    }
    return REWRITTEN;
}

static uint32_t half_at(uintptr_t at) { return *(const volatile uint16_t *)at; }

static uint32_t size_at(uintptr_t at) { return is_wide(half_at(at)) ? 4 : 2; }

static enum outcome move_one(struct annex *annex, uintptr_t from, bool *ends)
{
    uint32_t first = half_at(from);
    *ends = false;
    return is_wide(first) ? move_wide(annex, from, first, half_at(from + 2), ends) : move_narrow(annex, from, first, ends);
}

/* An IT block, of one to four instructions: each is moved with its own condition.  What is written anew stands behind a
 * branch across it; what is copied stays in a block, where it sets no flags that it did not. */
static struct moved move_block(struct annex *annex, uintptr_t from, uint32_t it)
{
    struct moved moved = {2, false};
    uint32_t condition = it >> 4 & 0xf;
    for (uint32_t mask = it & 0xf; mask; mask = (mask << 1) & 0xf) {
        uintptr_t at = from + moved.size;
        uint32_t before = annex->size;
        annex_put16(annex, (uint16_t)not_if(condition));
        enum outcome outcome = move_one(annex, at, &moved.ends);
        if (outcome == REFUSED || condition == ALWAYS || annex->failed) {
            moved.size = 0; /* unreached: no prologue of this guest has one */
            return moved; /* unreached: likewise */
        }
        if (outcome == REWRITTEN) {
            annex->bytes[before] = (uint8_t)((annex->size - before - 4) / 2);
        } else {
            annex->size = before; /* unreached: no prologue of this guest has one */
            annex_put16(annex, (uint16_t)(0xbf08 | condition << 4)); /* unreached: likewise */
            move_one(annex, at, &moved.ends); /* unreached: likewise */
        }
        moved.size += size_at(at);
        condition = (condition & 0xe) | mask >> 3;
    }
    moved.ends = false;
    return moved;
}

struct moved move_instruction(struct annex *annex, uintptr_t from)
{
    uint32_t first = half_at(from);
    struct moved moved = {size_at(from), false};
    if (first >> 8 == 0xbf && first & 0xf)
        return move_block(annex, from, first);
    if (move_one(annex, from, &moved.ends) == REFUSED)
        moved.size = 0;
    return moved;
}

/* nop, or zeros. */
bool is_filling(uintptr_t start, uintptr_t end)
{
    for (; start < end; start += 2)
        if (half_at(start) && half_at(start) != 0xbf00)
            return false; /* unreached: entry.h promises that whatever is in the head may be moved */
    return true;
}
