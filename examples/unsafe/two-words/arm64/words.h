/* arm64: ADRP has the distance in pages of 4 KiB, 2 bits of it in bits 30-29 and 19 in bits 23-5; ADD has the place in the
 * page in bits 21-10 (Arm ARM DDI 0487, C6.2.10, C6.2.4). */
#define WORDS 4 /* behind the landing pad */

static inline void words_for(uintptr_t at, uintptr_t to, uint32_t words[2])
{
    uint32_t pages = (uint32_t)((to >> 12) - (at >> 12));
    words[0] = ARCH_INSTRUCTION(0x90000010u | (pages & 3) << 29 | (pages >> 2 & 0x7ffff) << 5);
    words[1] = ARCH_INSTRUCTION(0x91000210u | (uint32_t)(to & 0xfff) << 10);
}

static inline uintptr_t words_target(uintptr_t at, const volatile uint32_t words[2])
{
    uint32_t adrp = ARCH_INSTRUCTION(words[0]), add = ARCH_INSTRUCTION(words[1]);
    int32_t pages = (int32_t)((adrp >> 5 & 0x7ffff) << 13 | (adrp >> 29 & 3) << 11) >> 11;
    return (at & ~(uintptr_t)0xfff) + ((uintptr_t)(intptr_t)pages << 12) + (add >> 10 & 0xfff);
}
