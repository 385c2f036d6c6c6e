/* riscv: AUIPC has bits 31-12 of the distance, one more if the 12 bits that JALR has in 31-20 are negative (Unprivileged
 * ISA, RV32I, "Integer Register-Immediate Instructions", "Unconditional Jumps"). */
#define WORDS 0

static inline void words_for(uintptr_t at, uintptr_t to, uint32_t words[2])
{
    uint32_t distance = (uint32_t)(to - at);
    words[0] = 0x00000317u | ((distance + 0x800) & 0xfffff000u);
    words[1] = 0x00030067u | distance << 20;
}

static inline uintptr_t words_target(uintptr_t at, const volatile uint32_t words[2])
{
    return at + (uintptr_t)(intptr_t)(int32_t)(words[0] & 0xfffff000u) + (uintptr_t)(intptr_t)((int32_t)words[1] >> 20);
}
