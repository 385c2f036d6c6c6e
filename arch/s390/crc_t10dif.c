/* s390x: carry-less multiply by VGFM (z/Architecture Principles of Operation, "Vector Galois Field Multiply Sum"). */
#include "crc_t10dif_clmul.h"

/* vgfmg adds the products of both doublewords, so the other ones are zero. */
static struct product clmul(uint64_t a, uint64_t b)
{
    struct product product;
    __asm__(".machine push\n\t"
            ".machine z13\n\t"
            "vzero %%v0\n\t"
            "vlvgg %%v0, %2, 0\n\t"
            "vzero %%v1\n\t"
            "vlvgg %%v1, %3, 0\n\t"
            "vgfmg %%v0, %%v0, %%v1\n\t"
            "vlgvg %1, %%v0, 0\n\t"
            "vlgvg %0, %%v0, 1\n\t"
            ".machine pop"
            : "=&r"(product.low), "=&r"(product.high)
            : "r"(a), "r"(b)
            : "f0", "f1");
    return product;
}

#define AT_HWCAP 16
#define HWCAP_S390_VXRS (1u << 11)

uint32_t arch_features(const uintptr_t *auxiliary_vector)
{
    for (; auxiliary_vector[0]; auxiliary_vector += 2)
        if (auxiliary_vector[0] == AT_HWCAP && auxiliary_vector[1] & HWCAP_S390_VXRS)
            return FEATURE_CLMUL;
    return 0;
}
