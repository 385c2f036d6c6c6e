/* What the bodies of the targets share (targets.c, targets_float.c). */
#ifndef BODIES_H
#define BODIES_H

#include "guest.h"

#define VALUE(word, operand)                                                                                           \
    ((((word) & 0xff) == TARGET_DEFAULT ? (operand) + 1000u                                                            \
      : ((word) & 0xff) == TARGET_FAST  ? 2u * (operand) + 1u                                                          \
      : ((word) & 0xff) == TARGET_OTHER ? ((operand) ^ 0x55u)                                                          \
                                        : 3u * (operand) + 7u) +                                                       \
     ((word) >> 8 << 20))

uint32_t entry_violations(void); /* of what the entry recorded, arguments aside */

/* The body of a kind of kinds.h.  violations are those of its arguments. */
#define BODY_ABI(n, kind, violations)                                                                                  \
    CALL_SITE PROTOTYPE_##kind(body_##n)                                                                               \
    {                                                                                                                  \
        uint32_t seen = DIGEST_##kind;                                                                                 \
        uint32_t word = target_entered(seen, entry_violations() | (violations), 0);                                    \
        uint32_t value = VALUE(word, seen);                                                                            \
        target_left();                                                                                                 \
        return RESULT_##kind(value);                                                                                   \
    }

#define DECLARE_BODY(n, kind) PROTOTYPE_##kind(body_##n);
FOR_EACH_FUNCTION(DECLARE_BODY)

#define BODY(n, kind) BODY_##kind(n)

/* For entries, which find their body by the function's number (targets.c). */
extern const uintptr_t target_bodies[1 << FUNCTION_BITS];

#endif
