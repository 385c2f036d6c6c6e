/* x86 (64 bits: System V psABI; 32 bits: i386 psABI): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if defined(__x86_64__)
#define ARCH_MACHINE 62 /* EM_X86_64 */
#elif defined(__i386__)
#define ARCH_MACHINE 3 /* EM_386 */
#else
#error "arch/x86 built with a compiler for something else"
#endif

#ifdef __x86_64__
#define ARCH_ARGUMENT_REGISTERS 6 /* rdi, rsi, rdx, rcx, r8, r9; a WIDE call has two words on the stack */
/* Of a narrow argument, valid in its register: what compilers do and rely on; psABI 3.2.3 speaks of _Bool only. */
#define ARCH_EXTENDED_BITS 0xffffffffu
#define ARCH_CALLEE_SAVED 6       /* rbx, rbp, r12-r15 */
#define ARCH_LOSE_SAVED "movl $0, %r13d" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 2   /* rax (al: vector registers of a variadic call), r10 (static chain) */
#define ARCH_DOUBLES_ANNOUNCED(entry) ((entry).hidden[0] & 0xff) /* of a variadic call, in al (psABI, 3.5.7) */
#else
#define ARCH_ARGUMENT_REGISTERS 8 /* none: in their place the first words of the stack (i386 psABI, 2.2.3) */
#define ARCH_EXTENDED_BITS 0      /* of a narrow argument, valid in its word: the psABI promises none */
#define ARCH_CALLEE_SAVED 4       /* ebx, ebp, esi, edi */
#define ARCH_LOSE_SAVED "movl $0, %esi" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 2   /* ecx (static chain), ebx (GOT, where the target is an entry of a PLT) */
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* on the stack, as everything: nothing is said of them */
#endif
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS sizeof(void *) /* the return address */

/* A BARE call site: SF, ZF, AF, PF and CF as LAHF gives them, OF beside them; what the hidden registers and the red
 * zone (System V psABI, 3.2.2; i386 has none) hold. */
#define ARCH_BARE_FLAGS 0xd701
#define BARE_HIDDEN 0x4e47
#define RED_ZONE 128
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

/* Instructions start anywhere, functions of this guest do not: any other address is the middle of one. */
#define ARCH_FUNCTION_ALIGNMENT 16
#define ARCH_MODULE_NOP ".fill 4, 1, 0x90"

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 1
#ifdef __x86_64__
#define ARCH_STUB_SLOT 21
#endif
#define ARCH_FOREIGN_WORD 0xccccccccu /* int3, as far as the operand goes: what a debugger puts there */

/* A call site's word is an operand: its opcode is the byte before it (of `jcc` the second one). */
#define ARCH_SITE_OPCODE 1

#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */

#ifdef __x86_64__
#define ARCH_ENTRY_INSTRUCTION 6 /* size of the first instruction of a target's entry */
#define ARCH_SYS_READ 0
#define ARCH_SYS_WRITE 1
#define ARCH_SYS_MPROTECT 10
#define ARCH_SYS_MADVISE 28
#define ARCH_SYS_EXIT_GROUP 231
#define ARCH_SYS_MMAP 9
#define ARCH_SYS_MEMFD_CREATE 319
#else
#define ARCH_ENTRY_INSTRUCTION 5
#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_MADVISE 219
#define ARCH_SYS_EXIT_GROUP 252
#define ARCH_SYS_MMAP 192
#define ARCH_SYS_MEMFD_CREATE 356
#endif

#endif
