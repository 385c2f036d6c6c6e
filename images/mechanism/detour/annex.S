/* The annexes of the patchable functions, behind all their bodies: function n has the n-th. */
#include "annex.h"
#include "wire.h"

    .section .stub.annex, "ax"
    .balign ANNEX_BYTES
    .globl detour_annexes
    .type detour_annexes, %object
detour_annexes:
    .space  ANNEX_BYTES * FUNCTION_COUNT
