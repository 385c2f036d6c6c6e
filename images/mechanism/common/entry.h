/* Slots of the patchable functions whose own entry a mechanism overwrites (arch/NAME/entry.S): function n begins
 * n * ENTRY_BYTES behind the first.  What begins behind ENTRY_HEAD bytes is never written over: in the head no branch
 * ends and no data lies, so whoever overwrites any part of it may move the instructions that stood there. */
#ifndef ENTRY_H
#define ENTRY_H

#define ENTRY_BYTES 64
#define ENTRY_HEAD 32

/* Function n has prologue n % ENTRY_PROLOGUES of its architecture's table.  Call sites of shape BARE, which look at
 * flags and registers that a call need not keep and, on x86-64, below the stack, are those of functions 0 to 3: their
 * prologues leave all that alone. */
#define ENTRY_PROLOGUES 9

#ifdef __ASSEMBLER__
#ifdef CONTROL_INITIAL_FAST
#define FOR_EACH_ENTRY .irp n, FUNCTION_NUMBERS; entry \n, fast_\n; .endr
#else
#define FOR_EACH_ENTRY .irp n, FUNCTION_NUMBERS; entry \n, default_\n; .endr
#endif
#endif

#endif
