/* parisc (32 bits; "32-bit PA-RISC Run-time Architecture Document" as Linux has it): what the shared C and the asm must
 * know.
 *
 * In an image that is linked to fixed addresses a function's address is that of its code: the linker makes no
 * procedure label of two words of it, so there are no descriptors. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__hppa__) || defined(__LP64__)
#error "arch/parisc built with a compiler for something else"
#endif

#define ARCH_MACHINE 15 /* EM_PARISC */

#define ARCH_ARGUMENT_REGISTERS 4 /* r26, r25, r24, r23; a WIDE call has four words on the stack */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0 /* of a narrow argument, valid in its register: what GCC does and relies on */
#define ARCH_CALLEE_SAVED 16      /* r3-r18 */
#define ARCH_LOSE_SAVED "ldi 0, %r8" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 2   /* r28 (address of a struct result), r29 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: general ones, so there is nothing to say */
#define ARCH_STACK_ALIGNMENT 64
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: the carry bit, which is set, and above it the shift amount register; what the hidden registers
 * hold.  There is no red zone. */
#define ARCH_BARE_FLAGS (21 << 1 | 1)
#define BARE_HIDDEN 0x1e47

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */
#define ARCH_LOW_ARGUMENT 0 /* arguments lie at descending addresses, so the low word of a 64-bit one is first */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 16
#define ARCH_STUB_SLOT_FIXED /* its address is in the instructions: a copy of a stub loads the slot of the original */
#define ARCH_FOREIGN_WORD 0x00010004u /* break 4,8: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP)                                                                                           \
    STEP(0, "fdc %%r0(%0)") STEP(1, "sync") STEP(2, "fic %%r0(%%sr4,%0)")                                              \
    STEP(3, "sync\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop")

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 222
#define ARCH_SYS_MMAP 89
#define ARCH_SYS_MEMFD_CREATE 340
#define ARCH_MAP_FIXED 4

#ifdef __ASSEMBLER__

    .level  1.1

/* The least that a function that calls another must have, at the top of the stack: the frame marker and room for its
 * arguments. */
#define FRAME 64

/* Two instructions make any address. */
.macro address register, symbol
    ldil    L%\symbol, \register
    ldo     R%\symbol(\register), \register
.endm

#endif
#endif
