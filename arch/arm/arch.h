/* arm (AAPCS32, hard-float; A32 and Thumb): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__arm__) || !defined(__ARM_PCS_VFP) || (defined(__thumb__) && defined(__ARMEB__))
#error "arch/arm built with a compiler for something else"
#endif

#define ARCH_MACHINE 40 /* EM_ARM */

#define ARCH_ARGUMENT_REGISTERS 4 /* r0-r3; a WIDE call has four words on the stack */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0 /* of a narrow argument, valid in its register (AAPCS32, 6.5: a whole word) */
#define ARCH_CALLEE_SAVED 8       /* r4-r11 */
#define ARCH_LOSE_SAVED "mov r8, #0" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1   /* ip (veneers, and GCC's static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* those of a variadic call go where integers do (AAPCS32, 7.1.1) */
#define ARCH_STACK_ALIGNMENT 8
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: N, Z, C, V and Q set; what ip holds.  There is no red zone (AAPCS32, 6.2.1.1). */
#define ARCH_BARE_FLAGS 0xf8000000u
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

/* Bit 0 of a function's address says that its code is Thumb (Arm ARM DDI 0406C, A2.3.2, "BX"). */
#ifdef __thumb__
#define ARCH_FUNCTION_BIAS 1
#define ARCH_CODE(function) ((function) & ~(uintptr_t)1)
#define ARCH_FUNCTION_ALIGNMENT 2
#define ARCH_MODULE_NOP "nop"
#else
#define ARCH_FUNCTION_BIAS 0
#define ARCH_FUNCTION_ALIGNMENT 4
#endif
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* An A32 instruction as a word of memory: instructions are little-endian whatever data is (BE8; Arm ARM DDI 0406C,
 * A3.3.1). */
#ifdef __ARMEB__
#define ARCH_INSTRUCTION(word) __builtin_bswap32(word)
#else
#define ARCH_INSTRUCTION(word) (word)
#endif

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 8
#ifdef __thumb__
#define ARCH_FOREIGN_WORD 0xbe00be00u /* bkpt #0, twice: what a debugger puts there */
#else
#define ARCH_FOREIGN_WORD ARCH_INSTRUCTION(0xe1200070u) /* bkpt #0: what a debugger puts there */
#endif

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP)                                                                                           \
    STEP(0, "mcr p15, 0, %0, c7, c11, 1") STEP(1, "dsb") STEP(2, "mcr p15, 0, %0, c7, c5, 1")                          \
    STEP(3, "mcr p15, 0, %0, c7, c5, 6") STEP(4, "dsb") STEP(5, "isb")
#define ARCH_SYNC_BY_KERNEL /* user mode may not: where there is a kernel, it does all of it in one call */

#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 248
#define ARCH_SYS_MMAP 192
#define ARCH_SYS_MEMFD_CREATE 385

#ifdef __ASSEMBLER__

    .syntax unified
#ifdef __thumb__
    .thumb
#else
    .arm
#endif

/* An instruction of 32 bits, where Thumb may have a shorter one. */
#ifdef __thumb__
#define WIDE(instruction) instruction.w
#else
#define WIDE(instruction) instruction
#endif

/* Any address, with bit 0 if it is that of a Thumb function. */
.macro address register, symbol
    movw    \register, #:lower16:\symbol
    movt    \register, #:upper16:\symbol
.endm

#endif
#endif
