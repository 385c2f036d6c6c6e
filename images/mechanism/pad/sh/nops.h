/* sh: NOPs are counted in instructions, of two bytes.  Of those before the entry
 *      0   mov.l slot, r0; jmp @r0; nop in its delay slot
 *      8   the slot
 * and at the entry, of two NOPs, `bra` to that; the other one is in its delay slot. */
#define NOPS_BEFORE 6
#define NOPS_AT 2
#define PAD_ENTRY 12
#define PAD_JUMP 12
#define PAD_JUMP_BYTES 2
#define PAD_BACK 0xaff8u /* bra .-12 */
#define PAD_BEHIND 16
#define PAD_SLOT 8
#define PAD_HEAD 14
#define PAD_PIECES {PAD_SLOT, 4}, {0, 4}, {PAD_JUMP, 2}
