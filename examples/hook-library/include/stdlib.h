/* Stand-in (system.c). */
#ifndef STAND_IN_STDLIB_H
#define STAND_IN_STDLIB_H
#include <stddef.h>
void *malloc(size_t n);
void free(void *memory);
#define labs(x) __builtin_labs(x)
#endif
