/* parisc: NOPs are counted in instructions, as many of them as the Linux kernel has for ftrace.  Of those before the entry
 *      0   ldil; ldw; bv,n: the way to a target out of range
 *     12   its address
 * and at the entry, `b,n`. */
#define NOPS_BEFORE 4
#define NOPS_AT 1
#define PAD_ENTRY 16
#define PAD_JUMP 16
#define PAD_SLOT 12
#define FAR_WORDS 3
#define PAD_HEAD 20
#define PAD_PIECES {PAD_SLOT, 4}, {8, 4}, {4, 4}, {0, 4}, {PAD_JUMP, 4}
