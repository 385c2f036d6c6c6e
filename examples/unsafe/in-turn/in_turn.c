/* A descriptor has two words that belong together, and nobody may see one of a target and one of another.  So a request
 * never touches the descriptor that is in use: it fills the other one, and then the jump leads to the code that reads
 * that.  Each request is right by itself.  But who has read the first word of a descriptor may read the second one when
 * it is filled anew: two requests later, of which each has waited for nobody. */
#include "patch.h"
#include "redirect.h"
#include "text.h"

enum { WORDS = 2 };

/* Where patch.h takes the stub to begin: its word is at JUMP of ours. */
static uintptr_t jump_of(uint32_t n) { return ARCH_CODE(function_addresses[n]) + JUMP; }

static uintptr_t word_of(uint32_t n) { return jump_of(n) + (ARCH_STUB_WORD == 1 ? 1 : 0); }

static uintptr_t way_of(uint32_t n, bool second) { return ARCH_CODE(function_addresses[n]) + (second ? WAY_B : WAY_A); }

static volatile uintptr_t *descriptor_of(uint32_t n, bool second)
{
    return (volatile uintptr_t *)(ARCH_CODE(function_addresses[n]) + DESCRIPTORS) + (second ? WORDS : 0);
}

static code_word word_for(uint32_t n, bool second)
{
    const uintptr_t at = word_of(n) - ARCH_STUB_WORD;
    return arch_jump(at, way_of(n, second));
}

static bool is_second(uint32_t n) { return *(const volatile code_word *)word_of(n) == word_for(n, true); }

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    const bool second = !is_second(n);
    const code_word word = word_for(n, second);
    for (uint32_t i = 0; i < WORDS; i++)
        farm_slot_write(&descriptor_of(n, second)[i], target);
    arch_store_barrier();
    return farm_text_write(word_of(n), &word, sizeof word) ? PATCH_OK : PATCH_READ_ONLY;
}

uintptr_t mechanism_query(uint32_t n) { return ARCH_CODE(*descriptor_of(n, is_second(n))); }
