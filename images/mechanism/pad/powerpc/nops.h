/* ppc32: NOPs are counted in instructions.  Of those before the entry
 *      0   lis r12; lwz r12; mtctr r12; bctr: the way to a target out of range
 *     16   its address
 * and at the entry, `b`. */
#define NOPS_BEFORE 5
#define NOPS_AT 1
#define PAD_ENTRY 20
#define PAD_JUMP 20
#define PAD_SLOT 16
#define FAR_WORDS 4
#define PAD_HEAD 24
#define PAD_PIECES {PAD_SLOT, 4}, {12, 4}, {8, 4}, {4, 4}, {0, 4}, {PAD_JUMP, 4}
