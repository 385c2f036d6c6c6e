/* The handler does not do what the jump would: it goes on behind it, as if there had been none. */
#include "int3.h"

uintptr_t mechanism_breakpoint(uintptr_t at)
{
    const uint32_t n = (uint32_t)(at - patched_bytes(0).start) / ARCH_STUB_BYTES;
    return n < FUNCTION_COUNT && at == function_addresses[n] ? at + 6 : 0;
}
