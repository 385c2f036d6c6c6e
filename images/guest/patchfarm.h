/* For C of your own that takes the place of a target's body:
 *
 *     #include "patchfarm.h"
 *
 *     TARGET(fast, 0) { return 3 * x; }
 *
 * is what whatever_0 returns when it is led to `fast`.  The targets are default, fast, other and far, the functions 0
 * to 3: uint32_t whatever_N(uint32_t x).  What has no TARGET keeps its built-in value.  The C is freestanding (no
 * libc), built with the guest's flags, warnings are errors. */
#ifndef PATCHFARM_H
#define PATCHFARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IS_TARGET_default = 1, IS_TARGET_fast = 1, IS_TARGET_other = 1, IS_TARGET_far = 1 };

#define TARGET(name, n)                                                                                                \
    _Static_assert(IS_TARGET_##name && (n) >= 0 && (n) < 4, "only functions 0 to 3 take targets of one's own");        \
    uint32_t custom_##name##_##n(uint32_t x);                                                                          \
    uint32_t custom_##name##_##n(__attribute__((unused)) uint32_t x)

#endif
