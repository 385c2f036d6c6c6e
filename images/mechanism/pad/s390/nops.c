/* s390x: what stands in the NOPs (nops.h).  Of an instruction only the mask of a branch may change while another CPU
 * executes it (patch.c), and two NOPs become one instruction: it must be kept away.  Afterwards a patch changes the slot
 * alone, which is data.  r1 is what every entry of a PLT uses (ELF ABI s390x Supplement, "Registers"). */
#include "back.h"

static void lead_before(uint32_t n, uint8_t *head, uintptr_t to)
{
    static const uint8_t jump_by_slot[] = {0xc4, 0x18, 0, 0, 0, PAD_SLOT / 2 /* lgrl %r1 */, 0x07, 0xf1 /* br %r1 */};
    (void)n;
    copy(head, jump_by_slot, sizeof jump_by_slot);
    copy(head + PAD_SLOT, &to, sizeof to);
}

static uintptr_t target_before(uint32_t n) { return *(const volatile uintptr_t *)(block_of(n) + PAD_SLOT); }
