/* Shared by the `stub` and `relocated` mechanisms.  The patchable function is one jump in asm (stub.S) that is poked in
 * place; a target out of the jump's range goes through the data slot beside it.
 *
 * Only one naturally aligned word of a stub ever changes (code_word), and it changes in one store, so a CPU that
 * executes the stub meanwhile sees the old jump or the new one.  The slot is written before the word that makes it
 * reachable, and only then.  Call sites follow the stub, which is right by itself at every moment. */
#include "poke.h"
#include "compare.h"
#include "reach.h"
#include "surroundings.h"
#include "text.h"

/* Last word written XOR linked word; zero: unpatched.  Any word may be a jump, 0 too. */
static code_word changed[FUNCTION_COUNT];

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static uintptr_t word_of(uint32_t n) { return stub_of(n) + ARCH_STUB_WORD; }

#ifdef ARCH_STUB_SLOT
static volatile uintptr_t *slot_of(uint32_t n) { return (volatile uintptr_t *)(stub_of(n) + ARCH_STUB_SLOT); }
#endif

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

static code_word linked(uint32_t n) { return arch_jump(stub_of(n), arch_entry(default_of(n))); }

static bool is_in_word(uint32_t n, uintptr_t at) { return at - word_of(n) < sizeof(code_word); }

static bool is_in_slot(uint32_t n, uintptr_t at)
{
#ifdef ARCH_STUB_SLOT
    return at - (uintptr_t)slot_of(n) < sizeof(uintptr_t);
#else
    return (void)n, (void)at, false;
#endif
}

/* What surrounds the word is what the linker put there; the slot does not matter until the word leads to it. */
static bool is_surrounded(uint32_t n)
{
    struct patched_bytes stub = patched_bytes(n);
    const uint8_t *pristine = farm_pristine + (stub.start - patched_bytes(0).start);
    for (uintptr_t at = stub.start; at < stub.start + stub.size; at++, pristine++)
        if (!is_in_word(n, at) && !is_in_slot(n, at) && !farm_text_is_beside(at, pristine, sizeof *pristine))
            return false;
    return true;
}

/* The word at the stub is the one that was put there, by the linker or by this mechanism. */
static bool is_ours(uint32_t n)
{
    code_word put = linked(n) ^ changed[n];
    return farm_text_holds(word_of(n), &put, sizeof put) && is_surrounded(n);
}

/* The word of function n's stub becomes value, in one store; false: it failed. */
static bool poke(uint32_t n, code_word value)
{
    if (!farm_text_write(word_of(n), &value, sizeof value))
        return false;
    changed[n] = value ^ linked(n);
    return true;
}

/* The stub of function n leads to target, directly or through its slot.  false: the store failed. */
static bool lead_stub(uint32_t n, uintptr_t target)
{
    uintptr_t at = stub_of(n), entry = arch_entry(target);
#ifdef ARCH_STUB_SLOT
    uintptr_t slot = *slot_of(n);
    if (!stub_reaches(at, entry)) {
        *slot_of(n) = target;
        arch_store_barrier(); /* the slot is visible before the jump that leads to it */
        if (poke(n, arch_slot_jump(at)))
            return true;
        *slot_of(n) = slot;
        return false;
    }
#endif
    if (!poke(n, arch_jump(at, entry)))
        return false;
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
    poke(n, state.word);
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
#ifdef ARCH_STUB_SLOT
    if (value == arch_slot_jump(stub_of(n)))
        return ARCH_CODE(*slot_of(n));
#endif
    return arch_jump_target(stub_of(n), value);
}

uintptr_t mechanism_word(uint32_t n) { return word_of(n); }

bool mechanism_ignores(uint32_t n, uintptr_t at) { return is_in_slot(n, at); }
