/* ppc32: what a call site becomes, in one aligned word.  A target out of reach is called through the trampoline.
 *
 *          bl              b (tail call)
 *   NULL   nop             blr
 *   RET0   li r3, 0        b return_zero
 *
 * A result of two registers is cleared by return_zero. */
#include "sites.h"
#include "static_call.h"
#include "text.h"

#define NOP 0x60000000u
#define BLR 0x4e800020u
#define LI_R3 0x38600000u
#define I_FORM 18u
#define LINK 1u

struct site_code site_code(uint32_t i, uintptr_t to)
{
    uint32_t linked = farm_sites[i].linked, function = farm_sites[i].function & ~SITE_IN_MODULE;
    uint32_t word = site_word(i, to);
    bool calls = linked & LINK;
    if (linked >> 26 != I_FORM || word == linked)
        return (struct site_code){word, 0};
    if (to == (uintptr_t)return_void)
        word = calls ? NOP : BLR;
    else if (to == (uintptr_t)return_zero && calls && !result_is_wide(function))
#ifdef CONTROL_RET0_MINUS_ONE
        word = LI_R3 | 0xffffu;
#else
        word = LI_R3;
#endif
    return (struct site_code){word, 0};
}

bool site_store(uint32_t i, struct site_code now, struct site_code code)
{
    (void)now;
    return farm_text_write(farm_sites[i].at, &code.word, sizeof code.word);
}
