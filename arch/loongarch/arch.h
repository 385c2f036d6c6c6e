/* loongarch (LoongArch Procedure Call Standard, LP64D): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__loongarch_lp64) || !defined(__loongarch_double_float) || __loongarch_frlen != 64
#error "arch/loongarch built with a compiler for something else"
#endif

#define ARCH_MACHINE 258 /* EM_LOONGARCH */

#define ARCH_ARGUMENT_REGISTERS 8 /* a0-a7 */
/* A narrow argument is extended as its type says, one of 32 bits always with its sign (LAPCS, "Passing arguments"). */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0
#define ARCH_REGISTER(value) ((uintptr_t)(intptr_t)(int32_t)(value))
#define ARCH_CALLEE_SAVED 12            /* s0-s8, fp, and tp and r21, which nobody may write */
#define ARCH_LOSE_SAVED "move $s5, $zero" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1         /* t8 (GCC's static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: what the condition flags fcc0-fcc7 are, and what t8 holds.  There is no red zone. */
#define ARCH_BARE_FLAGS 0xa5
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 16
#define ARCH_FOREIGN_WORD 0x002a0005u /* break 5: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP) STEP(0, "dbar 0") STEP(1, "ibar 0")

#define ARCH_SYS_READ 63
#define ARCH_SYS_WRITE 64
#define ARCH_SYS_MPROTECT 226
#define ARCH_SYS_EXIT_GROUP 94
#define ARCH_SYS_MMAP 222
#define ARCH_SYS_MEMFD_CREATE 279

#endif
