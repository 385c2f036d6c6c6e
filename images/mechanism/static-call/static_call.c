/* The `static-call` mechanism: how the Linux kernel patches its static calls (include/linux/static_call.h,
 * kernel/static_call_inline.c).  A function is a trampoline, which is patched out of line, for whoever has its address;
 * and every direct call site, which the host found, is rewritten in place.  NULL makes a call site a nop, and a tail call
 * a return; RET0 makes it clear the result.
 *
 * First the trampoline, then the sites, each in one store: whoever calls meanwhile reaches the old target or the new
 * one.  Who changes several instructions of a site's bytes at once on several CPUs has to hold them off meanwhile (the
 * kernel: an int3 on the first byte, text_poke_bp); here no store changes more than one instruction, so what a proof for
 * several CPUs still needs is what the architecture says of an instruction that is fetched while it is stored to. */
#include "static_call.h"
#include "compare.h"
#include "redirect.h"
#include "sites.h"
#include "surroundings.h"
#include "text.h"

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

/* As linked, but for what a patch changes: the trampoline's signature is there.  Something else that is a jump by chance
 * (an entry of a table that a compiler made, say) is none of ours. */
static bool is_trampoline(uint32_t n)
{
    struct patched_bytes bytes = patched_bytes(n);
    const uint8_t *pristine = farm_pristine + (bytes.start - patched_bytes(0).start);
    for (uintptr_t at = bytes.start; at < bytes.start + bytes.size; at++, pristine++)
        if (!trampoline_changes(n, at) && !trampoline_ignores(n, at) && !farm_text_is_beside(at, pristine, 1))
            return false;
    return true;
}

static struct site_code now[SITE_CAPACITY]; /* what the site holds, if is_changed */
static bool is_changed[SITE_CAPACITY];
static uintptr_t leads[FUNCTION_COUNT]; /* where a function's sites lead; 0: as linked */
static bool module_here;

static bool follows(uint32_t i, uint32_t n)
{
    uint32_t function = farm_sites[i].function;
    if (function & SITE_IN_MODULE && !module_here)
        return false; /* its memory may hold something else by now */
    return (function & ~SITE_IN_MODULE) == n;
}

static struct site_code code_now(uint32_t i) { return is_changed[i] ? now[i] : site_code(i, 0); }

static bool is_same(struct site_code a, struct site_code b) { return a.word == b.word && a.opcode == b.opcode; }

static bool sites_are_ours(uint32_t n)
{
    for (uint32_t i = 0; i < farm_site_count; i++) {
        struct site_code code = code_now(i);
        if (!follows(i, n))
            continue;
        if (!farm_text_holds(farm_sites[i].at, &code.word, sizeof code.word) || !site_opcode_is(i, code.opcode))
            return false;
    }
    return true;
}

/* Call site i leads to `to` (0: as linked); false: a store failed, and it leads where it did. */
static bool lead_site(uint32_t i, uintptr_t to)
{
    struct site_code code = site_code(i, to), old = code_now(i);
    if (!is_same(code, old) && !site_store(i, old, code))
        return false;
    now[i] = code;
    is_changed[i] = true;
    return true;
}

/* The call sites of function n lead to `to` (0: as linked); false: a store failed and they are as they were, as far as
 * stores can make them so. */
static bool sites_follow(uint32_t n, uintptr_t to)
{
    for (uint32_t i = 0; i < farm_site_count; i++) {
        if (!follows(i, n) || lead_site(i, to))
            continue;
        while (i--) /* those that went ahead come back, unless that fails too */
            if (follows(i, n))
                lead_site(i, leads[n]);
        return false;
    }
    leads[n] = to;
    return true;
}

bool mechanism_is_intact(uint32_t n) { return trampoline_holds(n) && is_trampoline(n) && sites_are_ours(n); }

/* A trampoline and its call sites change as one. */
uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uintptr_t before = trampoline_target(n);
    if (!trampoline_lead(n, arch_entry(target)))
        return PATCH_READ_ONLY;
    if (sites_follow(n, target == default_of(n) ? 0 : arch_entry(target)))
        return PATCH_OK;
    trampoline_lead(n, before);
    return PATCH_READ_ONLY;
}

uintptr_t mechanism_query(uint32_t n) { return trampoline_target(n); }

bool mechanism_ignores(uint32_t n, uintptr_t at) { return trampoline_ignores(n, at); }

/* Sites that appear later pick up the present target, not the default. */
void mechanism_sites_loaded(void)
{
    module_here = true;
    for (uint32_t i = 0; i < farm_site_count; i++)
        if (farm_sites[i].function & SITE_IN_MODULE)
            is_changed[i] = false; /* as its image has them */
    if (!text_open(MECHANISM_TEXT))
        return; /* they stay on the trampoline, which is right */
    for (uint32_t n = 0; n < FUNCTION_COUNT; n++)
        if (leads[n])
            sites_follow(n, leads[n]);
    text_close(MECHANISM_TEXT);
}

void mechanism_sites_unloaded(void) { module_here = false; }
