/* x86: NOPs are counted in bytes.  Of those before the entry, in 64 bits,
 *      0   the slot
 *      8   jmp *slot(%rip), with two NOPs behind it: the only way to a target out of range
 *     27   jmp rel32, whose operand is naturally aligned
 * and at the entry a short jump to that one, as Windows has it for hot patches: of two bytes, which one store replaces. */
#define NOPS_BEFORE 32
#define NOPS_AT 2
#define PAD_ENTRY 32
#define PAD_JUMP 32
#define PAD_JUMP_BYTES 2
#define PAD_BACK 0xf9ebu /* jmp .-5 */
#define PAD_BEHIND 34
#define PAD_HEAD 34
#ifdef __x86_64__
#define PAD_SLOT 0
#define PAD_PIECES {PAD_SLOT, 8}, {8, 8}, {27, 1}, {28, 4}, {32, 2}
#else
#define PAD_PIECES {27, 1}, {28, 4}, {32, 2}
#endif
