/* powerpc: carry-less multiply by VPMSUMD (Power ISA 2.07, Book I, "Vector Polynomial Multiply-Sum"); 64-bit only. */
#include "guest.h"

#ifdef ARCH_CRC_T10DIF
#include "crc_t10dif_clmul.h"

/* vpmsumd adds the products of both doublewords, so the other one of a is zero. */
static struct product clmul(uint64_t a, uint64_t b)
{
    struct product product;
    __asm__(".machine push\n\t"
            ".machine power8\n\t"
            "mtvsrd 32, %2\n\t"
            "mtvsrd 33, %3\n\t"
            "vxor 2, 2, 2\n\t"
            "xxpermdi 32, 32, 34, 0\n\t"
            "xxpermdi 33, 33, 34, 0\n\t"
            "vpmsumd 0, 0, 1\n\t"
            "mfvsrd %1, 32\n\t"
            "xxpermdi 32, 32, 32, 2\n\t"
            "mfvsrd %0, 32\n\t"
            ".machine pop"
            : "=r"(product.low), "=r"(product.high)
            : "r"(a), "r"(b)
            : "v0", "v1", "v2");
    return product;
}

#define AT_HWCAP2 26
#define PPC_FEATURE2_VEC_CRYPTO 0x02000000u

uint32_t arch_features(const uintptr_t *auxiliary_vector)
{
    for (; auxiliary_vector[0]; auxiliary_vector += 2)
        if (auxiliary_vector[0] == AT_HWCAP2 && auxiliary_vector[1] & PPC_FEATURE2_VEC_CRYPTO)
            return FEATURE_CLMUL;
    return 0;
}
#endif
