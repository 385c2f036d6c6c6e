/* powerpc: NOPs are counted in instructions.  Of those before the entry
 *      0   lis r12; lwz (or ld) r12; mtctr r12; bctr: the way to a target out of range
 *     16   its address
 * and at the entry, `b`: with ELFv2 at the local one, behind the two instructions that make r2 from r12, which every
 * function has here, since each calls another. */
#ifdef __powerpc64__
#define NOPS_BEFORE 6
#else
#define NOPS_BEFORE 5
#endif
#define NOPS_AT 1
#define PAD_ENTRY (4 * NOPS_BEFORE)
#if defined(__powerpc64__) && _CALL_ELF == 2
#define PAD_JUMP (PAD_ENTRY + 8)
#else
#define PAD_JUMP PAD_ENTRY
#endif
#define PAD_SLOT 16
#define FAR_WORDS 4
#define PAD_HEAD (PAD_JUMP + 4)
#define PAD_PIECES {PAD_SLOT, sizeof(uintptr_t)}, {12, 4}, {8, 4}, {4, 4}, {0, 4}, {PAD_JUMP, 4}
