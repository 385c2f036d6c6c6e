/* Two ways to count the bits that are set: what whatever_0 does by default, and what a CPU would be patched to. */
#include "patchfarm.h"

TARGET(default, 0)
{
    uint32_t count = 0;
    for (; x; x &= x - 1)
        count++;
    return count;
}

TARGET(fast, 0)
{
    x -= (x >> 1) & 0x55555555u;
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return x * 0x01010101u >> 24;
}
