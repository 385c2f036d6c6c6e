/* What poke.c asks of the call sites that follow a stub (relocated.c); a mechanism that leaves them alone has none. */
#ifndef POKE_H
#define POKE_H

#include "mechanism.h"

/* The call sites of function n hold what was put there. */
OPTIONAL bool sites_are_ours(uint32_t n);
/* Lead the call sites of function n to entry as its stub (0: back to the stub, as linked); false: a store failed and
 * they are as they were, as far as stores can make them so. */
OPTIONAL bool sites_follow(uint32_t n, uintptr_t entry);

#endif
