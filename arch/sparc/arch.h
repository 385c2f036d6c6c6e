/* sparc (32 bits: System V ABI, SPARC supplement; 64 bits: SPARC Compliance Definition 2.4): what the shared C and the
 * asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if defined(__sparc__) && defined(__arch64__)
#define ARCH_MACHINE 43 /* EM_SPARCV9 */
#elif defined(__sparc__)
#define ARCH_MACHINE 2 /* EM_SPARC */
#else
#error "arch/sparc built with a compiler for something else"
#endif

#define ARCH_ARGUMENT_REGISTERS 6 /* o0-o5; a WIDE call has two words on the stack */

/* Of a narrow argument, valid in its register (supplement, "Parameter Passing"; SCD 2.4, likewise): to a whole one. */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0

/* l0-l7 and i0-i7, which a flat function keeps as a window does for others; g6 and g7, which are the system's. */
#define ARCH_CALLEE_SAVED 18
#define ARCH_LOSE_SAVED "clr %l3" /* loses one of them: a bug */

/* The static chain (g5, on 32 bits g2); and the address of a struct: o1 if it is the second argument and passed by
 * value, on 32 bits the stack's word for one that is returned. */
#define ARCH_HIDDEN_REGISTERS 2
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: integer ones, so there is nothing to say */
#ifdef __arch64__
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 2047 /* the stack pointer is that much below the stack (SCD 2.4, "Stack Frame") */
#else
#define ARCH_STACK_ALIGNMENT 8
#define ARCH_ENTRY_STACK_BIAS 0
#endif

/* A BARE call site: N, V and C set, on 64 bits of both icc and xcc; what the hidden registers hold.  There is no red
 * zone: a window may be stored at the stack pointer at any time, and a signal below it. */
#ifdef __arch64__
#define ARCH_BARE_FLAGS 0xbbu
#else
#define ARCH_BARE_FLAGS 0xbu
#endif
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: no compiler makes them */

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#ifdef __arch64__
#define ARCH_STUB_BYTES 64
#define ARCH_STUB_SLOT 32
#define ARCH_STUB_SLOT_FIXED /* its address is in the instructions: a copy of a stub loads the slot of the original */
#else
#define ARCH_STUB_BYTES 16 /* a call reaches every address, so there is no slot */
#endif
#define ARCH_STUB_WORD 4
#define ARCH_FOREIGN_WORD 0x91d02001u /* ta 1: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP) STEP(0, "flush %0\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop")
#define ARCH_SYNC_BLOCK 8 /* bytes for which it is made at least, and that their address is a multiple of */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 74
#define ARCH_SYS_EXIT_GROUP 188
#define ARCH_SYS_MMAP 71
#define ARCH_SYS_MEMFD_CREATE 348

#ifdef __ASSEMBLER__

/* An address's worth: its size, and the instructions that differ.  FRAME is the least that a function that calls
 * another must have: room for a window of 16 registers, where the callee of a flat function keeps its caller's, for the
 * address of a struct result (32 bits) and for six arguments; STACK_ARGUMENT, the seventh, is behind them. */
#ifdef __arch64__
#define WORD 8
#define WORD_SHIFT 3
#define LOAD ldx
#define STORE stx
#define BIAS 2047
#define FRAME 176
#define STACK_ARGUMENT (BIAS + 176)
#define SYSTEM_CALL ta 0x6d
#define ON_NO_CARRY bcc,pt %xcc,
#define ON_DIFFERENCE bne,a,pt %xcc, /* else the delay slot is skipped */
#define STATIC_CHAIN %g5
#else
#define WORD 4
#define WORD_SHIFT 2
#define LOAD ld
#define STORE st
#define BIAS 0
#define FRAME 96
#define STACK_ARGUMENT 92
#define STRUCT_RESULT 64
#define SYSTEM_CALL ta 0x10
#define ON_NO_CARRY bcc
#define ON_DIFFERENCE bne,a
#define STATIC_CHAIN %g2
#endif

/* The whole guest lies below 4 GiB, so two instructions make any address. */
.macro address register, symbol
    sethi   %hi(\symbol), \register
    or      \register, %lo(\symbol), \register
.endm

#endif
#endif
