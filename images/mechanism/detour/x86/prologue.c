/* x86: instructions of a prologue, measured and moved (Intel SDM volume 2: chapter 2 "Instruction Format", appendix A
 * "Opcode Map").
 *
 * The jump's first byte is at an address that is a multiple of 4; in 64 bits all five lie in one aligned quadword,
 * which one store replaces (Intel SDM volume 3A, "Guaranteed Atomic Operations"), unless a landing pad precedes it.  In
 * 32 bits a store has four bytes.  What the manual promises to a CPU that executes the bytes meanwhile is in patch.c. */
#include "detour.h"

#ifdef __x86_64__
static const bool is_64 = true;
static const uint8_t landing_pad[] = {0xf3, 0x0f, 0x1e, 0xfa}; /* endbr64 */
#else
static const bool is_64 = false;
static const uint8_t landing_pad[] = {0xf3, 0x0f, 0x1e, 0xfb}; /* endbr32 */
#endif

enum { JMP = 0xe9, CALL = 0xe8, SHORT_JMP = 0xeb, PUSH = 0x68, INT3 = 0xcc, NOP = 0x90 };

uintptr_t entry_jump(uintptr_t entry, const uint8_t *linked, uint8_t *head)
{
    uint32_t at = sizeof landing_pad;
    for (uint32_t i = 0; i < sizeof landing_pad; i++)
        if (linked[i] != landing_pad[i])
            at = 0;
    head[at] = JMP;
    return entry + at;
}

/* An instruction's parts. */
struct instruction {
    const uint8_t *start;
    uint32_t size, opcode_at, modrm_at, displacement_at; /* offsets; 0: it has none */
    uint32_t map;    /* 0: one byte of opcode; 1: 0f; 2: 0f 38; 3: 0f 3a */
    uint8_t opcode, modrm, rex;
    bool short_operands, short_addresses; /* prefixes 66 and 67 */
    bool known;
};

static bool is_prefix(uint8_t byte)
{
    return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 || (byte & 0xe7) == 0x26 ||
           byte == 0x64 || byte == 0x65;
}

static bool is_between(uint8_t byte, uint8_t first, uint8_t last) { return byte >= first && byte <= last; }

/* Opcodes that do not exist, or are no opcode but a prefix that came too late, or are not worth their decoding (VEX,
 * EVEX, far branches, what 0f 78 is by its prefix). */
static bool is_refused(const struct instruction *i)
{
    uint8_t op = i->opcode;
    if (i->map)
        return i->map == 1 && (op == 0x04 || op == 0x0a || op == 0x0c || op == 0x0f || is_between(op, 0x24, 0x27) ||
                               op == 0x36 || op == 0x39 || op == 0x78 || is_between(op, 0x3b, 0x3f));
    if (is_prefix(op) || (is_64 && is_between(op, 0x40, 0x4f)))
        return true;
    if (op == 0x62 || op == 0xc4 || op == 0xc5 || op == 0x9a || op == 0xea || op == 0xd6)
        return true;
    return is_64 && (((op & 7) >= 6 && op < 0x40) || op == 0x60 || op == 0x61 || op == 0x82 || op == 0xce ||
                     op == 0xd4 || op == 0xd5);
}

static bool has_modrm(const struct instruction *i)
{
    uint8_t op = i->opcode;
    if (i->map >= 2)
        return true;
    if (i->map == 1)
        return !(is_between(op, 0x05, 0x0b) || op == 0x0e || is_between(op, 0x30, 0x37) || op == 0x77 ||
                 is_between(op, 0x80, 0x8f) || is_between(op, 0xa0, 0xa2) || is_between(op, 0xa8, 0xaa) ||
                 is_between(op, 0xc8, 0xcf));
    return (op < 0x40 && (op & 7) < 4) || op == 0x63 || op == 0x69 || op == 0x6b || is_between(op, 0x80, 0x8f) ||
           op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 || is_between(op, 0xd0, 0xd3) ||
           is_between(op, 0xd8, 0xdf) || op == 0xf6 || op == 0xf7 || op == 0xfe || op == 0xff;
}

/* Bytes of the immediate, or of a branch's displacement. */
static uint32_t immediate(const struct instruction *i)
{
    uint8_t op = i->opcode;
    uint32_t operand = i->short_operands && !(i->rex & 8) ? 2 : 4;
    if (i->map == 3)
        return 1;
    if (i->map == 2)
        return 0;
    if (i->map == 1)
        return is_between(op, 0x80, 0x8f) ? 4
               : is_between(op, 0x70, 0x73) || op == 0xa4 || op == 0xac || op == 0xba || op == 0xc2 ||
                       is_between(op, 0xc4, 0xc6)
                   ? 1
                   : 0;
    if (op < 0x40 && (op & 7) >= 4)
        return (op & 7) == 4 ? 1 : (op & 7) == 5 ? operand : 0;
    if (is_between(op, 0xb8, 0xbf))
        return i->rex & 8 ? 8 : operand;
    if (is_between(op, 0xa0, 0xa3))
        return is_64 && !i->short_addresses ? 8 : 4;
    if (op == 0xe8 || op == 0xe9)
        return 4;
    if (op == 0x68 || op == 0x69 || op == 0x81 || op == 0xa9 || op == 0xc7 || (op == 0xf7 && !(i->modrm & 0x30)))
        return operand;
    if (op == 0xc2 || op == 0xca)
        return 2;
    if (op == 0xc8)
        return 3;
    return op == 0x6a || op == 0x6b || is_between(op, 0x70, 0x7f) || op == 0x80 || op == 0x82 || op == 0x83 ||
           op == 0xa8 || is_between(op, 0xb0, 0xb7) || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xcd ||
           op == 0xd4 || op == 0xd5 || is_between(op, 0xe0, 0xe7) || op == 0xeb ||
           (op == 0xf6 && !(i->modrm & 0x30));
}

/* Bytes behind the ModRM byte that say where the operand lies. */
static void measure_operand(struct instruction *i)
{
    uint32_t mod = i->modrm >> 6, base = i->modrm & 7;
    if (mod == 3 || (i->map == 1 && is_between(i->opcode, 0x20, 0x23))) /* control and debug registers */
        return;
    if (base == 4)
        base = i->start[i->size++] & 7; /* SIB */
    i->displacement_at = i->size;
    i->size += mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
}

/* Branches with a displacement. */
static bool is_branch(const struct instruction *i)
{
    uint8_t op = i->opcode;
    return i->map == 0 ? is_between(op, 0x70, 0x7f) || is_between(op, 0xe0, 0xe3) || op == JMP || op == CALL || op == SHORT_JMP
                       : i->map == 1 && is_between(op, 0x80, 0x8f);
}

static bool is_relative(const struct instruction *i)
{
    return is_64 && i->displacement_at && (i->modrm & 0xc7) == 5;
}

static struct instruction decode(uintptr_t from)
{
    struct instruction i = {.start = (const uint8_t *)from};
    while (is_prefix(i.start[i.size]) && i.size < 4) {
        i.short_operands |= i.start[i.size] == 0x66;
        i.short_addresses |= i.start[i.size] == 0x67;
        i.size++;
    }
    if (is_64 && is_between(i.start[i.size], 0x40, 0x4f))
        i.rex = i.start[i.size++];
    i.opcode = i.start[i.size++];
    if (i.opcode == 0x0f) {
        i.map = 1;
        i.opcode = i.start[i.size++];
        if (i.opcode == 0x38 || i.opcode == 0x3a) {
            i.map = i.opcode == 0x38 ? 2 : 3;
            i.opcode = i.start[i.size++];
        }
    }
    i.opcode_at = i.size - 1;
    if (has_modrm(&i)) {
        i.modrm_at = i.size;
        i.modrm = i.start[i.size++];
        measure_operand(&i);
    }
    i.size += immediate(&i);
    /* A prefix 67 means other sizes in 32 bits, and another base of what is relative; with 66 a branch leads to 16 bits of
     * the address, or not, by the CPU's maker; xbegin is a branch. */
    i.known = !is_refused(&i) && !(i.short_addresses && (!is_64 || is_relative(&i))) &&
              !(i.short_operands && is_branch(&i)) && !(i.map == 0 && i.opcode == 0xc7 && i.modrm == 0xf8);
    return i;
}

static void put_displacement(struct annex *annex, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (annex_end(annex) + 4));
    if (displacement != (int32_t)displacement)
        annex->failed = true; /* unreached: the annex lies beside the function */
    annex_put32(annex, (uint32_t)displacement);
}

void annex_jump(struct annex *annex, uintptr_t to)
{
    annex_put8(annex, JMP);
    put_displacement(annex, to);
}

#ifdef ARCH_STUB_SLOT
void annex_slot_jump(struct annex *annex)
{
    annex_put16(annex, 0x25ff); /* jmp *slot(%rip) */
    put_displacement(annex, annex->at + ANNEX_SLOT);
}
#endif

/* Where a branch with a displacement of one or four bytes at its end leads. */
static uintptr_t branch_target(const struct instruction *i)
{
    uintptr_t next = (uintptr_t)i->start + i->size;
    uint32_t offset = 0;
    if (i->map == 0 && i->opcode != JMP && i->opcode != CALL)
        return next + (uintptr_t)(intptr_t)(int8_t)i->start[i->size - 1];
    for (uint32_t byte = 4; byte; byte--)
        offset = offset << 8 | i->start[i->size - 5 + byte];
    return next + (uintptr_t)(intptr_t)(int32_t)offset;
}

/* A call from elsewhere: in 32 bits the callee may look at the address that it returns to, to find the data of its
 * module, so that is the original one. */
static bool move_call(struct annex *annex, const struct instruction *i)
{
    uintptr_t back = (uintptr_t)i->start + i->size;
    if (is_64) {
        annex_put8(annex, CALL);
        put_displacement(annex, annex_leads(annex, branch_target(i)));
        return false;
    }
    annex_leads(annex, back);
    annex_put8(annex, PUSH);
    annex_put32(annex, (uint32_t)back);
    annex_jump(annex, annex_leads(annex, branch_target(i)));
    return true;
}

/* loop, jrcxz: they have no form that reaches further, so they branch across a jump. */
static void move_counted(struct annex *annex, const struct instruction *i)
{
    annex_put(annex, i->start, i->size - 1);
    annex_put8(annex, 2);
    annex_put8(annex, SHORT_JMP);
    annex_put8(annex, 5);
    annex_jump(annex, annex_leads(annex, branch_target(i)));
}

static void move_relative(struct annex *annex, const struct instruction *i)
{
    uint32_t behind = i->size - i->displacement_at - 4; /* bytes of an immediate */
    uint32_t displacement = 0;
    for (uint32_t byte = 4; byte--;)
        displacement = displacement << 8 | i->start[i->displacement_at + byte];
    uintptr_t operand = (uintptr_t)i->start + i->size + (uintptr_t)(intptr_t)(int32_t)displacement;
    annex_put(annex, i->start, i->displacement_at);
    put_displacement(annex, operand - behind);
    annex_put(annex, i->start + i->displacement_at + 4, behind);
}

/* Nothing behind it is executed: ret, an indirect jump, ud2. */
static bool ends(const struct instruction *i)
{
    uint32_t operation = i->modrm >> 3 & 7;
    return i->map == 0   ? i->opcode == 0xc3 || i->opcode == 0xc2 || (i->opcode == 0xff && (operation == 4 || operation == 5))
           : i->map == 1 ? i->opcode == 0x0b
                         : false;
}

struct moved move_instruction(struct annex *annex, uintptr_t from)
{
    struct instruction i = decode(from);
    struct moved moved = {i.known ? i.size : 0, false};
    if (!i.known)
        return moved; /* unreached: no prologue of this guest has one */
    if (i.map == 0 && (i.opcode == JMP || i.opcode == SHORT_JMP)) {
        annex_jump(annex, annex_leads(annex, branch_target(&i)));
        moved.ends = true;
    } else if (i.map == 0 && i.opcode == CALL) {
        moved.ends = move_call(annex, &i);
    } else if (i.map == 0 && is_between(i.opcode, 0xe0, 0xe3)) {
        move_counted(annex, &i);
    } else if ((i.map == 0 && is_between(i.opcode, 0x70, 0x7f)) || (i.map == 1 && is_between(i.opcode, 0x80, 0x8f))) {
        annex_put8(annex, 0x0f);
        annex_put8(annex, 0x80 | (i.opcode & 0xf));
        put_displacement(annex, annex_leads(annex, branch_target(&i)));
    } else if (is_relative(&i)) {
        move_relative(annex, &i);
        moved.ends = ends(&i);
    } else {
        annex_put(annex, i.start, i.size);
        moved.ends = ends(&i);
    }
    return moved;
}

bool is_filling(uintptr_t start, uintptr_t end)
{
    for (; start < end; start++)
        if (*(const volatile uint8_t *)start != INT3 && *(const volatile uint8_t *)start != NOP)
            return false; /* unreached: entry.h promises that whatever is in the head may be moved */
    return true;
}
