/* alpha (Calling Standard for Alpha Systems, as Linux uses it): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__alpha__)
#error "arch/alpha built with a compiler for something else"
#endif

#define ARCH_MACHINE 0x9026 /* EM_ALPHA */

#define ARCH_ARGUMENT_REGISTERS 6 /* $16-$21; a WIDE call has two words on the stack */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0 /* of a narrow argument, valid in its register: all */
#define ARCH_REGISTER(value) ((uintptr_t)(intptr_t)(int32_t)(value)) /* 32 bits, unsigned ones too, are sign-extended */
#define ARCH_CALLEE_SAVED 7       /* $9-$15 */
#define ARCH_LOSE_SAVED "clr $11" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1   /* $1 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 1 /* $27, the procedure value: C makes its global pointer from it */
#define ARCH_ENTERED_INDIRECTLY(target) ((target) == TARGET_FAR || (target) == TARGET_OTHER) /* abi.S: as C begins */
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: what the hidden register holds.  There are no flags, and there is no red zone. */
#define ARCH_BARE_FLAGS 0
#define BARE_HIDDEN 0x4e47

#define ARCH_FUNCTION_ALIGNMENT 4
#define ARCH_ENTRY_INSTRUCTION 4 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 0
#define ARCH_STUB_SLOT 16
#define ARCH_FOREIGN_WORD 0x00000080u /* call_pal bpt: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP) STEP(0, "call_pal 0x86")

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 74
#define ARCH_SYS_EXIT_GROUP 405
#define ARCH_SYS_MMAP 71
#define ARCH_SYS_MEMFD_CREATE 512
#define ARCH_MAP_FIXED 0x100

#ifdef __ASSEMBLER__

    .set    noat
    .set    noreorder

/* The global pointer, from nothing but where this is; writes $28. */
.macro global_pointer
    br      $28, .Lhere\@
.Lhere\@:
    ldgp    $29, 0($28)
.endm

/* An address, through the global offset table. */
.macro address register, symbol
    ldq     \register, \symbol($29) !literal
.endm

#endif
#endif
