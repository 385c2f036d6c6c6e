/* The supervisor of a bare machine: what its common part (bare.c) and an architecture's (arch/NAME/bare.c and
 * start_bare.S) know of each other. */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"
#include "bare_arch.h"
#if __has_include("breakpoint_arch.h")
#include "breakpoint_arch.h"
#endif

#ifndef MACHINE_PAGE
#define MACHINE_PAGE 4096
#endif
enum { PAGE_BYTES = MACHINE_PAGE };

/* Physical memory: MACHINE_RAM is where it begins (arch.toml); what is where in it, the host knows too and tells. */
#define MACHINE_GUEST (MACHINE_RAM + BARE_GUEST)
#define MACHINE_MAILBOX (MACHINE_RAM + BARE_MAILBOX)
#define MACHINE_MEMORY (MACHINE_RAM + BARE_FREE)
#define MACHINE_MEMORY_END (MACHINE_RAM + BARE_END)

/* Protection of memory, in the kernel's bits; an architecture may have more of them (ARCH_GUARDED). */
enum { READABLE = 1, WRITABLE = 2, EXECUTABLE = 4 };

/* Numbers that Linux has everywhere. */
enum { SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11 };
enum { ENOENT = 2, EBADF = 9, ENOMEM = 12, EFAULT = 14, EINVAL = 22, ENOSYS = 38 };

/* A page of the guest's: the machine's own tables, or its handler of misses, are made from these. */
struct page {
    uintptr_t number; /* its address / PAGE_BYTES; 0: this entry of the table is free */
    uint32_t frame;   /* physical address / PAGE_BYTES */
    uint32_t protection;
    uint32_t entry; /* the architecture's own */
};

/* bare.c: never returns. */
void bare_main(void);

/* bare.c: the page at an address of the guest's; NULL if there is none. */
const struct page *bare_page(uintptr_t address);

/* bare.c: zeroed memory of the supervisor's own, whole pages; where the guest's physical memory is seen. */
void *bare_memory(size_t size);
uintptr_t bare_physical(const void *memory);

/* bare.c: answer of a system call. */
intptr_t bare_call(uintptr_t number, const uintptr_t argument[6]);

/* bare.c: address of farm_breakpoint, to which a breakpoint of the guest's leads; 0: it is fatal. */
uintptr_t bare_breakpoint(void);

/* bare.c: a word of the guest's is loaded, or stored; false: there is none that may be. */
bool bare_load(uintptr_t address, uintptr_t *word);
bool bare_store(uintptr_t address, uintptr_t word);

/* bare.c: the guest dies of a signal; the supervisor itself fails.  Neither returns. */
_Noreturn void bare_dies(uint32_t signal, uintptr_t pc, uintptr_t address);
_Noreturn void bare_fails(uintptr_t cause, uintptr_t pc, uintptr_t address);

/* The architecture's: its console, which takes one byte at a time; power. */
void machine_start(void);
void machine_put(uint8_t byte);
_Noreturn void machine_off(void);

/* The architecture's: the machine sees `page` as it is now, as soon as machine_flush has been called. */
void machine_map(struct page *page);
void machine_flush(void);

/* The architecture's: what was stored at these physical addresses can be fetched. */
void machine_filled(void);

/* The architecture's: the guest begins at `pc`, unprivileged, with nothing in its registers but the stack pointer. */
_Noreturn void machine_enter(uintptr_t pc, uintptr_t stack);

/* The architecture's: pairs of the auxiliary vector besides its end, and the answer to a call that only it has. */
size_t machine_auxiliary(uintptr_t *vector);
intptr_t machine_call(uintptr_t number, const uintptr_t argument[6]);

#endif
