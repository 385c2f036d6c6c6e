/* arm as a bare machine: its console, its page tables (Arm ARM DDI 0406C, B3.5 "Short-descriptor translation table
 * format"), and what leads out of the guest. */
#include "bare.h"

struct registers {
    uint32_t sp, lr, unused, r[13], pc, psr;
};

void machine_trap(struct registers *guest, uint32_t kind);

/* PL011 (Arm DDI 0183, "Register descriptions"). */
enum { CONTROL = 0x30, ON = 0x101 };

/* Devices are little-endian whatever data is. */
static void to_console(uintptr_t at, uint32_t word)
{
#ifdef __ARMEB__
    word = __builtin_bswap32(word);
#endif
    *(volatile uint32_t *)(MACHINE_CONSOLE + at) = word;
}

void machine_put(uint8_t byte) { to_console(0, byte); }

/* Descriptors: of the first level a table or a section of 1 MiB, of the second a page. */
enum { SECTION_BYTES = 1 << 20, TABLE = 1, SECTION = 2, OF_SUPERVISOR = 1 << 10, SECTION_CACHED = 3 << 2 };
enum { PAGE = 2, NO_EXECUTE = 1, CACHED = 3 << 2, PRIVILEGED = 1 << 4, USER_READS = 2 << 4, USER_WRITES = 3 << 4 };
enum { TABLE_BYTES = 1024, FIRST_TABLE_BYTES = 16384 };

static uint32_t *tables;

static uint32_t *leaf(uintptr_t address)
{
    static uint32_t free, left;
    uint32_t *section = &tables[address / SECTION_BYTES];
    if (!*section) {
        if (!left) {
            free = bare_physical(bare_memory(PAGE_BYTES));
            left = PAGE_BYTES / TABLE_BYTES;
        }
        *section = free | TABLE;
        free += TABLE_BYTES;
        left--;
    }
    return (uint32_t *)(*section & -(uint32_t)TABLE_BYTES) + address / PAGE_BYTES % (SECTION_BYTES / PAGE_BYTES);
}

void machine_map(struct page *page)
{
    uint32_t descriptor = page->frame * PAGE_BYTES | PAGE | CACHED;
    descriptor |= page->protection & WRITABLE ? USER_WRITES : USER_READS;
    descriptor |= page->protection & EXECUTABLE ? 0 : NO_EXECUTE;
    *leaf(page->number * PAGE_BYTES) = page->protection & (READABLE | WRITABLE | EXECUTABLE) ? descriptor : 0;
}

#define BARRIERS "dsb\n\tisb"

void machine_flush(void)
{
    __asm__ volatile("dsb\n\tmcr p15, 0, %0, c8, c7, 0\n\t" BARRIERS ::"r"(0) : "memory"); /* TLBIALL */
}

void machine_filled(void)
{
    __asm__ volatile("dsb\n\tmcr p15, 0, %0, c7, c5, 0\n\tmcr p15, 0, %0, c7, c5, 6\n\t" BARRIERS ::"r"(0)
                     : "memory"); /* ICIALLU, BPIALL */
}

/* SCTLR: page tables, caches, branch prediction; data of exceptions and of tables as the supervisor has it. */
enum { SCTLR_ON = 1 << 0 | 1 << 2 | 1 << 11 | 1 << 12, SCTLR_EE = 1 << 25 };

void machine_start(void)
{
    uint32_t sctlr, whole;
    to_console(CONTROL, ON);
    tables = bare_memory(2 * FIRST_TABLE_BYTES);
    tables = (uint32_t *)(((uintptr_t)tables + FIRST_TABLE_BYTES - 1) & -(uintptr_t)FIRST_TABLE_BYTES);
    for (uint32_t at = MACHINE_RAM; at < MACHINE_MEMORY_END; at += SECTION_BYTES)
        tables[at / SECTION_BYTES] = at | SECTION | OF_SUPERVISOR | SECTION_CACHED;
    *leaf(MACHINE_CONSOLE) = MACHINE_CONSOLE | PAGE | PRIVILEGED | NO_EXECUTE;
    whole = (uint32_t)bare_physical(tables);
    __asm__ volatile("mcr p15, 0, %0, c2, c0, 2\n\tmcr p15, 0, %1, c2, c0, 0\n\tmcr p15, 0, %2, c3, c0, 0" ::"r"(0), "r"(whole),
                     "r"(1)); /* TTBCR, TTBR0, DACR: domain 0 is checked */
    machine_flush();
    __asm__ volatile("mrc p15, 0, %0, c1, c0, 0" : "=r"(sctlr));
    sctlr |= SCTLR_ON;
#ifdef __ARMEB__
    sctlr |= SCTLR_EE;
#endif
    __asm__ volatile("mcr p15, 0, %0, c1, c0, 0\n\tisb" ::"r"(sctlr) : "memory");
}

/* As Linux tells it: HWCAP2_PMULL, if ID_ISAR5 says so. */
size_t machine_auxiliary(uintptr_t *vector)
{
    uint32_t instructions;
    __asm__("mrc p15, 0, %0, c0, c2, 5" : "=r"(instructions));
    vector[0] = 26;
    vector[1] = (instructions >> 4 & 15) >= 2 ? 1u << 1 : 0;
    return 2;
}

enum { CACHEFLUSH = 0xf0002 }; /* ARM_NR_cacheflush */

intptr_t machine_call(uintptr_t number, const uintptr_t argument[6])
{
    (void)argument;
    if (number != CACHEFLUSH)
        return -ENOSYS;
    machine_filled();
    return 0;
}

enum { UNDEFINED = 1, SYSTEM_CALL = 2, FETCH = 3, ACCESS = 4, ALIGNMENT = 1, DEBUG = 2 };

void machine_trap(struct registers *guest, uint32_t kind)
{
    uint32_t status, address;
    if (guest->psr & 0xf) /* the user's mode is 0x10 */
        bare_fails(kind, guest->pc, guest->psr);
    switch (kind) {
    case SYSTEM_CALL:
        guest->r[0] = (uint32_t)bare_call(guest->r[7], (const uintptr_t *)guest->r);
        return;
    case FETCH:
        __asm__("mrc p15, 0, %0, c5, c0, 1\n\tmrc p15, 0, %1, c6, c0, 2" : "=r"(status), "=r"(address)); /* IFSR, IFAR */
        bare_dies((status & 0x40f) == DEBUG ? SIGTRAP : SIGSEGV, guest->pc, address);
    case ACCESS:
        __asm__("mrc p15, 0, %0, c5, c0, 0\n\tmrc p15, 0, %1, c6, c0, 0" : "=r"(status), "=r"(address)); /* DFSR, DFAR */
        bare_dies((status & 0x40f) == ALIGNMENT ? SIGBUS : SIGSEGV, guest->pc, address);
    case UNDEFINED:
    default:
        bare_dies(SIGILL, guest->pc - (guest->psr & 0x20 ? 2 : 4), 0);
    }
}
