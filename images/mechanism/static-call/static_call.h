/* What static_call.c asks of an architecture.  A function leads to `to`, its entry as code has it (arch_entry); where
 * that is return_void or return_zero, the architecture may do it in place. */
#ifndef STATIC_CALL_H
#define STATIC_CALL_H

#include "mechanism.h"

/* trampoline.c: function n's trampoline leads to `to`, through the data beside it where no branch reaches; false: a
 * store failed and it is as it was.  At least one word of text is stored. */
bool trampoline_lead(uint32_t n, uintptr_t to);
/* It holds what trampoline_lead, or the linker, put there. */
bool trampoline_holds(uint32_t n);
/* The byte at `offset` from its beginning is one that trampoline_lead changes. */
bool trampoline_changes(uint32_t n, uintptr_t at);
/* The byte at `at` is data to which nothing leads now. */
bool trampoline_ignores(uint32_t n, uintptr_t at);
/* Where it leads: what trampoline_lead was given. */
uintptr_t trampoline_target(uint32_t n);

/* What a call site is: the word that the host's table names and, where the opcode lies before that, its byte (else 0). */
struct site_code {
    uint32_t word;
    uint8_t opcode;
};

/* inline.c: what leads call site i to `to` (0: as linked).  What cannot be done in place in one store calls the
 * trampoline, which is always right. */
struct site_code site_code(uint32_t i, uintptr_t to);
/* Call site i, which holds `now`, becomes `code` in one store; false: it failed. */
bool site_store(uint32_t i, struct site_code now, struct site_code code);

/* RET0 of function n has to clear more than the first register of a result. */
static inline bool result_is_wide(uint32_t n)
{
    return sizeof(uintptr_t) < sizeof(uint64_t) && (function_kinds[n] == KIND_LONG || function_kinds[n] == KIND_MIXED);
}

#endif
