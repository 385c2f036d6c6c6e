/* Stand-in: the kernel's names for types, and what the files that are compiled here expect to come with them. */
#ifndef STAND_IN_TYPES_H
#define STAND_IN_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define IS_ENABLED(option) 0 /* nothing that is asked for is configured but HAVE_STATIC_CALL */

#endif
