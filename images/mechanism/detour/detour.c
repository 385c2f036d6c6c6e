/* The `detour` mechanism, as hook libraries have it: the first bytes of an ordinary function are overwritten with a
 * jump.  The instructions that stood there are moved to the function's annex, where they are written anew so that they
 * do the same as before, and go on behind the jump: that is the way to the original.
 *
 * The jump's target is the new function or, out of reach, the jump in the annex that goes through a slot.
 *
 * Where one aligned store replaces all that changes, no CPU fetches half of it; but the old instructions are in no
 * list of those that may be replaced while another CPU executes them, and one that has executed the first of several may
 * find the jump's bytes where the next one was.  So whoever patches sees to it that no other CPU is in those bytes; how
 * is not the mechanism's business.  Where more than one store is needed, the first makes whoever
 * enters the function wait for the last: another CPU, that is, not an interrupt of this one. */
#include "compare.h"
#include "detour.h"
#include "entry_jump.h"
#include "reach.h"
#include "redirect.h"
#include "surroundings.h"
#include "text.h"

static struct {
    uintptr_t leads; /* where the jump at the entry leads; 0: there is none */
    uintptr_t annex; /* ANNEX_BYTES of the arena; 0: none yet */
    bool has_annex;  /* what it holds stays right, also when there is no jump: somebody may be in it */
} state[FUNCTION_COUNT];

static uintptr_t entry_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static const uint8_t *linked(uint32_t n) { return farm_pristine + (size_t)n * ENTRY_BYTES; }

static uintptr_t annex_of(uint32_t n) { return state[n].annex; }

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

#ifdef ARCH_STUB_SLOT
_Static_assert(ANNEX_BYTES % 16 == 0 && ANNEX_SLOT % sizeof(uintptr_t) == 0, "a slot is stored and loaded as one");
static volatile uintptr_t *slot_of(uint32_t n) { return (volatile uintptr_t *)(annex_of(n) + ANNEX_SLOT); }
#endif

static void copy(uint8_t *to, const volatile uint8_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = from[i];
}

/* What the entry begins with while it leads to `to` (0: as linked); the stub that its jump is. */
static uintptr_t head_of(uint32_t n, uintptr_t to, uint8_t *head)
{
    uint8_t jumping[ENTRY_JUMP_BYTES];
    copy(jumping, linked(n), ENTRY_JUMP_BYTES);
    uintptr_t stub = entry_jump(entry_of(n), linked(n), jumping);
    code_word word = to ? arch_jump(stub, to) : 0;
    copy(jumping + (stub + ARCH_STUB_WORD - entry_of(n)), (const uint8_t *)&word, sizeof word);
    copy(head, to ? jumping : linked(n), ENTRY_JUMP_BYTES);
    return stub;
}

static uintptr_t stub_of(uint32_t n)
{
    uint8_t head[ENTRY_JUMP_BYTES];
    return head_of(n, 0, head);
}

/* The address of its word, which is the jump or has its displacement. */
static uintptr_t word_of(uint32_t n) { return stub_of(n) + ARCH_STUB_WORD; }

static bool holds(uint32_t n, const uint8_t *head)
{
    return farm_text_holds(entry_of(n), head, ENTRY_JUMP_BYTES) &&
           farm_text_is_beside(entry_of(n) + ENTRY_JUMP_BYTES, linked(n) + ENTRY_JUMP_BYTES,
                               ENTRY_BYTES - ENTRY_JUMP_BYTES);
}

bool mechanism_is_intact(uint32_t n)
{
    uint8_t head[ENTRY_JUMP_BYTES];
    head_of(n, state[n].leads, head);
    return holds(n, head);
}

/* The instructions that stand at the entry, moved; false: one of them cannot be. */
static bool move_prologue(struct annex *annex)
{
    struct moved moved = {0, false};
    uintptr_t from = annex->entry, end = annex->entry + annex->overwritten;
    for (; from < end && !moved.ends; from += moved.size) {
        uint32_t before = annex->size;
        moved = move_instruction(annex, from);
        if (!moved.size || annex->failed)
            return false;
#ifdef CONTROL_PROLOGUE_NOT_RELOCATED
        annex->size = before;
        annex_put(annex, (const uint8_t *)from, moved.size);
#else
        (void)before;
#endif
    }
    if (moved.ends)
        return from >= end || is_filling(from, end);
#ifdef CONTROL_RESUMES_LATE
    from += CODE_UNIT;
#elif defined(CONTROL_RESUMES_IN_JUMP)
    from = annex->entry;
#endif
    annex_jump(annex, from);
    return !annex->failed;
}

/* Bytes at the entry that its jump, or what precedes it, takes. */
static uint32_t overwritten(uint32_t n) { return (uint32_t)(word_of(n) + sizeof(code_word) - entry_of(n)); }

static uint32_t write_annex(uint32_t n)
{
    static struct annex annex; /* no other is being written, and no compiler calls memset for it */
    if (!state[n].annex)
        state[n].annex = (uintptr_t)farm_exec_alloc(ANNEX_BYTES, entry_of(n));
    if (!state[n].annex)
        return PATCH_READ_ONLY; /* unreached: the arena has room for all */
    annex.at = annex_of(n);
    annex.entry = entry_of(n);
    annex.overwritten = overwritten(n);
    annex.size = 0;
    annex.literals = ANNEX_LITERALS;
    annex.failed = false;
    for (uint32_t i = 0; i < ANNEX_BYTES; i++)
        ((volatile uint8_t *)annex.bytes)[i] = 0;
#ifdef ARCH_STUB_SLOT
    annex_slot_jump(&annex);
#endif
    annex.size = ANNEX_MOVED;
    if (!move_prologue(&annex))
        return PATCH_UNSUPPORTED;
    if (!farm_text_write(annex.at, annex.bytes, sizeof annex.bytes))
        return PATCH_READ_ONLY;
    state[n].has_annex = true;
    return PATCH_OK;
}

static bool store_word(uint32_t n, uint32_t offset, const uint8_t *head)
{
    return farm_text_write(entry_of(n) + offset, head + offset, sizeof(ENTRY_STORE));
}

/* The entry becomes `head`; false: a store failed.  `begun`: one before it did not, and what it stored is there. */
static bool store_head(uint32_t n, const uint8_t *head, bool *begun)
{
    uint32_t first = (uint32_t)((word_of(n) & -sizeof(ENTRY_STORE)) - entry_of(n));
    *begun = false;
#ifdef ENTRY_WAIT
    for (uint32_t at = first + sizeof(ENTRY_STORE); at < ENTRY_JUMP_BYTES; at += sizeof(ENTRY_STORE)) {
        static const uint16_t wait = ENTRY_WAIT;
        const volatile uint8_t *now = (const volatile uint8_t *)entry_of(n);
        bool differs = false;
        for (uint32_t i = at; i < at + sizeof(ENTRY_STORE); i++)
            differs |= now[i] != head[i];
        if (!differs)
            continue;
        if (!*begun && !farm_text_write(stub_of(n), &wait, sizeof wait))
            return false;
        *begun = true;
        if (!store_word(n, at, head))
            return false;
    }
#endif
    return store_word(n, first, head);
}

/* The entry of function n leads to `to` (0: it is as linked).  false: a store failed, and the entry is as it was. */
static bool lead_entry(uint32_t n, uintptr_t to)
{
    uint8_t head[ENTRY_JUMP_BYTES], before[ENTRY_JUMP_BYTES];
    bool begun;
    head_of(n, to, head);
    head_of(n, state[n].leads, before);
    if (!store_head(n, head, &begun)) {
        if (begun)
            store_head(n, before, &begun);
        return false;
    }
    state[n].leads = to;
    return true;
}

/* The entry of function n leads to target, directly or through its slot.  false: a store failed, and nothing changed. */
static bool lead(uint32_t n, uintptr_t target)
{
    if (target == default_of(n))
        return lead_entry(n, 0);
#ifdef ARCH_STUB_SLOT
    uintptr_t slot = *slot_of(n);
    if (!stub_reaches(stub_of(n), arch_entry(target))) {
        farm_slot_write(slot_of(n), target);
        arch_store_barrier(); /* the slot is visible before the jump that leads to it */
        if (lead_entry(n, annex_of(n) + ARCH_FUNCTION_BIAS))
            return true;
        farm_slot_write(slot_of(n), slot);
        return false;
    }
#endif
    return lead_entry(n, arch_entry(target));
}

/* An entry may take several stores, and has an annex. */
uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uint32_t status = state[n].has_annex ? PATCH_OK : write_annex(n);
    return status == PATCH_OK && !lead(n, target) ? PATCH_READ_ONLY : status;
}

/* Decodes the jump; an entry as linked has none. */
uintptr_t mechanism_query(uint32_t n)
{
    uint8_t head[ENTRY_JUMP_BYTES];
    code_word word;
    uintptr_t stub = head_of(n, 0, head);
    if (holds(n, head))
        return ARCH_CODE(default_of(n));
    copy((uint8_t *)&word, (const volatile uint8_t *)(stub + ARCH_STUB_WORD), sizeof word);
    uintptr_t to = arch_jump_target(stub, word);
#ifdef ARCH_STUB_SLOT
    if (to == annex_of(n))
        return ARCH_CODE(*slot_of(n));
#endif
    return to;
}

uintptr_t mechanism_original(uint32_t n)
{
    return state[n].has_annex ? annex_of(n) + ANNEX_MOVED + ARCH_FUNCTION_BIAS : function_addresses[n];
}

uintptr_t mechanism_word(uint32_t n) { return word_of(n) & -(uintptr_t)sizeof(code_word); }
