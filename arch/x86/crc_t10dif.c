/* x86: carry-less multiply by PCLMULQDQ (Intel SDM volume 2B). */
#include "crc_t10dif_clmul.h"

#ifdef __SSE__
#define CLOBBERED "xmm0", "xmm1"
#else
#define CLOBBERED /* nothing that this compiler would use */
#endif

static struct product clmul(uint64_t a, uint64_t b)
{
    struct product product;
    __asm__("movq %2, %%xmm0\n\t" /* from memory: no register of i386 is wide enough */
            "movq %3, %%xmm1\n\t"
            "pclmulqdq $0, %%xmm1, %%xmm0\n\t"
            "movq %%xmm0, %0\n\t"
            "psrldq $8, %%xmm0\n\t"
            "movq %%xmm0, %1"
            : "=m"(product.low), "=m"(product.high)
            : "m"(a), "m"(b)
            : CLOBBERED);
    return product;
}

#define CPUID_1_ECX_PCLMULQDQ (1u << 1)

uint32_t arch_features(const uintptr_t *auxiliary_vector)
{
    uint32_t a = 1, b, c = 0, d;
    (void)auxiliary_vector; /* CPUID says it itself */
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c & CPUID_1_ECX_PCLMULQDQ ? FEATURE_CLMUL : 0;
}
