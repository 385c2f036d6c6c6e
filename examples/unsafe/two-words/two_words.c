/* A target that no one instruction reaches is in two of them, and both are changed in place, one after the other. */
#include "redirect.h"
#include "text.h"
#include "words.h"

static uintptr_t words_of(uint32_t n) { return ARCH_CODE(function_addresses[n]) + WORDS; }

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uint32_t words[2];
    words_for(words_of(n), target, words);
    for (uint32_t i = 0; i < 2; i++)
        if (!farm_text_write(words_of(n) + i * sizeof words[i], &words[i], sizeof words[i]))
            return PATCH_READ_ONLY;
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n) { return words_target(words_of(n), (const volatile uint32_t *)words_of(n)); }
