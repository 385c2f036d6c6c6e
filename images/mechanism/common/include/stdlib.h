/* Stand-in for the C library's, as far as libc.c has it. */
#ifndef FARM_STDLIB_H
#define FARM_STDLIB_H

#include <stddef.h>

__attribute__((noreturn)) void abort(void); /* ends the guest: a crash of its cell */

#endif
