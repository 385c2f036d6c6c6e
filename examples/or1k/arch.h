/* or1k (OpenRISC 1000): what the shared C must know. */
#ifndef ARCH_H
#define ARCH_H

#if !defined(__or1k__)
#error "arch/or1k built with a compiler for something else"
#endif

#define ARCH_MACHINE 92 /* EM_OPENRISC */
#define ARCH_FUNCTION_ALIGNMENT 4

#define ARCH_SYS_READ 63
#define ARCH_SYS_WRITE 64
#define ARCH_SYS_MPROTECT 226
#define ARCH_SYS_EXIT_GROUP 94

#endif
