/* nops.c of an architecture whose instructions are words and whose jump patch.c makes (arch_jump).  Its nops.h has, in
 * bytes from the beginning of a function's own,
 *     PAD_SLOT       the address of a target out of range, whence
 *     FAR_WORDS      instructions at the very beginning take it: far_word(n, i) is the i-th of function n
 *     PAD_LANDING    a landing pad, which the word behind the jump becomes, for who calls the code behind the NOPs */
#include "pad.h"
#include "reach.h"

static uintptr_t block_of(uint32_t n) { return ARCH_CODE(function_addresses[n]) - PAD_ENTRY; }

/* Address for patch.c, which has the jump ARCH_STUB_WORD bytes behind it. */
static uintptr_t jump_of(uint32_t n) { return block_of(n) + PAD_JUMP - ARCH_STUB_WORD; }

static uint32_t far_word(uint32_t n, uint32_t i);

static void copy(uint8_t *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = ((const volatile uint8_t *)from)[i];
}

static void put(uint8_t *to, uint32_t word) { copy(to, &word, sizeof word); }

static uint32_t word_at(uintptr_t at) { return *(const volatile uint32_t *)at; }

void pad_lead(uint32_t n, uint8_t *head, uintptr_t to)
{
    uint32_t jump = arch_jump(jump_of(n), to);
    if (!stub_reaches(jump_of(n), to)) {
        copy(head + PAD_SLOT, &to, sizeof to);
        for (uint32_t i = 0; i < FAR_WORDS; i++)
            put(head + i * sizeof(uint32_t), far_word(n, i));
        jump = arch_jump(jump_of(n), block_of(n));
    }
#ifdef PAD_LANDING
    put(head + PAD_JUMP + sizeof(uint32_t), PAD_LANDING);
#endif
    put(head + PAD_JUMP, jump);
}

static bool is_led(uint32_t n)
{
    uintptr_t at = block_of(n) + PAD_JUMP;
    return word_at(at) != *(const volatile uint32_t *)(farm_pristine + (at - block_of(0)));
}

uintptr_t pad_target(uint32_t n)
{
    if (!is_led(n))
        return 0;
    uintptr_t to = arch_jump_target(jump_of(n), word_at(block_of(n) + PAD_JUMP));
    return to == block_of(n) ? *(const volatile uintptr_t *)(block_of(n) + PAD_SLOT) & ~(uintptr_t)ARCH_FUNCTION_BIAS : to;
}

uintptr_t pad_behind(uint32_t n)
{
#ifdef PAD_LANDING
    if (!is_led(n))
        return function_addresses[n]; /* which has its own */
#endif
    uintptr_t code = block_of(n) + PAD_JUMP + sizeof(uint32_t);
#ifdef ARCH_DESCRIPTORS
    static uintptr_t descriptors[FUNCTION_COUNT][3];
    for (uint32_t i = 1; i < 3; i++) /* TOC and environment are the function's */
        descriptors[n][i] = ((const uintptr_t *)function_addresses[n])[i];
    descriptors[n][0] = code;
    return (uintptr_t)descriptors[n];
#else
    return code + ARCH_FUNCTION_BIAS;
#endif
}
