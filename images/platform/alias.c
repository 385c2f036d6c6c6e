/* A second mapping of what a mechanism patches (`alias` in its mechanism.toml), as a kernel's text_poke and a JIT with W^X
 * have it: what executes is never writable, and what is stored to never executes.
 *
 * The region MECHANISM_ALIAS is one memory with two addresses.  At the first, where it was linked, it executes (literals
 * are loaded); the second, from alias_start on, can be stored to while the region is open, and else not even be read.  A
 * process asks the kernel for that; an engine without an operating system makes both before the guest runs, and takes
 * requests by the doorbell (TEXT_ALIAS).
 *
 * No emulator here sees by itself that what was stored at one address is fetched at the other: QEMU watches the pages
 * that it has translated, at the addresses where it has, and takes cache maintenance for granted.  So to close the
 * mapping of code is to have the engine forget what it has translated: a process maps the code anew, at the same address
 * and with the same permission, which changes nothing on a machine. */
#include "platform.h"

extern uint8_t alias_start[];

enum { MAP_SHARED = 1, LARGEST_PAGE = 65536 }; /* of Linux, everywhere */
#ifndef ARCH_MAP_FIXED
#define ARCH_MAP_FIXED 0x10
#endif

/* Not part of the state that a reset rewrites. */
static long memory __attribute__((section(".data.doorbell"))) = 0; /* its descriptor */

static bool bypassed;

void alias_is_bypassed(void) { bypassed = true; }

void alias_keep(long descriptor) { memory = descriptor; }

bool alias_has(enum text_region region)
{
    return region == MECHANISM_ALIAS || (MECHANISM_ALIAS == TEXT_ALL && region != TEXT_LITERALS);
}

static uintptr_t second(uintptr_t at) { return at - (uintptr_t)text_range(MECHANISM_ALIAS).start + (uintptr_t)alias_start; }

uintptr_t farm_text_alias(uintptr_t at)
{
#ifdef CONTROL_IN_PLACE
    return at;
#else
    struct range whole = text_range(MECHANISM_ALIAS);
    return at >= (uintptr_t)whole.start && at < (uintptr_t)whole.end ? second(at) : at;
#endif
}

static bool map(uintptr_t at, size_t size, uintptr_t protection)
{
    const uintptr_t arguments[] = {at, size, protection, MAP_SHARED | ARCH_MAP_FIXED, (uintptr_t)memory, 0};
#ifdef ARCH_MMAP_BY_ADDRESS
    const uintptr_t words[7] = {ARCH_SYS_MMAP, (uintptr_t)arguments};
#else
    const uintptr_t words[7] = {ARCH_SYS_MMAP, arguments[0], arguments[1], arguments[2],
                                arguments[3],  arguments[4], arguments[5]};
#endif
    return (uintptr_t)arch_syscall6(words) == at;
}

/* What was linked where is now what the memory holds. */
static bool map_first(void)
{
    struct range whole = text_range(MECHANISM_ALIAS);
    uintptr_t executable = MECHANISM_ALIAS == TEXT_LITERALS ? 0 : EXECUTE | guarded();
    return map((uintptr_t)whole.start, (size_t)(whole.end - whole.start), READ | executable);
}

static bool protect(enum text_region region, uintptr_t protection)
{
    struct range range = text_range(region);
    if (!has_kernel()) {
        *(volatile uint32_t *)farm_doorbell = (uint32_t)(protection | (region | TEXT_ALIAS) << DOORBELL_REGION);
        return true;
    }
    return arch_syscall(ARCH_SYS_MPROTECT, second((uintptr_t)range.start), (uintptr_t)(range.end - range.start),
                        protection) == 0;
}

bool alias_open(enum text_region region)
{
#ifdef CONTROL_IN_PLACE
    return text_protect(region, READ | WRITE | EXECUTE);
#else
    return protect(region, READ | WRITE);
#endif
}

void alias_close(enum text_region region)
{
#ifdef CONTROL_IN_PLACE
    text_protect(region, READ | EXECUTE);
#endif
    protect(region, 0);
    if (has_kernel() && region != TEXT_LITERALS)
        map_first();
}

void alias_reset(void) { alias_close(MECHANISM_ALIAS); }

uint32_t alias_faults(void)
{
    struct range whole = text_range(MECHANISM_ALIAS);
    bool writable = bypassed;
    if (has_kernel())
        for (const uint8_t *at = whole.start; at < whole.end; at += PROBED)
            writable = writable || kernel_allows(ARCH_SYS_READ, (const uint8_t *)second((uintptr_t)at));
    return writable ? TEXT_WRITABLE : 0;
}

/* The memory becomes what was linked.  It is whole pages, of whatever size they are, since QEMU maps no others twice;
 * what the last one holds behind the region does not matter. */
static bool fill(const uint8_t *start, size_t size)
{
    for (size_t left, at = 0; (left = at < size ? size - at : -at % LARGEST_PAGE); at += left) {
        left = left < size ? left : size;
        if (arch_syscall(ARCH_SYS_WRITE, (uintptr_t)memory, (uintptr_t)start, left) != (long)left)
            return false;
    }
    return true;
}

long alias_make(void)
{
    struct range whole = text_range(MECHANISM_ALIAS);
    size_t size = (size_t)(whole.end - whole.start);
    memory = arch_syscall(ARCH_SYS_MEMFD_CREATE, (uintptr_t) "text", 0, 0);
    return memory >= 0 && fill(whole.start, size) && map_first() && map((uintptr_t)alias_start, size, 0) ? memory : -1;
}
