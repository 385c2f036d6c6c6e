/* The requests of a mechanism that opens the text by itself.  Its source says first how it holds off other CPUs: lock()
 * and unlock(). */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "redirect.h"

static uint32_t led(uint32_t n, uintptr_t target)
{
    if (!text_open(MECHANISM_TEXT))
        return PATCH_READ_ONLY;
    uint32_t status = mechanism_lead(n, target);
    text_close(MECHANISM_TEXT);
    return status;
}

static uint32_t request(uint32_t n, uintptr_t target)
{
    lock();
    uint32_t status = led(n, target);
    unlock();
    return status;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target) { return request(n, target); }

uint32_t mechanism_restore(uint32_t n) { return request(n, target_addresses[n][TARGET_DEFAULT]); }

uint32_t mechanism_null(uint32_t n) { return request(n, (uintptr_t)return_void); }

uint32_t mechanism_ret0(uint32_t n) { return request(n, (uintptr_t)return_zero); }

#endif
