/* arm: instructions of a prologue, moved (Arm ARM DDI 0406C: A5 "ARM instruction set encoding", A6 "Thumb instruction
 * set encoding").
 *
 * The branch is an aligned word, which one store replaces.  The old instructions are not in the list of those that may
 * be modified while another CPU executes them (A3.5.4), and of two of Thumb it may have executed the first: it must be
 * kept away, or brought to an ISB. */
#include "detour.h"

enum { SP = 13, LR = 14, PC = 15, ALWAYS = 14 };

/* There is nothing before the jump. */
uintptr_t entry_jump(uintptr_t entry, const uint8_t *linked, uint8_t *head)
{
    (void)linked, (void)head;
    return entry;
}

static int32_t sign_extended(uint32_t value, uint32_t bits) { return (int32_t)(value << (32 - bits)) >> (32 - bits); }

/* A load of the literal at `from` into a register: ldr, literal. */
static void put_literal_load(struct annex *annex, uint32_t to, uintptr_t from);

static void put_value(struct annex *annex, uint32_t to, uintptr_t value)
{
    put_literal_load(annex, to, annex_literal(annex, value));
}

/* It reaches everything, and writes no register. */
void annex_jump(struct annex *annex, uintptr_t to) { put_value(annex, PC, to | ARCH_FUNCTION_BIAS); }

void annex_slot_jump(struct annex *annex) { put_literal_load(annex, PC, annex->at + ANNEX_SLOT); }

/* A call: it returns to where it would have, which is never overwritten. */
static void put_call(struct annex *annex, uintptr_t to, uintptr_t back)
{
    put_value(annex, LR, annex_leads(annex, back) | ARCH_FUNCTION_BIAS);
    annex_jump(annex, annex_leads(annex, to));
}

#ifdef __thumb__
#include "thumb.h"
#else
#include "a32.h"
#endif
