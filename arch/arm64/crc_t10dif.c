/* arm64: carry-less multiply by PMULL (Arm ARM DDI 0487, C7.2, "PMULL, PMULL2"). */
#include "crc_t10dif_clmul.h"

static struct product clmul(uint64_t a, uint64_t b)
{
    struct product product;
    __asm__(".arch_extension aes\n\t"
            "fmov d0, %2\n\t"
            "fmov d1, %3\n\t"
            "pmull v0.1q, v0.1d, v1.1d\n\t"
            "fmov %0, d0\n\t"
            "fmov %1, v0.d[1]"
            : "=r"(product.low), "=r"(product.high)
            : "r"(a), "r"(b)
            : "v0", "v1");
    return product;
}

#define AT_HWCAP 16
#define HWCAP_PMULL (1u << 4)
#define AT_HWCAP2 26
#define HWCAP2_BTI (1u << 17)

uint32_t arch_features(const uintptr_t *auxiliary_vector)
{
    uint32_t features = 0;
    for (; auxiliary_vector[0]; auxiliary_vector += 2) {
        if (auxiliary_vector[0] == AT_HWCAP && auxiliary_vector[1] & HWCAP_PMULL)
            features |= FEATURE_CLMUL;
        if (auxiliary_vector[0] == AT_HWCAP2 && auxiliary_vector[1] & HWCAP2_BTI)
            features |= FEATURE_BTI;
    }
    return features;
}
