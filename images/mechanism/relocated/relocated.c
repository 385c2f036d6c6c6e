/* The `relocated` mechanism: the stub (poke.c), and every call site that the linker's kept relocations lead to is
 * redirected straight to the target, so that a call costs what a direct one does.
 *
 * The host finds the sites after linking and decodes each (farm/guest/call_sites.py): what is in the table is one branch
 * whose displacement lies in one 32-bit word that one store replaces.  A target that a site does not reach leaves that
 * site on the stub, which is always right.  Restoring puts every site's linked word back, which the host recorded, so
 * it does not depend on the encoder. */
#include "mechanism.h"
#include "patch.h"

const uint32_t mechanism_number = MECHANISM_IDENTITY;
const bool mechanism_is_transparent = true;
const enum text_region mechanism_text = TEXT_ALL;

static uint32_t now[SITE_CAPACITY];          /* what this mechanism last put into the word; 0: nothing yet */
static uintptr_t entries[FUNCTION_COUNT];    /* where a function's sites lead; 0: to the stub, as linked */
static bool module_here;

static bool follows(uint32_t i, uint32_t n)
{
    uint32_t function = farm_sites[i].function;
#ifndef CONTROL_STALE_SITE
    if (function & SITE_IN_MODULE && !module_here)
        return false; /* its memory may hold something else by now */
#endif
    return (function & ~SITE_IN_MODULE) == n;
}

static uint32_t word_now(uint32_t i) { return now[i] ? now[i] : farm_sites[i].linked; }

/* Bits differ between the word that is there and the one that was put there. */
static bool is_foreign(uint32_t bits)
{
#ifdef CONTROL_HALF_COMPARED
    return (uint16_t)bits;
#else
    return bits;
#endif
}

bool sites_are_ours(uint32_t n)
{
#ifdef CONTROL_UNCHECKED
    (void)is_foreign;
#else
    for (uint32_t i = 0; i < farm_site_count; i++)
        if (follows(i, n) && is_foreign(*(const volatile uint32_t *)farm_sites[i].at ^ word_now(i)))
            return false;
#endif
    return n < FUNCTION_COUNT;
}

static uint32_t word_for(uint32_t i, uintptr_t entry)
{
    uintptr_t at = farm_sites[i].at;
    uint32_t linked = farm_sites[i].linked;
#ifdef CONTROL_EVERY_OTHER_SITE
    if (i % 2)
        return linked;
#endif
#ifdef CONTROL_BARE_SITES_ONLY
    if (at - ARCH_CODE(call_sites[farm_sites[i].function & ~SITE_IN_MODULE][SHAPE_BARE]) >= 64)
        return linked;
#endif
#ifdef CONTROL_OFF_BY_ONE
    entry += entry ? ARCH_ENTRY_INSTRUCTION : 0;
#endif
#ifdef CONTROL_FALLS_SHORT
    entry -= entry ? ARCH_ENTRY_INSTRUCTION : 0;
#endif
#ifdef CONTROL_NO_RANGE_CHECK
    return entry ? arch_site_jump(at, linked, entry) : linked;
#else
    return entry && arch_site_reaches(at, linked, entry) ? arch_site_jump(at, linked, entry) : linked;
#endif
}

bool sites_follow(uint32_t n, uintptr_t entry)
{
#ifdef CONTROL_SITES_STAY
    entry = 0;
#endif
    for (uint32_t i = 0; i < farm_site_count; i++) {
        if (!follows(i, n))
            continue;
        uint32_t word = word_for(i, entry), before = word_now(i);
        if (word != before && !poke_site(farm_sites[i].at, word)) {
            sites_follow(n, entries[n]); /* those that went ahead come back */
            return false;
        }
        now[i] = word;
    }
    entries[n] = entry;
    return true;
}

void sites_reset(void)
{
    bool open = false;
    for (uint32_t i = 0; i < farm_site_count; i++) {
        volatile uint32_t *word = (volatile uint32_t *)farm_sites[i].at;
        if (*word == farm_sites[i].linked)
            continue;
        if (!open)
            open = text_open(TEXT_ALL);
        *word = farm_sites[i].linked;
        arch_sync_code(farm_sites[i].at);
    }
    if (open)
        text_close(TEXT_ALL);
}

/* Sites that appear later pick up the present target, not the default. */
void sites_loaded(void)
{
    module_here = true;
    for (uint32_t i = 0; i < farm_site_count; i++)
        if (farm_sites[i].function & SITE_IN_MODULE)
            now[i] = 0; /* as its image has them */
    if (!text_open(TEXT_ALL))
        return; /* they stay on the stub, which is right */
    for (uint32_t n = 0; n < FUNCTION_COUNT; n++)
#ifdef CONTROL_LATE_SITE_DEFAULT
        sites_follow(n, arch_entry(target_addresses[n][TARGET_DEFAULT]));
#else
        if (entries[n])
            sites_follow(n, entries[n]);
#endif
    text_close(TEXT_ALL);
}

void sites_unloaded(void) { module_here = false; }
