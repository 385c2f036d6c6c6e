/* Stand-in. */
#include <string.h>
