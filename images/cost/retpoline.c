/* The `dispatch` baseline again, compiled with retpolines: the compiler's replacement for an indirect call that must not
 * be predicted.  Which flags ask for them, and where there are any, arch.toml says. */
#include "baselines.h"

BASELINE(retpoline, cost_ops->call(x + i))
