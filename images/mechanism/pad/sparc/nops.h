/* sparc: NOPs are counted in instructions.  Those before the entry become what stub.S is: `call` between two moves,
 * which reaches all of 32 bits; and in 64 bits
 *     12   sethi; ldx; jmp; nop: the way to a target out of range
 *     32   its address
 * At the entry is `ba,a` to the first move. */
#ifdef __arch64__
#define NOPS_BEFORE 10
#define PAD_SLOT 32
#define PAD_WAY {PAD_SLOT, 8}, {24, 4}, {20, 4}, {16, 4}, {12, 4},
#else
#define NOPS_BEFORE 3
#define PAD_WAY
#endif
#define NOPS_AT 1
#define PAD_ENTRY (4 * NOPS_BEFORE)
#define PAD_JUMP PAD_ENTRY
#define PAD_BACK (0x30bfffffu - NOPS_BEFORE + 1) /* ba,a: displacement in words */
#define PAD_BEHIND (PAD_ENTRY + 4)
#define PAD_HEAD PAD_BEHIND
#define PAD_PIECES PAD_WAY {8, 4}, {4, 4}, {0, 4}, {PAD_JUMP, 4}
