/* riscv: NOPs are counted in instructions, of two bytes with extension C.  Of those before the entry
 *      0   auipc t1, 0; ld (or lw) t1, 16(t1); jr t1: the way to a target out of range
 *     16   its address
 * and at the entry, `jal zero`. */
#ifdef __riscv_compressed
#define NOPS_BEFORE 12
#define NOPS_AT 2
#else
#define NOPS_BEFORE 6
#define NOPS_AT 1
#endif
#define PAD_ENTRY 24
#define PAD_JUMP 24
#define PAD_SLOT 16
#define FAR_WORDS 3
#define PAD_HEAD 28
#define PAD_PIECES {PAD_SLOT, sizeof(uintptr_t)}, {8, 4}, {4, 4}, {0, 4}, {PAD_JUMP, 4}
