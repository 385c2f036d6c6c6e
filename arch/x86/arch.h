/* x86-64 (System V psABI): what the shared C must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__x86_64__)
#error "arch/x86 built with a compiler for something else"
#endif

#define ARCH_MACHINE 62 /* EM_X86_64 */

#define ARCH_ARGUMENT_REGISTERS 6 /* rdi, rsi, rdx, rcx, r8, r9; a WIDE call has two words on the stack */
#define ARCH_EXTENDED_BITS 0xffffffffu /* of a narrow argument, valid in its register (what compilers do and rely on; System V psABI 3.2.3 speaks of _Bool only) */
#define ARCH_CALLEE_SAVED 6       /* rbx, rbp, r12-r15 */
#define ARCH_HIDDEN_REGISTERS 2   /* rax (al: vector registers of a variadic call), r10 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) ((entry).hidden[0] & 0xff) /* of a variadic call, in al (psABI, 3.5.7) */
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 8 /* the return address */

/* A BARE call site: SF, ZF, AF, PF and CF as LAHF gives them, OF beside them; what the hidden registers and the red
 * zone (System V psABI, 3.2.2) hold. */
#define ARCH_BARE_FLAGS 0xd701
#define BARE_HIDDEN 0x4e47
#define RED_ZONE 128

/* Instructions start anywhere, functions of this guest do not: any other address is the middle of one. */
#define ARCH_FUNCTION_ALIGNMENT 16
#define ARCH_ENTRY_INSTRUCTION 6 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 1
#define ARCH_STUB_SLOT 21
#define ARCH_FOREIGN_WORD 0xccccccccu /* int3, as far as the operand goes: what a debugger puts there */

#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */

#define ARCH_SYS_READ 0
#define ARCH_SYS_WRITE 1
#define ARCH_SYS_MPROTECT 10
#define ARCH_SYS_EXIT_GROUP 231

#endif
