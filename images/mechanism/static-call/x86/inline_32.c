/* i386: what a call site becomes.  Linux rewrites none here, for HAVE_STATIC_CALL_INLINE needs objtool, and that X86_64
 * (arch/x86/Kconfig): all calls go by the trampoline.  So nothing is done in place as on x86-64: the opcode stays, and
 * NULL and RET0 are led to like any target.  There is no plain store that would replace five bytes at once, and a result
 * of 64 bits is cleared by two instructions. */
#include "sites.h"
#include "static_call.h"
#include "text.h"

struct site_code site_code(uint32_t i, uintptr_t to)
{
    return (struct site_code){site_word(i, to), farm_site_opcodes[i]};
}

bool site_store(uint32_t i, struct site_code now, struct site_code code)
{
    (void)now;
    return farm_text_write(farm_sites[i].at, &code.word, sizeof code.word);
}
