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

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */
#define ARCH_LOW_ARGUMENT 0 /* arguments lie at descending addresses, so the low word of a 64-bit one is first */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 222

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
