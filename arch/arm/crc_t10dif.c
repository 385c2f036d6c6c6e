/* arm: carry-less multiply by VMULL.P64 (Arm ARM DDI 0487, F6.1, "VMULL (integer and polynomial)"). */
#include "crc_t10dif_clmul.h"

/* vmull.p64 q0, d0, d1: spelt out, for the guest is compiled for a CPU without it. */
#ifdef __thumb__
#define VMULL_P64 ".inst.w 0xefa00e01"
#else
#define VMULL_P64 ".inst 0xf2a00e01"
#endif

static struct product clmul(uint64_t a, uint64_t b)
{
    struct product product;
    __asm__("vmov d0, %Q2, %R2\n\t"
            "vmov d1, %Q3, %R3\n\t" VMULL_P64 "\n\t"
            "vmov %Q0, %R0, d0\n\t"
            "vmov %Q1, %R1, d1"
            : "=&r"(product.low), "=r"(product.high)
            : "r"(a), "r"(b)
            : "d0", "d1");
    return product;
}

#define AT_HWCAP2 26
#define HWCAP2_PMULL (1u << 1)

uint32_t arch_features(const uintptr_t *auxiliary_vector)
{
    for (; auxiliary_vector[0]; auxiliary_vector += 2)
        if (auxiliary_vector[0] == AT_HWCAP2 && auxiliary_vector[1] & HWCAP2_PMULL)
            return FEATURE_CLMUL;
    return 0;
}
