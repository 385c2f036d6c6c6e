/* What GCC calls to move an object even in freestanding code (GCC manual, "Standards"): a double out of a va_list on
 * sparc32, for one. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size);

void *memcpy(void *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i]; /* volatile: else this becomes a call of itself */
    return to;
}
