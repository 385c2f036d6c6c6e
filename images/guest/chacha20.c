/* ChaCha20 (RFC 8439), with the key and nonce of its section 2.4.2: one block at a time, and four. */
#include "guest.h"

static uint32_t rotate(uint32_t value, uint32_t bits) { return value << bits | value >> (32 - bits); }

/* Words of the initial state; key and nonce are little-endian byte strings, spelt here as the words they make. */
static uint32_t initial(uint32_t word, uint32_t counter)
{
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    static const uint32_t nonce[3] = {0x00000000, 0x4a000000, 0x00000000};
    if (word < 4)
        return constants[word];
    if (word < 12)
        return 0x03020100u + 0x04040404u * (word - 4);
    return word == 12 ? counter : nonce[word - 13];
}

#define QUARTER(a, b, c, d)                                                                                            \
    do {                                                                                                               \
        a += b, d = rotate(d ^ a, 16);                                                                                 \
        c += d, b = rotate(b ^ c, 12);                                                                                 \
        a += b, d = rotate(d ^ a, 8);                                                                                  \
        c += d, b = rotate(b ^ c, 7);                                                                                  \
    } while (0)

#if defined(CONTROL_NATIVE_ORDER) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ORDER(i) (3 - (i))
#else
#define ORDER(i) (i)
#endif

/* out = in ^ the bytes of word, little-endian on every architecture; of the first `size` bytes of a block. */
static void xor_word(uint8_t *out, const uint8_t *in, uint32_t word, size_t offset, size_t size)
{
    for (size_t i = 0; i < 4 && offset + i < size; i++)
        out[offset + i] = in[offset + i] ^ (uint8_t)(word >> 8 * ORDER(i));
}

uint32_t chacha20_generic(uint32_t counter, uint8_t *out, const uint8_t *in, size_t length)
{
    while (length) {
        size_t size = length < 64 ? length : 64;
        uint32_t s[16];
        for (uint32_t i = 0; i < 16; i++)
            s[i] = initial(i, counter);
        for (uint32_t round = 0; round < 10; round++) {
            for (uint32_t i = 0; i < 4; i++)
                QUARTER(s[i], s[4 + i], s[8 + i], s[12 + i]);
            for (uint32_t i = 0; i < 4; i++)
                QUARTER(s[i], s[4 + (i + 1) % 4], s[8 + (i + 2) % 4], s[12 + (i + 3) % 4]);
        }
        for (uint32_t i = 0; i < 16; i++)
            xor_word(out, in, s[i] + initial(i, counter), 4 * i, size);
        counter++; /* wraps */
        out += size;
        in += size;
        length -= size;
    }
    return counter;
}

/* Four blocks side by side, each word of the state four wide; what is left over one at a time. */
uint32_t chacha20_four_blocks(uint32_t counter, uint8_t *out, const uint8_t *in, size_t length)
{
    for (; length >= 256; length -= 256, out += 256, in += 256, counter += 4) {
        uint32_t s[16][4];
        for (uint32_t i = 0; i < 16; i++)
            for (uint32_t lane = 0; lane < 4; lane++)
                s[i][lane] = initial(i, counter + lane);
        for (uint32_t half = 0; half < 20; half++)
            for (uint32_t i = 0; i < 4; i++)
                for (uint32_t lane = 0; lane < 4; lane++)
                    QUARTER(s[i][lane], s[4 + (i + half % 2) % 4][lane], s[8 + (i + half % 2 * 2) % 4][lane],
                            s[12 + (i + half % 2 * 3) % 4][lane]);
        for (uint32_t lane = 0; lane < 4; lane++)
            for (uint32_t i = 0; i < 16; i++)
                xor_word(out + 64 * lane, in + 64 * lane, s[i][lane] + initial(i, counter + lane), 4 * i, 64);
    }
    return length ? chacha20_generic(counter, out, in, length) : counter;
}
