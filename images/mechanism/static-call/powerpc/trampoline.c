/* ppc32: what a trampoline holds.  The data is stored before the first instruction, which is one aligned word: `b`,
 * `nop` and, by way of a branch to it, what stands further on are the patch class (Power ISA, Book II, "Concurrent
 * Modification and Execution of Instructions"); that `blr` may be stored while another CPU executes the word is more
 * than the manual says, and what the kernel does. */
#include "compare.h"
#include "reach.h"
#include "static_call.h"
#include "text.h"

#define BLR 0x4e800020u
#define RET0 20 /* from the trampoline's address */
#define DATA 28

/* As in target.c: the data is not where arch/powerpc/stub.S has its slot. */
extern const int32_t farm_layout[5];
const int32_t farm_layout[5] = {ARCH_FUNCTION_ALIGNMENT, ARCH_STUB_BYTES, 0, sizeof(uint32_t), DATA};

/* What the first word is XOR what the linker left there. */
static uint32_t changed[FUNCTION_COUNT];

static uintptr_t trampoline_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static volatile uintptr_t *data_of(uint32_t n) { return (volatile uintptr_t *)(trampoline_of(n) + DATA); }

static uint32_t linked(uint32_t n) { return arch_jump(trampoline_of(n), target_addresses[n][TARGET_DEFAULT]); }

static uint32_t held(uint32_t n) { return linked(n) ^ changed[n]; }

static uint32_t leading_to(uint32_t n, uintptr_t to)
{
    uintptr_t at = trampoline_of(n);
    if (to == (uintptr_t)return_void)
        return BLR;
    if (to == (uintptr_t)return_zero && !result_is_wide(n))
        return arch_jump(at, at + RET0);
    return stub_reaches(at, to) ? arch_jump(at, to) : arch_slot_jump(at);
}

bool trampoline_lead(uint32_t n, uintptr_t to)
{
    uint32_t word = leading_to(n, to);
    uintptr_t data = *data_of(n);
    if (word == arch_slot_jump(trampoline_of(n)) || to == target_addresses[n][TARGET_DEFAULT]) {
        *data_of(n) = to;
        arch_store_barrier(); /* the data is visible before the instruction that leads to it */
    }
    if (!farm_text_write(trampoline_of(n), &word, sizeof word)) {
        *data_of(n) = data;
        return false;
    }
    changed[n] = word ^ linked(n);
    return true;
}

bool trampoline_holds(uint32_t n)
{
    uint32_t word = held(n);
    return farm_text_holds(trampoline_of(n), &word, sizeof word);
}

bool trampoline_changes(uint32_t n, uintptr_t at) { return at - trampoline_of(n) < sizeof(uint32_t); }

bool trampoline_ignores(uint32_t n, uintptr_t at) { return at - (uintptr_t)data_of(n) < sizeof(uintptr_t); }

uintptr_t trampoline_target(uint32_t n)
{
    uintptr_t at = trampoline_of(n);
    uint32_t word = *(const volatile uint32_t *)at;
    if (word == BLR)
        return (uintptr_t)return_void;
    if (word == arch_slot_jump(at))
        return *data_of(n);
    uintptr_t to = arch_jump_target(at, word);
    return to == at + RET0 ? (uintptr_t)return_zero : to;
}
