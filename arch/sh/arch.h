/* sh (SH-4, System V ABI as GCC has it): what the shared C must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__SH4__) || !defined(__LITTLE_ENDIAN__)
#error "arch/sh built with a compiler for something else"
#endif

#define ARCH_MACHINE 42 /* EM_SH */

#define ARCH_ARGUMENT_REGISTERS 4 /* r4-r7; a WIDE call has four words on the stack */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0 /* of a narrow argument, valid in its register: GCC's callers extend it */
#define ARCH_CALLEE_SAVED 7       /* r8-r14 */
#define ARCH_LOSE_SAVED "mov #0, r10" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 2   /* r2 (struct result), r3 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 4
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: T, and of fpscr the bits FPSCR_KEPT; what the hidden registers hold.  There is no red zone.
 *
 * fpscr.PR says whether an instruction of the FPU works on one register or on a pair, SZ what fmov moves, FR which bank
 * is which: code is compiled for PR = 1, SZ = 0, FR = 0, and a function is entered, and returns, with them. */
#define FPSCR_KEPT 0x00380000
#define FPSCR_PR 0x00080000
#define ARCH_BARE_FLAGS (FPSCR_PR | 1)
#define BARE_HIDDEN 0x4e47

#define ARCH_FUNCTION_ALIGNMENT 2
#define ARCH_ENTRY_INSTRUCTION 2 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the literal that is poked, from the stub's address.  It reaches every address,
 * so there is no slot. */
#define ARCH_STUB_BYTES 16
#define ARCH_STUB_WORD 8
#define ARCH_FOREIGN_WORD 0xfffdfffdu /* what another tool may leave there; as instructions, none */

/* Maintenance is the kernel's, who does all of it in one call. */
#define ARCH_SYNC_BY_KERNEL
#define ARCH_CONSTANTS_LOADED /* those of more than 8 bits, from behind the function */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 252
#define ARCH_SYS_MMAP 192
#define ARCH_SYS_MEMFD_CREATE 374

#endif
