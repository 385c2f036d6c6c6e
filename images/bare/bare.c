/* The supervisor of a bare machine: what a kernel is for the guest, and no more.
 *
 * It finds the guest's file in memory at MACHINE_GUEST, maps what the file says, each page with its protection, and runs
 * the guest unprivileged.  The guest asks it as it would ask Linux.  What it writes are the bytes of the machine's
 * console; what it reads the host puts into the machine's memory, for a console takes a byte at a time and asks for each
 * whether there is one.  So it has the same frames there as a process has on its standard input and output.  What
 * protects memory are the machine's page tables, and whoever does what they do not admit ends there.
 *
 * The supervisor's own frames are told from the guest's by their status:
 *     length in bytes of what follows, FRAME_UP                                         the machine is up
 *     length, FRAME_ENDED, cause, pc (two words), address (two words)                   the last frame there is
 * The cause is the signal that the guest dies of; 0: it has ended, with `address` as its status; CAUSE_OWN and others
 * that are none are the supervisor's own. */
#include "bare.h"

enum {
    CAUSE_OWN = 0x100u,
    PAGES = 8192, /* a power of two; twice as many as any guest has */
    STACK_PAGES = 256,
    STACK_END = 0xa00000,
    AUXILIARY_WORDS = 16,
    SHARED_BYTES = 0x200000, /* of memory that is mapped twice */
    SHARED_DESCRIPTOR = 3,
    MADV_POPULATE_READ = 22,
    MADV_POPULATE_WRITE = 23,
};

static struct page pages[PAGES];
static uintptr_t free_memory = MACHINE_MEMORY; /* physical */

/* Memory that is mapped twice, how much of it was written, and where a breakpoint leads. */
static uint8_t *shared;
static size_t shared_size;
static uintptr_t breakpoint;
static bool answers_breakpoints;

static void *seen(uintptr_t physical) { return (void *)(physical + MACHINE_SEEN); }

uintptr_t bare_physical(const void *memory) { return (uintptr_t)memory - MACHINE_SEEN; }

/* Not zeroed: the machine has just been switched on. */
void *bare_memory(size_t size)
{
    uintptr_t physical = free_memory;
    free_memory += (size + PAGE_BYTES - 1) & -(size_t)PAGE_BYTES;
    if (free_memory > MACHINE_MEMORY_END)
        bare_fails(CAUSE_OWN, 0, size);
    return seen(physical);
}

/* What is received: a ring, and how many bytes of it the host has filled since the machine is up, modulo 2 to the 32. */
static uint8_t get(void)
{
    static uint32_t taken;
    const volatile uint32_t *filled = seen(MACHINE_MAILBOX);
    const volatile uint8_t *ring = seen(MACHINE_MAILBOX + BARE_RING_OFFSET);
    while (*filled == taken)
        ;
    return ring[taken++ % BARE_RING];
}

/* What is sent. */

static void put_word(uint32_t word)
{
    const uint8_t *bytes = (const uint8_t *)&word;
    for (size_t i = 0; i < sizeof word; i++)
        machine_put(bytes[i]);
}

static void put_wide(uintptr_t value)
{
    put_word((uint32_t)((uint64_t)value >> 32));
    put_word((uint32_t)value);
}

static _Noreturn void ends(uint32_t cause, uintptr_t pc, uintptr_t address)
{
    put_word(6 * sizeof(uint32_t));
    put_word(FRAME_ENDED);
    put_word(cause);
    put_wide(pc);
    put_wide(address);
    machine_off();
}

_Noreturn void bare_dies(uint32_t signal, uintptr_t pc, uintptr_t address) { ends(signal, pc, address); }

_Noreturn void bare_fails(uintptr_t cause, uintptr_t pc, uintptr_t address)
{
    ends(CAUSE_OWN | (uint32_t)cause, pc, address);
}

/* Pages. */

static struct page *entry(uintptr_t address)
{
    uintptr_t number = address / PAGE_BYTES;
    size_t i = (size_t)(number ^ number >> 12) % PAGES;
    while (pages[i].number && pages[i].number != number)
        i = (i + 1) % PAGES;
    return &pages[i];
}

const struct page *bare_page(uintptr_t address)
{
    const struct page *page = entry(address);
    return page->number ? page : NULL;
}

static void map(uintptr_t address, uintptr_t physical, size_t size, uint32_t protection)
{
    for (size_t at = 0; at < size; at += PAGE_BYTES) {
        struct page *page = entry(address + at);
        page->number = (address + at) / PAGE_BYTES;
        page->frame = (uint32_t)((physical + at) / PAGE_BYTES);
        page->protection = protection;
        machine_map(page);
    }
}

/* The memory at an address of the guest's, which must have this protection; NULL if it has not. */
static uint8_t *memory_of(uintptr_t address, uint32_t protection)
{
    const struct page *page = bare_page(address);
    if (!page || (page->protection & protection) != protection)
        return NULL;
    return (uint8_t *)seen((uintptr_t)page->frame * PAGE_BYTES) + address % PAGE_BYTES;
}

bool bare_load(uintptr_t address, uintptr_t *word)
{
    uint8_t *bytes = (uint8_t *)word;
    for (size_t i = 0; i < sizeof *word; i++) {
        const uint8_t *from = memory_of(address + i, READABLE);
        if (!from)
            return false;
        bytes[i] = *from;
    }
    return true;
}

bool bare_store(uintptr_t address, uintptr_t word)
{
    const uint8_t *bytes = (const uint8_t *)&word;
    for (size_t i = 0; i < sizeof word; i++) {
        uint8_t *to = memory_of(address + i, WRITABLE);
        if (!to)
            return false;
        *to = bytes[i];
    }
    return true;
}

/* System calls. */

static bool admits(uintptr_t address, uintptr_t size, uint32_t protection)
{
    for (uintptr_t at = address & -(uintptr_t)PAGE_BYTES; at < address + size; at += PAGE_BYTES)
        if (!memory_of(at, protection))
            return false;
    return true;
}

/* As qemu-user and unlike Linux it looks at the address first. */
static intptr_t read_console(uintptr_t descriptor, uintptr_t address, uintptr_t size)
{
    if (!admits(address, size, WRITABLE))
        return -EFAULT;
    if (descriptor != 0)
        return -EBADF;
    for (uintptr_t i = 0; i < size; i++)
        *memory_of(address + i, WRITABLE) = get();
    return (intptr_t)size;
}

static intptr_t write_out(uintptr_t descriptor, uintptr_t address, uintptr_t size)
{
    if (!admits(address, size, READABLE))
        return -EFAULT;
    if (descriptor == SHARED_DESCRIPTOR && shared) {
        if (size > SHARED_BYTES - shared_size)
            return -ENOMEM;
        for (uintptr_t i = 0; i < size; i++)
            shared[shared_size++] = *memory_of(address + i, READABLE);
        return (intptr_t)size;
    }
    if (descriptor != 1 && descriptor != 2)
        return -EBADF;
    for (uintptr_t i = 0; descriptor == 1 && i < size; i++)
        machine_put(*memory_of(address + i, READABLE));
    return (intptr_t)size;
}

static intptr_t protect(uintptr_t address, uintptr_t size, uint32_t protection)
{
    if (address % PAGE_BYTES)
        return -EINVAL;
    if (!admits(address, size, 0))
        return -ENOMEM;
    for (uintptr_t at = address; at < address + size; at += PAGE_BYTES) {
        struct page *page = entry(at);
        if (page->protection != protection) {
            page->protection = protection;
            machine_map(page);
        }
    }
    machine_flush();
    return 0;
}

static intptr_t make_shared(void)
{
    if (!shared)
        shared = bare_memory(SHARED_BYTES);
    shared_size = 0;
    return SHARED_DESCRIPTOR;
}

/* Of memory that is mapped twice alone. */
static intptr_t map_shared(const uintptr_t argument[6])
{
    uintptr_t address = argument[0], size = argument[1];
    if (!shared || argument[4] != SHARED_DESCRIPTOR || argument[5] || address % PAGE_BYTES || size > SHARED_BYTES)
        return -EINVAL;
    map(address, bare_physical(shared), size, (uint32_t)argument[2]);
    machine_flush();
    machine_filled();
    return (intptr_t)address;
}

intptr_t bare_call(uintptr_t number, const uintptr_t argument[6])
{
    switch (number) {
    case ARCH_SYS_READ:
        return read_console(argument[0], argument[1], argument[2]);
    case ARCH_SYS_WRITE:
        return write_out(argument[0], argument[1], argument[2]);
    case ARCH_SYS_MPROTECT:
        return protect(argument[0], argument[1], (uint32_t)argument[2]);
#ifdef ARCH_SYS_MADVISE
    case ARCH_SYS_MADVISE:
        return admits(argument[0], argument[1], argument[2] == MADV_POPULATE_WRITE ? WRITABLE : READABLE) ? 0 : -EFAULT;
#endif
    case ARCH_SYS_MEMFD_CREATE:
        return make_shared();
    case ARCH_SYS_MMAP:
#ifdef ARCH_MMAP_BY_ADDRESS
        if (!admits(argument[0], 6 * sizeof(uintptr_t), READABLE))
            return -EFAULT;
        return map_shared((const uintptr_t *)memory_of(argument[0], READABLE));
#else
        return map_shared(argument);
#endif
    case ARCH_SYS_EXIT_GROUP:
        ends(0, 0, argument[0]);
#ifdef ARCH_SYS_RT_SIGACTION
    case ARCH_SYS_RT_SIGACTION: /* who handles a breakpoint is known: farm_breakpoint does */
        answers_breakpoints = answers_breakpoints || argument[0] == SIGTRAP;
        return 0;
    case ARCH_SYS_MEMBARRIER: /* there is one CPU */
        return 0;
#endif
    default:
        return machine_call(number, argument);
    }
}

uintptr_t bare_breakpoint(void) { return answers_breakpoints ? breakpoint : 0; }

/* The guest's file (ELF specification, "Object Files"; of either class, in the machine's own byte order). */

#if UINTPTR_MAX > 0xffffffffu
struct segment {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_size, size, alignment;
};
struct symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};
#else
struct segment {
    uint32_t type, offset, address, physical, file_size, size, flags, alignment;
};
struct symbol {
    uint32_t name, value, size;
    uint8_t info, other;
    uint16_t section;
};
#endif

struct file {
    uint8_t identity[16];
    uint16_t type, machine;
    uint32_t version;
    uintptr_t entry, segments, sections;
    uint32_t flags;
    uint16_t size, segment_size, segment_count, section_size, section_count, names;
};

struct section {
    uint32_t name, type;
    uintptr_t flags, address, offset, size;
    uint32_t link, info;
    uintptr_t alignment, entry_size;
};

enum { LOADED = 1, SYMBOL_TABLE = 2 };

static const struct file *file(void) { return seen(MACHINE_GUEST); }

static const void *in_file(uintptr_t offset) { return (const uint8_t *)file() + offset; }

static uint32_t protection_of(uint32_t flags)
{
    return (flags & 4 ? READABLE : 0u) | (flags & 2 ? WRITABLE : 0u) | (flags & 1 ? EXECUTABLE : 0u);
}

static void load(const struct segment *segment)
{
    uintptr_t start = (uintptr_t)segment->address & -(uintptr_t)PAGE_BYTES;
    size_t before = (size_t)(segment->address - start), size = before + (size_t)segment->size;
    const uint8_t *from = in_file((uintptr_t)segment->offset);
    uint8_t *to = bare_memory(size);
    for (size_t i = 0; i < segment->file_size; i++)
        ((volatile uint8_t *)to)[before + i] = from[i];
    map(start, bare_physical(to), size, protection_of(segment->flags));
}

static bool begins(const char *text, const char *with)
{
    while (*with && *text == *with)
        text++, with++;
    return !*with;
}

static bool is(const char *name, const char *other)
{
    while (*name && *name == *other)
        name++, other++;
    return *name == *other;
}

/* The value of a symbol; 0 if there is none. */
static uintptr_t symbol_named(const char *name)
{
    const struct section *sections = in_file(file()->sections);
    for (size_t i = 0; i < file()->section_count; i++)
        if (sections[i].type == SYMBOL_TABLE) {
            const struct symbol *symbols = in_file(sections[i].offset);
            const char *names = in_file(sections[sections[i].link].offset);
            for (size_t k = 0; k < sections[i].size / sizeof *symbols; k++)
                if (is(names + symbols[k].name, name))
                    return (uintptr_t)symbols[k].value;
        }
    return 0;
}

/* No arguments, no environment, and the auxiliary vector; where the stack pointer is then. */
static uintptr_t fill_stack(void)
{
    uint8_t *stack = bare_memory(STACK_PAGES * PAGE_BYTES);
    uintptr_t start = STACK_END - (3 + AUXILIARY_WORDS + 1) * sizeof(uintptr_t), begin = STACK_END - STACK_PAGES * PAGE_BYTES;
    start &= -(uintptr_t)16;
    map(begin, bare_physical(stack), STACK_PAGES * PAGE_BYTES, READABLE | WRITABLE);
    machine_auxiliary((uintptr_t *)(stack + (start - begin)) + 3);
    return start;
}

void bare_main(void)
{
    machine_start();
    const struct file *guest = file();
    if (!begins((const char *)guest->identity, "\177ELF"))
        bare_fails(CAUSE_OWN, 0, MACHINE_GUEST);
    for (size_t i = 0; i < guest->segment_count; i++) {
        const struct segment *segment = (const struct segment *)in_file(guest->segments) + i;
        if (segment->type == LOADED && segment->size)
            load(segment);
    }
    uintptr_t stack = fill_stack();
    breakpoint = symbol_named("farm_breakpoint");
    machine_flush();
    machine_filled();
    put_word(sizeof(uint32_t));
    put_word(FRAME_UP);
    machine_enter(guest->entry, stack);
}
