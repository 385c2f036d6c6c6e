/* Memory for code that a mechanism makes while the guest runs, for a mechanism that has "arena.c" among its sources.  It
 * lies behind the stubs and is opened and closed with them; a reset fills it with zeros again. */
#include "mechanism.h"

enum { ARENA_BYTES = 4096, ALIGNMENT = 16 };

extern const uint8_t text_start[], stub_end[];
extern const volatile uint8_t farm_arena[ARENA_BYTES];
const volatile uint8_t farm_arena[ARENA_BYTES] __attribute__((section(".stub.annex"), aligned(ALIGNMENT))) = {0};

static size_t taken;

void *farm_exec_alloc(size_t size, uintptr_t near)
{
    bool is_near = near >= (uintptr_t)text_start && near < (uintptr_t)stub_end;
    if (!size || (near && !is_near) || size > ARENA_BYTES - taken)
        return NULL;
    uintptr_t at = (uintptr_t)farm_arena + taken;
    taken += (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return (void *)at;
}
