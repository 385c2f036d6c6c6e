/* powerpc (32 bits: System V ABI; 64 bits: ELFv1 or ELFv2 ABI): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if defined(__powerpc64__)
#define ARCH_MACHINE 21 /* EM_PPC64 */
#elif defined(__powerpc__)
#define ARCH_MACHINE 20 /* EM_PPC */
#else
#error "arch/powerpc built with a compiler for something else"
#endif

#define ARCH_ARGUMENT_REGISTERS 8 /* r3-r10 */
/* Of a narrow argument, valid in its register (all three ABIs, "Parameter Passing": to a whole register). */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0
#define ARCH_CALLEE_SAVED 18      /* r14-r31 */
#define ARCH_LOSE_SAVED "li 21, 0" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1   /* r11 (static chain) */
#if defined(__powerpc64__) && _CALL_ELF == 2
#define ARCH_HAS_ENTRY_REGISTER 1 /* r12, on entry at the global entry point (ELFv2 ABI, "Function Prologue") */
#else
#define ARCH_HAS_ENTRY_REGISTER 0
#endif
#ifdef __powerpc64__
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#else
/* cr bit 6: all or none (System V ABI PowerPC supplement, "Parameter Passing"); a callee may look at it or not. */
#define ARCH_DOUBLES_ANNOUNCED(entry) ((entry).flags & 0x02000000u ? 8u : 0u)
#endif
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: cr, with bit 6 (doubles of a variadic call are in registers) set; what r11 and the red zone (ELFv1
 * and ELFv2 ABI, "The Stack Frame", "protected zone") hold. */
#define ARCH_BARE_FLAGS 0xa7a5a5a5u
#define BARE_HIDDEN 0x4e47
#define RED_ZONE 288

/* ELFv1: a function's address is that of its descriptor, three words in .opd: code, TOC, environment. */
#if defined(__powerpc64__) && _CALL_ELF == 1
#define ARCH_DESCRIPTORS
#define ARCH_CODE(function) (*(const uintptr_t *)(function))
#define ARCH_FUNCTION_ALIGNMENT 8
#else
#define ARCH_FUNCTION_ALIGNMENT 4
#endif
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 24
#define ARCH_STUB_SLOT_FIXED /* its address is in the instructions: a copy of a stub loads the slot of the original */
#define ARCH_FOREIGN_WORD 0x7fe00008u /* trap: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP)                                                                                           \
    STEP(0, "dcbst 0,%0") STEP(1, "sync") STEP(2, "icbi 0,%0") STEP(3, "sync") STEP(4, "isync")

#ifdef __powerpc64__
#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */
#endif

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 234
#define ARCH_SYS_MMAP 90
#define ARCH_SYS_MEMFD_CREATE 360

#ifdef __ASSEMBLER__

/* An address's worth: its size and the logarithm of that, and the instructions that differ. */
#ifdef __powerpc64__
#define WORD 8
#define WORD_SHIFT 3
#define LOAD ld
#define STORE std
#define PUSH stdu
#define ADDRESS .quad
#define LINK_SAVE 16 /* in the caller's frame, where a callee keeps lr (ELFv1 and ELFv2 ABI, "The Stack Frame") */
#ifdef ARCH_DESCRIPTORS
#define TOC_SAVE 40
#define STACK_ARGUMENT 112 /* the ninth, behind the parameter save area's eight (ELFv1 ABI, "The Stack Frame") */
#else
#define TOC_SAVE 24
#define STACK_ARGUMENT 96 /* (ELFv2 ABI, "Parameter Save Area") */
#endif
#else
#define WORD 4
#define WORD_SHIFT 2
#define LOAD lwz
#define STORE stw
#define PUSH stwu
#define ADDRESS .long
#define STACK_ARGUMENT 8 /* the ninth: the first that is not in a register */
#define LINK_SAVE 4 /* (System V ABI PowerPC supplement, "The Stack Frame") */
#endif

/* The whole guest lies below 2 GiB, so two instructions make any address. */
.macro address register, symbol
    lis     \register, \symbol@ha
    addi    \register, \register, \symbol@l
.endm

/* Begins a function that C can name: with ELFv1 the name is its descriptor's, and the linker leads a branch to it to
 * the code. */
.macro function name
    .globl  \name
    .type   \name, %function
#ifdef ARCH_DESCRIPTORS
    .section .opd, "aw"
    .balign 8
\name:
    .quad   .Lcode_\name, .TOC.@tocbase, 0
    .previous
.Lcode_\name:
#else
\name:
#endif
.endm

/* Where the code of a function begins, from its address as C has it: ARCH_CODE. */
.macro code register, function
#ifdef ARCH_DESCRIPTORS
    ld      \register, 0(\function)
#else
    mr      \register, \function
#endif
.endm

#endif
#endif
