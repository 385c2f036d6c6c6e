/* Stand-in for the C library's, as far as libc.c has it. */
#ifndef FARM_STRING_H
#define FARM_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *one, const void *other, size_t size);
size_t strlen(const char *string);

#endif
