/* What the two sources know of the stub (x86/stub.S). */
#ifndef INT3_H
#define INT3_H

#include "breakpoint.h"

#define SLOT 11 /* from the jump */

static inline volatile uintptr_t *slot_of(uint32_t n) { return (volatile uintptr_t *)(function_addresses[n] + SLOT); }

#endif
