/* The guest as a Linux process, and as it runs under an engine that has no operating system.
 *
 * As a process it answers programs from standard input with traces on standard output, one frame each.  Every program
 * starts from the pristine state, to which the guest goes back before it answers, so that what cannot be undone is told
 * of the program that did it; with FRAME_KEEP in the length it runs on what the last one left, and leaves all as it is:
 *     in:  length in bytes, program        out: length in bytes of what follows, status 0, trace
 * An engine without an operating system calls farm_enter instead, resets the guest itself, and sets farm_doorbell to
 * the address where a store changes the protection of the stubs and a load tells what is wrong with the text's, and
 * farm_features to what its CPU model has. */
#include "platform.h"

extern uint8_t text_start[], text_end[], module_start[], module_end[], sites_start[], sites_end[];
extern uint8_t stub_start[], patched_end[], stub_end[], literal_start[], literal_end[], far_start[], far_end[];
extern uint8_t state_start[], state_end[], state_copy[];
extern uint32_t farm_program[PROGRAM_WORDS];
extern struct {
    uint32_t magic, wire_hash, machine, identity, events, dropped, text_digest, code_bytes;
} farm_trace;
extern const uint8_t farm_pristine[], farm_module[];

/* Not part of the state that a reset rewrites. */
uintptr_t farm_doorbell __attribute__((section(".data.doorbell"))) = 0;

uint32_t farm_features __attribute__((section(".data.doorbell")));

uint32_t text_locked;

bool has_kernel(void) { return !farm_doorbell; }

enum { EBADF = 9, EFAULT = 14, MADV_POPULATE_READ = 22, MADV_POPULATE_WRITE = 23 }; /* of Linux, everywhere */

/* A descriptor that is none keeps the kernel from accessing anything: qemu-user looks at the address first, in its own
 * table of pages, and answers EFAULT.  A kernel does not look at it; asked to populate the page (madvise(2), since
 * Linux 5.14) it refuses what the page does not admit, and else leaves what is in it.  QEMU ignores that advice. */
bool kernel_allows(long number, const uint8_t *address)
{
    long answer = arch_syscall(number, (uintptr_t)-1, (uintptr_t)address, 1);
#ifdef ARCH_SYS_MADVISE
    if (answer == -EBADF)
        return arch_syscall(ARCH_SYS_MADVISE, (uintptr_t)address & -(uintptr_t)PROBED, 1,
                            number == ARCH_SYS_READ ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0;
#endif
    return answer != -EFAULT;
}

/* Read from memory, since no instruction that makes an address need reach the far text. */
static const volatile struct {
    const uint8_t *start, *end;
} text[] = {
    {text_start, text_end}, {module_start, module_end},   {sites_start, sites_end},
    {stub_start, stub_end}, {literal_start, literal_end}, {far_start, far_end},
};

/* No system call tells whether memory can be executed: what cannot be is found out by a call. */
uint32_t text_faults(void)
{
    uint32_t faults = 0;
    if (!has_kernel())
        return *(volatile uint32_t *)farm_doorbell | alias_faults();
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        for (const uint8_t *address = text[i].start; address < text[i].end; address += PROBED)
            faults |= (kernel_allows(ARCH_SYS_READ, address) ? TEXT_WRITABLE : 0u) |
                      (kernel_allows(ARCH_SYS_WRITE, address) ? 0u : TEXT_UNREADABLE);
    return faults | alias_faults();
}

/* What the kernel guards, if the CPU can: an indirect branch into it must meet a landing pad. */
#ifdef ARCH_GUARDED
uintptr_t guarded(void) { return farm_features & FEATURE_BTI ? ARCH_GUARDED : 0; }

static void guard(const uint8_t *start, const uint8_t *end)
{
    arch_syscall(ARCH_SYS_MPROTECT, (uintptr_t)start, (uintptr_t)(end - start), READ | EXECUTE | guarded());
}

static void guard_text(void)
{
    if (guarded()) {
        guard(text_start, text_end);
        guard(module_start, stub_end);
        guard(far_start, far_end);
    }
}
#else
uintptr_t guarded(void) { return 0; }

static void guard_text(void) {}
#endif

/* Literals are data, which nobody executes. */
static uintptr_t admitted(enum text_region region, uintptr_t protection)
{
    return region == TEXT_LITERALS ? protection & ~(uintptr_t)EXECUTE : protection;
}

struct range text_range(enum text_region region)
{
    static const struct range ranges[] = {
        [TEXT_STUBS] = {stub_start, stub_end},
        [TEXT_MODULE] = {module_start, module_end},
        [TEXT_ALL] = {module_start, stub_end},
        [TEXT_LITERALS] = {literal_start, literal_end},
    };
    return ranges[region];
}

bool text_protect(enum text_region region, uintptr_t protection)
{
    const uint8_t *start = text_range(region).start, *end = text_range(region).end;
    protection = admitted(region, protection);
    if (alias_has(region) && protection & WRITE)
        alias_is_bypassed();
    if (!has_kernel()) {
        *(volatile uint32_t *)farm_doorbell = (uint32_t)protection | (uint32_t)region << DOORBELL_REGION;
        return true;
    }
    return start == end || arch_syscall(ARCH_SYS_MPROTECT, (uintptr_t)start, (uintptr_t)(end - start),
                                        protection | (protection & EXECUTE ? guarded() : 0)) == 0;
}

/* While open the stubs stay executable: another thread may be in one of them.  What locks the text does not lock the
 * memory that a loader fills before it is text. */
bool text_open(enum text_region region)
{
    if (text_locked && region != TEXT_MODULE)
        return false;
    return alias_has(region) ? alias_open(region) : text_protect(region, READ | WRITE | EXECUTE);
}

void text_close(enum text_region region)
{
    if (alias_has(region))
        alias_close(region);
    else
        text_protect(region, READ | EXECUTE);
}

/* In its second mapping, of a mechanism that has one (MECHANISM_ALIAS). */
void text_put(uintptr_t at, uint32_t word) { *(volatile uint32_t *)farm_text_alias(at) = word; }

static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size / sizeof(uintptr_t); i++)
        ((volatile uintptr_t *)to)[i] = ((const volatile uintptr_t *)from)[i];
}

/* An architecture without patch.c runs where nothing has to be done. */
void arch_sync_code(uintptr_t word) OPTIONAL;

/* Text of a region becomes what it was (NULL: zeros); only what differs is written. */
static void rewrite(enum text_region region, uint8_t *start, const uint8_t *end, const uint8_t *from)
{
    const volatile uint32_t *pristine = (const volatile uint32_t *)from;
    bool open = false;
    for (volatile uint32_t *word = (volatile uint32_t *)start; word < (const volatile uint32_t *)end; word++) {
        uint32_t was = from ? *pristine++ : 0;
        if (*word == was)
            continue;
        if (!open)
            open = text_open(region);
        text_put((uintptr_t)word, was);
        if (arch_sync_code)
            arch_sync_code((uintptr_t)word);
    }
    if (open)
        text_close(region);
}

/* What a process finds out as it starts.  No static: the host digests those. */
struct process {
    uint32_t features;
    bool patches_stubs;
    long alias; /* as alias_make answered */
};

/* Everything becomes what it was at the start, as far as a guest that is not broken can have changed it.  Whether stubs
 * are what is patched is told, for a reset runs none of the mechanism's code but its own mechanism_reset. */
static void reset(const struct process process)
{
    farm_doorbell = 0;
    farm_features = process.features;
    alias_keep(process.alias);
    text_locked = 0;
    if (text_faults()) {
        text_protect(TEXT_ALL, READ | EXECUTE);
        text_protect(TEXT_LITERALS, READ);
        alias_reset();
    }
    rewrite(TEXT_MODULE, module_start, module_end, farm_module);
    if (process.patches_stubs) {
        rewrite(TEXT_STUBS, stub_start, patched_end, farm_pristine);
        rewrite(TEXT_STUBS, patched_end, stub_end, NULL);
    } else {
        rewrite(TEXT_LITERALS, literal_start, literal_end, farm_pristine); /* none where pointers are patched */
    }
    if (sites_reset)
        sites_reset();
    if (mechanism_reset)
        mechanism_reset();
    if (work.position)
        for (size_t i = 0; i < sizeof work_out / sizeof(uint32_t); i++)
            ((volatile uint32_t *)work_out)[i] = 0;
    copy(state_start, state_copy, (size_t)(state_end - state_start));
}

static uint32_t digest(uint32_t seed, const uint8_t *start, const uint8_t *end)
{
    for (const volatile uint32_t *word = (const volatile uint32_t *)start; word < (const volatile uint32_t *)end; word++)
        seed = fnv(seed, *word);
    return seed;
}

/* Of what the host digests too. */
static uint32_t digest_of_all(void)
{
    uint32_t seed = FNV_BASIS;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        seed = digest(seed, text[i].start, text[i].end);
    return digest(seed, state_start, state_end);
}

static bool transfer(long number, uintptr_t descriptor, uint8_t *buffer, size_t size)
{
    while (size) {
        long done = arch_syscall(number, descriptor, (uintptr_t)buffer, size);
        if (done <= 0)
            return false;
        buffer += done;
        size -= (size_t)done;
    }
    return true;
}

/* The auxiliary vector lies behind the arguments and the environment, each ended by a zero. */
static const uintptr_t *auxiliary_vector(const uintptr_t *stack)
{
    const uintptr_t *word = stack + 1 + *stack + 1;
    while (*word)
        word++;
    return word + 1;
}

void linux_main(const uintptr_t *stack)
{
    uint32_t length, head[2], features = FEATURE_FLOAT; /* the kernel lets every process have what it was compiled for */
    bool dirty = false; /* the last program was not undone */
    copy(state_copy, state_start, (size_t)(state_end - state_start));
#ifdef ARCH_CRC_T10DIF
    features |= arch_features(auxiliary_vector(stack));
#else
    (void)auxiliary_vector, (void)stack;
#endif
    farm_features = features;
    guard_text();
    const struct process process = {
        .features = features,
        .patches_stubs = patched_bytes(0).start < (uintptr_t)literal_start,
        .alias = alias_make(),
    };
    if (process.alias < 0) {
        static const char why[] = "memory cannot be mapped twice: no memfd_create, or no mmap of it";
        arch_syscall(ARCH_SYS_WRITE, 2, (uintptr_t)why, sizeof why - 1);
        arch_syscall(ARCH_SYS_EXIT_GROUP, 5, 0, 0);
    }
    while (transfer(ARCH_SYS_READ, 0, (uint8_t *)&length, sizeof length)) {
        bool keep = length & FRAME_KEEP;
        length &= ~FRAME_KEEP;
        if (length > sizeof farm_program || !transfer(ARCH_SYS_READ, 0, (uint8_t *)farm_program, length))
            arch_syscall(ARCH_SYS_EXIT_GROUP, 3, 0, 0);
        if (dirty && !keep)
            reset(process);
        farm_run();
        dirty = keep;
        if (!keep) {
            reset(process);
            farm_trace.text_digest = digest_of_all();
        }
        size_t size = 4 * HEADER_WORDS + 4 * EVENT_WORDS * farm_trace.events + farm_trace.code_bytes;
        head[0] = (uint32_t)size + 4;
        head[1] = 0;
        if (!transfer(ARCH_SYS_WRITE, 1, (uint8_t *)head, sizeof head) ||
            !transfer(ARCH_SYS_WRITE, 1, (uint8_t *)&farm_trace, size))
            arch_syscall(ARCH_SYS_EXIT_GROUP, 4, 0, 0);
    }
    arch_syscall(ARCH_SYS_EXIT_GROUP, 0, 0, 0);
}
