/* Stand-in: of ucs/sys/math.h, what needs no libm. */
#ifndef STAND_IN_MATH_H
#define STAND_IN_MATH_H
#include <stdint.h>
#include <ucs/sys/compiler_def.h>
#define UCS_KBYTE 1024u
#define UCS_SYS_PARAGRAPH_SIZE 16 /* of ucs/arch/cpu.h */
#define ucs_min(a, b) ((a) < (b) ? (a) : (b))
#define ucs_max(a, b) ((a) > (b) ? (a) : (b))
#define ucs_align_down(n, alignment) ((n) - (n) % (alignment))
#define ucs_align_up_pow2(n, alignment) (((n) + (alignment) - 1) & ~((alignment) - 1))
void __clear_cache(void *start, void *end); /* of the compiler, which ucs/arch/cpu.h prefers to its own */
#define ucs_clear_cache(start, end) __clear_cache(start, end)
#endif
