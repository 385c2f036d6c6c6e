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

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 74
#define ARCH_SYS_EXIT_GROUP 188

#ifdef __ASSEMBLER__

/* An address's worth: its size, and the instructions that differ.  The stack pointer is BIAS below the stack (SCD 2.4,
 * "Stack Frame").  FRAME is the least that a function that calls another must have: room for a window of 16 registers,
 * which the callee of a flat function keeps its caller's in, for the address of a struct result (32 bits) and for six
 * arguments. */
#ifdef __arch64__
#define WORD 8
#define LOAD ldx
#define STORE stx
#define ADDRESS .xword
#define BIAS 2047
#define FRAME 176
#define SYSTEM_CALL ta 0x6d
#define BRANCH_CARRY_CLEAR bcc,pt %xcc,
#else
#define WORD 4
#define LOAD ld
#define STORE st
#define ADDRESS .word
#define BIAS 0
#define FRAME 96
#define SYSTEM_CALL ta 0x10
#define BRANCH_CARRY_CLEAR bcc
#endif

#endif
#endif
