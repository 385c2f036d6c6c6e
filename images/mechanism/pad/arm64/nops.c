/* arm64: what stands in the NOPs (nops.h).  `b` and `nop` may replace each other while another CPU executes them (Arm ARM
 * DDI 0487, B2.2.5 "Concurrent modification and execution of instructions"), and `bti c` is a hint, as `nop` is. */
#include "words.h"

static uint32_t far_word(uint32_t n, uint32_t i)
{
    static const uint32_t words[FAR_WORDS] = {0x58000050u /* ldr x16, . + 8 */, 0xd61f0200u /* br x16 */};
    return (void)n, ARCH_INSTRUCTION(words[i]);
}
