/* What layer.c does about text, for a mechanism that patches text: faults that are injected, code that another tool
 * overwrites, and the deliberate bugs of the text's protection. */
#include "text.h"
#include "layer.h"

static uint32_t opened; /* times, one inside the other */

bool patched_text_open(void)
{
    if (!opened && !text_open(MECHANISM_TEXT))
        return false;
    opened++;
    return true;
}

void patched_text_close(void)
{
    if (!--opened)
        text_close(MECHANISM_TEXT);
}

/* Fault injection: a request that comes in the middle of the next one. */
static struct {
    bool pending, late;
    uint32_t n, status;
    uintptr_t target;
} interruption;

void patch_interrupted_by(uint32_t n, uintptr_t target)
{
    interruption.pending = true;
    interruption.n = n;
    interruption.status = PATCH_UNSUPPORTED; /* should the mechanism store by other means than text.h */
    interruption.target = target;
}

uint32_t patch_interruption(void) { return interruption.status; }

bool store_is_admitted(void)
{
    if (interruption.pending) {
        interruption.pending = false;
        interruption.status = patch_set(interruption.n, interruption.target, 0);
#ifdef CONTROL_REENTRANT /* it is granted, and performed as soon as the mechanism lets it */
        interruption.late = interruption.status == PATCH_BUSY;
        interruption.status = PATCH_OK;
#endif
    }
    return !failing_poke || --failing_poke;
}

uint32_t patched_text_after(uint32_t n, uint32_t status)
{
#if defined(CONTROL_REENTRANT)
    if (interruption.late) {
        interruption.late = false;
        patch_set(interruption.n, interruption.target, 0);
    }
#elif defined(CONTROL_PAD_OVERWRITTEN)
    if (status == PATCH_OK && patched_text_open()) {
        *(volatile uint32_t *)farm_text_alias(ARCH_CODE(function_addresses[n])) = ARCH_LOST_PAD;
        patched_text_close();
    }
#elif defined(CONTROL_LEFT_WRITABLE)
    text_open(MECHANISM_TEXT);
#elif defined(CONTROL_CLOSED_IN_PART)
    text_open(TEXT_ALL);
    text_close(TEXT_STUBS);
#elif defined(CONTROL_EXECUTE_ONLY)
    text_protect(MECHANISM_TEXT, EXECUTE);
#elif defined(CONTROL_NOT_EXECUTABLE)
    text_protect(MECHANISM_TEXT, READ);
#elif defined(CONTROL_IGNORE_ERROR)
    if (status == PATCH_READ_ONLY)
        return PATCH_OK;
#endif
    return (void)n, status;
}

uint32_t patch_scribble(uint32_t n)
{
    uintptr_t word = mechanism_word ? mechanism_word(n) : patched_bytes(n).start;
    if (!patched_text_open())
        return PATCH_READ_ONLY;
    *(volatile code_word *)farm_text_alias(word) = ARCH_FOREIGN_WORD;
    arch_sync_code(word);
    patched_text_close();
    return PATCH_OK;
}

/* Each bit of the byte: any of them may be masked out of what is looked at. */
static bool is_noticed(uint32_t n, uintptr_t at)
{
    volatile uint8_t *byte = (volatile uint8_t *)farm_text_alias(at);
    for (uint32_t bit = 1; bit <= 128; bit <<= 1) {
        *byte ^= (uint8_t)bit;
        if (patch_set(n, target_addresses[n][TARGET_OTHER], 0) != PATCH_FOREIGN)
            return false; /* and there is no telling what was written over it */
        *byte ^= (uint8_t)bit;
        arch_sync_code(at);
    }
    return true;
}

uint32_t patch_tamper(uint32_t n)
{
    struct patched_bytes bytes = patched_bytes(n);
    uint32_t i = 0;
    bool noticed = true;
    if (!patched_text_open())
        return 1; /* unreached: never asked for while it is locked */
    for (; noticed && i < bytes.size; i++)
        noticed = (mechanism_ignores && mechanism_ignores(n, bytes.start + i)) ||
                  is_noticed(n, bytes.start + i);
    for (uintptr_t byte; noticed && sites_byte && (byte = sites_byte(n, i - (uint32_t)bytes.size)); i++)
        noticed = is_noticed(n, byte); /* unreached on alpha, sh4: they redirect no call site */
    patched_text_close();
    return noticed ? 0 : i;
}
