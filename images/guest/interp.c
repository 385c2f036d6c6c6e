/* The interpreter: runs one program and writes one trace (formats: wire.h, written by farm/scenario/layout.py). */
#include "guest.h"
#include "layer.h"

/* Where the host writes the program and finds the trace.  The code bytes follow the last event. */
uint32_t farm_program[PROGRAM_WORDS] NOINIT;
struct {
    uint32_t magic, wire_hash, machine, identity, events, dropped, text_digest, code_bytes;
    uint32_t words[TRACE_EVENTS * EVENT_WORDS + ARCH_STUB_BYTES * FUNCTION_COUNT / 4 + SITE_CAPACITY];
} farm_trace NOINIT;

const uint8_t farm_pristine[ARCH_STUB_BYTES * FUNCTION_COUNT] __attribute__((aligned(16))) = {1};

/* Real work: where it stands, and where CHACHA writes. */
struct work work;
uint8_t work_out[2 * PATTERN_SIZE] NOINIT;

/* What a call step asks of the targets it enters. */
struct call {
    const uint32_t *inside, *inside_end; /* run once, at level `at` */
    uint32_t at, level, limit;
};
static struct call *current;
static uint32_t depth; /* targets now running */

/* Inside a loop, events are folded into a digest instead of being stored. */
static uint32_t folding, fold_digest, fold_events, iteration;

static void emit(uint32_t kind, uint32_t step, uint32_t target, uint32_t arguments, uint64_t value, intptr_t stack,
                 uint32_t abi)
{
    const uint32_t words[EVENT_WORDS] = {kind | step << 16,       target,          arguments, (uint32_t)value,
                                         (uint32_t)(value >> 32), (uint32_t)stack, abi,       depth};
    uint32_t *event = &farm_trace.words[farm_trace.events * EVENT_WORDS];
    if (folding) {
        for (uint32_t i = 0; i < EVENT_WORDS; i++)
            fold_digest = fnv(fold_digest, words[i]);
        fold_events++;
    } else if (farm_trace.events == TRACE_EVENTS) {
        farm_trace.dropped++;
    } else {
        for (uint32_t i = 0; i < EVENT_WORDS; i++)
            event[i] = words[i];
        farm_trace.events++;
    }
}

static uint32_t target_word(uint32_t n, uint32_t target) { return n << 8 | target; }

static bool is_known(uint32_t word) { return word >> 8 < FUNCTION_COUNT && (word & 0xff) < TARGET_COUNT; }

static void run(const uint32_t *pc, const uint32_t *end);

static uint32_t running_step;

uint32_t target_entered(uint32_t digest, uint32_t violations, uint32_t note)
{
    uint32_t word = abi_entry.target;
    struct call *call = current;
    abi_entry.target = NO_TARGET; /* an entry that does not record itself is found out */
    if (is_known(word))
        emit(EVENT_ENTER, running_step, word, digest, note, 0, violations);
    else
        emit(EVENT_ENTER, running_step, UNKNOWN_TARGET, digest, word, 0, violations);
    depth++;
    if (call && call->level == call->at && call->inside != call->inside_end) {
        const uint32_t *inside = call->inside;
        uint32_t step = running_step;
        call->inside = call->inside_end;
        run(inside, call->inside_end);
        running_step = step;
    }
    return word;
}

bool target_recurses(void)
{
    if (!current || current->level >= current->limit)
        return false;
    current->level++;
    return true;
}

void target_returned(void) { current->level--; }

void target_left(void)
{
    depth--;
    abi_scrub(); /* a caller that relies on a register of the callee's is found out */
}

/* The low word of a 64-bit result, in the order of the register pair that it comes back in. */
static uint32_t pair_low(void) { return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__; }

static uint64_t long_operand(const uint32_t *words) { return words[0] | (uint64_t)words[1] << 32; }

/* Call the call site of function n with what it makes of x.  The event has the value that comes back, if one does. */
static void call_at(uintptr_t call_site, uint32_t n, uint64_t x, struct call *call, bool valued, uint32_t step)
{
    uint32_t kind = function_kinds[n];
    uint64_t value = 0;
    struct call *outer = current;
    struct abi_result result;
    uintptr_t arguments[8];

    for (uint32_t i = 0; i < 8; i++)
        arguments[i] = kind == KIND_WIDE ? wide_argument(x, i) : (uintptr_t)0xdead0000u + i;
    bool pair = kind == KIND_LONG || is_derived(kind);
    if (pair && sizeof(uintptr_t) == 4) {
        arguments[ARCH_LOW_ARGUMENT] = (uintptr_t)x;
        arguments[!ARCH_LOW_ARGUMENT] = (uintptr_t)(x >> 32);
        arguments[2] = ARCH_REGISTER(long_argument(x));
    } else if (pair) {
        arguments[0] = (uintptr_t)x;
        arguments[1] = ARCH_REGISTER(long_argument(x));
    } else if (kind != KIND_WIDE) {
        arguments[0] = ARCH_REGISTER((uint32_t)x);
    }
    abi_bare = 0;
    current = call;
    abi_call(call_site, arguments, &result);
    current = outer;
    abi_bare = 0; /* a call that entered no target has left it set */
    if (pair && sizeof(uintptr_t) == 4)
        value = (uint32_t)result.value[pair_low()] | (uint64_t)result.value[!pair_low()] << 32;
    else if (pair)
        value = result.value[0];
    else if (valued)
        value = (uint32_t)result.value[0];
    emit(EVENT_RETURN, step, target_word(n, 0xff), 0, value, result.stack, (uint32_t)result.clobbered);
}

static void run_call(const uint32_t *op, uint32_t step)
{
    uint32_t n = op[2], shape = op[3], outer_count = call_count;
    uint64_t x = long_operand(op + 4) + long_operand(op + 8) * iteration;
    struct call call = {.inside = op + 10, .inside_end = op + op[1], .at = op[7], .level = 0, .limit = 0};

    if (shape == SHAPE_RECURSIVE) {
        call.limit = op[6];
        shape = SHAPE_TAIL;
    }
    if (!call_sites[n][shape])
        return; /* no such call site: the trace has no return where the model has one */
    call_count = op[6];
    call_at(call_sites[n][shape], n, x, &call, function_kinds[n] != KIND_VOID || shape == SHAPE_COUNTED, step);
    call_count = outer_count;
}

static void run_original(const uint32_t *op, uint32_t step)
{
    uint32_t n = op[2];
    struct call call = {.inside = op + 5, .inside_end = op + op[1], .at = 0, .level = 0, .limit = 0};

    original_address = patch_original(n); /* read before the target runs, so the steps inside may change it */
    if (original_address)                 /* else the mechanism has none, and the trace no return where the model has one */
        call_at(original_sites[n], n, long_operand(op + 3), &call, function_kinds[n] != KIND_VOID, step);
}

/* The functions' addresses, as this translation unit has them. */
#define TAKEN_HERE(n, kind) (uintptr_t)whatever_##n,
static const volatile uintptr_t taken_here[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(TAKEN_HERE)};

static uintptr_t address_taken(uint32_t n)
{
#ifdef CONTROL_TARGET_FOR_ADDRESS
    return taken_here[n] ? patch_query(n) : 0;
#else
    return taken_here[n];
#endif
}

static uint32_t best_target(void)
{
#if defined(CONTROL_DISPATCH_DEFAULT)
    return TARGET_DEFAULT;
#elif defined(CONTROL_DISPATCH_FAST)
    return TARGET_FAST;
#else
    return farm_features & FEATURE_CLMUL ? TARGET_FAST : TARGET_DEFAULT;
#endif
}

static void run_output(uint32_t step)
{
    uint32_t digest = FNV_BASIS;
    for (uint32_t i = 0; i < work.position; i++)
        digest = fnv(digest, work_out[i]);
    emit(EVENT_OUTPUT, step, NO_TARGET, work.position, digest, 0, 0);
}

static uint32_t run_restore(uint32_t n)
{
#ifdef CONTROL_WRONG_RESTORE_INSIDE
    if (depth)
        return patch_set(n, target_addresses[n][TARGET_OTHER], 0);
#endif
    return patch_restore(n);
}

/* Behind what C has the targets' addresses in, and behind the far text.  Read from memory, since no instruction that
 * makes an address need reach the far text. */
#ifdef ARCH_DESCRIPTORS
extern const uint8_t functions_end[] __asm__("descriptors_end");
#else
extern const uint8_t functions_end[] __asm__("text_end");
#endif
extern const uint8_t far_end[];
static const volatile uintptr_t ends[] = {(uintptr_t)functions_end, (uintptr_t)far_end};

static uint32_t run_patch(uint32_t n, uint32_t target, uint32_t offset)
{
    switch (target) {
    case TARGET_NULL:
        return patch_null(n);
    case TARGET_RET0:
        return patch_ret0(n);
    case TARGET_STUB:
        return patch_set(n, function_addresses[n], offset);
    case TARGET_NEXT:
        return patch_set(n, function_addresses[(n + 1) % FUNCTION_COUNT], offset);
    case TARGET_DATA:
        return patch_set(n, (uintptr_t)farm_program, offset);
    case TARGET_ZERO:
        return patch_set(n, 0, offset);
    case TARGET_BEST: /* dispatch: what the CPU has decides */
        return patch_set(n, target_addresses[n][best_target()], offset);
    case TARGET_MISALIGNED:
        return patch_set(n, target_addresses[n][TARGET_DEFAULT] + 1, offset);
    case TARGET_HALFWAY:
        return patch_set(n, target_addresses[n][TARGET_DEFAULT] + ARCH_FUNCTION_ALIGNMENT / 2, offset);
    case TARGET_END:
    case TARGET_FAR_END:
        return patch_set(n, ends[target == TARGET_FAR_END], offset);
    default:
        return patch_set(n, target_addresses[n][target % TARGET_COUNT], offset);
    }
}

/* The name of the address that function n reaches. */
static uint32_t run_query(uint32_t n)
{
    uintptr_t address = patch_query(n);
    for (uint32_t i = 0; i < TARGET_COUNT; i++)
        if (address == ARCH_CODE(target_addresses[n][i]))
            return target_word(n, i);
    if (address == ARCH_CODE(function_addresses[(n + 1) % FUNCTION_COUNT]))
        return target_word(n, TARGET_NEXT);
    if (address == ARCH_CODE((uintptr_t)return_void))
        return target_word(n, TARGET_NULL);
    if (address == ARCH_CODE((uintptr_t)return_zero))
        return target_word(n, TARGET_RET0);
    return UNKNOWN_TARGET;
}

static uintptr_t code_start(void) { return patched_bytes(0).start; }

static size_t code_size(void)
{
    struct patched_bytes last = patched_bytes(FUNCTION_COUNT - 1);
    return (last.start + last.size - code_start() + 3) & ~(size_t)3;
}

static bool is_pristine(uint32_t n)
{
    struct patched_bytes bytes = patched_bytes(n);
    const uint8_t *pristine = farm_pristine + (bytes.start - code_start());
    for (size_t i = 0; i < bytes.size; i++)
        if (((const volatile uint8_t *)bytes.start)[i] != ((const volatile uint8_t *)pristine)[i])
            return false;
    return true;
}

static bool are_pristine(uint32_t n)
{
    if (n != ALL_FUNCTIONS)
        return is_pristine(n) && (!sites_are_pristine || sites_are_pristine(n));
    for (n = 0; n < FUNCTION_COUNT; n++)
        if (!are_pristine(n))
            return false;
    return true;
}

/* A request in the middle of another, of which only the outer one may be granted. */
static void run_interrupt(const uint32_t *op, uint32_t step)
{
    uint32_t outer, n = op[2], target = op[3];
    if (patch_interrupted_by)
        patch_interrupted_by(n, target_addresses[n][target % TARGET_COUNT]);
    outer = run_patch(op[0], op[1], 0);
    emit(EVENT_INTERRUPT, step, target_word(n, target), 0,
         patch_interruption ? patch_interruption() : PATCH_UNSUPPORTED, 0, 0);
    emit(EVENT_PATCH, step, target_word(op[0], op[1]), 0, outer, 0, 0);
}

static void run_loop(const uint32_t *op, uint32_t step)
{
    uint32_t outer_digest = fold_digest, outer_events = fold_events, outer_iteration = iteration;
    folding++;
    fold_digest = FNV_BASIS;
    fold_events = 0;
    for (iteration = 0; iteration < op[2]; iteration++)
        run(op + 3, op + op[1]);
    iteration = outer_iteration;
    folding--;
    uint32_t digest = fold_digest, events = fold_events;
    fold_digest = outer_digest;
    fold_events = outer_events;
    emit(EVENT_LOOP, step, NO_TARGET, events, digest | (uint64_t)op[2] << 32, 0, 0);
}

static void run(const uint32_t *pc, const uint32_t *end)
{
    for (; pc < end; pc += pc[1]) {
        uint32_t step = pc[0] >> 16, n = pc[2]; /* of an op without operands n is not used */
        running_step = step;
        switch (pc[0] & 0xffff) {
        case OP_CALL:
            run_call(pc, step);
            break;
        case OP_ORIGINAL:
            run_original(pc, step);
            break;
        case OP_PATCH:
            emit(EVENT_PATCH, step, target_word(n, pc[3]), 0, run_patch(n, pc[3], pc[4]), 0, 0);
            break;
        case OP_RESTORE:
            emit(EVENT_RESTORE, step, target_word(n, TARGET_DEFAULT), 0, run_restore(n), 0, 0);
            break;
        case OP_QUERY:
            emit(EVENT_QUERY, step, run_query(n), 0, 0, 0, 0);
            break;
        case OP_CODE:
            emit(EVENT_CODE, step, n == ALL_FUNCTIONS ? NO_TARGET : target_word(n, 0xff), 0, !are_pristine(n), 0, 0);
            break;
        case OP_SITES:
            emit(EVENT_SITES, step, target_word(n, pc[3]), 0,
                 sites_left_behind ? sites_left_behind(n, pc[3] % TARGET_COUNT) : 0, 0, 0);
            break;
        case OP_ADDRESS: /* here, in targets.c, and in the data of a call site */
            emit(EVENT_ADDRESS, step, target_word(n, 0xff), 0,
                 address_taken(n) != function_addresses[n] || *taken_there[n] != function_addresses[n], 0, 0);
            break;
        case OP_SCRIBBLE:
            emit(EVENT_SCRIBBLE, step, target_word(n, 0xff), 0, 
                 patch_scribble ? patch_scribble(n) : PATCH_UNSUPPORTED, 0, 0);
            break;
        case OP_TAMPER:
            emit(EVENT_TAMPER, step, target_word(n, 0xff), 0, 
                 patch_tamper ? patch_tamper(n) : PATCH_UNSUPPORTED, 0, 0);
            break;
        case OP_LOCKTEXT:
            text_locked = n;
            emit(EVENT_LOCK, step, NO_TARGET, 0, n, 0, 0);
            break;
        case OP_FAILPOKE:
            failing_poke = n;
            emit(EVENT_FAIL_POKE, step, NO_TARGET, 0, n, 0, 0);
            break;
        case OP_INTERRUPTED:
            run_interrupt(pc + 2, step);
            break;
        case OP_PROTECTION:
            emit(EVENT_PROTECTION, step, NO_TARGET, 0, text_faults(), 0, 0);
            break;
        case OP_LOAD:
            emit(EVENT_LOAD, step, NO_TARGET, 0, !module_load(), 0, 0);
            break;
        case OP_UNLOAD:
            module_unload();
            emit(EVENT_UNLOAD, step, NO_TARGET, 0, 0, 0, 0);
            break;
        case OP_OUTPUT:
            run_output(step);
            break;
        case OP_LOOP:
            run_loop(pc, step);
            break;
        default:
            return; /* not a program of this layout: the trace ends here and differs from the model's */
        }
    }
}

void farm_run(void)
{
    current = NULL;
    depth = folding = iteration = 0;
    work = (struct work){0, 1, 0};
    abi_frame = 0;
    abi_entry.target = NO_TARGET;
    farm_trace.magic = TRACE_MAGIC;
    farm_trace.wire_hash = WIRE_HASH;
    farm_trace.machine = ARCH_MACHINE;
    farm_trace.identity = (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 2u : 1u) | (uint32_t)sizeof(void *) << 8 |
                          mechanism_number << 16;
    farm_trace.events = farm_trace.dropped = 0;
    if (farm_program[0] == PROGRAM_MAGIC && farm_program[1] == WIRE_HASH)
        run(farm_program + 3, farm_program + 3 + farm_program[2]);
    uint32_t *code = &farm_trace.words[farm_trace.events * EVENT_WORDS];
    for (size_t i = 0; i < code_size() / 4; i++)
        code[i] = ((const volatile uint32_t *)code_start())[i];
    farm_trace.code_bytes = (uint32_t)code_size() + 4 * (sites_words ? sites_words(code + code_size() / 4) : 0);
}
