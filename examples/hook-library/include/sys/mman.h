/* Stand-in (system.c). */
#ifndef STAND_IN_MMAN_H
#define STAND_IN_MMAN_H
#include <stddef.h>
enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_PRIVATE = 2, MAP_ANONYMOUS = 32 };
#define MAP_FAILED ((void *)-1)
int mprotect(void *address, size_t size, int protection);
void *mmap(void *address, size_t size, int protection, int flags, int file, long offset);
#endif
