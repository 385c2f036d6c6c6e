/* The call sites of the kinds that need floating-point registers. */
#include "call_sites.h"
#include "kinds_float.h"

#ifdef CONTROL_ORIGINAL_LOSES_FLOAT
static __attribute__((noinline)) PROTOTYPE_DOUBLES(lossy_doubles)
{
    return WAY_TO_ORIGINAL(DOUBLES)(b, a, c, d, e, f, g, h);
}
#endif

FOR_EACH_FLOAT_FUNCTION(SHAPES)
