/* The targets that need floating-point registers. */
#include "kinds_float.h"
#include "portable.h"

FOR_EACH_FLOAT_FUNCTION(TARGETS)
