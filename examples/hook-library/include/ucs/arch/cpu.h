/* Stand-in: ucs/sys/math.h has it all. */
#include <ucs/sys/math.h>
