/* loongarch: NOPs are counted in instructions.  Of those before the entry
 *      0   pcaddu12i $t3, 0; ld.d $t3, $t3, 16; jr $t3: the way to a target out of range
 *     16   its address
 * and at the entry, `b`. */
#define NOPS_BEFORE 6
#define NOPS_AT 1
#define PAD_ENTRY 24
#define PAD_JUMP 24
#define PAD_SLOT 16
#define FAR_WORDS 3
#define PAD_HEAD 28
#define PAD_PIECES {PAD_SLOT, 8}, {8, 4}, {4, 4}, {0, 4}, {PAD_JUMP, 4}
