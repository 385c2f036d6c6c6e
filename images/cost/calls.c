/* The baselines of `farm cost`: ways to call that are measured beside the mechanisms and never judged.  All reach `fast`,
 * as a patched function does.  Only the guest of `farm cost` has them; there the default target of function 1 runs the
 * one that its argument names. */
#include "baselines.h"

static struct ops table = {fast_0};
struct ops *cost_ops = &table;
bool cost_flag = true;

BASELINE(direct, fast_0(x + i))
BASELINE(dispatch, cost_ops->call(x + i))
BASELINE(branch, cost_flag ? fast_0(x + i) : default_0(x + i))

/* In the order of BASELINES in farm/measure/cost.py. */
static PROTOTYPE_INT((*const baselines[])) = {cost_direct, cost_dispatch, cost_branch, cost_retpoline};

PROTOTYPE_INT(custom_default_1);
PROTOTYPE_INT(custom_default_1) { return baselines[x](x); }
