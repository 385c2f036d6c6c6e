/* Text that comes and goes: a second set of call sites, as a loaded module or a JIT's code is.
 *
 * Loading copies the module's code, as the linker made it, to where it runs; unloading hands its memory to somebody
 * else, who fills it.  Nothing may be written there until it is loaded again. */
#include "layer.h"

#define IN_MODULE __attribute__((noinline, used, section(".module"), aligned(16)))

extern uint8_t module_start[], module_end[];

/* Whose loader this is knows how; an architecture without patch.c runs where nothing has to be done. */
void arch_sync_code(uintptr_t word) OPTIONAL;

/* The module's code as linked: filled in by the host after linking. */
extern const uint8_t farm_module[MODULE_SIZE];
const uint8_t farm_module[MODULE_SIZE] __attribute__((aligned(16))) = {1};

/* All begin alike, and every other one has its call a little further on: whatever alignment a store to a call site
 * needs, every other call has it. */
#define MODULE(n, kind)                                                                                                \
    PROTOTYPE_INT(module_##n);                                                                                         \
    IN_MODULE PROTOTYPE_INT(module_##n)                                                                                \
    {                                                                                                                  \
        if ((n) % 2)                                                                                                   \
            __asm__ volatile(ARCH_MODULE_NOP);                                                                      \
        return whatever_##n(x) + 1u;                                                                                   \
    }
FOR_EACH_INT_FUNCTION(MODULE)

#define OTHERS 0x07a57707u /* what the next owner of the memory keeps there */

static enum { NEVER_LOADED, LOADED, UNLOADED } module_state;

static void fill(bool load)
{
    const volatile uint32_t *from = (const volatile uint32_t *)farm_module;
    if (!text_open(TEXT_MODULE))
        return;
    for (uint8_t *word = module_start; word < module_end; word += sizeof(uint32_t))
        text_put((uintptr_t)word, load ? *from++ : OTHERS);
    text_close(TEXT_MODULE);
}

bool module_load(void)
{
    bool untouched = true;
    if (module_state == UNLOADED)
        for (const volatile uint32_t *word = (const volatile uint32_t *)module_start;
             word < (const volatile uint32_t *)module_end; word++)
            untouched = untouched && *word == OTHERS;
    fill(true);
    for (uint8_t *word = module_start; arch_sync_code && word < module_end; word += sizeof(uint32_t))
        arch_sync_code((uintptr_t)word);
    module_state = LOADED;
    if (sites_loaded)
        sites_loaded();
    return untouched;
}

bool module_is_loaded(void) { return module_state == LOADED; }

void module_unload(void)
{
    if (sites_unloaded)
        sites_unloaded();
    module_state = UNLOADED;
    fill(false);
}
