/* mips as a bare machine: its console, its TLB, which software fills (MIPS Architecture For Programmers, Volume III,
 * "TLB-Based Virtual Address Translation"; it keeps nobody from executing what can be read), and what leads out of the
 * guest. */
#include "bare.h"

struct registers {
    uintptr_t r[32], hi, lo, pc, cause, bad_address, status;
};

void machine_trap(struct registers *guest);
extern const uint32_t machine_vector[];

void machine_put(uint8_t byte) { *(volatile uint8_t *)MACHINE_CONSOLE = byte; }

_Noreturn void machine_off(void)
{
    for (;;)
        *(volatile uint32_t *)MACHINE_POWER = 0x42;
}

/* Registers of coprocessor 0, by number and selection. */
#define READ(number)                                                                                                   \
    ({                                                                                                                 \
        uint32_t value;                                                                                                \
        __asm__ volatile("mfc0 %0, $" #number : "=r"(value));                                                          \
        value;                                                                                                         \
    })
#define WRITE(number, value) __asm__ volatile("mtc0 %0, $" #number "\n\tehb" ::"r"((uint32_t)(value)) : "memory")
#ifdef __mips64
#define WRITE_WIDE(number, value) __asm__ volatile("dmtc0 %0, $" #number "\n\tehb" ::"r"(value) : "memory")
#else
#define WRITE_WIDE(number, value) WRITE(number, value)
#endif

/* Of EntryLo0 and EntryLo1; an entry is of two pages. */
enum { GLOBAL = 1, VALID = 2, DIRTY = 4, CACHED = 3 << 3, FRAME = 6 };

static uint32_t half(uintptr_t number)
{
    const struct page *page = bare_page(number * PAGE_BYTES);
    if (!page || !(page->protection & (READABLE | WRITABLE | EXECUTABLE)))
        return GLOBAL;
    return page->frame << FRAME | CACHED | GLOBAL | VALID | (page->protection & WRITABLE ? DIRTY : 0);
}

/* The entry for an address takes the place of one that chance names; false if there is no page. */
static bool fill(uintptr_t address)
{
    uintptr_t number = address / PAGE_BYTES & ~(uintptr_t)1;
    if (!(half(address / PAGE_BYTES) & VALID))
        return false;
    WRITE(5, 0);                            /* PageMask */
    WRITE_WIDE(10, number * PAGE_BYTES);    /* EntryHi */
    WRITE(2, half(number));                 /* EntryLo0 */
    WRITE(3, half(number + 1));             /* EntryLo1 */
    __asm__ volatile("tlbwr\n\tehb" ::: "memory");
    return true;
}

void machine_map(struct page *page) { (void)page; } /* whoever misses it finds it then */

/* Every entry is of an address that is never translated, and of no other's. */
void machine_flush(void)
{
    uint32_t config;
    __asm__ volatile("mfc0 %0, $16, 1" : "=r"(config)); /* Config1 */
    for (uint32_t i = 0; i <= (config >> 25 & 63); i++) {
        WRITE(0, i); /* Index */
        WRITE_WIDE(10, KSEG0 + (uintptr_t)i * 2 * PAGE_BYTES);
        WRITE(2, 0);
        WRITE(3, 0);
        __asm__ volatile("tlbwi\n\tehb" ::: "memory");
    }
}

void machine_filled(void) {}

void machine_start(void)
{
    static const uint16_t vectors[] = {0, 0x80, 0x180}; /* misses, those of 64-bit addresses, all else */
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        for (size_t word = 0; word < 4; word++)
            ((volatile uint32_t *)(KSEG0 + vectors[i]))[word] = machine_vector[word];
    WRITE(7, 0xf); /* HWREna: what Linux lets a process read */
    machine_flush();
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

/* Codes of exceptions, in Cause. */
enum {
    MODIFICATION = 1,
    MISS_OF_LOAD = 2,
    MISS_OF_STORE = 3,
    ADDRESS_OF_LOAD = 4,
    ADDRESS_OF_STORE = 5,
    SYSTEM_CALL = 8,
    BREAKPOINT = 9,
    OVERFLOW = 12,
    TRAP = 13,
    FLOATING_POINT = 15,
};

static uint32_t signal_of(unsigned code)
{
    switch (code) {
    case MODIFICATION:
    case MISS_OF_LOAD:
    case MISS_OF_STORE:
        return SIGSEGV;
    case ADDRESS_OF_LOAD:
    case ADDRESS_OF_STORE:
        return SIGBUS;
    case BREAKPOINT:
    case TRAP:
        return SIGTRAP;
    case OVERFLOW:
    case FLOATING_POINT:
        return SIGFPE;
    default:
        return SIGILL;
    }
}

enum { RESULT = 2, ARGUMENTS = 4, FAILED = 7, STACK = 29 };

static void answer(struct registers *guest)
{
    uintptr_t *r = guest->r;
#ifdef __mips64
    const uintptr_t argument[6] = {r[4], r[5], r[6], r[7], r[8], r[9]};
#else
    uintptr_t argument[6] = {r[4], r[5], r[6], r[7], 0, 0};
    for (size_t i = 4; i < 6; i++) /* the last two are on the stack, behind room for those in registers */
        bare_load(r[STACK] + i * sizeof(uintptr_t), &argument[i]);
#endif
    intptr_t result = bare_call(r[RESULT], argument);
    r[FAILED] = result < 0;
    r[RESULT] = (uintptr_t)(result < 0 ? -result : result);
    guest->pc += 4;
}

void machine_trap(struct registers *guest)
{
    unsigned code = guest->cause >> 2 & 31;
    if (!(guest->status & USER_MODE))
        bare_fails(code, guest->pc, guest->bad_address);
    if (code == SYSTEM_CALL)
        answer(guest);
    else if ((code != MISS_OF_LOAD && code != MISS_OF_STORE) || !fill(guest->bad_address))
        bare_dies(signal_of(code), guest->pc, guest->bad_address);
}
