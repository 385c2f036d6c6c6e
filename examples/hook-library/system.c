/* Stand-in: what bistro takes of the system and of the rest of UCX; libc.c of the farm has the rest. */
#include "text.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <ucm/util/sys.h>

/* Restore points: one for each patched function at most. */
static struct {
    bool taken;
    uintptr_t memory[8];
} pieces[FUNCTION_COUNT + 1];

void *malloc(size_t n)
{
    for (size_t i = 0; n <= sizeof pieces->memory && i < sizeof pieces / sizeof *pieces; i++)
        if (!pieces[i].taken) {
            pieces[i].taken = true;
            return pieces[i].memory;
        }
    return NULL;
}

void free(void *memory)
{
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        if (memory == pieces[i].memory)
            pieces[i].taken = false;
}

/* On x86-64 bistro writes to its memory for originals besides, so that the farm keeps all text open during a request:
 * what is left of mprotect is that it may fail.  On arm64 it is what opens and closes the text, by the farm, so that every
 * engine knows, and as bistro asks the kernel, if there is one: that takes the guard of landing pads (PROT_BTI) from the
 * page. */
int mprotect(void *address, size_t size, int protection)
{
    if (protection & PROT_WRITE && !store_is_admitted())
        return -1;
#ifdef PROMISES_CLOSES_TEXT
    if (!(protection & PROT_WRITE))
        text_close(MECHANISM_TEXT);
    else if (!text_open(MECHANISM_TEXT))
        return -1;
    return has_kernel() ? (int)arch_syscall(ARCH_SYS_MPROTECT, (uintptr_t)address, size, (uintptr_t)protection) : 0;
#else
    return (void)address, (void)size, 0;
#endif
}

/* Memory for originals: bistro asks once, for four times what farm_exec_alloc has, and takes no less.  So it has memory of
 * its own that lies where that lies: behind the functions, open as they are, and put back with them. */
#define STRING(x) STRING_OF(x)
#define STRING_OF(x) #x
#define CODE_BYTES 16384
__asm__(".pushsection .stub.annex, \"ax\"\n"
        ".balign 16\n"
        "bistro_code: .space " STRING(CODE_BYTES) "\n"
        ".popsection");

void *mmap(void *address, size_t size, int protection, int flags, int file, long offset)
{
    extern uint8_t bistro_code[];
    (void)address, (void)protection, (void)flags, (void)file, (void)offset;
    return size <= CODE_BYTES ? bistro_code : MAP_FAILED;
}

/* The guard is back. */
void mechanism_reset(void) { text_close(MECHANISM_TEXT); }

size_t ucm_get_page_size(void) { return 4096; }
