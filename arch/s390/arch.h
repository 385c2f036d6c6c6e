/* s390x (ELF ABI s390x Supplement): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__s390x__)
#error "arch/s390 built with a compiler for something else"
#endif

#define ARCH_MACHINE 22 /* EM_S390 */

#define ARCH_ARGUMENT_REGISTERS 5 /* r2-r6; a WIDE call has three words on the stack */
/* Of a narrow argument, valid in its register: the caller extends it to all of it (Supplement, "Parameter Passing"). */
#define ARCH_EXTENDED_BITS ~(uintptr_t)0
#define ARCH_CALLEE_SAVED 8     /* r6-r13 */
#define ARCH_LOSE_SAVED "lghi %r8, 0" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 1 /* r0 (static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 8
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: what IPM gives of condition code 3 and of a program mask of zeros; what the hidden register holds.
 * There is no red zone. */
#define ARCH_BARE_FLAGS 0x30000000u
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

/* Of a frame: back chain, and where the callee saves registers (Supplement, "The Stack Frame"); then arguments on the
 * stack. */
#define FRAME_BYTES 160
#define STACK_ARGUMENT 160 /* the sixth: the first that is not in a register */

#define ARCH_FUNCTION_ALIGNMENT 2
#define ARCH_MODULE_NOP "nopr %r0"
#define ARCH_ENTRY_INSTRUCTION 6 /* size of the first instruction of a target's entry */

/* stub.S: one stub each ARCH_STUB_BYTES; the byte that is poked, and the data slot, from the stub's address. */
#define ARCH_CODE_WORD uint8_t
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 1
#define ARCH_STUB_SLOT 16
#define ARCH_FOREIGN_WORD 0xe5u /* brasl %r14: a call where the jump was */

#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 248
#define ARCH_SYS_MMAP 90
#define ARCH_MMAP_BY_ADDRESS /* of its six arguments */
#define ARCH_SYS_MEMFD_CREATE 350

#endif
