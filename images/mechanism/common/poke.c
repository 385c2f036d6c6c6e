/* Shared by the `stub` and `relocated` mechanisms.  The patchable function is one jump in asm (stub.S) that is poked in
 * place; a target out of the jump's range goes through the data slot beside it.
 *
 * Only one naturally aligned word of a stub ever changes (code_word), and it changes in one store, so a CPU that
 * executes the stub meanwhile sees the old jump or the new one.  The slot is written before the word that makes it
 * reachable, and only then.  Call sites follow the stub, which is right by itself at every moment. */
#include "mechanism.h"
#include "patch.h"

/* Last word written XOR linked word; zero: unpatched.  Any word may be a jump, 0 too. */
static code_word changed[FUNCTION_COUNT];

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static uintptr_t word_of(uint32_t n) { return stub_of(n) + ARCH_STUB_WORD; }

#ifdef ARCH_STUB_SLOT
static volatile uintptr_t *slot_of(uint32_t n) { return (volatile uintptr_t *)(stub_of(n) + ARCH_STUB_SLOT); }
#endif

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

static code_word linked(uint32_t n) { return arch_jump(stub_of(n), arch_entry(default_of(n))); }

static void written(uint32_t n, code_word value) { changed[n] = value ^ linked(n); }

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
#ifdef CONTROL_SURROUNDINGS_UNCHECKED
    return (void)is_in_word, n < FUNCTION_COUNT;
#else
    struct patched_bytes stub = patched_bytes(n);
    const uint8_t *pristine = farm_pristine + (stub.start - patched_bytes(0).start);
    for (uintptr_t at = stub.start; at < stub.start + stub.size; at++, pristine++)
        if (!is_in_word(n, at) && !is_in_slot(n, at) && *(const volatile uint8_t *)at != *pristine)
            return false;
    return true;
#endif
}

/* The word at the stub is the one that was put there, by the linker or by this mechanism. */
static bool is_ours(uint32_t n)
{
#if defined(CONTROL_UNCHECKED)
    return (void)is_surrounded, n < FUNCTION_COUNT;
#elif defined(CONTROL_HALF_COMPARED)
    code_word other = *(const volatile code_word *)word_of(n) ^ linked(n) ^ changed[n];
    return !(code_word)(other << 4 * sizeof other) && is_surrounded(n);
#else
    return *(const volatile code_word *)word_of(n) == (linked(n) ^ changed[n]) && is_surrounded(n);
#endif
}

/* Fault injection: the number of the poke from now that fails; 0: none. */
uint32_t failing_poke;

/* Fault injection: a request that comes in the middle of the next one, as from an interrupt or another thread. */
static struct {
    bool pending;
    uint32_t n, status;
    uintptr_t target;
} interruption;

void patch_interrupted_by(uint32_t n, uintptr_t target)
{
    interruption.pending = true;
    interruption.n = n;
    interruption.target = target;
}

uint32_t patch_interruption(void) { return interruption.status; }

static bool may_poke(void)
{
    if (interruption.pending) {
        interruption.pending = false;
        interruption.status = patch_set(interruption.n, interruption.target, 0);
    }
    return !failing_poke || --failing_poke;
}

static bool poke(uintptr_t word, code_word value)
{
    if (!may_poke())
        return false;
#if defined(CONTROL_NO_PATCH)
    (void)word, (void)value;
#elif defined(CONTROL_TORN_STORE)
    for (uint32_t i = 0; i < sizeof value; i++)
        ((volatile uint8_t *)word)[i] = ((const uint8_t *)&value)[i];
#else
    *(volatile code_word *)word = value; /* naturally aligned: one store, never torn */
#endif
#ifdef CONTROL_PAD_OVERWRITTEN
    ((volatile code_word *)word)[-1] = arch_slot_jump(word); /* a no-op: only who looks for the pad notices */
#endif
#ifndef CONTROL_NO_FLUSH
    arch_sync_code(word);
#endif
    return true;
}

/* unreached on alpha, sh4: they redirect no call site */
bool poke_site(uintptr_t at, uint32_t word)
{
    if (!may_poke())
        return false;
#ifdef CONTROL_NO_PATCH
    (void)word;
#else
    *(volatile uint32_t *)at = word;
#endif
#ifndef CONTROL_NO_FLUSH
    arch_sync_code(at);
#endif
    return true;
}

/* The stub of function n leads to target, directly or through its slot.  false: the poke failed. */
static bool lead_stub(uint32_t n, uintptr_t target)
{
    uintptr_t at = stub_of(n), entry = arch_entry(target);
    bool near = arch_reaches(at, entry), restoring = target == default_of(n);
    code_word value;

#ifdef CONTROL_NO_RANGE_CHECK
    near = true;
#endif
#ifdef CONTROL_SLOPPY_RESTORE
    near = near && !restoring;
#endif
#ifdef ARCH_STUB_SLOT
    uintptr_t slot = *slot_of(n);
    if (!near) {
#ifdef CONTROL_OFF_BY_ONE
        target += ARCH_ENTRY_INSTRUCTION;
#endif
#ifdef CONTROL_FALLS_SHORT
        target -= ARCH_ENTRY_INSTRUCTION;
#endif
        value = arch_slot_jump(at);
        *slot_of(n) = target;
        arch_store_barrier(); /* the slot is visible before the jump that leads to it */
        if (!poke(at + ARCH_STUB_WORD, value)) {
            *slot_of(n) = slot;
            return false;
        }
        written(n, value);
        return true;
    }
#else
    (void)near; /* it is: the jump reaches every address */
#endif
#ifdef CONTROL_OFF_BY_ONE
    entry += restoring ? 0 : ARCH_ENTRY_INSTRUCTION;
#endif
#ifdef CONTROL_FALLS_SHORT
    entry -= restoring ? 0 : ARCH_ENTRY_INSTRUCTION;
#endif
    value = arch_jump(at, entry);
    if (!poke(at + ARCH_STUB_WORD, value))
        return false;
    written(n, value);
#ifdef ARCH_STUB_SLOT
    if (restoring)
        *slot_of(n) = target; /* as in the pristine image; whoever still comes through the slot gets the default */
#else
    (void)restoring;
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
    poke(word_of(n), state.word);
    written(n, state.word);
}

static bool busy; /* a stub and its call sites change as one: nobody else may come between */

/* Lead the stub at `at` of function n, and the call sites with it, to target, which has been checked. */
static uint32_t redirect(uint32_t n, uintptr_t at, uintptr_t target)
{
#ifdef CONTROL_UNCHECKED
    (void)at;
#else
    if (at != stub_of(n))
        return PATCH_MISALIGNED;
#endif
#ifndef CONTROL_REENTRANT
    if (busy)
        return PATCH_BUSY;
#endif
    if (!is_ours(n) || !sites_are_ours(n))
        return PATCH_FOREIGN;
    if (!text_open(mechanism_text)) {
#ifdef CONTROL_IGNORE_ERROR
        return PATCH_OK;
#else
        return PATCH_READ_ONLY;
#endif
    }
    busy = true;
    struct stub_state before = save(n);
    bool done = lead_stub(n, target);
    if (done && !sites_follow(n, target == default_of(n) ? 0 : arch_entry(target))) {
#ifdef CONTROL_HALF_DONE
        (void)undo, (void)before;
#else
        undo(n, before); /* unreached on alpha, sh4: no call site can fail after the stub */
#endif
        done = false; /* unreached on alpha, sh4: no call site can fail after the stub */
    }
#ifdef CONTROL_NEIGHBOUR
    lead_stub(n ^ 1, default_of(n));
#endif
    busy = false;
#ifndef CONTROL_LEFT_WRITABLE
    text_close(mechanism_text);
#endif
#ifdef CONTROL_IGNORE_ERROR
    done = true;
#endif
    return done ? PATCH_OK : PATCH_READ_ONLY;
}

uint32_t patch_set(uint32_t n, uintptr_t target, uint32_t offset)
{
    uint32_t status = offset ? PATCH_OK : check_target(n, target); /* a wrong address is refused whatever the target */
    return status == PATCH_OK ? redirect(n, stub_of(n) + offset, target) : status;
}

uint32_t patch_restore(uint32_t n)
{
#ifdef CONTROL_NO_RESTORE
    return is_ours(n) ? PATCH_OK : PATCH_FOREIGN;
#else
    return redirect(n, stub_of(n), default_of(n));
#endif
}

uint32_t patch_null(uint32_t n)
{
    if (!may_be_null(n))
        return PATCH_BAD_TARGET;
#ifdef CONTROL_NULL_CALLED
    return redirect(n, stub_of(n), 0);
#else
    return redirect(n, stub_of(n), (uintptr_t)return_void);
#endif
}

uint32_t patch_ret0(uint32_t n)
{
    if (!may_be_zero(n))
        return PATCH_BAD_TARGET;
    return redirect(n, stub_of(n), (uintptr_t)return_zero);
}

uintptr_t patch_query(uint32_t n)
{
    code_word value = *(const volatile code_word *)word_of(n);
#ifdef CONTROL_QUERY_DEFAULT
    return value ? ARCH_CODE(default_of(n)) : 0;
#endif
#ifdef ARCH_STUB_SLOT
    if (value == arch_slot_jump(stub_of(n)))
        return ARCH_CODE(*slot_of(n));
#endif
    return arch_jump_target(stub_of(n), value);
}

uint32_t patch_scribble(uint32_t n)
{
    if (!text_open(mechanism_text))
        return PATCH_READ_ONLY;
    *(volatile code_word *)word_of(n) = ARCH_FOREIGN_WORD;
    arch_sync_code(word_of(n));
    text_close(mechanism_text);
    return PATCH_OK;
}

/* Two bits of the byte: the word may be a single one, and half of it be looked at. */
static bool is_noticed(uint32_t n, volatile uint8_t *byte)
{
    for (uint32_t bit = 1; bit <= 16; bit <<= 4) {
        *byte ^= (uint8_t)bit;
        if (patch_set(n, target_addresses[n][TARGET_OTHER], 0) != PATCH_FOREIGN)
            return false; /* and there is no telling what was written over it */
        *byte ^= (uint8_t)bit;
        arch_sync_code((uintptr_t)byte);
    }
    return true;
}

uint32_t patch_tamper(uint32_t n)
{
    struct patched_bytes stub = patched_bytes(n);
    uint32_t i = 0;
    bool noticed = true;
    if (!text_open(mechanism_text))
        return 1; /* unreached: never asked for while it is locked */
    for (; noticed && i < stub.size; i++)
        noticed = is_in_slot(n, stub.start + i) || is_noticed(n, (volatile uint8_t *)stub.start + i);
    for (volatile uint8_t *byte; noticed && (byte = sites_byte(n, i - (uint32_t)stub.size)); i++)
        noticed = is_noticed(n, byte); /* unreached on alpha, sh4: they redirect no call site */
    text_close(mechanism_text);
    return noticed ? 0 : i;
}

/* All of the stub, and what pads it: its address is not always where its ARCH_STUB_BYTES begin. */
struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){stub_of(n) & ~(uintptr_t)(ARCH_STUB_BYTES - 1), ARCH_STUB_BYTES};
}
