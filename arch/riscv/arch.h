/* riscv (RISC-V psABI; LP64D and ILP32D): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__riscv) || !defined(__riscv_float_abi_double)
#error "arch/riscv built with a compiler for something else"
#endif

#define ARCH_MACHINE 243 /* EM_RISCV */

#define ARCH_ARGUMENT_REGISTERS 8 /* a0-a7 */
/* A narrow argument is extended to 32 bits as its type says, and from there with its sign (psABI, "Integer Calling
 * Convention"): of 64 bits too, whatever the type. */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0
#define ARCH_REGISTER(value) ((uintptr_t)(intptr_t)(int32_t)(value))
#define ARCH_CALLEE_SAVED 14            /* s0-s11, and gp and tp, which nobody may write */
#define ARCH_LOSE_SAVED "li s5, 0" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1         /* t2 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: what t2 holds.  There are no flags, and there is no red zone (psABI, "Integer Calling
 * Convention"). */
#define ARCH_BARE_FLAGS 0
#define BARE_HIDDEN 0x4e47

#define ARCH_FUNCTION_ALIGNMENT 2 /* extension C */
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 16
#define ARCH_FOREIGN_WORD 0x00100073u /* ebreak: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP) STEP(0, "fence.i")

#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */

#define ARCH_SYS_READ 63
#define ARCH_SYS_WRITE 64
#define ARCH_SYS_MPROTECT 226
#define ARCH_SYS_EXIT_GROUP 94
#define ARCH_SYS_MMAP 222
#define ARCH_SYS_MEMFD_CREATE 279

#ifdef __ASSEMBLER__

/* An address's worth: its size and the logarithm of that, and the instructions that differ. */
#if __riscv_xlen == 64
#define WORD 8
#define WORD_SHIFT 3
#define LOAD ld
#define STORE sd
#define ADDRESS .quad
#else
#define WORD 4
#define WORD_SHIFT 2
#define LOAD lw
#define STORE sw
#define ADDRESS .long
#endif

#endif
#endif
