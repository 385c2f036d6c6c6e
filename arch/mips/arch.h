/* mips (o32 and n64, hard-float, without abicalls): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__mips__) || !defined(__mips_hard_float) || __mips_isa_rev != 2
#error "arch/mips built with a compiler for something else"
#endif

#define ARCH_MACHINE 8 /* EM_MIPS */
#define ARCH_FUNCTION_ALIGNMENT 4

#ifdef __mips64
/* n64: 32 bits lie sign-extended in a register, unsigned ones too (MIPSpro N32 ABI Handbook, "Calling Convention"). */
#define ARCH_REGISTER(value) ((uintptr_t)(intptr_t)(int32_t)(value))
#endif

#ifdef __mips64
#define ARCH_SYS_READ 5000
#define ARCH_SYS_WRITE 5001
#define ARCH_SYS_MPROTECT 5010
#define ARCH_SYS_EXIT_GROUP 5205
#else
#define ARCH_SYS_READ 4003
#define ARCH_SYS_WRITE 4004
#define ARCH_SYS_MPROTECT 4125
#define ARCH_SYS_EXIT_GROUP 4246
#endif

#ifdef __ASSEMBLER__

/* Every delay slot is written down; $at is a register as any other. */
    .set    noreorder
    .set    noat

/* An address's worth: its size and the logarithm of that, and the instructions that differ. */
#ifdef __mips64
#define WORD 8
#define WORD_SHIFT 3
#define LOAD ld
#define STORE sd
#define ADD_IMMEDIATE daddiu
#define ADD daddu
#define SUBTRACT dsubu
#define ADDRESS .quad
#else
#define WORD 4
#define WORD_SHIFT 2
#define LOAD lw
#define STORE sw
#define ADD_IMMEDIATE addiu
#define ADD addu
#define SUBTRACT subu
#define ADDRESS .long
#endif

/* What $28 holds throughout.  With -G0 nothing is addressed through it here, but what a call leads to may. */
#define GLOBAL_POINTER state_start

/* The whole guest lies below 2 GiB, so two instructions make any address. */
.macro address register, symbol
    lui     $\register, %hi(\symbol)
    ADD_IMMEDIATE $\register, $\register, %lo(\symbol)
.endm

#endif
#endif
