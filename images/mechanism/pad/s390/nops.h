/* s390x: NOPs are counted in instructions, `nopr` of two bytes.  Of those before the entry
 *      0   lgrl %r1, slot; br %r1
 *      8   the slot
 * and at the entry, of two NOPs, `j` to that, in one aligned word. */
#define NOPS_BEFORE 8
#define NOPS_AT 2
#define PAD_ENTRY 16
#define PAD_JUMP 16
#define PAD_BACK 0xa7f4fff8u /* j .-16 */
#define PAD_BEHIND 20
#define PAD_SLOT 8
#define PAD_HEAD 20
#define PAD_PIECES {PAD_SLOT, 8}, {0, 8}, {PAD_JUMP, 4}
