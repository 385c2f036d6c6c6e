/* Stand-in: annotations, and accesses that the compiler may not merge. */
#ifndef STAND_IN_COMPILER_H
#define STAND_IN_COMPILER_H

#define __always_inline inline __attribute__((always_inline))
#define __user
#define __init
#define __ref
#define __ro_after_init
#define noinstr
#define NOKPROBE_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define EXPORT_SYMBOL(name)

#define __PASTE(a, b) STAND_IN_PASTE(a, b)
#define STAND_IN_PASTE(a, b) a##b
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))
#define OPTIMIZER_HIDE_VAR(x) __asm__("" : "=r"(x) : "0"(x))

#endif
