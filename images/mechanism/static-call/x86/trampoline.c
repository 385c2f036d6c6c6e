/* x86: what a trampoline holds: a jump, with the operand that patch.c makes; or a return, with what must not be executed
 * behind it.
 *
 * Opcode and operand are stored one after the other, each in one store, a byte and an aligned word.  What stands there
 * between the two is a return whatever its operand: the opcode is stored first to get there, and last to leave.  From a
 * jump to a jump only the operand changes. */
#include "compare.h"
#include "reach.h"
#include "static_call.h"
#include "text.h"

#define JMP 0xe9
#define RET 0xc3
#define INT3S 0xccccccccu

struct code {
    uint32_t operand;
    uint8_t opcode;
};

/* What the trampoline holds XOR what the linker left there. */
static struct code changed[FUNCTION_COUNT];

static uintptr_t jump_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static uintptr_t operand_of(uint32_t n) { return jump_of(n) + ARCH_STUB_WORD; }

#ifdef ARCH_STUB_SLOT
static volatile uintptr_t *slot_of(uint32_t n) { return (volatile uintptr_t *)(jump_of(n) + ARCH_STUB_SLOT); }
#endif

static struct code linked(uint32_t n)
{
    return (struct code){arch_jump(jump_of(n), target_addresses[n][TARGET_DEFAULT]), JMP};
}

static struct code held(uint32_t n)
{
    struct code code = linked(n);
    return (struct code){code.operand ^ changed[n].operand, code.opcode ^ changed[n].opcode};
}

static bool put_opcode(uint32_t n, uint8_t opcode)
{
    if (opcode == held(n).opcode)
        return true;
    if (!farm_text_write(jump_of(n), &opcode, sizeof opcode))
        return false;
    changed[n].opcode = opcode ^ linked(n).opcode;
    return true;
}

static bool put_operand(uint32_t n, uint32_t operand)
{
    if (!farm_text_write(operand_of(n), &operand, sizeof operand))
        return false;
    changed[n].operand = operand ^ linked(n).operand;
    return true;
}

static bool put(uint32_t n, struct code code)
{
    if (code.opcode == RET)
        return put_opcode(n, code.opcode) && put_operand(n, code.operand);
    return put_operand(n, code.operand) && put_opcode(n, code.opcode);
}

/* Of two stores the second failed: what the first changed is put back. */
static void take_back(uint32_t n, struct code before)
{
    put_opcode(n, before.opcode);
    if (held(n).operand != before.operand)
        put_operand(n, before.operand);
}

static struct code leading_to(uint32_t n, uintptr_t to)
{
    if (to == (uintptr_t)return_void)
        return (struct code){INT3S, RET};
#ifdef ARCH_STUB_SLOT
    if (!stub_reaches(jump_of(n), to))
        return (struct code){arch_slot_jump(jump_of(n)), JMP};
#endif
    return (struct code){arch_jump(jump_of(n), to), JMP};
}

bool trampoline_lead(uint32_t n, uintptr_t to)
{
    struct code before = held(n), code = leading_to(n, to);
#ifdef ARCH_STUB_SLOT
    uintptr_t slot = *slot_of(n);
    if (code.opcode == JMP && code.operand == arch_slot_jump(jump_of(n))) {
        farm_slot_write(slot_of(n), to);
        arch_store_barrier(); /* the slot is visible before the jump that leads to it */
    }
#endif
    bool done = put(n, code);
    if (!done)
        take_back(n, before);
#ifdef ARCH_STUB_SLOT
    if (!done)
        farm_slot_write(slot_of(n), slot);
    else if (to == target_addresses[n][TARGET_DEFAULT])
        farm_slot_write(slot_of(n), to); /* as linked; whoever still comes through the slot gets the default */
#endif
    return done;
}

bool trampoline_holds(uint32_t n)
{
    struct code code = held(n);
    return farm_text_holds(jump_of(n), &code.opcode, sizeof code.opcode) &&
           farm_text_holds(operand_of(n), &code.operand, sizeof code.operand);
}

bool trampoline_changes(uint32_t n, uintptr_t at) { return at - jump_of(n) < sizeof(uint8_t) + sizeof(uint32_t); }

bool trampoline_ignores(uint32_t n, uintptr_t at)
{
#ifdef ARCH_STUB_SLOT
    return at - (uintptr_t)slot_of(n) < sizeof(uintptr_t);
#else
    return (void)n, (void)at, false;
#endif
}

uintptr_t trampoline_target(uint32_t n)
{
    if (*(const volatile uint8_t *)jump_of(n) == RET)
        return (uintptr_t)return_void;
    uint32_t operand = *(const volatile uint32_t *)operand_of(n);
#ifdef ARCH_STUB_SLOT
    if (operand == arch_slot_jump(jump_of(n)))
        return *slot_of(n);
#endif
    return arch_jump_target(jump_of(n), operand);
}
