/* CRC-16/T10-DIF (SBC-3: polynomial 0x8bb7, initial value 0, not reflected) in portable C, twice. */
#include "guest.h"

#define POLYNOMIAL 0x8bb7u

uint16_t crc_t10dif_generic(uint16_t crc, const uint8_t *buffer, size_t length)
{
    uint32_t state = crc;
    for (; length; length--) {
        state ^= (uint32_t)*buffer++ << 8;
        for (uint32_t bit = 0; bit < 8; bit++)
            state = (state << 1) ^ (state & 0x8000 ? POLYNOMIAL : 0);
    }
    return (uint16_t)state;
}

/* What four bits shifted out of the top leave behind. */
static const uint16_t nibbles[16] = {0x0000, 0x8bb7, 0x9cd9, 0x176e, 0xb205, 0x39b2, 0x2edc, 0xa56b,
                                     0xefbd, 0x640a, 0x7364, 0xf8d3, 0x5db8, 0xd60f, 0xc161, 0x4ad6};

uint16_t crc_t10dif_table(uint16_t crc, const uint8_t *buffer, size_t length)
{
    uint32_t state = crc;
    for (; length; length--, buffer++) {
        state = (state << 4 & 0xffff) ^ nibbles[(state >> 12) ^ (uint32_t)(*buffer >> 4)];
        state = (state << 4 & 0xffff) ^ nibbles[(state >> 12) ^ (*buffer & 0xfu)];
    }
    return (uint16_t)state;
}
