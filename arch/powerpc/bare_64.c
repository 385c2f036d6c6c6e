/* powerpc, 64 bits, as a bare machine: its console, its hashed page table, which the hypervisor keeps (Linux on Power
 * Architecture Reference, "Hypervisor Call Interface"; Power ISA Book III, "Segment Translation", "Page Translation"),
 * and what leads out of the guest. */
#include "bare.h"

struct registers {
    uint64_t r[32], cr, lr, ctr, xer, pc, msr, address, vector;
};

void machine_trap(struct registers *guest);
_Noreturn void machine_return(const struct registers *guest);
long machine_ask(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

enum { H_ENTER = 8, H_REMOVE = 4, H_PUT_TERM_CHAR = 0x58, H_CEDE = 0xe0, H_SET_MODE = 0x31c };

void machine_put(uint8_t byte) { machine_ask(H_PUT_TERM_CHAR, MACHINE_CONSOLE, 1, (uint64_t)byte << 56, 0); }

/* The host ends the machine once it has read the last frame. */
_Noreturn void machine_off(void)
{
    for (;;)
        machine_ask(H_CEDE, 0, 0, 0, 0);
}

/* Of the page table: it has groups of 8 entries each, in one of which an entry must be. */
enum { SEGMENT_BITS = 28, GROUP = 8, GROUPS = 16384, ANY_SEGMENT = 0x100 };
enum { VALID = 1, NUMBER_SHIFT = 7, ABBREVIATED_BITS = 23 };
enum { USER_WRITES = 2, USER_READS = 3, NO_EXECUTE = 4, COHERENT = 0x10, CHANGED = 0x80, REFERENCED = 0x100 };
#define EXACT (1ull << (63 - 24))

static uint64_t segment_of(uint64_t address) { return ANY_SEGMENT + (address >> SEGMENT_BITS); }

/* The buffer of segments has an entry for each one that the guest has a page in. */
static void see_segment(uint64_t address)
{
    static uint64_t seen;
    uint64_t number = address >> SEGMENT_BITS;
    if (seen >> number & 1)
        return;
    seen |= 1ull << number;
    __asm__ volatile("slbmte %0, %1\n\tisync" ::"r"(segment_of(address) << 12 | 0xc00), "r"(number << SEGMENT_BITS | 1 << 27 | number)
                     : "memory");
}

/* A page's own entry is one more than the number of the machine's, if it has one there. */
void machine_map(struct page *page)
{
    uint64_t address = (uint64_t)page->number * PAGE_BYTES, segment = segment_of(address);
    uint64_t hash = segment ^ (page->number & 0xffff), group = (hash & (GROUPS - 1)) * GROUP;
    uint64_t high = (segment << SEGMENT_BITS | (address & ((1ull << SEGMENT_BITS) - 1))) >> ABBREVIATED_BITS << NUMBER_SHIFT | VALID;
    uint64_t low = (uint64_t)page->frame * PAGE_BYTES | COHERENT | CHANGED | REFERENCED;
    low |= page->protection & WRITABLE ? USER_WRITES : USER_READS;
    low |= page->protection & EXECUTABLE ? 0 : NO_EXECUTE;
    see_segment(address);
    if (page->entry)
        machine_ask(H_REMOVE, 0, page->entry - 1, 0, 0);
    page->entry = 0;
    if (!(page->protection & (READABLE | WRITABLE | EXECUTABLE)))
        return;
    for (uint32_t at = (uint32_t)group; at < group + GROUP; at++)
        if (!machine_ask(H_ENTER, EXACT, at, high, low)) {
            page->entry = at + 1;
            return;
        }
    bare_fails(H_ENTER, 0, address);
}

void machine_flush(void) { __asm__ volatile("ptesync\n\tisync" ::: "memory"); }

void machine_filled(void) {}

void machine_start(void)
{
#ifdef __LITTLE_ENDIAN__
    machine_ask(H_SET_MODE, 1, 4, 0, 0); /* exceptions are little-endian */
#endif
}

/* PPC_FEATURE2_VEC_CRYPTO, which every CPU of the machine has. */
size_t machine_auxiliary(uintptr_t *vector)
{
    vector[0] = 26;
    vector[1] = 0x02000000;
    return 2;
}

intptr_t machine_call(uintptr_t number, const uintptr_t argument[6])
{
    (void)number, (void)argument;
    return -ENOSYS;
}

/* MSR of the guest: 64 bits, vectors, VSX, problem state, floating point, machine checks, address translation. */
#define MSR_OF_GUEST (1ull << 63 | 1 << 25 | 1 << 23 | 1 << 14 | 1 << 13 | 1 << 12 | 1 << 5 | 1 << 4 | 1 << 1)
#define PROBLEM_STATE (1 << 14)

_Noreturn void machine_enter(uintptr_t pc, uintptr_t stack)
{
    struct registers guest;
    for (size_t i = 0; i < sizeof guest / sizeof(uint64_t); i++)
        ((volatile uint64_t *)&guest)[i] = 0;
#ifdef ARCH_DESCRIPTORS
    if (!bare_load(pc + sizeof pc, &guest.r[2]) || !bare_load(pc, &pc))
        bare_fails(0, pc, 0);
#endif
    guest.r[1] = stack;
    guest.r[12] = pc;
    guest.pc = pc;
    guest.msr = MSR_OF_GUEST;
#ifdef __LITTLE_ENDIAN__
    guest.msr |= 1;
#endif
    machine_return(&guest);
}

enum { PROGRAM = 0x700, ALIGNMENT = 0x600, NO_FLOAT = 0x800 };

static uint32_t signal_of(const struct registers *guest)
{
    switch (guest->vector) {
    case PROGRAM:
        return guest->msr & 0x20000 ? SIGTRAP : guest->msr & 0x100000 ? SIGFPE : SIGILL;
    case ALIGNMENT:
        return SIGBUS;
    case NO_FLOAT:
        return SIGILL;
    default:
        return SIGSEGV;
    }
}

void machine_trap(struct registers *guest)
{
    const uint64_t summary_overflow = 0x10000000;
    if (!(guest->msr & PROBLEM_STATE))
        bare_fails(guest->vector, guest->pc, guest->address);
    if (guest->vector != SYSTEM_CALL)
        bare_dies(signal_of(guest), guest->pc, guest->address);
    intptr_t result = bare_call(guest->r[0], &guest->r[3]);
    guest->cr = result < 0 ? guest->cr | summary_overflow : guest->cr & ~summary_overflow;
    guest->r[3] = (uint64_t)(result < 0 ? -result : result);
}
