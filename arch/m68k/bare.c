/* m68k as a bare machine: its console, its page tables (MC68040 User's Manual, section 3 "Memory Management Unit"; they
 * keep nobody from executing what can be read), and what leads out of the guest. */
#include "bare.h"

struct registers {
    uintptr_t d[8], a[7];
};

/* What every frame begins with, and one of an access error. */
struct frame {
    uint16_t status;
    uint32_t pc;
    uint16_t format;
    uint32_t effective_address;
    uint16_t special_status, write_backs[3];
    uint32_t fault_address;
} __attribute__((packed, aligned(2)));

void machine_called(struct registers *guest);
_Noreturn void machine_trap(const struct frame *frame);
extern const uint8_t machine_system_call[], machine_exception[];

void machine_put(uint8_t byte) { *(volatile uint32_t *)MACHINE_CONSOLE = byte; }

_Noreturn void machine_off(void)
{
    for (;;)
        *(volatile uint32_t *)MACHINE_POWER = 2; /* qemu, hw/misc/virt_ctrl.c: CMD_HALT */
}

/* Descriptors: of tables of 128, 128 and 64 entries. */
enum { TABLE = 2, PAGE = 1, WRITE_PROTECTED = 4, ROOT_BITS = 25, POINTER_BITS = 18, POINTERS = 128, LEAVES = 64 };
enum { MOST_TABLE_BYTES = 512 };

static uint32_t *tables;

/* Zeroed memory for a table. */
static uint32_t *table(void)
{
    static uint8_t *free;
    static size_t left;
    if (!left) {
        free = bare_memory(PAGE_BYTES);
        left = PAGE_BYTES;
    }
    uint32_t *made = (uint32_t *)free;
    free += MOST_TABLE_BYTES;
    left -= MOST_TABLE_BYTES;
    return made;
}

static uint32_t *next_table(uint32_t *descriptor)
{
    if (!*descriptor)
        *descriptor = (uint32_t)table() | TABLE;
    return (uint32_t *)(*descriptor & -(uint32_t)(MOST_TABLE_BYTES / 2));
}

void machine_map(struct page *page)
{
    uint32_t address = page->number * PAGE_BYTES, descriptor = page->frame * PAGE_BYTES | PAGE;
    uint32_t *pointers = next_table(&tables[address >> ROOT_BITS]);
    uint32_t *leaves = next_table(&pointers[address >> POINTER_BITS & (POINTERS - 1)]);
    descriptor |= page->protection & WRITABLE ? 0 : WRITE_PROTECTED;
    leaves[page->number & (LEAVES - 1)] = page->protection & (READABLE | WRITABLE | EXECUTABLE) ? descriptor : 0;
}

/* Instructions of a 68040, which this is not compiled for. */
#define MOVEC_FROM_D0(register) ".word 0x4e7b, 0x0000 + " #register
#define PFLUSHA ".word 0xf518"
#define CPUSHA ".word 0xf4f8" /* bc */

void machine_flush(void) { __asm__ volatile(PFLUSHA ::: "memory"); }

void machine_filled(void) { __asm__ volatile(CPUSHA ::: "memory"); }

enum { VECTORS = 256, ALL_OF_SUPERVISOR = 0x00ffa000, TRANSLATE = 0x8000 };

static uint32_t vectors[VECTORS];

void machine_start(void)
{
    for (size_t i = 0; i < VECTORS; i++)
        vectors[i] = (uint32_t)(i == SYSTEM_CALL ? machine_system_call : machine_exception);
    tables = table();
    register uint32_t value __asm__("d0") = (uint32_t)vectors;
    __asm__ volatile(MOVEC_FROM_D0(0x801)::"d"(value)); /* VBR */
    value = ALL_OF_SUPERVISOR;
    __asm__ volatile(MOVEC_FROM_D0(4) "\n\t" MOVEC_FROM_D0(6)::"d"(value)); /* ITT0, DTT0 */
    value = (uint32_t)tables;
    __asm__ volatile(MOVEC_FROM_D0(0x806) "\n\t" MOVEC_FROM_D0(0x807)::"d"(value)); /* URP, SRP */
    value = TRANSLATE;
    __asm__ volatile(PFLUSHA "\n\t" MOVEC_FROM_D0(3)::"d"(value) : "memory"); /* TC */
}

size_t machine_auxiliary(uintptr_t *vector)
{
    (void)vector;
    return 0;
}

enum { CACHEFLUSH = 123 };

intptr_t machine_call(uintptr_t number, const uintptr_t argument[6])
{
    (void)argument;
    if (number != CACHEFLUSH)
        return -ENOSYS;
    machine_filled();
    return 0;
}

void machine_called(struct registers *guest)
{
    const uintptr_t argument[6] = {guest->d[1], guest->d[2], guest->d[3], guest->d[4], guest->d[5], guest->a[0]};
    guest->d[0] = (uintptr_t)bare_call(guest->d[0], argument);
}

/* Vectors (M68000 Family Programmer's Reference Manual, "Exception Vector Assignments"). */
enum { ACCESS = 2, ADDRESS = 3, ILLEGAL = 4, DIVIDE = 5, TRAPS = 32, LAST_TRAP = 47, FLOATING_POINT = 48, LAST_FLOATING_POINT = 54 };

static uint32_t signal_of(unsigned vector)
{
    if (vector == ACCESS)
        return SIGSEGV;
    if (vector == ADDRESS)
        return SIGBUS;
    if (vector == DIVIDE || (vector >= FLOATING_POINT && vector <= LAST_FLOATING_POINT))
        return SIGFPE;
    return vector == LAST_TRAP || vector == 9 ? SIGTRAP : SIGILL;
}

_Noreturn void machine_trap(const struct frame *frame)
{
    unsigned vector = (frame->format & 0xfff) / 4;
    uint32_t address = frame->format >> 12 == 7 ? frame->fault_address : 0;
    if (frame->status & 0x2000)
        bare_fails(vector, frame->pc, address);
    bare_dies(signal_of(vector), frame->pc, address);
}
