/* loongarch as a bare machine: its console, its TLB, which software fills (LoongArch Reference Manual volume 1, "TLB"),
 * and what leads out of the guest. */
#include "bare.h"

struct registers {
    uint64_t r[32], pc, status, bad_address, mode;
};

void machine_trap(struct registers *guest);
void machine_fill(uint64_t address);
extern const uint8_t machine_exception[], machine_miss[];

void machine_put(uint8_t byte) { *(volatile uint8_t *)MACHINE_CONSOLE = byte; }

_Noreturn void machine_off(void)
{
    for (;;)
        *(volatile uint8_t *)MACHINE_POWER = 0x34; /* qemu, hw/acpi/generic_event_device.c: sleep state 5 */
}

#define WRITE(number, value)                                                                                           \
    do {                                                                                                               \
        uint64_t written = (value);                                                                                    \
        __asm__ volatile("csrwr %0, %1" : "+r"(written) : "i"(number) : "memory");                                     \
    } while (0)

/* Of a TLB entry, which is of two pages. */
enum { PAGE_SHIFT = 14, VALID = 1, DIRTY = 2, USER = 3 << 2, CACHED = 1 << 4, GLOBAL = 1 << 6 };
#define NO_EXECUTE (1ull << 62)

static uint64_t half(uint64_t number)
{
    const struct page *page = bare_page(number * PAGE_BYTES);
    uint32_t protection = page ? page->protection : 0;
    if (!(protection & (READABLE | WRITABLE | EXECUTABLE)))
        return GLOBAL;
    return (uint64_t)page->frame * PAGE_BYTES | CACHED | GLOBAL | USER | VALID | (protection & WRITABLE ? DIRTY : 0) |
           (protection & EXECUTABLE ? 0 : NO_EXECUTE);
}

void machine_fill(uint64_t address)
{
    uint64_t number = address / PAGE_BYTES & ~1ull;
    WRITE(TLBREHI, number * PAGE_BYTES | PAGE_SHIFT);
    WRITE(TLBRELO0, half(number));
    WRITE(TLBRELO1, half(number + 1));
    __asm__ volatile("tlbfill" ::: "memory");
}

void machine_map(struct page *page) { (void)page; } /* whoever misses it finds it then */

void machine_flush(void) { __asm__ volatile("invtlb 0, $zero, $zero" ::: "memory"); }

void machine_filled(void) { __asm__ volatile("ibar 0" ::: "memory"); }

enum { LEVEL_0 = 1, WINDOW_CACHED = 1 << 4, MAPPED = 1 << 4 };

void machine_start(void)
{
    WRITE(EUEN, 1); /* floating point */
    WRITE(EENTRY, (uint64_t)machine_exception);
    WRITE(TLBRENTRY, (uint64_t)machine_miss);
    WRITE(STLBPS, PAGE_SHIFT);
    WRITE(DMW0, LEVEL_0 | WINDOW_CACHED);
    machine_flush();
    WRITE(CRMD, MAPPED);
}

size_t machine_auxiliary(uintptr_t *vector)
{
    (void)vector;
    return 0;
}

intptr_t machine_call(uintptr_t number, const uintptr_t argument[6])
{
    (void)number, (void)argument;
    return -ENOSYS;
}

/* Codes of exceptions, in ESTAT. */
enum { LAST_OF_PAGES = 7, ADDRESS = 8, ALIGNMENT = 9, SYSTEM_CALL = 11, BREAKPOINT = 12, FLOATING_POINT = 18 };

static uint32_t signal_of(unsigned code)
{
    if (code <= LAST_OF_PAGES || code == ADDRESS)
        return SIGSEGV;
    if (code == ALIGNMENT)
        return SIGBUS;
    if (code == FLOATING_POINT)
        return SIGFPE;
    return code == BREAKPOINT ? SIGTRAP : SIGILL;
}

enum { A0 = 4, A7 = 11 };

void machine_trap(struct registers *guest)
{
    unsigned code = guest->status >> 16 & 63;
    if (!(guest->mode & 3))
        bare_fails(code, guest->pc, guest->bad_address);
    if (code != SYSTEM_CALL)
        bare_dies(signal_of(code), guest->pc, guest->bad_address);
    guest->r[A0] = (uint64_t)bare_call(guest->r[A7], &guest->r[A0]);
    guest->pc += 4;
}
