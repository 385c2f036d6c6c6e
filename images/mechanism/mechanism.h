/* What every mechanism offers.  Functions are named by number; all return a PATCH_ status of wire.h. */
#ifndef MECHANISM_H
#define MECHANISM_H

#include "guest.h"

/* Lead function n to target.  offset is added to the address that is patched: other than 0 it is not an instruction
 * boundary and must be refused.  The default target restores. */
uint32_t patch_set(uint32_t n, uintptr_t target, uint32_t offset);

/* Lead function n back to its default, with the bytes that the pristine image has. */
uint32_t patch_restore(uint32_t n);

/* NULL: the call returns at once; only for void functions.  RET0: the call returns 0 at once. */
uint32_t patch_null(uint32_t n);
uint32_t patch_ret0(uint32_t n);

/* Where the code that a call of function n reaches begins (ARCH_CODE), read from what is patched. */
uintptr_t patch_query(uint32_t n);

/* Overwrite the patched instruction of function n as another tool would: not through this mechanism. */
uint32_t patch_scribble(uint32_t n);

/* What a patch of function n changes, for comparison with the pristine image. */
struct patched_bytes {
    uintptr_t start;
    size_t size;
};
struct patched_bytes patched_bytes(uint32_t n);
extern const uint32_t mechanism_number;

/* Nothing but what the ABI leaves to linkage changes between a call site and its target. */
extern const bool mechanism_is_transparent;

/* target.c: PATCH_OK, PATCH_BAD_TARGET or PATCH_MISALIGNED for leading function n to target. */
uint32_t check_target(uint32_t n, uintptr_t target);

/* target.c: function n may be led to NULL (it is void), to RET0 (it returns nothing or an integer). */
bool may_be_null(uint32_t n);
bool may_be_zero(uint32_t n);

/* The platform's part: text is executable and read-only but between these two.  text_open returns false, and changes
 * nothing, if the text cannot be made writable. */
bool text_open(void);
void text_close(void);
extern uint32_t text_locked; /* fault injection: text_open fails */


#endif
