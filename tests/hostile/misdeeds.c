/* What a hostile guest tries, each by its number: x86-64's system calls, for the native engine and qemu-user alike.
 *
 * It takes the place of arch_store_barrier, which a mechanism calls before it leads a stub to its slot; the argument of
 * the program's first call chooses.  What came of it is said on standard error, and status 9 ends the process.  None of
 * it harms a machine where nothing holds it, or it looks first whether it is in a box (where its number is small). */
extern uint32_t farm_program[];
extern uint8_t text_start[];

enum {
    WRITE = 1, CLOSE = 3, MMAP = 9, SOCKET = 41, CONNECT = 42, CLONE = 56, FORK = 57, EXECVE = 59, KILL = 62,
    GETPID = 39, PTRACE = 101, GETPPID = 110, SETSID = 112, MOUNT = 165, OPENAT = 257, UNSHARE = 272,
    PRLIMIT = 302, PROCESS_VM_READV = 310, MEMFD = 319, IO_URING = 425, CLONE3 = 435,
    EXIT_GROUP = 231, KEYCTL = 250, FTRUNCATE = 77, NANOSLEEP = 35,
};
enum { HERE = -100, CREATE_AND_WRITE = 0101, READ_AND_WRITE = 2 };

static long ask(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f)
{
    const uintptr_t words[7] = {(uintptr_t)number, a, b, c, d, e, f};
    return arch_syscall6(words);
}

static void say(const char *text, size_t size) { arch_syscall(WRITE, 2, (uintptr_t)text, size); }

/* The number in decimal, between brackets, and the end. */
__attribute__((noreturn)) static void tell(long answer)
{
    char text[24], *at = text + sizeof text;
    unsigned long rest = answer < 0 ? -(unsigned long)answer : (unsigned long)answer;
    *--at = ']';
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (answer < 0)
        *--at = '-';
    *--at = '[';
    say(at, (size_t)(text + sizeof text - at));
    arch_syscall(EXIT_GROUP, 9, 0, 0);
    for (;;) {
    }
}

static long open_file(const char *path, long flags)
{
    return ask(OPENAT, (uintptr_t)HERE, (uintptr_t)path, (uintptr_t)flags, 0600, 0, 0);
}

static long forked(void)
{
    long child = arch_syscall(FORK, 0, 0, 0);
    if (child == 0)
        arch_syscall(EXIT_GROUP, 0, 0, 0);
    return child;
}

static long mapped(uintptr_t size, uintptr_t flags)
{
    long address = ask(MMAP, 0, size, 3, flags, (uintptr_t)-1, 0);
    return address > 0 ? 1 : address;
}

/* A process that has left session and parent, if there can be one, sleeps for a minute. */
static long outlived(void)
{
    static const uint64_t minute[2] = {60, 0};
    long child = arch_syscall(FORK, 0, 0, 0);
    if (child != 0)
        return child;
    arch_syscall(SETSID, 0, 0, 0);
    for (uintptr_t descriptor = 0; descriptor < 3; descriptor++)
        arch_syscall(CLOSE, descriptor, 0, 0);
    if (arch_syscall(FORK, 0, 0, 0) == 0)
        arch_syscall(NANOSLEEP, (uintptr_t)minute, 0, 0);
    arch_syscall(EXIT_GROUP, 0, 0, 0);
    return 0;
}

static long connected(void)
{
    static const struct {
        uint16_t family, port;
        uint8_t address[4], rest[8];
    } loopback = {2, 0x0900, {127, 0, 0, 1}, {0}};
    long descriptor = arch_syscall(SOCKET, 2, 1, 0);
    return descriptor < 0 ? descriptor : arch_syscall(CONNECT, (uintptr_t)descriptor, (uintptr_t)&loopback, 16);
}

static void forge(uint32_t size, uint32_t status)
{
    const uint32_t head[2] = {size, status};
    arch_syscall(WRITE, 1, (uintptr_t)head, sizeof head);
}

void arch_store_barrier(void)
{
    static const char *const shell[] = {"/bin/sh", "-c", "exit 5", 0};
    static const uint64_t thousand[2] = {1000, 1000};
    static char some[4096];
    const struct {
        void *base;
        size_t size;
    } remote = {text_start, 16}, local = {some, 16};
    long count = 0;
    switch (farm_program[7]) {
    case 1000: tell(open_file("/etc/passwd", 0));
    case 1001: tell(open_file("/var/lib", 0));
    case 1002: tell(open_file("/var/tmp/patchfarm-hostile", CREATE_AND_WRITE));
    case 1003: tell(open_file("/patchfarm-hostile", CREATE_AND_WRITE));
    case 1004: tell(open_file("/proc/self/mem", READ_AND_WRITE));
    case 1005: tell(open_file("/proc/1/cmdline", 0));
    case 1006: tell(open_file("/dev/null", READ_AND_WRITE));
    case 1007: tell(forked());
    case 1008:
        for (int i = 0; i < 64; i++)
            count += forked() > 0;
        tell(count);
    case 1009:
        count = ask(CLONE, 17, 0, 0, 0, 0, 0); /* SIGCHLD: as fork does */
        if (count == 0)
            arch_syscall(EXIT_GROUP, 0, 0, 0);
        tell(count);
    case 1010: tell(arch_syscall(CLONE3, 0, 0, 0));
    case 1011: tell(outlived());
    case 1012: tell(arch_syscall(EXECVE, (uintptr_t)shell[0], (uintptr_t)shell, 0));
    case 1013: tell(connected());
    case 1014: tell(arch_syscall(SOCKET, 1, 1, 0));
    case 1015: tell(arch_syscall(GETPPID, 0, 0, 0) == 1);
    case 1016:
        if (arch_syscall(GETPID, 0, 0, 0) == 2 && arch_syscall(GETPPID, 0, 0, 0) == 1)
            arch_syscall(KILL, 1, 9, 0);
        tell(arch_syscall(GETPID, 0, 0, 0) == 2);
    case 1017: tell(arch_syscall(PTRACE, 0, 0, 0)); /* PTRACE_TRACEME */
    case 1018:
        tell(ask(PROCESS_VM_READV, (uintptr_t)arch_syscall(GETPID, 0, 0, 0), (uintptr_t)&local, 1, (uintptr_t)&remote,
                 1, 0));
    case 1019: tell(mapped((uintptr_t)2 << 30, 0x4022)); /* private, anonymous, not reserved */
    case 1020: tell(mapped((uintptr_t)2 << 30, 0x4021)); /* shared */
    case 1021: tell(ask(PRLIMIT, 0, 7, (uintptr_t)thousand, 0, 0, 0)); /* RLIMIT_NOFILE */
    case 1022: tell(arch_syscall(UNSHARE, 0x10000000, 0, 0)); /* CLONE_NEWUSER */
    case 1023: tell(ask(MOUNT, (uintptr_t)"none", (uintptr_t)"/no-such-folder", (uintptr_t)"tmpfs", 0, 0, 0));
    case 1024: tell(arch_syscall(KEYCTL, 0, (uintptr_t)-3, 1)); /* KEYCTL_GET_KEYRING_ID, of the session */
    case 1025: tell(arch_syscall(IO_URING, 1, (uintptr_t)some, 0) >= 0);
    case 1026:
        arch_syscall(FTRUNCATE, (uintptr_t)ask(MEMFD, (uintptr_t)"", 0, 0, 0, 0, 0), (uintptr_t)1 << 33, 0);
        break;
    case 1027:
        for (;;)
            say(some, sizeof some);
    case 1028:
        for (;;)
            arch_syscall(WRITE, 1, (uintptr_t)some, sizeof some);
    case 1029: forge(0x7fffffff, 0); break;
    case 1030: forge(3, 0); break;
    case 1031: forge(36, 0); break;
    case 1032: /* the frame, and what is above it on the stack */
        for (int i = 0; i < 64; i++)
            ((volatile uintptr_t *)__builtin_frame_address(0))[i] = 0x4141;
        break;
    }
    __asm__ volatile("" ::: "memory");
}
