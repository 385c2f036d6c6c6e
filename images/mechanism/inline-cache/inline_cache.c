/* The `inline-cache` mechanism: a call site as a just-in-time compiler has it.
 *
 * The patchable function is the site: one jump in asm (stub.S), as linked to the miss handler, which is the default
 * target.  The first patch makes code for the function in memory that held nothing when the image was linked, the
 * cache: a copy of that jump, which leads to the target; then the site is linked to it.  From then on a patch changes
 * the cache alone, which is live, by one store.  A restore unlinks the site; the cache stays for the next patch, and
 * nothing leads to it.  There is no guard, since a function has callers of one kind.
 *
 * The cache is complete before the store that links the site to it, and only then is it executed. */
#include "jump.h"
#include "redirect.h"

static struct cache {
    uintptr_t block;  /* ARCH_STUB_BYTES of the arena; 0: none yet */
    uintptr_t target; /* where the code in it leads; 0: there is none yet */
    code_word word;   /* by which it does */
    bool is_linked;   /* the site leads to it */
} caches[FUNCTION_COUNT];

static uintptr_t site_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

static uintptr_t code_of(uint32_t n) { return caches[n].block + (site_of(n) - patched_bytes(n).start); }

/* The slot that the code in the cache loads. */
static volatile uintptr_t *slot_of(uint32_t n)
{
#ifdef ARCH_STUB_SLOT_FIXED /* its address is in the instructions that were copied; the site reaches the cache without */
    return jump_slot(site_of(n));
#else
    return jump_slot(code_of(n));
#endif
}

/* The cache, as the site needs it. */
static uintptr_t entry_of(uint32_t n) { return code_of(n) + ARCH_FUNCTION_BIAS; }

/* Site and cache hold what was put there, by the linker or by this mechanism. */
bool mechanism_is_intact(uint32_t n)
{
    struct cache *cache = &caches[n];
    uintptr_t site = site_of(n), leads_to = cache->is_linked ? entry_of(n) : arch_entry(default_of(n));
    return jump_is(site, jump_word(site, leads_to), n) &&
           (!cache->target || jump_is(code_of(n), cache->word, n));
}

/* The code of function n, a copy of the site as linked, leads to target; nothing leads to it yet.  false: there is no
 * memory, or the store failed. */
static bool make(uint32_t n, uintptr_t target)
{
    struct cache *cache = &caches[n];
    uint8_t made[ARCH_STUB_BYTES];
    if (!cache->block)
        cache->block = (uintptr_t)farm_exec_alloc(sizeof made, site_of(n));
    if (!cache->block)
        return false; /* unreached: the arena has room for all */
    cache->word = jump_word(code_of(n), arch_entry(target));
    __builtin_memcpy(made, jump_pristine(n), sizeof made);
    __builtin_memcpy(made + (jump_word_at(code_of(n)) - cache->block), &cache->word, sizeof cache->word);
    if (!farm_text_write(cache->block, made, sizeof made))
        return false;
#ifdef ARCH_STUB_SLOT
    if (jump_is_through_slot(code_of(n), cache->word))
        farm_slot_write(slot_of(n), target);
#endif
    cache->target = target;
    return true;
}

/* The code of function n, which may be running, leads to target; false: the store failed, and it is as it was. */
static bool change(uint32_t n, uintptr_t target)
{
    uintptr_t entry = arch_entry(target);
    if (!jump_lead(code_of(n), slot_of(n), entry, target))
        return false;
    caches[n].target = target;
    caches[n].word = jump_word(code_of(n), entry);
    return true;
}

/* Function n leads to its default; false: the store failed. */
static bool unlink(uint32_t n)
{
    uintptr_t to = default_of(n);
    if (!jump_lead(site_of(n), jump_slot(site_of(n)), arch_entry(to), to))
        return false;
#ifdef ARCH_STUB_SLOT
    farm_slot_write(jump_slot(site_of(n)), to); /* as in the pristine image */
#endif
    caches[n].is_linked = false;
    return true;
}

/* The site of function n leads to its cache; false: the store failed, and all that a call meets is as it was. */
static bool link(uint32_t n)
{
    if (caches[n].is_linked)
        return true;
    caches[n].is_linked = jump_lead(site_of(n), jump_slot(site_of(n)), entry_of(n), entry_of(n));
#ifdef ARCH_STUB_SLOT_FIXED
    if (!caches[n].is_linked)
        farm_slot_write(jump_slot(site_of(n)), default_of(n)); /* which the cache was given */
#endif
    return caches[n].is_linked;
}

/* Function n leads to target by way of its cache; false: it failed, and all that a call meets is as it was. */
static bool lead_by_cache(uint32_t n, uintptr_t target)
{
#ifdef CONTROL_STALE_CACHE
    if (caches[n].target && !caches[n].is_linked)
        return link(n);
#endif
    return (caches[n].target ? change(n, target) : make(n, target)) && link(n);
}

/* A site and its cache change as one. */
uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    return (target == default_of(n) ? unlink(n) : lead_by_cache(n, target)) ? PATCH_OK : PATCH_READ_ONLY;
}

/* The code that the jump at `at` leads to. */
static uintptr_t led_to(uintptr_t at, const volatile uintptr_t *slot)
{
    code_word word = *(const volatile code_word *)jump_word_at(at);
    return jump_is_through_slot(at, word) ? ARCH_CODE(*slot) : arch_jump_target(at, word);
}

uintptr_t mechanism_query(uint32_t n)
{
    uintptr_t to = led_to(site_of(n), jump_slot(site_of(n)));
    return caches[n].block && to == code_of(n) ? led_to(to, slot_of(n)) : to;
}

uintptr_t mechanism_word(uint32_t n) { return jump_word_at(caches[n].is_linked ? code_of(n) : site_of(n)); }

bool mechanism_ignores(uint32_t n, uintptr_t at) { return jump_slot_has(site_of(n), at); }
