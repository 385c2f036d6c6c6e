/* Breakpoints, for a mechanism that changes instructions by them: whoever comes to an instruction that is half-way
 * between two meets one, and goes on where the mechanism says.  breakpoint.c and the architecture's breakpoint.S are
 * among its sources. */
#ifndef BREAKPOINT_H
#define BREAKPOINT_H

#include "mechanism.h"

/* The mechanism supplies it: where a CPU goes on that has met a breakpoint at `at`; 0: none of its own is there.  It runs
 * on the CPU that met it, at any moment of a request of another CPU or of the same one, so it waits for nobody; and all
 * registers are whoever's was interrupted, so it is compiled to leave those alone that arch/NAME/breakpoint.S does not
 * save: vectors. */
uintptr_t mechanism_breakpoint(uintptr_t at);

/* From now on breakpoints are answered (under a kernel, which makes signals of them). */
void breakpoints_on(void);

/* Every other CPU serialises: what it executes behind, it has fetched behind, so all that was stored before is new to it.
 * Under a kernel it is membarrier(2); without one there is no other CPU, and who proves what another one would see looks
 * at when this is called. */
void every_cpu_serialises(void);

#endif
