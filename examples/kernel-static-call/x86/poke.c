/* Stand-in for arch/x86/kernel/alternative.c: stores to text, in the order of text_poke_bp, by the farm's services.  The
 * kernel makes every CPU serialise between the three; here there is one, and no handler of int3. */
#include "text.h"

#include <asm/text-patching.h>

#include <linux/bug.h>

static void store(void *to, const void *bytes, size_t n) { BUG_ON(!farm_text_write((uintptr_t)to, bytes, n)); }

void text_poke_early(void *addr, const void *opcode, size_t len) { store(addr, opcode, len); }

void text_poke_bp(void *addr, const void *opcode, size_t len, const void *emulate)
{
    static const u8 int3 = INT3_INSN_OPCODE;
    (void)emulate;
    store(addr, &int3, 1);
    if (len > 1)
        store((u8 *)addr + 1, (const u8 *)opcode + 1, len - 1);
    store(addr, opcode, 1);
}

static const u8 nop5[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
const u8 *const x86_nops[] = {[5] = nop5};

/* cpu_wants_rethunk_at is never true. */
void __x86_return_thunk(void) { BUG(); }
