/* Stand-in: a store to text, which fails where the farm wants it to.  It is no farm_text_write, so that what makes it
 * visible to instruction fetch is the kernel's own code alone. */
#ifndef STAND_IN_ASM_UACCESS_H
#define STAND_IN_ASM_UACCESS_H

#include <linux/types.h>

bool store_is_admitted(void); /* text.h */

#define __put_kernel_nofault(to, from, type, failed)                                                                   \
    do {                                                                                                               \
        if (!store_is_admitted())                                                                                      \
            goto failed;                                                                                               \
        *(volatile type *)(to) = *(type *)(from);                                                                      \
    } while (0)
#define __get_kernel_nofault(to, from, type, failed)                                                                   \
    do {                                                                                                               \
        if (0)                                                                                                         \
            goto failed;                                                                                               \
        *(type *)(to) = *(const volatile type *)(from);                                                                \
    } while (0)

enum { EPERM = 1, EFAULT = 14, ERANGE = 34 };
#define unlikely(condition) (condition)
#define is_kernel_addr(address) true
#define init_section_contains(start, size) false
#define swab32(word) __builtin_bswap32(word)

#endif
