/* nops.c of an architecture whose entry holds no jump that reaches far: it becomes a short one, back to what the NOPs
 * before it became.  Its nops.h has
 *     PAD_BACK       the short jump, of PAD_JUMP_BYTES, as a number in the byte order of data */
#include "pad.h"
#include "patch.h"

#if PAD_JUMP_BYTES == 2
typedef uint16_t back_jump;
#else
typedef uint32_t back_jump;
#endif

/* What the short jump leads to, and what that needs, is written: it leads to `to`. */
static void lead_before(uint32_t n, uint8_t *head, uintptr_t to);
/* Where it leads. */
static uintptr_t target_before(uint32_t n);

static uintptr_t block_of(uint32_t n) { return ARCH_CODE(function_addresses[n]) - PAD_ENTRY; }

static void copy(uint8_t *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = ((const volatile uint8_t *)from)[i];
}

void pad_lead(uint32_t n, uint8_t *head, uintptr_t to)
{
    const back_jump back = PAD_BACK;
    lead_before(n, head, to);
    copy(head + PAD_JUMP, &back, sizeof back);
}

uintptr_t pad_target(uint32_t n)
{
    bool is_led = *(const volatile back_jump *)(block_of(n) + PAD_JUMP) == PAD_BACK;
    return is_led ? target_before(n) : 0;
}

uintptr_t pad_behind(uint32_t n) { return block_of(n) + PAD_BEHIND; }
