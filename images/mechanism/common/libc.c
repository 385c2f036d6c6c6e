/* What hook libraries and kernels take from a C library, for a mechanism that has "libc.c" among its sources.  Its own
 * sources then find the headers in include/.  What is not here does not link. */
#include "mechanism.h"

#include "include/stdlib.h"
#include "include/string.h"

/* volatile: else a compiler makes each loop a call of the function that it is in.  memcpy is every guest's
 * (images/guest/memcpy.c). */
void *memmove(void *to, const void *from, size_t size)
{
    volatile uint8_t *out = to;
    const volatile uint8_t *in = from;
    if ((uintptr_t)to <= (uintptr_t)from)
        for (size_t i = 0; i < size; i++)
            out[i] = in[i];
    else
        while (size--)
            out[size] = in[size];
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile uint8_t *)to)[i] = (uint8_t)byte;
    return to;
}

int memcmp(const void *one, const void *other, size_t size)
{
    const volatile uint8_t *a = one, *b = other;
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *string)
{
    size_t length = 0;
    while (((const volatile char *)string)[length])
        length++;
    return length;
}

void abort(void)
{
    for (;;)
        __builtin_trap();
}

/* What __builtin___clear_cache calls where it is no instruction, by the name that the architecture's compilers have for
 * it.  An architecture without patch.c runs where nothing has to be done. */
void arch_sync_code(uintptr_t word) OPTIONAL;
void __clear_cache(void *start, void *end);

void __clear_cache(void *start, void *end)
{
    for (uintptr_t at = (uintptr_t)start & ~(uintptr_t)3; arch_sync_code && at < (uintptr_t)end; at += 4)
        arch_sync_code(at);
}

#if defined(__riscv)
void __riscv_flush_icache(void *start, void *end, uintptr_t flags);

void __riscv_flush_icache(void *start, void *end, uintptr_t flags) { (void)flags, __clear_cache(start, end); }
#elif defined(__mips__)
void _flush_cache(char *start, int size, int caches);

void _flush_cache(char *start, int size, int caches) { (void)caches, __clear_cache(start, start + size); }
#endif
