/* The `stub` mechanism: the patchable function is one jump in asm (stub.S) that is poked in place.  A target out of the
 * jump's range goes through the data slot beside it.
 *
 * Only one naturally aligned 32-bit word of code ever changes (arch_poke), and it changes in one store, so a CPU that
 * executes the stub meanwhile sees the old jump or the new one.  The slot is written before the word that makes it
 * reachable, and only then. */
#include "mechanism.h"
#include "patch.h"

const uint32_t mechanism_number = MECHANISM_STUB;
const bool mechanism_is_transparent = true;

static code_word written[FUNCTION_COUNT]; /* what this mechanism last put into the word; 0: nothing yet */

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static uintptr_t word_of(uint32_t n) { return stub_of(n) + ARCH_STUB_WORD; }

#ifdef ARCH_STUB_SLOT
static volatile uintptr_t *slot_of(uint32_t n) { return (volatile uintptr_t *)(stub_of(n) + ARCH_STUB_SLOT); }
#endif

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

/* The word at the stub is the one that was put there, by the linker or by this mechanism. */
static bool is_ours(uint32_t n)
{
    code_word expected = written[n] ? written[n] : arch_jump(stub_of(n), arch_entry(default_of(n)));
#ifdef CONTROL_UNCHECKED
    return expected != 0;
#else
    return *(const volatile code_word *)word_of(n) == expected && arch_is_stub(stub_of(n));
#endif
}

static void poke(uintptr_t word, code_word value)
{
#if defined(CONTROL_NO_PATCH)
    (void)word, (void)value;
#elif defined(CONTROL_TORN_STORE)
    for (uint32_t i = 0; i < sizeof value; i++)
        ((volatile uint8_t *)word)[i] = ((const uint8_t *)&value)[i];
#else
    *(volatile code_word *)word = value; /* naturally aligned: one store, never torn */
#endif
#ifndef CONTROL_NO_FLUSH
    arch_sync_code(word);
#endif
}

/* Lead the stub at `at` of function n to target, which has been checked. */
static uint32_t redirect(uint32_t n, uintptr_t at, uintptr_t target)
{
    uintptr_t entry = arch_entry(target);
    bool near = arch_reaches(at, entry), restoring = target == default_of(n);
    code_word value;

#ifndef CONTROL_UNCHECKED
    if (at != stub_of(n))
        return PATCH_MISALIGNED;
#endif
    if (!is_ours(n))
        return PATCH_FOREIGN;
    if (!text_open()) {
#ifdef CONTROL_IGNORE_ERROR
        return PATCH_OK;
#else
        return PATCH_READ_ONLY;
#endif
    }
#ifdef CONTROL_NO_RANGE_CHECK
    near = true;
#endif
#ifdef CONTROL_SLOPPY_RESTORE
    near = near && !restoring;
#endif
    if (near) {
        value = arch_jump(at, entry);
#ifdef CONTROL_OFF_BY_ONE
        value = arch_jump(at, entry + (restoring ? 0 : ARCH_ENTRY_INSTRUCTION));
#endif
        poke(at + ARCH_STUB_WORD, value);
#ifdef ARCH_STUB_SLOT
        if (restoring)
            *slot_of(n) = target; /* as in the pristine image; whoever still comes through the slot gets the default */
#endif
    } else {
#ifdef ARCH_STUB_SLOT
        value = arch_slot_jump(at);
#ifdef CONTROL_OFF_BY_ONE
        target += ARCH_ENTRY_INSTRUCTION;
#endif
        *slot_of(n) = target;
        arch_store_barrier(); /* the slot is visible before the jump that leads to it */
        poke(at + ARCH_STUB_WORD, value);
#else
        text_close();
        return PATCH_BAD_TARGET; /* no such address: the jump reaches them all */
#endif
    }
    text_close();
    written[n] = value;
#ifdef CONTROL_NEIGHBOUR
    if (text_open()) {
        uintptr_t neighbour = stub_of(n ^ 1);
        poke(neighbour + ARCH_STUB_WORD, written[n ^ 1] = arch_jump(neighbour, arch_entry(default_of(n))));
        text_close();
    }
#endif
    return PATCH_OK;
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
    if (!text_open())
        return PATCH_READ_ONLY;
    *(volatile code_word *)word_of(n) = ARCH_FOREIGN_WORD;
    arch_sync_code(word_of(n));
    text_close();
    return PATCH_OK;
}

/* All of the stub, and what pads it: its address is not always where its ARCH_STUB_BYTES begin. */
struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){stub_of(n) & ~(uintptr_t)(ARCH_STUB_BYTES - 1), ARCH_STUB_BYTES};
}
