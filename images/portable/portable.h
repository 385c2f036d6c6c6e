/* Targets in C: what is entered names itself and goes on to its body. */
#ifndef PORTABLE_H
#define PORTABLE_H

#include "bodies.h"

#ifndef ARCH_NO_BARE_CALL_SITES
#error "arch.h describes registers, which an abi.S beside it would look at; there is none"
#endif

/* guest.h says of it only that it is code. */
uint64_t return_all_zero(void) __asm__("return_zero");

/* The first argument, where scenarios compare what a target's entry saw with what its body sees. */
#define FIRST_INT x
#define FIRST_LONG x
#define FIRST_WIDE a
#define FIRST_VOID x
#define FIRST_CRC crc
#define FIRST_CHACHA counter
#define FIRST_MANY a
#define FIRST_NARROW a
#define FIRST_SMALL n
#define FIRST_LARGE n
#define FIRST_INT128 a
#define FIRST_DOUBLES 0
#define FIRST_MIXED a

#define ENTER(n, number, first)                                                                                        \
    abi_entry.arguments[0] = (uintptr_t)(first);                                                                       \
    abi_entry.target = (n) << 8 | (number)

/* Linked out of every near branch's reach, so the way back is through a pointer. */
#define IN_FAR __attribute__((section(".far"), noinline))

#define TARGET(name, n, kind, number) TARGET_##kind(name, n, kind, number)
#define FORWARDED(name, n, kind, number)                                                                               \
    PROTOTYPE_##kind(name##_##n)                                                                                       \
    {                                                                                                                  \
        ENTER(n, number, FIRST_##kind);                                                                                \
        return ((__typeof__(&body_##n))((const volatile uintptr_t *)target_bodies)[n])(SAME_##kind);                   \
    }
#define TARGET_INT FORWARDED
#define TARGET_LONG FORWARDED
#define TARGET_WIDE FORWARDED
#define TARGET_VOID FORWARDED
#define TARGET_CRC FORWARDED
#define TARGET_CHACHA FORWARDED
#define TARGET_MANY FORWARDED
#define TARGET_NARROW FORWARDED
#define TARGET_SMALL FORWARDED
#define TARGET_LARGE FORWARDED
#define TARGET_INT128 FORWARDED
#define TARGET_DOUBLES FORWARDED
#define TARGET_MIXED FORWARDED
#define TARGET_VARIADIC(name, n, kind, number)                                                                         \
    PROTOTYPE_VARIADIC(name##_##n)                                                                                     \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, count);                                                                                    \
        ENTER(n, number, count);                                                                                       \
        uint32_t (*volatile body)(uint32_t, va_list) = listed_##n;                                                     \
        uint32_t value = body(count, arguments);                                                                       \
        va_end(arguments);                                                                                             \
        return value;                                                                                                  \
    }

#define TARGETS(n, kind)                                                                                               \
    TARGET(default, n, kind, TARGET_DEFAULT)                                                                           \
    TARGET(fast, n, kind, TARGET_FAST)                                                                                 \
    TARGET(other, n, kind, TARGET_OTHER)                                                                               \
    IN_FAR TARGET(far, n, kind, TARGET_FAR)

#endif
