/* m68k: NOPs are counted in instructions, of two bytes.  Of those before the entry
 *      2   jmp abs.l, whose operand is naturally aligned: it reaches every address
 * and at the entry, `bra.s` to it. */
#define NOPS_BEFORE 4
#define NOPS_AT 1
#define PAD_ENTRY 8
#define PAD_JUMP 8
#define PAD_JUMP_BYTES 2
#define PAD_BACK 0x60f8u /* bra.s .-6 */
#define PAD_BEHIND 10
#define PAD_HEAD 10
#define PAD_PIECES {2, 2}, {4, 4}, {PAD_JUMP, 2}
