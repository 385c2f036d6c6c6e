/* CRC-16/T10-DIF with a 64-bit carry-less multiply, which the architecture supplies (arch/NAME/crc_t10dif.c).
 *
 * Eight bytes at a time by Barrett reduction: with P = x^16 + 0x8bb7 and mu = floor(x^80 / P) = x^64 + MU, the
 * remainder of X * x^16 is the low half word of q * P, where q = floor(X * mu / x^64). */
#ifndef CRC_T10DIF_CLMUL_H
#define CRC_T10DIF_CLMUL_H

#include "guest.h"

#define CRC_MU 0xf65a57f81d33a48aull
#define CRC_POLYNOMIAL 0x8bb7ull

struct product {
    uint64_t low, high;
};
static struct product clmul(uint64_t a, uint64_t b);

/* length is a multiple of 8; buffer has any alignment. */
uint16_t crc_t10dif_arch(uint16_t crc, const uint8_t *buffer, size_t length)
{
    for (; length; length -= 8) {
        uint64_t x = 0;
        for (uint32_t i = 0; i < 8; i++)
            x = x << 8 | *buffer++;
        x ^= (uint64_t)crc << 48;
        crc = (uint16_t)clmul(clmul(x, CRC_MU).high ^ x, CRC_POLYNOMIAL).low;
    }
    return crc;
}

#endif
