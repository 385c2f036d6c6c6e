/* arm64: NOPs are counted in instructions.  Of those before the entry
 *      0   ldr x16, 8; br x16: the way to a target out of range
 *      8   its address
 * and at the entry, behind a landing pad if the compiler put one there (which it does in every function or in none),
 * `b` and a landing pad. */
#define NOPS_BEFORE 4
#define NOPS_AT 2
#define PAD_ENTRY 16
#ifdef __ARM_FEATURE_BTI_DEFAULT
#define PAD_JUMP 20
#else
#define PAD_JUMP 16
#endif
#define PAD_SLOT 8
#define FAR_WORDS 2
#define PAD_LANDING ARCH_INSTRUCTION(0xd503245fu) /* bti c */
#define PAD_HEAD (PAD_JUMP + 8)
#define PAD_PIECES {PAD_SLOT, 8}, {4, 4}, {0, 4}, {PAD_JUMP + 4, 4}, {PAD_JUMP, 4}
