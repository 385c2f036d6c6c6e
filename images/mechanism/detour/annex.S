/* The annexes of the patchable functions, behind all their bodies: function n has the n-th. */
#include "annex.h"
#include "wire.h"

    .section .stub.annex, "ax"
    .balign ANNEX_BYTES
    .globl detour_annexes
detour_annexes:
    .space  ANNEX_BYTES * FUNCTION_COUNT
