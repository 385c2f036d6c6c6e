/* The call sites of the kinds that need floating-point registers. */
#include "call_sites.h"
#include "kinds_float.h"

FOR_EACH_FLOAT_FUNCTION(SHAPES)
