/* The patchable functions of the `pad` mechanism that need floating-point registers. */
#include "pad.h"

FOR_EACH_FLOAT_FUNCTION(FUNCTION)
