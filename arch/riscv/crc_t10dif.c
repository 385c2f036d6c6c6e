/* riscv: carry-less multiply by CLMUL and CLMULH (extension Zbc; Unprivileged ISA, "Carry-less Multiplication"). */
#include "crc_t10dif_clmul.h"

#define MULTIPLY(instruction)                                                                                          \
    ".option push\n\t"                                                                                                 \
    ".option arch, +zbc\n\t" instruction " %0, %1, %2\n\t"                                                             \
    ".option pop"

/* Inlined and not volatile, so that a half of a product that nobody wants is not computed: each is a trap where an
 * engine stands in for the extension. */
#define INLINED static inline __attribute__((always_inline))

INLINED uintptr_t low_half(uintptr_t a, uintptr_t b)
{
    uintptr_t half;
    __asm__(MULTIPLY("clmul") : "=r"(half) : "r"(a), "r"(b));
    return half;
}

INLINED uintptr_t high_half(uintptr_t a, uintptr_t b)
{
    uintptr_t half;
    __asm__(MULTIPLY("clmulh") : "=r"(half) : "r"(a), "r"(b));
    return half;
}

#if __riscv_xlen == 64
INLINED struct product clmul(uint64_t a, uint64_t b) { return (struct product){low_half(a, b), high_half(a, b)}; }
#else
INLINED uint64_t words(uint32_t a, uint32_t b) { return (uint64_t)high_half(a, b) << 32 | low_half(a, b); }

/* Schoolbook, with words for digits; nothing is carried. */
INLINED struct product clmul(uint64_t a, uint64_t b)
{
    uint32_t a0 = (uint32_t)a, a1 = (uint32_t)(a >> 32), b0 = (uint32_t)b, b1 = (uint32_t)(b >> 32);
    uint64_t middle = words(a0, b1) ^ words(a1, b0);
    return (struct product){words(a0, b0) ^ middle << 32, words(a1, b1) ^ middle >> 32};
}
#endif

/* The auxiliary vector says nothing of Zbc, and riscv_hwprobe, which does, is younger than many a kernel and than QEMU
 * 7.2.  So the instruction is tried: where there is none, the handler steps over it. */
#define SYS_RT_SIGACTION 134
#define SIGNAL_ILLEGAL 4
#define SA_SIGINFO 4
/* Of pc, in words from the start of struct ucontext: behind flags, link, stack and 128 bytes of mask, 16-aligned. */
#define CONTEXT_PC (__riscv_xlen == 64 ? 176 / 8 : 160 / 4)

struct action {
    void (*handler)(int signal, void *information, uintptr_t *context);
    unsigned long flags;
    uint64_t mask, room; /* QEMU 7.2 has sa_restorer before the mask, which the kernel's riscv has not, and fills it */
};

static void step_over(int signal, void *information, uintptr_t *context)
{
    (void)signal, (void)information;
    context[CONTEXT_PC] += 4;
}

/* Four arguments, one more than arch_syscall takes. */
static void set_action(const struct action *new, struct action *old)
{
    register uintptr_t number __asm__("a7") = SYS_RT_SIGACTION, size __asm__("a3") = sizeof new->mask;
    register uintptr_t a __asm__("a0") = SIGNAL_ILLEGAL, b __asm__("a1") = (uintptr_t)new,
                         c __asm__("a2") = (uintptr_t)old;
    __asm__ volatile("ecall" : "+r"(a) : "r"(number), "r"(b), "r"(c), "r"(size) : "memory");
}

uint32_t arch_features(const uintptr_t *auxiliary_vector)
{
    const struct action probing = {step_over, SA_SIGINFO, 0, 0};
    struct action before;
    uintptr_t product = 0;
    (void)auxiliary_vector;
    set_action(&probing, &before);
    __asm__ volatile(MULTIPLY("clmul") : "+r"(product) : "r"(3), "r"(3));
    set_action(&before, NULL);
    return product == 5 ? FEATURE_CLMUL : 0;
}
