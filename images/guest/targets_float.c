/* The bodies of the targets that need floating-point registers. */
#include "bodies.h"
#include "kinds_float.h"

#define BODY_DOUBLES(n) BODY_ABI(n, DOUBLES, 0)
#define BODY_MIXED(n) BODY_ABI(n, MIXED, 0)

#define BODY_VARIADIC(n)                                                                                               \
    CALL_SITE uint32_t listed_##n(uint32_t count, va_list arguments)                                                   \
    {                                                                                                                  \
        uint32_t seen = fnv(FNV_BASIS, count);                                                                         \
        for (uint32_t i = 0; i < count; i++) {                                                                         \
            uint64_t bits;                                                                                             \
            seen = fnv(seen, va_arg(arguments, uint32_t));                                                             \
            bits = to_bits(va_arg(arguments, double));                                                                 \
            seen = fnv(fnv(seen, LOW(bits)), HIGH(bits));                                                              \
            bits = va_arg(arguments, uint64_t);                                                                        \
            seen = fnv(fnv(seen, LOW(bits)), HIGH(bits));                                                              \
        }                                                                                                              \
        uint32_t announced = ARCH_DOUBLES_ANNOUNCED(abi_entry) < VARIADIC_COUNT ? 1u << VIOLATION_HIDDEN : 0;          \
        uint32_t word = target_entered(seen, entry_violations() | announced, 0);                                       \
        target_left();                                                                                                 \
        return VALUE(word, seen);                                                                                      \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_VARIADIC(body_##n)                                                                             \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, count);                                                                                    \
        uint32_t value = listed_##n(count, arguments);                                                                 \
        va_end(arguments);                                                                                             \
        return value;                                                                                                  \
    }

FOR_EACH_FLOAT_FUNCTION(BODY)
