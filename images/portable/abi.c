/* Stands in for an architecture's own abi.S.  The call and the targets are C, so a new architecture runs before anyone
 * has written asm for it; but nothing here looks at a register, so scenarios about registers do not apply. */
#include "portable.h"

struct abi_entry abi_entry;
uintptr_t abi_frame, abi_bare;

/* Every call site takes its arguments where the first of eight words go, and gives its result where a uint64_t comes
 * back, or in the half of that which comes first: true of every ABI that passes words in order. */
typedef uint64_t call_site(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);

void abi_call(uintptr_t function, const uintptr_t a[8], struct abi_result *result)
{
    uint64_t value = ((call_site *)function)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    bool high_first = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ && sizeof(uintptr_t) == 4;
    *result = (struct abi_result){{(uintptr_t)(high_first ? value >> 32 : value),
                                   (uintptr_t)(high_first ? value : value >> 32)}, 0, 0};
}

void abi_scrub(void) {}

void return_void(void) {}

#ifdef CONTROL_RET0_MINUS_ONE
uint64_t return_all_zero(void) { return ~(uint64_t)0; }
#else
uint64_t return_all_zero(void) { return 0; }
#endif

FOR_EACH_INTEGER_FUNCTION(TARGETS)
