/* arm64 as a bare machine: its console, its page tables (Arm ARM DDI 0487, "The AArch64 Virtual Memory System
 * Architecture"; 4 KiB pages, 39 bits of address, so three levels), and what leads out of the guest. */
#include "bare.h"

struct registers {
    uint64_t x[31], sp, pc, pstate;
};

void machine_trap(struct registers *guest, uint64_t syndrome, uint64_t address);

/* PL011 (Arm DDI 0183, "Register descriptions"). */
enum { DATA = 0, CONTROL = 0x30, ON = 0x101 };

/* Devices are little-endian whatever data is. */
static uint32_t little(uint32_t word) { return ARCH_INSTRUCTION(word); }

static volatile uint32_t *console(uintptr_t at) { return (volatile uint32_t *)(MACHINE_CONSOLE + at); }

void machine_put(uint8_t byte) { *console(DATA) = little(byte); }

/* PSCI (Arm DEN 0022): SYSTEM_OFF. */
_Noreturn void machine_off(void)
{
    register uint64_t function __asm__("x0") = 0x84000008;
    for (;;)
        __asm__ volatile("hvc #0" : "+r"(function));
}

/* Descriptors. */
enum { ENTRIES = 512, TABLE = 3, BLOCK = 1, LEAF = 3, USER = 1 << 6, READ_ONLY = 1 << 7, SHARED = 3 << 8, ACCESSED = 1 << 10 };
enum { NORMAL = 0 << 2, DEVICE = 1 << 2 }; /* fields of MAIR_EL1 */
#define GUARDED (1ull << 50)
#define NO_PRIVILEGED_EXECUTE (1ull << 53)
#define NO_EXECUTE (1ull << 54)
#define ADDRESS 0xfffffffff000ull

static uint64_t *tables;

static uint64_t *next_table(uint64_t *descriptor)
{
    if (!*descriptor)
        *descriptor = bare_physical(bare_memory(PAGE_BYTES)) | TABLE;
    return (uint64_t *)(*descriptor & ADDRESS);
}

static uint64_t *leaf(uint64_t address)
{
    uint64_t *middle = next_table(&tables[address >> 30]);
    return &next_table(&middle[address >> 21 & (ENTRIES - 1)])[address >> 12 & (ENTRIES - 1)];
}

void machine_map(struct page *page)
{
    uint32_t protection = page->protection;
    uint64_t descriptor = (uint64_t)page->frame * PAGE_BYTES | LEAF | NORMAL | USER | SHARED | ACCESSED | NO_PRIVILEGED_EXECUTE;
    descriptor |= protection & WRITABLE ? 0 : READ_ONLY;
    descriptor |= protection & EXECUTABLE ? 0 : NO_EXECUTE;
    descriptor |= protection & ARCH_GUARDED ? GUARDED : 0;
    *leaf(page->number * PAGE_BYTES) = protection & (READABLE | WRITABLE | EXECUTABLE) ? descriptor : 0;
}

void machine_flush(void) { __asm__ volatile("dsb ishst\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::: "memory"); }

void machine_filled(void) { __asm__ volatile("dsb ish\n\tic iallu\n\tdsb ish\n\tisb" ::: "memory"); }

/* SCTLR_EL1: caches and page tables on, landing pads as a process has them, and what Linux lets a process do: ask for the
 * kind of the caches, maintain them, zero with dc zva. */
#define SCTLR_ON (1u << 0 | 1u << 2 | 1u << 12)
#define SCTLR_LETS (1u << 14 | 1u << 15 | 1u << 26)
#define SCTLR_PADS (1ull << 35)

#define TCR (25ull | 1 << 8 | 1 << 10 | 3 << 12 | 25ull << 16 | 1 << 23 | 2ull << 32) /* TTBR1_EL1 is not used (EPD1) */

void machine_start(void)
{
    uint64_t sctlr;
    *console(CONTROL) = little(ON);
    tables = bare_memory(PAGE_BYTES);
    tables[MACHINE_RAM >> 30] = MACHINE_RAM | BLOCK | NORMAL | SHARED | ACCESSED | NO_EXECUTE;
    *leaf(MACHINE_CONSOLE) = MACHINE_CONSOLE | LEAF | DEVICE | ACCESSED | NO_EXECUTE | NO_PRIVILEGED_EXECUTE;
    __asm__ volatile("msr mair_el1, %0\n\tmsr tcr_el1, %1\n\tmsr ttbr0_el1, %2\n\tmsr cpacr_el1, %3\n\tisb" ::"r"(0x00ffull),
                     "r"(TCR), "r"(bare_physical(tables)), "r"(3ull << 20));
    machine_flush();
    __asm__ volatile("mrs %0, sctlr_el1" : "=r"(sctlr));
    sctlr |= SCTLR_ON | SCTLR_LETS | SCTLR_PADS;
    __asm__ volatile("msr sctlr_el1, %0\n\tisb" ::"r"(sctlr) : "memory");
}

/* As Linux tells it (its Documentation, arch/arm64/elf_hwcaps): HWCAP_PMULL and HWCAP2_BTI, if the CPU has them. */
size_t machine_auxiliary(uintptr_t *vector)
{
    uint64_t instructions, features;
    __asm__("mrs %0, id_aa64isar0_el1" : "=r"(instructions));
    __asm__("mrs %0, id_aa64pfr1_el1" : "=r"(features));
    const uintptr_t pairs[] = {16, (instructions >> 4 & 15) >= 2 ? 1u << 4 : 0, 26, features & 15 ? 1u << 17 : 0};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        vector[i] = pairs[i];
    return sizeof pairs / sizeof *pairs;
}

intptr_t machine_call(uintptr_t number, const uintptr_t argument[6])
{
    (void)number, (void)argument;
    return -ENOSYS;
}

/* Classes of exceptions (ESR_EL1.EC). */
enum {
    UNKNOWN = 0,
    BRANCH_TARGET = 0xd,
    ILLEGAL_STATE = 0xe,
    SYSTEM_CALL = 0x15,
    FETCH = 0x20,
    MISALIGNED_PC = 0x22,
    ACCESS = 0x24,
    MISALIGNED_SP = 0x26,
    BREAKPOINT = 0x3c,
};

static uint32_t signal_of(uint64_t class)
{
    switch (class) {
    case FETCH:
    case ACCESS:
        return SIGSEGV;
    case MISALIGNED_PC:
    case MISALIGNED_SP:
        return SIGBUS;
    case BREAKPOINT:
        return SIGTRAP;
    case UNKNOWN:
    case BRANCH_TARGET:
    case ILLEGAL_STATE:
    default:
        return SIGILL;
    }
}

void machine_trap(struct registers *guest, uint64_t syndrome, uint64_t address)
{
    uint64_t class = syndrome >> 26 & 63;
    if (class != SYSTEM_CALL)
        bare_dies(signal_of(class), guest->pc, class == FETCH || class == ACCESS ? address : 0);
    guest->x[0] = (uint64_t)bare_call(guest->x[8], guest->x);
}
