/* The bodies of the targets.  A target's entry (abi.S) records who was entered and with which registers, then comes
 * here; there is one body a patchable function, and the value it returns depends on the target that was entered. */
#include "guest.h"

static uint32_t stack_violation(void)
{
    return (abi_entry.stack + ARCH_ENTRY_STACK_BIAS) % ARCH_STACK_ALIGNMENT ? 1u << 16 : 0;
}

#define VALUE(word, operand)                                                                                           \
    ((((word) & 0xff) == TARGET_DEFAULT ? (operand) + 1000u                                                            \
      : ((word) & 0xff) == TARGET_FAST  ? 2u * (operand) + 1u                                                          \
      : ((word) & 0xff) == TARGET_OTHER ? ((operand) ^ 0x55u)                                                          \
                                        : 3u * (operand) + 7u) +                                                       \
     ((word) >> 8 << 20))

/* A user's own targets (TARGET() of patchfarm.h), NULL where there is none. */
#define CUSTOM_INT(n)                                                                                                  \
    extern uint32_t custom_default_##n(uint32_t x) __attribute__((weak));                                              \
    extern uint32_t custom_fast_##n(uint32_t x) __attribute__((weak));                                                 \
    extern uint32_t custom_other_##n(uint32_t x) __attribute__((weak));                                                \
    extern uint32_t custom_far_##n(uint32_t x) __attribute__((weak));                                                  \
    static uint32_t value_##n(uint32_t word, uint32_t x)                                                               \
    {                                                                                                                  \
        uint32_t (*const custom[TARGET_COUNT])(uint32_t) = {custom_default_##n, custom_fast_##n, custom_other_##n,     \
                                                            custom_far_##n};                                           \
        uint32_t (*mine)(uint32_t) = custom[(word & 0xff) % TARGET_COUNT];                                             \
        return mine ? mine(x) : VALUE(word, x);                                                                        \
    }

#define BODY_INT(n)                                                                                                    \
    CUSTOM_INT(n)                                                                                                      \
    CALL_SITE PROTOTYPE_INT(body_##n)                                                                                  \
    {                                                                                                                  \
        uint32_t word = target_entered(fnv(FNV_BASIS, x), stack_violation());                                          \
        uint32_t value = value_##n(word, x);                                                                            \
        if (target_recurses()) {                                                                                       \
            value += whatever_##n(x - 1u);                                                                             \
            target_returned();                                                                                         \
        }                                                                                                              \
        target_left();                                                                                                 \
        return value;                                                                                                  \
    }

#define BODY_LONG(n)                                                                                                   \
    CALL_SITE PROTOTYPE_LONG(body_##n)                                                                                 \
    {                                                                                                                  \
        uint32_t violations = stack_violation() | (y != long_argument(x) ? 2u : 0u);                                   \
        uint32_t digest = fnv(fnv(fnv(FNV_BASIS, (uint32_t)x), (uint32_t)(x >> 32)), y);                               \
        uint32_t word = target_entered(digest, violations);                                                            \
        uint64_t value = VALUE(word, x + y);                                                                           \
        if (target_recurses()) {                                                                                       \
            value += whatever_##n(x - 1u, long_argument(x - 1u));                                                      \
            target_returned();                                                                                         \
        }                                                                                                              \
        target_left();                                                                                                 \
        return value;                                                                                                  \
    }

/* The registers that the entry captured and the arguments that C sees must both be what the first one implies. */
#define BODY_WIDE(n)                                                                                                   \
    CALL_SITE PROTOTYPE_WIDE(body_##n)                                                                                 \
    {                                                                                                                  \
        const uintptr_t seen[8] = {a, b, c, d, e, f, g, h};                                                            \
        uint32_t violations = stack_violation(), digest = FNV_BASIS;                                                   \
        for (uint32_t i = 0; i < 8; i++) {                                                                             \
            uintptr_t captured = i < ARCH_ARGUMENT_REGISTERS ? abi_entry.arguments[i] : seen[i];                       \
            if (seen[i] != wide_argument(a, i) || captured != seen[i])                                                 \
                violations |= 1u << i;                                                                                 \
            digest = fnv(digest, (uint32_t)seen[i]);                                                                   \
        }                                                                                                              \
        uint32_t word = target_entered(digest, violations);                                                            \
        uint32_t value = VALUE(word, digest);                                                                          \
        if (target_recurses()) {                                                                                       \
            uintptr_t x = a - 1u;                                                                                      \
            value += whatever_##n(wide_argument(x, 0), wide_argument(x, 1), wide_argument(x, 2), wide_argument(x, 3),  \
                                  wide_argument(x, 4), wide_argument(x, 5), wide_argument(x, 6), wide_argument(x, 7)); \
            target_returned();                                                                                         \
        }                                                                                                              \
        target_left();                                                                                                 \
        return value;                                                                                                  \
    }

#define BODY_VOID(n)                                                                                                   \
    CALL_SITE PROTOTYPE_VOID(body_##n)                                                                                 \
    {                                                                                                                  \
        (void)target_entered(fnv(FNV_BASIS, x), stack_violation());                                                    \
        if (target_recurses()) {                                                                                       \
            whatever_##n(x - 1u);                                                                                      \
            target_returned();                                                                                         \
        }                                                                                                              \
        target_left();                                                                                                 \
    }

#define BODY(n, kind)                                                                                                  \
    PROTOTYPE_##kind(body_##n);                                                                                        \
    BODY_##kind(n)
FOR_EACH_FUNCTION(BODY)

/* For the entries in abi.S, which find their body by the function's number. */
extern const uintptr_t target_bodies[FUNCTION_COUNT];
#define BODY_ADDRESS(n, kind) (uintptr_t)body_##n,
const uintptr_t target_bodies[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(BODY_ADDRESS)};

#define KIND_NUMBER(n, kind) KIND_##kind,
const uint8_t function_kinds[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(KIND_NUMBER)};

#define FUNCTION_ADDRESS(n, kind) (uintptr_t)whatever_##n,
const uintptr_t function_addresses[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(FUNCTION_ADDRESS)};

#define TARGET_ADDRESSES(n, kind)                                                                                      \
    {(uintptr_t)default_##n, (uintptr_t)fast_##n, (uintptr_t)other_##n, (uintptr_t)far_##n},
const uintptr_t target_addresses[FUNCTION_COUNT][TARGET_COUNT] = {FOR_EACH_FUNCTION(TARGET_ADDRESSES)};
