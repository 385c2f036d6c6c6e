/* The `relocated` mechanism: the stub (poke.c), and every call site that the linker's kept relocations lead to is
 * redirected straight to the target, so that a call costs what a direct one does.
 *
 * The host finds the sites after linking and decodes each (farm/guest/call_sites.py): what is in the table is one branch
 * whose displacement lies in one 32-bit word that one store replaces.  A target that a site does not reach leaves that
 * site on the stub, which is always right.  Restoring puts every site's linked word back, which the host recorded, so
 * it does not depend on the encoder. */
#include "compare.h"
#include "poke.h"
#include "sites.h"
#include "text.h"

static uint32_t now[SITE_CAPACITY];          /* what this mechanism last put into the word; 0: nothing yet */
static uintptr_t entries[FUNCTION_COUNT];    /* where a function's sites lead; 0: to the stub, as linked */
static bool module_here;

static bool follows(uint32_t i, uint32_t n)
{
    uint32_t function = farm_sites[i].function;
    if (function & SITE_IN_MODULE && !module_here)
        return false; /* its memory may hold something else by now */
    return (function & ~SITE_IN_MODULE) == n;
}

static uint32_t word_now(uint32_t i) { return now[i] ? now[i] : farm_sites[i].linked; }

bool sites_are_ours(uint32_t n)
{
    for (uint32_t i = 0; i < farm_site_count; i++) {
        uint32_t put = word_now(i);
        if (!follows(i, n))
            continue;
        if (!farm_text_holds(farm_sites[i].at, &put, sizeof put) || !site_opcode_is(i, farm_site_opcodes[i]))
            return false;
    }
    return true;
}

/* Call site i leads to `entry` (0: to the stub, as linked); false: the store failed, and it leads where it did. */
static bool lead_site(uint32_t i, uintptr_t entry)
{
    uint32_t word = site_word(i, entry);
    if (word != word_now(i) && !farm_text_write(farm_sites[i].at, &word, sizeof word))
        return false;
    now[i] = word;
    return true;
}

bool sites_follow(uint32_t n, uintptr_t entry)
{
    for (uint32_t i = 0; i < farm_site_count; i++) {
        if (!follows(i, n) || lead_site(i, entry))
            continue;
        while (i--) /* those that went ahead come back, unless that fails too */
            if (follows(i, n))
                lead_site(i, entries[n]);
        return false;
    }
    entries[n] = entry;
    return true;
}

/* Sites that appear later pick up the present target, not the default. */
void mechanism_sites_loaded(void)
{
    module_here = true;
    for (uint32_t i = 0; i < farm_site_count; i++)
        if (farm_sites[i].function & SITE_IN_MODULE)
            now[i] = 0; /* as its image has them */
    if (!text_open(MECHANISM_TEXT))
        return; /* they stay on the stub, which is right */
    for (uint32_t n = 0; n < FUNCTION_COUNT; n++)
        if (entries[n])
            sites_follow(n, entries[n]);
    text_close(MECHANISM_TEXT);
}

void mechanism_sites_unloaded(void) { module_here = false; }
