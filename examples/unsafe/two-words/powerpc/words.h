/* powerpc: the upper and the lower half of the address, which is below 2 GiB (Power ISA, Book I, "addis", "ori"). */
#define WORDS 0

static inline void words_for(uintptr_t at, uintptr_t to, uint32_t words[2])
{
    (void)at;
    words[0] = 0x3d800000u | (uint32_t)(to >> 16 & 0xffff);
    words[1] = 0x618c0000u | (uint32_t)(to & 0xffff);
}

static inline uintptr_t words_target(uintptr_t at, const volatile uint32_t words[2])
{
    (void)at;
    return (words[0] & 0xffffu) << 16 | (words[1] & 0xffffu);
}
