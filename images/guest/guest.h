/* What the parts of the guest share: the patchable functions, their targets, and what is observed of a call. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"
#include "wire.h"

/* What arch.h says only where it is not the rule. */
#ifndef ARCH_CODE_WORD
#define ARCH_CODE_WORD uint32_t /* what one poke of a stub stores */
#endif
#ifndef ARCH_CODE
#define ARCH_CODE(function) (function) /* where the code of a function begins, from its address as C has it */
#endif
#ifndef ARCH_FUNCTION_BIAS
#define ARCH_FUNCTION_BIAS 0 /* what is added to the address of a function's first instruction */
#endif
#ifndef ARCH_REGISTER
#define ARCH_REGISTER(value) (value) /* what a register holds that passes a uint32_t */
#endif
#ifndef ARCH_MODULE_NOP
#define ARCH_MODULE_NOP "" /* instructions that do nothing and move the next call to another alignment, if it has any */
#endif
#ifndef ARCH_LOW_ARGUMENT /* the low half of a 64-bit argument is its first word (0) or its second (1) */
#define ARCH_LOW_ARGUMENT (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#endif
#ifndef ARCH_STUB_BYTES
#define ARCH_STUB_BYTES 32
#endif
#ifdef MECHANISM_BYTES /* `bytes` of a mechanism.toml: what it patches is not a stub of arch/NAME/stub.S */
#undef ARCH_STUB_BYTES
#define ARCH_STUB_BYTES MECHANISM_BYTES
#endif
#ifndef ARCH_ENTRY_INSTRUCTION
#define ARCH_ENTRY_INSTRUCTION ARCH_FUNCTION_ALIGNMENT
#endif
#ifndef ARCH_ENTERED_INDIRECTLY /* targets that a stub's near jump may not lead to */
#define ARCH_ENTERED_INDIRECTLY(target) ((target) == TARGET_FAR)
#endif
typedef ARCH_CODE_WORD code_word;

#ifndef ARCH_ARGUMENT_REGISTERS /* no abi.S: images/portable stands in for it, and looks at no register */
#define ARCH_ARGUMENT_REGISTERS 1
#define ARCH_EXTENDED_BITS 0
#define ARCH_HIDDEN_REGISTERS 0
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8
#define ARCH_STACK_ALIGNMENT 1
#define ARCH_ENTRY_STACK_BIAS 0
#define ARCH_BARE_FLAGS 0
#define BARE_HIDDEN 0
#define ARCH_NO_BARE_CALL_SITES
#endif

/* Not inlined, not cloned, own address: a call site stays the call site that the source shows. */
#define CALL_SITE __attribute__((noinline, used, section(".sites")))

/* Calls the function that it is given: inlined, so that a constant one is called by an ordinary call. */
#define CALLS static inline __attribute__((always_inline))

/* Large buffers that need not be cleared between cells. */
#define NOINIT __attribute__((section(".noinit"), aligned(16)))

#define PROTOTYPE_INT(name) uint32_t name(uint32_t x)
#define PROTOTYPE_LONG(name) uint64_t name(uint64_t x, uint32_t y)
#define PROTOTYPE_WIDE(name)                                                                                           \
    uint32_t name(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f, uintptr_t g,           \
                  uintptr_t h)
#define PROTOTYPE_VOID(name) void name(uint32_t x)
#define PROTOTYPE_CRC(name) uint16_t name(uint16_t crc, const uint8_t *buffer, size_t length)
#define PROTOTYPE_CHACHA(name) uint32_t name(uint32_t counter, uint8_t *out, const uint8_t *in, size_t length)

/* A function's parameters as they came, as arguments: so a tail call needs no moves. */
#define SAME_INT x
#define SAME_LONG x, y
#define SAME_WIDE a, b, c, d, e, f, g, h
#define SAME_VOID x
#define SAME_CRC crc, buffer, length
#define SAME_CHACHA counter, out, in, length

/* Second argument of a LONG function and i-th of a WIDE one, for a call with x. */
static inline uint32_t long_argument(uint64_t x) { return 3u * (uint32_t)x + 1u; }
static inline uintptr_t wide_argument(uint64_t x, uint32_t i) { return (uintptr_t)x + 0x1111u * i; }

static inline uint32_t fnv(uint32_t digest, uint32_t word) { return (digest ^ word) * FNV_PRIME; }

#include "kinds.h"

/* The patchable functions, and where they may lead (asm entries in abi.S, bodies in targets.c). */
#define DECLARE(n, kind)                                                                                               \
    PROTOTYPE_##kind(whatever_##n);                                                                                    \
    PROTOTYPE_##kind(default_##n);                                                                                     \
    PROTOTYPE_##kind(fast_##n);                                                                                        \
    PROTOTYPE_##kind(other_##n);                                                                                       \
    PROTOTYPE_##kind(far_##n);
FOR_EACH_FUNCTION(DECLARE)
#undef DECLARE

/* interp.c: the bytes that patching changes, as linked, filled in by the host after linking, so that they do not depend
 * on the encoder under test. */
extern const uint8_t farm_pristine[]; /* ARCH_STUB_BYTES for each function */

extern const uint8_t function_kinds[FUNCTION_COUNT];
extern const uintptr_t function_addresses[FUNCTION_COUNT];
extern const uintptr_t target_addresses[FUNCTION_COUNT][TARGET_COUNT];

/* A kind whose call sites take x as a LONG function does and derive the real arguments from it. */
static inline bool is_derived(uint32_t kind) { return kind >= KIND_CRC; }

/* Work: x names a piece of the pattern and how to go on (piece() in farm/scenario/__init__.py). */
extern const uint8_t work_pattern[PATTERN_SIZE]; /* ends where an unmapped page begins */
extern struct work {
    uint32_t crc, counter, position; /* where the last call ended */
} work;
extern uint8_t work_out[2 * PATTERN_SIZE];
static inline size_t piece_length(uint64_t x) { return x & 0xffff; }
static inline const uint8_t *piece_start(uint64_t x) { return work_pattern + (x >> 16 & 0xffff); }
static inline bool piece_more(uint64_t x) { return x >> 32 & 1; }
static inline bool piece_in_place(uint64_t x) { return x >> 33 & 1; }
static inline bool piece_wrap(uint64_t x) { return x >> 34 & 1; }

/* Implementations (crc_t10dif.c, chacha20.c, arch/NAME/crc_t10dif.c). */
PROTOTYPE_CRC(crc_t10dif_generic);
PROTOTYPE_CRC(crc_t10dif_table);
PROTOTYPE_CHACHA(chacha20_generic);
PROTOTYPE_CHACHA(chacha20_four_blocks);
#ifdef ARCH_CRC_T10DIF
PROTOTYPE_CRC(crc_t10dif_arch); /* length is a multiple of 8 */
/* FEATURE_ bits of this CPU, from the auxiliary vector or from the CPU itself. */
uint32_t arch_features(const uintptr_t *auxiliary_vector);
#endif

/* module.c: a piece of text that comes and goes, as a loaded module's does.  module_load answers whether its memory is
 * as module_unload left it. */
bool module_load(void);
bool module_is_loaded(void);
void module_unload(void);

/* FEATURE_ bits of this CPU; the platform finds out. */
extern uint32_t farm_features;

/* Call sites by function and shape (calls.c, module.c); RECURSIVE, the last shape, enters through TAIL. */
extern const uintptr_t call_sites[FUNCTION_COUNT][SHAPE_RECURSIVE];
extern const volatile uintptr_t *const taken_there[FUNCTION_COUNT]; /* what POINTER call sites call */
extern uint32_t call_count; /* iterations of a LOOPED call site */

/* Call sites of what original_address, a function as C has its address, is at that moment, by function (calls.c). */
extern const uintptr_t original_sites[FUNCTION_COUNT];
extern volatile uintptr_t original_address;

/* abi.S: calls function with the given argument words in ABI order while every callee-saved register holds a
 * sentinel.  clobbered has bit i set if the i-th of them came back changed; stack is the stack pointer after the call
 * less the one before. */
struct abi_result {
    uintptr_t value[2];
    intptr_t stack;
    uintptr_t clobbered;
};
void abi_call(uintptr_t function, const uintptr_t arguments[8], struct abi_result *result);

/* abi.S: what the entry of a target recorded before any C ran.  target is cleared by whoever reads it. */
struct abi_entry {
    uintptr_t arguments[ARCH_ARGUMENT_REGISTERS];
    uintptr_t stack;
    uintptr_t return_address;
    uintptr_t flags;
    uintptr_t hidden[2];     /* registers that may carry what is no argument (arch.h names them) */
    uintptr_t red_zone;      /* 0: intact; recorded for calls from a BARE site */
    uintptr_t toc;           /* 0: as it must be */
    uintptr_t entry_address; /* the register that holds it, where the ABI has one */
    uint32_t target;
};
extern struct abi_entry abi_entry;
extern uintptr_t abi_frame; /* innermost abi_call */

/* abi.S: the BARE call sites.  Each sets abi_bare to its return address and fills what its target must find intact. */
#define BARE(n, kind) PROTOTYPE_##kind(bare_##n);
FOR_EACH_INT_FUNCTION(BARE)
#undef BARE
extern uintptr_t abi_bare;

/* abi.S: leaves junk in every register that a call need not keep. */
void abi_scrub(void);

/* abi.S: where NULL and RET0 lead. */
void return_void(void);
void return_zero(void);

/* interp.c, for the bodies of targets.  target_entered records the visit, runs what the step wants to be run inside,
 * and returns the word of the target that was entered. */
uint32_t target_entered(uint32_t digest, uint32_t violations, uint32_t note);
bool target_recurses(void); /* if so, the body calls its own patchable function and then target_returned */
void target_returned(void);
void target_left(void);

void farm_run(void);

#endif
