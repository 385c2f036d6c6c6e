/* arm: what stands in the NOPs (nops.h).  `b` and `nop` of A32 may replace each other while another CPU executes them (Arm
 * ARM DDI 0406C, A3.5.4 "Concurrent modification and execution of instructions"); of Thumb that holds for instructions
 * of 16 bits only, and two NOPs become one `b.w`: another CPU must be kept away. */
#include "words.h"

static uint32_t far_word(uint32_t n, uint32_t i)
{
    (void)n, (void)i;
#ifdef __thumb__
    return 0xf000f8dfu; /* ldr.w pc, [pc, #0], its first halfword at the lower address */
#else
    return ARCH_INSTRUCTION(0xe51ff004u); /* ldr pc, [pc, #-4] */
#endif
}
