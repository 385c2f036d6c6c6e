/* arm64 (AAPCS64): what the shared C must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__aarch64__)
#error "arch/arm64 built with a compiler for something else"
#endif

#define ARCH_MACHINE 183 /* EM_AARCH64 */

#define ARCH_ARGUMENT_REGISTERS 8 /* x0-x7 */
#define ARCH_EXTENDED_BITS 0 /* of a narrow argument, valid in its register (AAPCS64, 6.8.2: the callee extends) */
#define ARCH_CALLEE_SAVED 11      /* x19-x29 */
#define ARCH_LOSE_SAVED "mov x21, #0" /* loses one of them: a bug */
#define ARCH_HIDDEN_REGISTERS 2   /* x8 (struct result), x18 (platform register, and GCC's static chain) */
#define ARCH_HAS_ENTRY_REGISTER 0
#define ARCH_DOUBLES_ANNOUNCED(entry) 8 /* in registers of a variadic call: nothing is said of them */
#define ARCH_STACK_ALIGNMENT 16
#define ARCH_ENTRY_STACK_BIAS 0

/* A BARE call site: N, Z, C and V set; what the hidden registers hold.  There is no red zone (AAPCS64, 6.4.5.1). */
#define ARCH_BARE_FLAGS 0xf0000000u
#define BARE_HIDDEN 0x4e47
#define ARCH_CONDITIONAL_CALL_SITES /* in abi.S: compilers make few of them */

#define ARCH_FUNCTION_ALIGNMENT 4
/* A landing pad, `bti c`: on a guarded page an indirect branch must lead to one (Arm ARM DDI 0487, D8.4.7 "Enabling
 * branch target identification"); to every other CPU it is a hint that does nothing. */
#define LANDING_PAD hint #34
#define ARCH_LOST_PAD ARCH_INSTRUCTION(0xd503201fu) /* nop: what a bug leaves of one */

#define ARCH_ENTRY_INSTRUCTION 8 /* of a target's entry: the pad, which who skips it may not miss, and an instruction */

/* An instruction as a word of memory: instructions are little-endian whatever data is (Arm ARM DDI 0487, B2.6.2). */
#ifdef __AARCH64EB__
#define ARCH_INSTRUCTION(word) __builtin_bswap32(word)
#else
#define ARCH_INSTRUCTION(word) (word)
#endif

/* stub.S: one stub each ARCH_STUB_BYTES; the word that is poked, and the data slot, from the stub's address. */
#define ARCH_STUB_BYTES 32
#define ARCH_STUB_WORD 4
#define ARCH_STUB_SLOT 16
#define ARCH_FOREIGN_WORD ARCH_INSTRUCTION(0xd4200000u) /* brk #0: what a debugger puts there */

/* The maintenance that makes a stored word, at the address %0, what is fetched: the steps of arch.toml, by number. */
#define ARCH_SYNC_CODE(STEP)                                                                                           \
    STEP(0, "dc cvau, %0") STEP(1, "dsb ish") STEP(2, "ic ivau, %0") STEP(3, "dsb ish") STEP(4, "isb")

#define ARCH_GUARDED 0x10 /* PROT_BTI: mprotect's bit for text whose indirect branches must meet landing pads */

#define ARCH_CRC_T10DIF /* crc_t10dif.c has a carry-less multiply */

#define ARCH_SYS_READ 63
#define ARCH_SYS_WRITE 64
#define ARCH_SYS_MPROTECT 226
#define ARCH_SYS_MADVISE 233
#define ARCH_SYS_EXIT_GROUP 94
#define ARCH_SYS_MMAP 222
#define ARCH_SYS_MEMFD_CREATE 279

#endif
