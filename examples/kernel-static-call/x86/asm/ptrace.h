/* Stand-in: registers of an interrupted task, which the int3 handler changes (no int3 is met here), and what else
 * arch/x86/kernel/static_call.c takes from headers that are not compiled. */
#ifndef STAND_IN_PTRACE_H
#define STAND_IN_PTRACE_H

#include <linux/bug.h>
#include <linux/compiler.h>
#include <linux/string.h>
#include <linux/types.h>

struct pt_regs {
    unsigned long ip, sp, flags;
};
#define X86_EFLAGS_CF 0x0001ul
#define X86_EFLAGS_PF 0x0004ul
#define X86_EFLAGS_ZF 0x0040ul
#define X86_EFLAGS_SF 0x0080ul
#define X86_EFLAGS_SF_BIT 7
#define X86_EFLAGS_OF 0x0800ul
#define X86_EFLAGS_OF_BIT 11

/* Notes for objtool. */
#define ANNOTATE_NOENDBR
#define ANNOTATE_RETPOLINE_SAFE

/* The kernel runs, and returns by `ret`. */
enum { SYSTEM_BOOTING, SYSTEM_RUNNING };
#define system_state SYSTEM_RUNNING
#define cpu_wants_rethunk_at(instruction) false
#define cpu_feature_enabled(feature) false
void __x86_return_thunk(void);
#define x86_return_thunk (&__x86_return_thunk)

extern const u8 *const x86_nops[];

static inline void sync_core(void) {}

#endif
