/* The bodies of the targets.  A target's entry (abi.S) records who was entered and with which registers, then comes
 * here; there is one body a patchable function, and the value it returns depends on the target that was entered. */
#include "bodies.h"
#include "layer.h"

static uint32_t violation(bool found, uint32_t bit) { return found ? 1u << bit : 0; }

/* A target that is entered indirectly finds its own address in a register: always under a mechanism that patches data,
 * else where the near jump may not lead. */
static bool entry_address_is_wrong(void)
{
    uint32_t n = abi_entry.target >> 8, target = abi_entry.target & 0xff;
    if (!ARCH_HAS_ENTRY_REGISTER || n >= FUNCTION_COUNT || target >= TARGET_COUNT)
        return false;
    bool indirectly = !mechanism_patches_code || ARCH_ENTERED_INDIRECTLY(target);
    return indirectly && abi_entry.entry_address != target_addresses[n][target];
}

uint32_t entry_violations(void)
{
    bool misaligned = (abi_entry.stack + ARCH_ENTRY_STACK_BIAS) % ARCH_STACK_ALIGNMENT;
    uint32_t violations = violation(misaligned, VIOLATION_STACK_ALIGNMENT) |
                          violation(abi_entry.toc != 0, VIOLATION_TOC) |
                          violation(entry_address_is_wrong(), VIOLATION_ENTRY_REGISTER);
    if (abi_bare && mechanism_is_transparent) {
        violations |= violation(abi_entry.return_address != abi_bare, VIOLATION_RETURN_ADDRESS) |
                      violation(abi_entry.flags != ARCH_BARE_FLAGS, VIOLATION_FLAGS) |
                      violation(abi_entry.red_zone != 0, VIOLATION_RED_ZONE);
        for (uint32_t i = 0; i != ARCH_HIDDEN_REGISTERS; i++)
            violations |= violation(abi_entry.hidden[i] != BARE_HIDDEN + i, VIOLATION_HIDDEN + i);
    }
    abi_bare = 0; /* what is called from here on comes from elsewhere */
    return violations;
}

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
        uint32_t word = target_entered(fnv(FNV_BASIS, x), entry_violations(), 0);                                       \
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
        uint32_t violations = entry_violations() | (y != long_argument(x) ? 2u : 0u);                                   \
        uint32_t digest = fnv(fnv(fnv(FNV_BASIS, (uint32_t)x), (uint32_t)(x >> 32)), y);                               \
        uint32_t word = target_entered(digest, violations, 0);                                                            \
        uint64_t value = VALUE(word, x + y);                                                                           \
        value = (uint32_t)value | SECOND(value >> 32) << 32;                                                           \
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
        uint32_t violations = entry_violations(), digest = FNV_BASIS;                                                   \
        for (uint32_t i = 0; i < 8; i++) {                                                                             \
            uintptr_t captured = i < ARCH_ARGUMENT_REGISTERS ? abi_entry.arguments[i] : seen[i];                       \
            if (seen[i] != wide_argument(a, i) || captured != seen[i])                                                 \
                violations |= 1u << i;                                                                                 \
            digest = fnv(digest, (uint32_t)seen[i]);                                                                   \
        }                                                                                                              \
        uint32_t word = target_entered(digest, violations, 0);                                                            \
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
        (void)target_entered(fnv(FNV_BASIS, x), entry_violations(), 0);                                                 \
        if (target_recurses()) {                                                                                       \
            whatever_##n(x - 1u);                                                                                      \
            target_returned();                                                                                         \
        }                                                                                                              \
        target_left();                                                                                                 \
    }

/* Real work.  The state that a call leaves behind must not depend on which target did the work. */
#ifdef CONTROL_LOST_STATE
#define LOSE(word, state) ((word & 0xff) == TARGET_DEFAULT ? (state) : 0)
#else
#define LOSE(word, state) (state)
#endif

static void read_all(const uint8_t *buffer, size_t length)
{
#ifdef CONTROL_OVERREAD
    (void)*(const volatile uint8_t *)(buffer + length);
#else
    (void)buffer, (void)length;
#endif
}

/* How many bytes the accelerated code takes; short buffers are not worth setting it up. */
static uint32_t accelerated(uint32_t target, size_t length)
{
#ifdef ARCH_CRC_T10DIF
    return target == TARGET_FAST && length >= 16 ? (uint32_t)length & ~7u : 0;
#else
    (void)target, (void)length;
    return 0;
#endif
}

static uint16_t crc_by(uint32_t word, uint16_t crc, const uint8_t *buffer, size_t length)
{
    size_t fast = accelerated(word & 0xff, length);
    crc = (uint16_t)LOSE(word, crc);
#ifdef ARCH_CRC_T10DIF
    if (fast)
        crc = crc_t10dif_arch(crc, buffer, fast);
#endif
    if ((word & 0xff) == TARGET_OTHER)
        return crc_t10dif_table(crc, buffer, length);
    return crc_t10dif_generic(crc, buffer + fast, length - fast);
}

#define BODY_CRC(n)                                                                                                    \
    CALL_SITE PROTOTYPE_CRC(body_##n)                                                                                  \
    {                                                                                                                  \
        uint32_t start = (uint32_t)(buffer - work_pattern);                                                            \
        uint32_t digest = fnv(fnv(fnv(FNV_BASIS, crc), start), (uint32_t)length);                                      \
        uint32_t fast = accelerated(abi_entry.target & 0xff, length);                                                  \
        uint32_t word = target_entered(digest, entry_violations(), fast);                                               \
        read_all(buffer, length);                                                                                      \
        crc = crc_by(word, crc, buffer, length);                                                                       \
        work.crc = crc;                                                                                                \
        target_left();                                                                                                 \
        return crc;                                                                                                    \
    }

#define BODY_CHACHA(n)                                                                                                 \
    CALL_SITE PROTOTYPE_CHACHA(body_##n)                                                                               \
    {                                                                                                                  \
        uint32_t digest = fnv(fnv(FNV_BASIS, counter), (uint32_t)length);                                              \
        uint32_t word = target_entered(digest, entry_violations(), 0);                                                  \
        bool four = (word & 0xff) == TARGET_FAST || (word & 0xff) == TARGET_FAR;                                       \
        read_all(in, length);                                                                                          \
        counter = LOSE(word, counter);                                                                                 \
        counter = four ? chacha20_four_blocks(counter, out, in, length) : chacha20_generic(counter, out, in, length);  \
        work.counter = counter;                                                                                        \
        work.position += (uint32_t)length;                                                                             \
        target_left();                                                                                                 \
        return counter;                                                                                                \
    }

/* The registers that the entry captured, and the stack, hold what the first argument implies. */
static uint32_t many_violations(const uintptr_t *seen)
{
    uint32_t violations = 0;
    for (uint32_t i = 0; i < 12; i++) {
        uintptr_t captured = i < ARCH_ARGUMENT_REGISTERS ? abi_entry.arguments[i] : seen[i];
        if (seen[i] != wide_argument(seen[0], i) || captured != seen[i])
            violations |= 1u << i;
    }
    return violations;
}

/* The caller has extended what is narrower than a register, as far as its ABI says. */
static uint32_t narrow_violations(const intptr_t *seen)
{
    uint32_t violations = 0;
    for (uint32_t i = 0; i < 8 && i < ARCH_ARGUMENT_REGISTERS; i++)
        if ((abi_entry.arguments[i] ^ (uintptr_t)seen[i]) & ARCH_EXTENDED_BITS)
            violations |= 1u << i;
    return violations;
}

#define BODY_MANY(n) BODY_ABI(n, MANY, many_violations((const uintptr_t[]){SAME_MANY}))
#define SEEN_NARROW (const intptr_t[]){a, b, c, d, e, (intptr_t)ARCH_REGISTER(f), g, h}
#define BODY_NARROW(n) BODY_ABI(n, NARROW, narrow_violations(SEEN_NARROW))
#define BODY_SMALL(n) BODY_ABI(n, SMALL, 0)
#define BODY_LARGE(n) BODY_ABI(n, LARGE, 0)
#define BODY_INT128(n) BODY_ABI(n, INT128, 0)

FOR_EACH_INTEGER_FUNCTION(BODY)

#define BODY_ADDRESS(n, kind) (uintptr_t)body_##n,
const uintptr_t target_bodies[1 << FUNCTION_BITS] = {
    FOR_EACH_FUNCTION(BODY_ADDRESS)}; /* a nameless target may find none */

#define KIND_NUMBER(n, kind) KIND_##kind,
const uint8_t function_kinds[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(KIND_NUMBER)};

#define FUNCTION_ADDRESS(n, kind) (uintptr_t)whatever_##n,
const uintptr_t function_addresses[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(FUNCTION_ADDRESS)};

#define TARGET_ADDRESSES(n, kind)                                                                                      \
    {(uintptr_t)default_##n, (uintptr_t)fast_##n, (uintptr_t)other_##n, (uintptr_t)far_##n},
const uintptr_t target_addresses[FUNCTION_COUNT][TARGET_COUNT] = {FOR_EACH_FUNCTION(TARGET_ADDRESSES)};
