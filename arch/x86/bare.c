/* x86 as a bare machine: its console, its page tables (Intel SDM volume 3A, "PAE Paging" and "4-Level Paging"; both have
 * the same entries), and what leads out of the guest. */
#include "bare.h"

#ifdef __x86_64__
struct registers {
    uintptr_t r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
    uintptr_t number, code, pc, cs, flags, sp, ss;
};
#else
struct registers {
    uintptr_t es, ds, di, si, bp, unused, bx, dx, cx, ax;
    uintptr_t number, code, pc, cs, flags, sp, ss;
};
#endif

void machine_trap(struct registers *guest, uintptr_t address);

/* start_bare.S. */
extern uint64_t page_directories[], machine_segments[];
extern const uint8_t machine_vectors[], machine_system_call[];
extern uint8_t stack_end[];
extern const uint32_t has_no_execute;

static void out(uint16_t port, uint8_t byte) { __asm__ volatile("outb %0, %1" ::"a"(byte), "Nd"(port)); }

void machine_put(uint8_t byte) { out(MACHINE_CONSOLE, byte); }

_Noreturn void machine_off(void)
{
    for (;;)
        out(MACHINE_POWER, 0);
}

/* Entries of page tables. */
enum { PRESENT = 1, WRITE = 2, USER = 4, ENTRIES = 512, DIRECTORY_BITS = 30, TABLE_BITS = 21 };
#define NO_EXECUTE (1ull << 63)
#define ADDRESS 0xffffffffff000ull

/* The directories of the first 4 GiB are made; those behind are found from the pointers, a page before them. */
static uint64_t *next_table(uint64_t *entry)
{
    if (!*entry)
        *entry = bare_physical(bare_memory(PAGE_BYTES)) | PRESENT | WRITE | USER;
    return (uint64_t *)((uintptr_t)(*entry & ADDRESS) + MACHINE_SEEN);
}

static uint64_t *leaf(const struct page *page)
{
    uint64_t address = (uint64_t)page->number * PAGE_BYTES;
    uint64_t *directory = &page_directories[ENTRIES * (address >> DIRECTORY_BITS)];
    if (address >> 32)
        directory = next_table(&page_directories[(address >> DIRECTORY_BITS) - ENTRIES]);
    return &next_table(&directory[address >> TABLE_BITS & (ENTRIES - 1)])[page->number & (ENTRIES - 1)];
}

void machine_map(struct page *page)
{
    uint32_t protection = page->protection;
    uint64_t entry = (uint64_t)page->frame * PAGE_BYTES | PRESENT | USER;
    entry |= protection & WRITABLE ? WRITE : 0;
    entry |= protection & EXECUTABLE || !has_no_execute ? 0 : NO_EXECUTE;
    *leaf(page) = protection & (READABLE | WRITABLE | EXECUTABLE) ? entry : 0;
}

void machine_flush(void)
{
    uintptr_t root;
    __asm__ volatile("mov %%cr3, %0\n\tmov %0, %%cr3" : "=r"(root)::"memory");
}

void machine_filled(void) {}

/* Gates, and the segment that says which stack an exception begins on. */
enum { GATE = 0x8e00, FROM_USER = 0x6000, VECTOR_BYTES = 16, BREAKPOINT = 3, PAGE_FAULT = 14, SYSTEM_CALL = 0x80 };

#ifdef __x86_64__
struct gate {
    uint16_t low, selector, kind, middle;
    uint32_t high, unused;
};
static uint32_t task[26];
#else
struct gate {
    uint16_t low, selector, kind, middle;
};
static uint32_t task[26];
#endif

static struct gate gates[SYSTEM_CALL + 1];

static void set_gate(unsigned number, const uint8_t *to, unsigned kind)
{
    uintptr_t at = (uintptr_t)to;
    struct gate *gate = &gates[number];
    gate->low = (uint16_t)at;
    gate->selector = SUPERVISOR_CODE;
    gate->kind = (uint16_t)kind;
    gate->middle = (uint16_t)(at >> 16);
}

static void set_task(void)
{
    uint64_t at = (uintptr_t)task;
    uintptr_t stack = (uintptr_t)stack_end;
    task[1] = (uint32_t)stack;
    task[2] = sizeof(uintptr_t) == 8 ? 0 : SUPERVISOR_DATA;
    machine_segments[TASK / 8] = (at & 0xffffff) << 16 | (at >> 24 & 0xff) << 56 | 0x890000000000ull | (sizeof task - 1);
    __asm__ volatile("ltr %w0" ::"r"(TASK));
}

#ifdef __x86_64__
static void write_msr(uint32_t number, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(number), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}
#endif

void machine_start(void)
{
    struct {
        uint16_t limit;
        uintptr_t at;
    } __attribute__((packed)) table = {sizeof gates - 1, (uintptr_t)gates};
    for (unsigned number = 0; number < 32; number++)
        set_gate(number, machine_vectors + VECTOR_BYTES * number, GATE | (number == BREAKPOINT ? FROM_USER : 0));
    set_gate(SYSTEM_CALL, machine_vectors + VECTOR_BYTES * 32, GATE | FROM_USER);
    __asm__ volatile("lidt %0" ::"m"(table));
    set_task();
#ifdef __x86_64__
    write_msr(0xc0000081, (uint64_t)SUPERVISOR_CODE << 32 | (uint64_t)USER_CODE_32 << 48); /* STAR */
    write_msr(0xc0000082, (uintptr_t)machine_system_call);                                 /* LSTAR */
    write_msr(0xc0000084, 0x700);                                                          /* FMASK: TF, IF, DF */
#endif
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

static uint32_t signal_of(uintptr_t number)
{
    switch (number) {
    case 0:
    case 16:
    case 19:
        return SIGFPE;
    case 1:
    case BREAKPOINT:
        return SIGTRAP;
    case 6:
        return SIGILL;
    case 17:
        return SIGBUS;
    default:
        return SIGSEGV;
    }
}

/* As if the breakpoint had called farm_breakpoint, behind the red zone (breakpoint.S). */
static bool answers(struct registers *guest)
{
    uintptr_t to = bare_breakpoint(), stack = guest->sp - (sizeof(uintptr_t) == 8 ? 128 : 0) - sizeof(uintptr_t);
    if (!to || !bare_store(stack, guest->pc))
        return false;
    guest->sp = stack;
    guest->pc = to;
    return true;
}

void machine_trap(struct registers *guest, uintptr_t address)
{
    if (!(guest->cs & 3))
        bare_fails(guest->number, guest->pc, address);
    if (guest->number == BREAKPOINT && answers(guest))
        return;
    if (guest->number != SYSTEM_CALL)
        bare_dies(signal_of(guest->number), guest->pc, guest->number == PAGE_FAULT ? address : 0);
#ifdef __x86_64__
    const uintptr_t argument[6] = {guest->di, guest->si, guest->dx, guest->r10, guest->r8, guest->r9};
#else
    const uintptr_t argument[6] = {guest->bx, guest->cx, guest->dx, guest->si, guest->di, guest->bp};
#endif
    guest->ax = (uintptr_t)bare_call(guest->ax, argument);
}
