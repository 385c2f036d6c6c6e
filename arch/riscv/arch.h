/* riscv (RISC-V psABI; LP64D and ILP32D): what the shared C and the asm must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__riscv)
#error "arch/riscv built with a compiler for something else"
#endif

#define ARCH_MACHINE 243 /* EM_RISCV */

/* A narrow argument is extended to 32 bits as its type says, and from there with its sign (psABI, "Integer Calling
 * Convention"): of 64 bits too, whatever the type. */
#define ARCH_REGISTER(value) ((uintptr_t)(intptr_t)(int32_t)(value))

#define ARCH_FUNCTION_ALIGNMENT 2 /* extension C */

#define ARCH_SYS_READ 63
#define ARCH_SYS_WRITE 64
#define ARCH_SYS_MPROTECT 226
#define ARCH_SYS_EXIT_GROUP 94

#endif
