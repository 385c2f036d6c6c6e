/* The call sites as the host found them, what they hold now, which is observed without asking a mechanism, and what a
 * mechanism is told of them. */
#include "layer.h"
#include "sites.h"

/* Filled in by the host after linking, hence volatile: the compiler must not believe the zeros. */
const volatile struct site farm_sites[SITE_CAPACITY] = {{0, 0, 0}};
const volatile uint32_t farm_site_count = 0;
const volatile uint8_t farm_site_opcodes[SITE_CAPACITY] = {0};

/* By site and target: the word that leads there, or the linked one where the site does not reach.  The host makes them,
 * so that they do not depend on the encoder under test. */
extern const volatile uint32_t farm_site_words[SITE_CAPACITY][TARGET_COUNT];
const volatile uint32_t farm_site_words[SITE_CAPACITY][TARGET_COUNT] = {{0}};

/* Bytes of a site's opcode that lie before its word and may change with it. */
#ifdef ARCH_SITE_OPCODE
#define OPCODE_BYTES ARCH_SITE_OPCODE
#else
#define OPCODE_BYTES 0u
#endif

/* Site i is one of function n and is there now. */
static bool is_site_of(uint32_t i, uint32_t n)
{
    uint32_t function = farm_sites[i].function;
    return (function & ~SITE_IN_MODULE) == n && (!(function & SITE_IN_MODULE) || module_is_loaded());
}

static uint32_t held(uint32_t i) { return *(const volatile uint32_t *)farm_sites[i].at; }

static bool has_its_opcode(uint32_t i)
{
    return !OPCODE_BYTES || *((const volatile uint8_t *)farm_sites[i].at - 1) == farm_site_opcodes[i];
}

bool sites_are_pristine(uint32_t n)
{
    for (uint32_t i = 0; i < farm_site_count; i++)
        if (is_site_of(i, n) && (held(i) != farm_sites[i].linked || !has_its_opcode(i)))
            return false;
    return true;
}

uint32_t sites_words(uint32_t *words)
{
    for (uint32_t i = 0; i < farm_site_count; i++)
        words[i] = held(i);
    return farm_site_count;
}

uint32_t sites_left_behind(uint32_t n, uint32_t target)
{
    uint32_t behind = 0;
    for (uint32_t i = 0; i < farm_site_count; i++)
        behind += is_site_of(i, n) && (held(i) != farm_site_words[i][target] || !has_its_opcode(i));
    return farm_site_count ? behind : NO_SITES;
}

uintptr_t sites_byte(uint32_t n, uint32_t i)
{
    for (uint32_t site = 0; site < farm_site_count; site++)
        if (is_site_of(site, n)) {
            if (i < OPCODE_BYTES + sizeof(uint32_t))
                return farm_sites[site].at - OPCODE_BYTES + i;
            i -= (uint32_t)(OPCODE_BYTES + sizeof(uint32_t));
        }
    return 0;
}

void sites_reset(void)
{
    bool open = false;
    for (uint32_t i = 0; i < farm_site_count; i++) {
        uintptr_t word = farm_text_alias(farm_sites[i].at);
        if (held(i) == farm_sites[i].linked && has_its_opcode(i))
            continue;
        if (!open)
            open = text_open(TEXT_ALL);
        *(volatile uint32_t *)word = farm_sites[i].linked;
        if (!has_its_opcode(i))
            *(volatile uint8_t *)(word - 1) = farm_site_opcodes[i];
        arch_sync_code(farm_sites[i].at);
    }
    if (open)
        text_close(TEXT_ALL);
}

void sites_loaded(void)
{
    if (mechanism_sites_loaded)
        mechanism_sites_loaded();
#ifdef CONTROL_LATE_SITE_DEFAULT
    for (uint32_t n = 0; n < FUNCTION_COUNT; n++)
        patch_restore(n);
#endif
}

void sites_unloaded(void)
{
#ifndef CONTROL_STALE_SITE
    if (mechanism_sites_unloaded)
        mechanism_sites_unloaded();
#endif
}
