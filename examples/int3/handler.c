/* Whoever meets the breakpoint does as the new jump would: its target is in the slot before the breakpoint is there, and
 * stays there when it has gone, for who comes late. */
#include "int3.h"

uintptr_t mechanism_breakpoint(uintptr_t at)
{
    const uint32_t n = (uint32_t)(at - patched_bytes(0).start) / ARCH_STUB_BYTES;
    return n < FUNCTION_COUNT && at == function_addresses[n] ? *slot_of(n) : 0;
}
