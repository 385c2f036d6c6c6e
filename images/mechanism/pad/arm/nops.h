/* arm: NOPs are counted in instructions, of two bytes in Thumb.  Of those before the entry
 *      0   ldr pc, slot: the way to a target out of range
 *      4   its address
 * and at the entry, `b` (in Thumb `b.w`, of four bytes, in one aligned word). */
#ifdef __thumb__
#define NOPS_BEFORE 4
#define NOPS_AT 2
#else
#define NOPS_BEFORE 2
#define NOPS_AT 1
#endif
#define PAD_ENTRY 8
#define PAD_JUMP 8
#define PAD_SLOT 4
#define FAR_WORDS 1
#define PAD_HEAD 12
#define PAD_PIECES {PAD_SLOT, 4}, {0, 4}, {PAD_JUMP, 4}
