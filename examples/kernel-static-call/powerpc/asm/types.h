/* Stand-in. */
#include <linux/types.h>
