/* What the baselines share.  A baseline is the loop of a LOOPED call site (images/guest/calls.c) with another way to
 * call in it: the same loop, so that what differs is the call. */
#ifndef BASELINES_H
#define BASELINES_H

#include "guest.h"

#define BASELINE(name, call)                                                                                           \
    CALL_SITE PROTOTYPE_INT(cost_##name)                                                                               \
    {                                                                                                                  \
        uint32_t sum = 0;                                                                                              \
        for (uint32_t i = 0; i < call_count; i++)                                                                      \
            sum += call;                                                                                               \
        return sum;                                                                                                    \
    }

PROTOTYPE_INT(cost_direct);
PROTOTYPE_INT(cost_dispatch);
PROTOTYPE_INT(cost_branch);
PROTOTYPE_INT(cost_retpoline) __attribute__((weak)); /* where the compiler has them: retpoline.c */

/* As the crypto API dispatches: an ops structure, found through a pointer.  Both are writable and anybody's, so both are
 * loaded for every call. */
struct ops {
    PROTOTYPE_INT((*call));
};
extern struct ops *cost_ops;

/* As Zinc chose: a flag that is set at boot, and direct calls. */
extern bool cost_flag;

#endif
