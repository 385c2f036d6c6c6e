/* mips (o32 and n64, hard-float, without abicalls): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__mips__) || !defined(__mips_hard_float) || __mips_isa_rev != 2
#error "arch/mips built with a compiler for something else"
#endif

#define ARCH_MACHINE 8 /* EM_MIPS */

#define ARCH_CALLEE_SAVED 9       /* $16-$23, $30 */
#define ARCH_LOSE_SAVED "move $19, $0" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1   /* $15 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0 /* $25 would be one with abicalls */
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_ENTRY_STACK_BIAS 0
#ifdef __mips64
#define ARCH_ARGUMENT_REGISTERS 8 /* $4-$11 */
#define ARCH_STACK_ALIGNMENT 16
#else
#define ARCH_ARGUMENT_REGISTERS 4 /* $4-$7; a WIDE call has four words on the stack */
#define ARCH_STACK_ALIGNMENT 8
#endif

/* Of a narrow argument, valid in its register: all of it (System V ABI MIPS supplement, "Parameter Passing"). */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0
#ifdef __mips64
/* n64: 32 bits lie sign-extended in a register, unsigned ones too (MIPSpro N32 ABI Handbook, "Calling Convention"). */
#define ARCH_REGISTER(value) ((uintptr_t)(intptr_t)(int32_t)(value))
#endif

/* A BARE call site: floating-point conditions 0 to 6 set, in fcsr; what $15 holds.  Integer instructions have no flags,
 * and there is no red zone. */
#define ARCH_BARE_FLAGS 0x7e800000u
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 24
#define ARCH_STUB_SLOT_FIXED /* its address is in the instructions: a copy of a stub loads the slot of the original */
#define ARCH_FOREIGN_WORD 0x0005000du /* break 5: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP)                                                                                           \
    STEP(0, "synci 0(%0)")                                                                                             \
    STEP(1, "sync")                                                                                                    \
    STEP(2, ".set push\n\t.set noreorder\n\t.set noat\n\t"                                                             \
            "lui $1, %%hi(1f)\n\taddiu $1, $1, %%lo(1f)\n\tjr.hb $1\n\tnop\n1:\n\t.set pop")
#define ARCH_SYNC_CLOBBERS "$1", "memory"
#define ARCH_SYNC_JUMPS /* a step jumps to an address, so that a copy of it leads back here */

#ifdef __mips64
#define ARCH_SYS_READ 5000
#define ARCH_SYS_WRITE 5001
#define ARCH_SYS_MPROTECT 5010
#define ARCH_SYS_EXIT_GROUP 5205
#define ARCH_SYS_MMAP 5009
#define ARCH_SYS_MEMFD_CREATE 5314
#else
#define ARCH_SYS_READ 4003
#define ARCH_SYS_WRITE 4004
#define ARCH_SYS_MPROTECT 4125
#define ARCH_SYS_EXIT_GROUP 4246
#define ARCH_SYS_MMAP 4210
#define ARCH_SYS_MEMFD_CREATE 4354
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
#define FLOATS_SCRATCH 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
#define FLOATS_KEPT 24, 25, 26, 27, 28, 29, 30, 31
#define STACK_ARGUMENT 0 /* the ninth: the first that is not in a register */
#else
#define WORD 4
#define WORD_SHIFT 2
#define LOAD lw
#define STORE sw
#define ADD_IMMEDIATE addiu
#define ADD addu
#define SUBTRACT subu
#define ADDRESS .long
#define FLOATS_SCRATCH 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 /* 64 bits each; FPXX code names no odd register */
#define FLOATS_KEPT 20, 22, 24, 26, 28, 30
#define STACK_ARGUMENT 16 /* the fifth, behind where a callee may store the first four */
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
