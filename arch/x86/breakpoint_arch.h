/* x86: what common/breakpoint.c must know of a breakpoint and of Linux. */
#ifndef BREAKPOINT_ARCH_H
#define BREAKPOINT_ARCH_H

#define BREAKPOINT_BYTES 1 /* int3; the program counter is behind it (Intel SDM volume 2A, "INT3") */

#ifdef __x86_64__
#define ARCH_SYS_RT_SIGACTION 13
#define ARCH_SYS_RT_SIGRETURN 15
#define ARCH_SYS_MEMBARRIER 324
#define CONTEXT_PC 168 /* of struct ucontext: 5 words, then r8-r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip */
#else
#define ARCH_SYS_RT_SIGACTION 174
#define ARCH_SYS_RT_SIGRETURN 173
#define ARCH_SYS_MEMBARRIER 375
#define CONTEXT_PC 76 /* 5 words, then gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trapno, err, eip */
#endif

#ifndef __ASSEMBLER__
void breakpoint_return(void); /* breakpoint.S: behind a signal's handler */
#endif

#endif
