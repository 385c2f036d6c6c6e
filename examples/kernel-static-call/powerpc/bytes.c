/* What a patch changes for good: the trampoline without its data word.  The kernel leaves the last target there that was
 * out of a branch's reach, and nothing leads to it. */
#include "mechanism.h"

#include <linux/static_call.h>

struct patched_bytes patched_bytes(uint32_t n) { return (struct patched_bytes){function_addresses[n], PPC_SCT_DATA}; }
