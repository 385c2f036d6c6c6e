#include "patchfarm.h"

TARGET(fast, 0) { return 3 * x; }

TARGET(far, 3) { return 42; }
