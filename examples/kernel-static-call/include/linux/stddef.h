/* Stand-in. */
#include <stddef.h>
