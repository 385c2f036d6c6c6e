/* s390x as a bare machine: its console, its tables (z/Architecture Principles of Operation, "Dynamic Address
 * Translation"), and what leads out of the guest. */
#include "bare.h"

struct psw {
    uint64_t mask, pc;
};

void machine_trap(uint64_t called);
extern const uint8_t machine_system_call[], machine_program[];
long machine_service(uint64_t command, void *block);

/* A compiler that sees so low an address takes it for a mistake. */
static void *low(uintptr_t at)
{
    __asm__("" : "+r"(at));
    return (void *)at;
}

#define LOW(type, at) (*(volatile type *)low(at))

/* The service-call control block of a console in ASCII (qemu, hw/char/sclpconsole.c): header, and one event. */
struct block {
    uint16_t length;
    uint8_t function, control[3];
    uint16_t response;
    union {
        struct {
            uint16_t unused, mask_length;
            uint32_t receive, send, others[2];
        } events;
        struct {
            uint16_t length;
            uint8_t type, flags;
            uint16_t unused;
            uint8_t text[1];
        } event;
    };
} __attribute__((packed));

enum { HEADER = 8, EVENT_MASK = 0x00780005, EVENT_DATA = 0x00760005, ASCII = 0x1a };

static struct block block __attribute__((aligned(4096)));

static void serve(uint64_t command)
{
    while (machine_service(command, &block))
        ;
}

static void clear(void)
{
    for (size_t i = 0; i < sizeof block; i++)
        ((volatile uint8_t *)&block)[i] = 0;
}

void machine_put(uint8_t byte)
{
    clear();
    block.length = HEADER + 7;
    block.event.length = 7;
    block.event.type = ASCII;
    block.event.text[0] = byte;
    serve(EVENT_DATA);
}

/* Entries: of a table of regions, of segments, of pages. */
enum { INVALID = 0x20, REGIONS = 0x4, WHOLE = 0x3, INVALID_PAGE = 0x400, PROTECTED = 0x200, NO_EXECUTE = 0x100 };
enum { ENTRIES = 2048, TABLE_BYTES = 16384, REGION_BITS = 31, SEGMENT_BITS = 20, PAGES_OF_SEGMENT = 256 };

static uint64_t *regions;

/* Memory of `size` bytes, a multiple of which is its address, full of `entry`. */
static uint64_t *table(size_t size, uint64_t entry)
{
    uint8_t *memory = bare_memory(2 * size);
    uint64_t *aligned = (uint64_t *)(((uintptr_t)memory + size - 1) & -(uintptr_t)size);
    for (size_t i = 0; i < size / sizeof entry; i++)
        ((volatile uint64_t *)aligned)[i] = entry;
    return aligned;
}

void machine_map(struct page *page)
{
    uint64_t address = page->number * PAGE_BYTES, entry = (uint64_t)page->frame * PAGE_BYTES;
    uint64_t *region = &regions[address >> REGION_BITS], *segment, *pages;
    if (*region & INVALID)
        *region = (uint64_t)table(TABLE_BYTES, INVALID) | REGIONS | WHOLE;
    segment = &((uint64_t *)(*region & -(uint64_t)PAGE_BYTES))[address >> SEGMENT_BITS & (ENTRIES - 1)];
    if (*segment & INVALID)
        *segment = (uint64_t)table(PAGES_OF_SEGMENT * sizeof entry, INVALID_PAGE);
    pages = (uint64_t *)(*segment & -(uint64_t)(PAGES_OF_SEGMENT * sizeof entry));
    entry |= page->protection & WRITABLE ? 0 : PROTECTED;
    entry |= page->protection & EXECUTABLE ? 0 : NO_EXECUTE;
    pages[page->number % PAGES_OF_SEGMENT] =
        page->protection & (READABLE | WRITABLE | EXECUTABLE) ? entry : INVALID_PAGE;
}

void machine_flush(void) { __asm__ volatile("ptlb" ::: "memory"); }

void machine_filled(void) {}

/* Control register 0: floating point and vectors, pages that are not executed. */
#define CONTROL_0 (1ull << 18 | 1ull << 17 | 1ull << 20)

void machine_start(void)
{
    const uint64_t mask = 0x0000000180000000;
    uint64_t control[2] = {CONTROL_0, 0};
    LOW(struct psw, NEW_SVC).mask = mask;
    LOW(struct psw, NEW_SVC).pc = (uint64_t)machine_system_call;
    LOW(struct psw, NEW_PROGRAM).mask = mask;
    LOW(struct psw, NEW_PROGRAM).pc = (uint64_t)machine_program;
    regions = table(TABLE_BYTES, INVALID | REGIONS);
    control[1] = (uint64_t)regions | REGIONS | WHOLE;
    __asm__ volatile("lctlg 0, 1, %0" ::"Q"(control));
    clear();
    block.length = HEADER + 4 + 4 * 4;
    block.events.mask_length = 4;
    block.events.send = 1u << (32 - ASCII);
    serve(EVENT_MASK);
}

/* As Linux tells it: HWCAP_S390_VXRS, if facility 129 is there. */
size_t machine_auxiliary(uintptr_t *vector)
{
    uint64_t facilities[3] = {0};
    register uint64_t last __asm__("r0") = 2;
    __asm__ volatile(".insn s, 0xb2b00000, %0" : "=Q"(facilities), "+d"(last)::"cc", "memory"); /* stfle */
    vector[0] = 16;
    vector[1] = facilities[2] >> (63 - (129 - 128)) & 1 ? 1u << 11 : 0;
    return 2;
}

intptr_t machine_call(uintptr_t number, const uintptr_t argument[6])
{
    (void)number, (void)argument;
    return -ENOSYS;
}

/* Codes of program interruptions. */
enum { OPERATION = 1, PRIVILEGED = 2, SPECIFICATION = 6, DATA = 7, DIVIDE = 9, TRANSLATION = 0x10, PAGE = 0x11, REGION = 0x38 };

static uint32_t signal_of(uint16_t code)
{
    switch (code) {
    case OPERATION:
    case PRIVILEGED:
    case SPECIFICATION:
        return SIGILL;
    case DATA:
    case DIVIDE:
        return SIGFPE;
    default:
        return SIGSEGV;
    }
}

#define PROBLEM_STATE (1ull << 48)

void machine_trap(uint64_t called)
{
    uint64_t *registers = low(REGISTERS);
    if (called) {
        registers[2] = (uint64_t)bare_call(registers[1], &registers[2]);
        return;
    }
    uint16_t code = LOW(uint16_t, PROGRAM_CODE);
    uint64_t pc = LOW(struct psw, OLD_PROGRAM).pc, address = LOW(uint64_t, TRANSLATION_ADDRESS) & -(uint64_t)PAGE_BYTES;
    if (!(LOW(struct psw, OLD_PROGRAM).mask & PROBLEM_STATE))
        bare_fails(code, pc, address);
    bare_dies(signal_of(code), pc, signal_of(code) == SIGSEGV ? address : 0);
}
