/* Stand-in (system.c). */
#include <stddef.h>
size_t ucm_get_page_size(void);
