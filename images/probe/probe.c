/* Probes of an engine: code is stored and executed, and what was executed is told.  It is function 0's default target, so
 * that any engine runs a probe as it runs a scenario: CALL of whatever_0 with a request, whose fields are below; the answer
 * is what the call returns.  farm/prove/engines.py makes requests and classes of what is answered.
 *
 * Two functions are alike but for a constant.  The first is copied to where a mapping is to be probed and is executed
 * there; then the bytes in which the second differs are stored over it, and it is executed again. */
#include "layer.h"
#include "patch.h"
#include "patchfarm.h"

/* A request. */
#define PROBE(x) ((x) & 0xf)
#define MAPPING(x) ((x) >> 4 & 0xf)
#define LEFT_OUT(x) ((x) >> 8) /* steps of the maintenance, a bit each */

enum probe {
    STEPS,  /* which steps of the maintenance there are, a bit each */
    WHOLE,  /* stored word by word */
    TORN,   /* stored byte by byte, and then executed */
    HALF,   /* stored byte by byte, and executed after each */
    NEXT,   /* stored by the code itself, a little ahead in the same block */
    SYNCED, /* likewise, with the maintenance between */
};

enum mapping {
    RWX,          /* it can always be stored to */
    TOGGLED,      /* only while it is open (mprotect) */
    ALIAS,        /* in a second mapping */
    CLOSED_ALIAS, /* in a second mapping, which the platform closes (alias.c) */
};

enum answer {
    OLD,
    NEW,
    NEITHER,
    UNFIT,  /* what was stored first is not what was executed first */
    CANNOT, /* there is no such mapping, or nothing to store */
};

/* Bytes that are copied from where a function begins; none here has more. */
enum { ROOM = 256 };

#ifndef ARCH_SYNC_BLOCK
#define ARCH_SYNC_BLOCK sizeof(uint32_t)
#endif

#define APART __attribute__((noinline, used, aligned(16)))

/* Bytes of the two constants differ, so that a piece of one and the rest of the other is neither. */
enum { VALUE_OLD = 0x0a35, VALUE_NEW = 0x0d4a };
#ifdef ARCH_CONSTANTS_LOADED
#define RETURN_CONSTANT(constant)                                                                                      \
    uint32_t value = (constant) >> 8;                                                                                  \
    __asm__ volatile("" : "+r"(value));                                                                                \
    return (value << 8) + ((constant) & 0xff)
#else
#define RETURN_CONSTANT(constant) return constant
#endif
uint32_t probe_old(void);
uint32_t probe_new(void);
APART uint32_t probe_old(void) { RETURN_CONSTANT(VALUE_OLD); }
APART uint32_t probe_new(void) { RETURN_CONSTANT(VALUE_NEW); }

/* One step of the maintenance after the other (ARCH_SYNC_CODE of arch.h), but for those that are left out. */
#ifdef ARCH_SYNC_CODE
#define DO(step, text) __asm__ volatile(text ::"r"(word) : ARCH_SYNC_CLOBBERS);
#define DO_UNLESS_LEFT_OUT(step, text)                                                                                 \
    if (!(left_out >> (step) & 1))                                                                                     \
        DO(step, text)
#define BIT(step, text) | 1u << (step)
#endif

/* Or else all of it is one call, of a kernel or of arch_sync_code. */
#ifndef ARCH_SYNC_CODE
#define ARCH_SYNC_CODE(STEP)
#define BIT(step, text)
static bool is_one_call(void) { return true; }
#elif defined(ARCH_SYNC_BY_KERNEL)
static bool is_one_call(void) { return has_kernel(); }
#else
static bool is_one_call(void) { return false; }
#endif

static uint32_t steps(void) { return is_one_call() ? 1 : 0 ARCH_SYNC_CODE(BIT); }

static void synchronise(uintptr_t at, uint32_t left_out)
{
    for (uintptr_t word = at; word < at + ROOM; word += ARCH_SYNC_BLOCK)
        if (!is_one_call()) {
            ARCH_SYNC_CODE(DO_UNLESS_LEFT_OUT)
            (void)left_out;
        } else if (!left_out) {
            arch_sync_code(word);
        }
}

/* Code that stores to an instruction of its own: the one that adds the constant to what was loaded behind the store. */
typedef uint32_t self_storing(volatile uint32_t *where, uint32_t word, const volatile uint32_t *zero,
                              void (*sync)(uintptr_t), uintptr_t at);
#define SELF_STORING(name, constant, BETWEEN)                                                                          \
    self_storing name;                                                                                                 \
    APART uint32_t name(volatile uint32_t *where, uint32_t new_word, const volatile uint32_t *zero,                    \
                        void (*sync)(uintptr_t), uintptr_t word)                                                       \
    {                                                                                                                  \
        *where = new_word;                                                                                             \
        BETWEEN;                                                                                                       \
        (void)sync, (void)word;                                                                                        \
        uint32_t value = *zero;                                                                                        \
        __asm__ volatile("" : "+r"(value));                                                                            \
        return value + (constant);                                                                                     \
    }
enum { ADDED_OLD = 3, ADDED_NEW = 5 };
#define NOTHING
#if defined(ARCH_SYNC_BY_KERNEL) || defined(ARCH_SYNC_JUMPS) || !defined(DO)
#define MAINTENANCE sync(word) /* its code cannot be copied */
#else
#define MAINTENANCE ARCH_SYNC_CODE(DO)
#endif
SELF_STORING(probe_next_old, ADDED_OLD, NOTHING)
SELF_STORING(probe_next_new, ADDED_NEW, NOTHING)
SELF_STORING(probe_synced_old, ADDED_OLD, MAINTENANCE)
SELF_STORING(probe_synced_new, ADDED_NEW, MAINTENANCE)

/* Room in the module's text, which has no second mapping. */
extern const volatile uint8_t probe_room[ROOM];
const volatile uint8_t probe_room[ROOM] __attribute__((section(".module"), aligned(64))) = {0};

#ifdef MECHANISM_ALIAS
static uintptr_t room_twice(void) { return (uintptr_t)farm_exec_alloc(ROOM, 0); }
#else
static uintptr_t room_twice(void) { return 0; }
#endif

/* A place for code, and how it is stored to. */
struct place {
    enum mapping mapping;
    uintptr_t at; /* where it executes; 0: there is none */
    enum text_region region;
    uint32_t left_out;
};

static struct place place_of(uint32_t request)
{
    struct place place = {MAPPING(request), 0, TEXT_MODULE, LEFT_OUT(request)};
    if (place.mapping >= ALIAS)
        place.region = TEXT_STUBS;
    place.at = place.mapping >= ALIAS ? room_twice() : (uintptr_t)probe_room;
    return place;
}

static bool is_open_all_along(struct place place) { return place.mapping == RWX || place.mapping == ALIAS; }

static bool begin(struct place place) { return place.at && (!is_open_all_along(place) || text_open(place.region)); }

static void end(struct place place)
{
    if (is_open_all_along(place))
        text_close(place.region);
}

/* Between these two it is stored to. */
static void before_store(struct place place)
{
    if (!is_open_all_along(place))
        text_open(place.region);
}

static void after_store(struct place place)
{
    synchronise(place.at, place.left_out);
    if (!is_open_all_along(place))
        text_close(place.region);
}

static volatile uint8_t *stored_to(struct place place, size_t i)
{
    return (volatile uint8_t *)(place.mapping >= ALIAS ? farm_text_alias(place.at) : place.at) + i;
}

static const uint8_t *code_of(const void *function) { return (const uint8_t *)ARCH_CODE((uintptr_t)function); }

/* The function that has been copied to `at`, as C calls it: like the one that it was copied from. */
#ifdef ARCH_DESCRIPTORS
__attribute__((noinline)) static const void *callable(uintptr_t at, const void *like)
{
    static uintptr_t descriptor[3];
    for (size_t i = 0; i < 3; i++)
        *(volatile uintptr_t *)&descriptor[i] = i ? ((const volatile uintptr_t *)like)[i] : at;
    return descriptor;
}
#else
static const void *callable(uintptr_t at, const void *like)
{
    (void)like;
    return (const void *)(at + ARCH_FUNCTION_BIAS);
}
#endif

static void store_words(struct place place, const uint8_t *code)
{
    before_store(place);
    for (size_t i = 0; i < ROOM; i += sizeof(uint32_t)) {
        uint32_t word;
        __builtin_memcpy(&word, code + i, sizeof word);
        if (*(const volatile uint32_t *)(place.at + i) != word)
            *(volatile uint32_t *)stored_to(place, i) = word;
    }
    after_store(place);
}

static void store_byte(struct place place, const uint8_t *code, size_t i)
{
    if (((const volatile uint8_t *)place.at)[i] != code[i])
        *stored_to(place, i) = code[i];
}

/* The code that is executed now. */
static enum answer executed(struct place place)
{
    uint32_t (*volatile function)(void) = (uint32_t (*)(void))callable(place.at, (const void *)probe_old);
    uint32_t value = function();
    return value == VALUE_OLD ? OLD : value == VALUE_NEW ? NEW : NEITHER;
}

/* As the first code is stored, nothing is left out. */
static void store_first(struct place place, const void *function)
{
    place.left_out = 0;
    store_words(place, code_of(function));
}

static enum answer probe_store(struct place place, enum probe probe)
{
    const uint8_t *code = code_of((const void *)probe_new);
    enum answer answer = OLD;
    store_first(place, (const void *)probe_old);
    if (executed(place) != OLD)
        return UNFIT;
    if (probe == WHOLE) {
        store_words(place, code);
        return executed(place);
    }
    if (probe == TORN) {
        before_store(place);
        for (size_t i = 0; i < ROOM; i++)
            store_byte(place, code, i);
        after_store(place);
        return executed(place);
    }
    for (size_t i = 0; i < ROOM; i++) {
        if (((const volatile uint8_t *)place.at)[i] == code[i])
            continue;
        before_store(place);
        store_byte(place, code, i);
        after_store(place);
        answer = executed(place);
        if (answer == NEITHER)
            return NEITHER;
    }
    return answer;
}

/* Where the two first differ: in what adds the constant, for they are alike before it. */
static size_t difference(const uint8_t *one, const uint8_t *other)
{
    size_t i = 0;
    while (i < ROOM && *(const volatile uint32_t *)(one + i) == *(const volatile uint32_t *)(other + i))
        i += sizeof(uint32_t);
    return i;
}

static enum answer probe_next(struct place place, self_storing *old, self_storing *new)
{
    static const volatile uint32_t zero = 0;
    size_t i = difference(code_of((const void *)old), code_of((const void *)new));
    uint32_t word;
    if (i == ROOM)
        return CANNOT;
    __builtin_memcpy(&word, code_of((const void *)new) + i, sizeof word);
    store_first(place, (const void *)old);
    self_storing *volatile function = (self_storing *)callable(place.at, (const void *)old);
    before_store(place);
    uint32_t value = function((volatile uint32_t *)stored_to(place, i), word, &zero, arch_sync_code, place.at + i);
    after_store(place);
    return value == ADDED_OLD ? OLD : value == ADDED_NEW ? NEW : NEITHER;
}

TARGET(default, 0)
{
    struct place place = place_of(x);
    enum probe probe = PROBE(x);
    enum answer answer;
    if (probe == STEPS)
        return steps();
    if (!begin(place))
        return CANNOT;
    if (probe == NEXT)
        answer = probe_next(place, probe_next_old, probe_next_new);
    else if (probe == SYNCED)
        answer = probe_next(place, probe_synced_old, probe_synced_new);
    else
        answer = probe_store(place, probe);
    end(place);
    return answer;
}
