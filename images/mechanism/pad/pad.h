/* The patchable functions of the `pad` mechanism (pad.c, pad_float.c), and what an architecture supplies. */
#ifndef PAD_H
#define PAD_H

#include "initial.h"
#include "mechanism.h"
#include "nops.h"

#ifndef PAD_JUMP_BYTES
#define PAD_JUMP_BYTES 4
#endif

/* nops.h: NOPS_BEFORE and NOPS_AT, as the compiler counts them: bytes on x86, instructions elsewhere; and in bytes
 *     PAD_ENTRY      where a function's entry lies in its ARCH_STUB_BYTES, behind the NOPs before it
 *     PAD_JUMP       where the NOPs lie that become a jump in one store, of PAD_JUMP_BYTES
 *     PAD_HEAD       what a patch may change, from the beginning of these
 *     PAD_PIECES     {offset, size} of each piece of it that one store replaces, the one that is executed first last */
struct piece {
    uint8_t at, size;
};

/* nops.c: `head`, which holds what the head of function n holds now, becomes what leads to `to`. */
void pad_lead(uint32_t n, uint8_t *head, uintptr_t to);
/* Where the head of function n leads; 0: on, to the code behind the NOPs. */
uintptr_t pad_target(uint32_t n);
/* The code behind the NOPs, as C has the address of a function. */
uintptr_t pad_behind(uint32_t n);

/* An alignment whose excess the linker is to take away, once it has made calls shorter, may be left too large by it. */
#ifdef __riscv
__asm__(".option norelax");
#endif

/* NOPs before the first entry of a file are assembled before the compiler says that it is Thumb. */
#ifdef __thumb__
__asm__(".thumb");
#endif

/* Function n is in section .stub.function.n, which the linker puts into this order, the NOPs before its entry first. */
#define PAD(n)                                                                                                         \
    __attribute__((patchable_function_entry(NOPS_BEFORE + NOPS_AT, NOPS_BEFORE), section(".stub.function." #n),        \
                   aligned(ARCH_STUB_BYTES), noinline, used))

#define FORWARD(n, kind)                                                                                               \
    PAD(n) PROTOTYPE_##kind(whatever_##n) { return LINKED_TARGET(n)(SAME_##kind); }

#define FUNCTION_INT(n) FORWARD(n, INT)
#define FUNCTION_LONG(n) FORWARD(n, LONG)
#define FUNCTION_WIDE(n) FORWARD(n, WIDE)
#define FUNCTION_VOID(n)                                                                                               \
    PAD(n) PROTOTYPE_VOID(whatever_##n) { LINKED_TARGET(n)(SAME_VOID); }
#define FUNCTION_CRC(n) FORWARD(n, CRC)
#define FUNCTION_CHACHA(n) FORWARD(n, CHACHA)
#define FUNCTION_MANY(n) FORWARD(n, MANY)
#define FUNCTION_NARROW(n) FORWARD(n, NARROW)
#define FUNCTION_SMALL(n) FORWARD(n, SMALL)
#define FUNCTION_LARGE(n) FORWARD(n, LARGE)
#define FUNCTION_INT128(n) FORWARD(n, INT128)
#define FUNCTION_DOUBLES(n) FORWARD(n, DOUBLES)
#define FUNCTION_MIXED(n) FORWARD(n, MIXED)

/* C cannot forward `...`: the name is there to be linked, and no scenario calls it under this mechanism. */
#define FUNCTION_VARIADIC(n)                                                                                           \
    PAD(n) PROTOTYPE_VARIADIC(whatever_##n) { return LINKED_TARGET(n)(count); }

#define FUNCTION(n, kind) FUNCTION_##kind(n)

#endif
