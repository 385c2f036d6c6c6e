/* riscv as a bare machine: its console, its page tables (RISC-V Privileged Architecture, "Sv32" and "Sv39"), and what
 * leads out of the guest. */
#include "bare.h"

struct registers {
    uintptr_t pc, x[31]; /* from x1 on */
};

enum { SP = 1, A0 = 9, A7 = 16 };

void machine_trap(struct registers *guest, uintptr_t cause, uintptr_t value);

void machine_put(uint8_t byte) { *(volatile uint8_t *)MACHINE_CONSOLE = byte; }

_Noreturn void machine_off(void)
{
    for (;;)
        *(volatile uint32_t *)MACHINE_POWER = 0x5555; /* qemu, hw/misc/sifive_test.c: FINISHER_PASS */
}

/* Entries of page tables. */
enum { VALID = 1, READ = 2, WRITE = 4, EXECUTE = 8, USER = 16, ACCESSED = 64, DIRTY = 128, FRAME = 10 };
#if __riscv_xlen == 64
enum { LEVELS = 3, BITS = 9 };
#define MODE (8ull << 60) /* Sv39 */
#define ALL_ADDRESSES (~0ull >> 10) /* of pmpaddr0, which has 54 bits */
#else
enum { LEVELS = 2, BITS = 10 };
#define MODE (1ul << 31) /* Sv32 */
#define ALL_ADDRESSES (~0ul)
#endif

static uintptr_t *tables;

void machine_map(struct page *page)
{
    uintptr_t *entry = tables, permission = 0;
    for (int level = LEVELS - 1;; level--) {
        entry += page->number >> BITS * level & ((1u << BITS) - 1);
        if (!level)
            break;
        if (!*entry)
            *entry = bare_physical(bare_memory(PAGE_BYTES)) / PAGE_BYTES << FRAME | VALID;
        entry = (uintptr_t *)(*entry >> FRAME << 12);
    }
    permission |= page->protection & (READABLE | WRITABLE) ? READ : 0;
    permission |= page->protection & WRITABLE ? WRITE | DIRTY : 0;
    permission |= page->protection & EXECUTABLE ? READ | EXECUTE : 0;
    *entry = permission ? (uintptr_t)page->frame << FRAME | permission | VALID | USER | ACCESSED : 0;
}

void machine_flush(void) { __asm__ volatile("sfence.vma" ::: "memory"); }

void machine_filled(void) { __asm__ volatile("fence.i" ::: "memory"); }

/* All of memory is the guest's as far as physical memory protection goes, and so are the floating-point registers. */
void machine_start(void)
{
    tables = bare_memory(PAGE_BYTES);
    __asm__ volatile("csrw pmpaddr0, %0\n\tcsrw pmpcfg0, %1\n\tcsrw satp, %2\n\tcsrw mstatus, %3" ::"r"(ALL_ADDRESSES),
                     "r"(0x1f), "r"(MODE | bare_physical(tables) / PAGE_BYTES), "r"(1 << 13)
                     : "memory");
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

/* Causes of exceptions. */
enum { MISALIGNED_FETCH = 0, ILLEGAL = 2, BREAKPOINT = 3, MISALIGNED_LOAD = 4, MISALIGNED_STORE = 6, SYSTEM_CALL = 8 };

static uint32_t signal_of(uintptr_t cause)
{
    switch (cause) {
    case ILLEGAL:
        return SIGILL;
    case BREAKPOINT:
        return SIGTRAP;
    case MISALIGNED_FETCH:
    case MISALIGNED_LOAD:
    case MISALIGNED_STORE:
        return SIGBUS;
    default:
        return SIGSEGV;
    }
}

void machine_trap(struct registers *guest, uintptr_t cause, uintptr_t value)
{
    if (cause != SYSTEM_CALL)
        bare_dies(signal_of(cause), guest->pc, value);
    guest->pc += 4;
    guest->x[A0] = (uintptr_t)bare_call(guest->x[A7], &guest->x[A0]);
}
