/* The patchable functions of the `pointer` mechanism that need floating-point registers. */
#include "pointer.h"

FOR_EACH_FLOAT_FUNCTION(FUNCTION)
