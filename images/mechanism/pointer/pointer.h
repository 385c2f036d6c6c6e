/* The patchable functions of the `pointer` mechanism (pointer.c, pointer_float.c). */
#ifndef POINTER_H
#define POINTER_H

#include "mechanism.h"

/* Read once and written with one store: the compiler may neither reload nor split a volatile access of this width. */
extern struct pointer {
    volatile uintptr_t target;
} pointers[FUNCTION_COUNT];

#define LOAD(n) __typeof__(&default_##n) target = (__typeof__(&default_##n))pointers[n].target

#define FORWARD(n, kind, nothing)                                                                                      \
    PROTOTYPE_##kind(whatever_##n)                                                                                     \
    {                                                                                                                  \
        LOAD(n);                                                                                                       \
        return target ? target(SAME_##kind) : (nothing);                                                               \
    }

#define FUNCTION_INT(n) FORWARD(n, INT, 0)
#define FUNCTION_LONG(n) FORWARD(n, LONG, 0)
#define FUNCTION_WIDE(n) FORWARD(n, WIDE, 0)
#define FUNCTION_VOID(n)                                                                                               \
    PROTOTYPE_VOID(whatever_##n)                                                                                       \
    {                                                                                                                  \
        LOAD(n);                                                                                                       \
        if (target)                                                                                                    \
            target(SAME_VOID);                                                                                         \
    }
#define FUNCTION_CRC(n) FORWARD(n, CRC, 0)
#define FUNCTION_CHACHA(n) FORWARD(n, CHACHA, 0)
#define FUNCTION_MANY(n) FORWARD(n, MANY, 0)
#define FUNCTION_NARROW(n) FORWARD(n, NARROW, 0)
#define FUNCTION_SMALL(n) FORWARD(n, SMALL, (struct small){0})
#define FUNCTION_LARGE(n) FORWARD(n, LARGE, (struct large){{0}})
#define FUNCTION_INT128(n) FORWARD(n, INT128, 0)
#define FUNCTION_DOUBLES(n) FORWARD(n, DOUBLES, 0)
#define FUNCTION_MIXED(n) FORWARD(n, MIXED, 0)

/* C cannot forward `...`: the name is there to be linked, and no scenario calls it under this mechanism. */
#define FUNCTION_VARIADIC(n)                                                                                           \
    PROTOTYPE_VARIADIC(whatever_##n) { return (void)pointers[n].target, count; }

#define FUNCTION(n, kind) FUNCTION_##kind(n)

#endif
