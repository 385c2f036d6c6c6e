/* Shared by the `stub` and `relocated` mechanisms.  The patchable function is one jump in asm (stub.S) that is poked in
 * place; a target out of the jump's range goes through the data slot beside it.
 *
 * Only one naturally aligned word of a stub ever changes (code_word), and it changes in one store, so a CPU that
 * executes the stub meanwhile sees the old jump or the new one.  The slot is written before the word that makes it
 * reachable, and only then.  Call sites follow the stub, which is right by itself at every moment. */
#include "poke.h"
#include "jump.h"

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
        *slot_of(n) = target; /* as in the pristine image; whoever still comes through the slot gets the default */
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
    *slot_of(n) = state.slot;
    arch_store_barrier();
#endif
    if (farm_text_write(word_of(n), &state.word, sizeof state.word))
        changed[n] = state.word ^ linked(n);
}

static bool busy; /* a stub and its call sites change as one: nobody else may come between */

/* Lead the stub of function n, and the call sites with it, to target, which has been checked. */
static uint32_t redirect(uint32_t n, uintptr_t target)
{
    if (busy)
        return PATCH_BUSY;
    if (!is_ours(n) || (sites_are_ours && !sites_are_ours(n)))
        return PATCH_FOREIGN;
    if (!text_open(MECHANISM_TEXT))
        return PATCH_READ_ONLY;
    busy = true;
    struct stub_state before = save(n);
    bool done = lead_stub(n, target);
    if (done && sites_follow && !sites_follow(n, target == default_of(n) ? 0 : arch_entry(target))) {
        undo(n, before); /* unreached on alpha, sh4: no call site can fail after the stub */
        done = false; /* unreached on alpha, sh4: no call site can fail after the stub */
    }
    busy = false;
    text_close(MECHANISM_TEXT);
    return done ? PATCH_OK : PATCH_READ_ONLY;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target)
{
    uint32_t status = check_target(n, target);
    return status == PATCH_OK ? redirect(n, target) : status;
}

/* The address that is patched is the stub's word and nothing else. */
uint32_t mechanism_set_at(uint32_t n, uintptr_t target, uint32_t offset)
{
    return offset ? PATCH_MISALIGNED : mechanism_set(n, target);
}

uint32_t mechanism_restore(uint32_t n) { return redirect(n, default_of(n)); }

uint32_t mechanism_null(uint32_t n)
{
    return may_be_null(n) ? redirect(n, (uintptr_t)return_void) : PATCH_BAD_TARGET;
}

uint32_t mechanism_ret0(uint32_t n)
{
    return may_be_zero(n) ? redirect(n, (uintptr_t)return_zero) : PATCH_BAD_TARGET;
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
