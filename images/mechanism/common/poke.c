/* Shared by the `stub` and `relocated` mechanisms.  The patchable function is one jump in asm (stub.S) that is poked in
 * place; a target out of the jump's range goes through the data slot beside it.
 *
 * Only one naturally aligned word of a stub ever changes (code_word), and it changes in one store, so a CPU that
 * executes the stub meanwhile sees the old jump or the new one.  The slot is written before the word that makes it
 * reachable, and only then.  Call sites follow the stub, which is right by itself at every moment. */
#include "poke.h"
#include "jump.h"
#include "redirect.h"

/* Last word written XOR linked word; zero: unpatched.  Any word may be a jump, 0 too. */
static code_word changed[FUNCTION_COUNT];

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static uintptr_t word_of(uint32_t n) { return jump_word_at(stub_of(n)); }

static volatile uintptr_t *slot_of(uint32_t n) { return jump_slot(stub_of(n)); }

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

static code_word linked(uint32_t n) { return arch_jump(stub_of(n), arch_entry(default_of(n))); }

/* The stub is the one that was put there, by the linker or by this mechanism. */
static bool is_ours(uint32_t n) { return jump_is(stub_of(n), linked(n) ^ changed[n], n); }

/* The stub of function n leads to target, directly or through its slot.  false: the store failed. */
static bool lead_stub(uint32_t n, uintptr_t target)
{
    uintptr_t at = stub_of(n), entry = arch_entry(target);
    if (!jump_lead(at, slot_of(n), entry, target))
        return false;
    changed[n] = jump_word(at, entry) ^ linked(n);
#ifdef ARCH_STUB_SLOT
    if (target == default_of(n))
        farm_slot_write(slot_of(n), target); /* as linked; whoever still comes through the slot gets the default */
#endif
    return true;
}

/* What must be put back if something fails half way. */
struct stub_state {
    code_word word;
    uintptr_t slot;
};

static struct stub_state save(uint32_t n)
{
    struct stub_state state = {*(const volatile code_word *)word_of(n), 0};
#ifdef ARCH_STUB_SLOT
    state.slot = *slot_of(n);
#endif
    return state;
}

/* unreached on alpha, sh4: no call site can fail after the stub */
static void undo(uint32_t n, struct stub_state state)
{
#ifdef ARCH_STUB_SLOT
    farm_slot_write(slot_of(n), state.slot);
    arch_store_barrier();
#endif
    if (farm_text_write(word_of(n), &state.word, sizeof state.word))
        changed[n] = state.word ^ linked(n);
}

bool mechanism_is_intact(uint32_t n) { return is_ours(n) && (!sites_are_ours || sites_are_ours(n)); }

/* A stub and its call sites change as one. */
uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    struct stub_state before = save(n);
    if (!lead_stub(n, target))
        return PATCH_READ_ONLY;
    if (!sites_follow || sites_follow(n, target == default_of(n) ? 0 : arch_entry(target)))
        return PATCH_OK;
    undo(n, before); /* unreached on alpha, sh4: no call site can fail after the stub */
    return PATCH_READ_ONLY; /* unreached on alpha, sh4: no call site can fail after the stub */
}

uintptr_t mechanism_query(uint32_t n)
{
    code_word value = *(const volatile code_word *)word_of(n);
    if (jump_is_through_slot(stub_of(n), value))
        return ARCH_CODE(*slot_of(n));
    return arch_jump_target(stub_of(n), value);
}

uintptr_t mechanism_word(uint32_t n) { return word_of(n); }

bool mechanism_ignores(uint32_t n, uintptr_t at) { return jump_slot_has(stub_of(n), at); }
