/* m68k (System V ABI Motorola 68000 supplement, as GCC has it for Linux): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__m68k__)
#error "arch/m68k built with a compiler for something else"
#endif

#define ARCH_MACHINE 4 /* EM_68K */

#define ARCH_ARGUMENT_REGISTERS 8 /* none: in their place the first words of the stack */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0 /* of a narrow argument, valid in its word (what GCC does: all 32) */
#define ARCH_CALLEE_SAVED 11    /* d2-d7, a2-a6 */
#define ARCH_LOSE_SAVED "moveq #0, %d5" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 2 /* a0 (static chain), a1 (struct result) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* on the stack, as everything: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 4
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: X, N, Z, V and C set; what the hidden registers hold.  There is no red zone. */
#define ARCH_BARE_FLAGS 0x1f
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

#define ARCH_FUNCTION_ALIGNMENT 2
#define ARCH_MODULE_NOP "nop"
#define ARCH_ENTRY_INSTRUCTION 6 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, from the stub's address.  There is no data slot: the
 * jump reaches every address. */
#define ARCH_STUB_BYTES 8
#define ARCH_STUB_WORD 2
#define ARCH_FOREIGN_WORD 0x4e4f4e4fu /* trap #15, as far as the operand goes: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number.  The
 * 68020 that all is compiled for has no CPUSHL. */
#define ARCH_SYNC_CODE(STEP)                                                                                           \
    STEP(0, "move.l %0, %%a0\n\t.short 0xf4e8 | cpushl %%bc,(%%a0)")                                                   \
    STEP(1, "nop")
#define ARCH_SYNC_CLOBBERS "a0", "memory"
#define ARCH_SYNC_BY_KERNEL /* user mode may not: where there is a kernel, it does all of it in one call */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 247
#define ARCH_SYS_MMAP 192
#define ARCH_SYS_MEMFD_CREATE 353

#endif
