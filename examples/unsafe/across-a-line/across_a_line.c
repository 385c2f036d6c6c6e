/* The operand of a jump lies in two cache lines.  It is stored by one instruction, which is two stores to whoever looks:
 * neither Intel nor AMD promises one that crosses a line. */
#include "patch.h"
#include "redirect.h"

typedef uint32_t operand __attribute__((aligned(1)));

static uintptr_t jump_of(uint32_t n) { return function_addresses[n]; }

static volatile operand *operand_of(uint32_t n) { return (volatile operand *)(jump_of(n) + ARCH_STUB_WORD); }

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    *operand_of(n) = arch_jump(jump_of(n), target);
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n) { return arch_jump_target(jump_of(n), *operand_of(n)); }
