/* sh (SH-4, System V ABI as GCC has it): what the shared C must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__SH4__) || !defined(__LITTLE_ENDIAN__)
#error "arch/sh built with a compiler for something else"
#endif

#define ARCH_MACHINE 42 /* EM_SH */

#define ARCH_FUNCTION_ALIGNMENT 2

#define ARCH_SYS_READ 3
#define ARCH_SYS_WRITE 4
#define ARCH_SYS_MPROTECT 125
#define ARCH_SYS_EXIT_GROUP 252

#endif
