/* A jump as arch/NAME/stub.S lays it out, in a stub or in a copy of one: one word of it leads to a target, or to a
 * data slot for a target out of its reach.  `at` is where its first instruction is. */
#ifndef JUMP_H
#define JUMP_H

#include "compare.h"
#include "reach.h"
#include "surroundings.h"
#include "text.h"

static inline uintptr_t jump_word_at(uintptr_t at) { return at + ARCH_STUB_WORD; }

/* The slot beside it; NULL: its word reaches every address. */
static inline volatile uintptr_t *jump_slot(uintptr_t at)
{
#ifdef ARCH_STUB_SLOT
    return (volatile uintptr_t *)(at + ARCH_STUB_SLOT);
#else
    return (void)at, NULL;
#endif
}

/* The byte at `byte` is one of the slot. */
static inline bool jump_slot_has(uintptr_t at, uintptr_t byte)
{
    return jump_slot(at) && byte - (uintptr_t)jump_slot(at) < sizeof(uintptr_t);
}

/* `word` leads to the slot. */
static inline bool jump_is_through_slot(uintptr_t at, code_word word)
{
#ifdef ARCH_STUB_SLOT
    return word == arch_slot_jump(at);
#else
    return (void)at, (void)word, false;
#endif
}

/* The word that leads to `to`, directly or through the slot. */
static inline code_word jump_word(uintptr_t at, uintptr_t to)
{
#ifdef ARCH_STUB_SLOT
    if (!stub_reaches(at, to))
        return arch_slot_jump(at);
#endif
    return arch_jump(at, to);
}

/* Lead it to `to`, in one store to its word.  If that takes the slot, the slot becomes `function`, the address as C has
 * it, before the word that makes it reachable is written.  false: the store failed, and all is as it was. */
static inline bool jump_lead(uintptr_t at, volatile uintptr_t *slot, uintptr_t to, uintptr_t function)
{
    code_word word = jump_word(at, to);
#ifdef ARCH_STUB_SLOT
    uintptr_t before = *slot;
    if (jump_is_through_slot(at, word)) {
        farm_slot_write(slot, function);
        arch_store_barrier(); /* the slot is visible before the jump that leads to it */
    }
    if (farm_text_write(jump_word_at(at), &word, sizeof word))
        return true;
    farm_slot_write(slot, before);
    return false;
#else
    (void)slot, (void)function;
    return farm_text_write(jump_word_at(at), &word, sizeof word);
#endif
}

/* The bytes of function n's stub, as linked. */
static inline const uint8_t *jump_pristine(uint32_t n)
{
    return farm_pristine + (patched_bytes(n).start - patched_bytes(0).start);
}

/* The jump holds `word`, and beside word and slot what the pristine jump of function n does.  The slot does not matter
 * until the word leads to it. */
static inline bool jump_is(uintptr_t at, code_word word, uint32_t n)
{
    struct patched_bytes stub = patched_bytes(n);
    const uint8_t *pristine = jump_pristine(n);
    uintptr_t start = at - (ARCH_CODE(function_addresses[n]) - stub.start);
    for (uintptr_t i = start; i < start + stub.size; i++, pristine++)
        if (i - jump_word_at(at) >= sizeof word && !jump_slot_has(at, i) &&
            !farm_text_is_beside(i, pristine, sizeof *pristine))
            return false;
    return farm_text_holds(jump_word_at(at), &word, sizeof word);
}

#endif
