/* The `pad` mechanism: a function is an ordinary one that the compiler begins with NOPs, some of them before its entry
 * (attribute patchable_function_entry), as the Linux kernel has them for ftrace and for live patching.  They go on to
 * what the function does, which is its default.  A patch makes a jump of those at the entry; what that jump needs
 * further on, because it is short or does not reach, is in those before it, where nobody comes otherwise.
 *
 * The NOPs before the entry are written first and the entry, in one store, last; back again in the reverse order.  So
 * whoever calls meanwhile reaches the old target or the new one.  What a proof for several CPUs needs besides: that
 * nobody stands in the NOPs before the entry when they are put back, or, where the compiler made several NOPs of the
 * bytes at the entry, between two of those (ftrace waits for every task to have been elsewhere). */
#include "pad.h"
#include "compare.h"
#include "redirect.h"
#include "surroundings.h"
#include "text.h"

FOR_EACH_INTEGER_FUNCTION(FUNCTION)

/* As in target.c: the word is what replaces the NOPs that are executed first, and the slot lies before the entry. */
#ifdef PAD_SLOT
#define SLOT (PAD_SLOT - PAD_ENTRY)
#else
#define SLOT 0
#endif
extern const int32_t farm_layout[5];
const int32_t farm_layout[5] = {ARCH_FUNCTION_ALIGNMENT, ARCH_STUB_BYTES, PAD_JUMP - PAD_ENTRY, PAD_JUMP_BYTES, SLOT};

static const struct piece pieces[] = {PAD_PIECES};
enum { PIECES = sizeof pieces / sizeof *pieces };

/* What a head holds XOR what the linker left there. */
static uint8_t changed[FUNCTION_COUNT][PAD_HEAD];

static uintptr_t block_of(uint32_t n) { return patched_bytes(n).start; }

static const uint8_t *pristine_of(uint32_t n) { return farm_pristine + (block_of(n) - block_of(0)); }

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

static void head_of(uint32_t n, uint8_t *head)
{
    for (uint32_t i = 0; i < PAD_HEAD; i++)
        head[i] = pristine_of(n)[i] ^ changed[n][i];
}

bool mechanism_is_intact(uint32_t n)
{
    uint8_t head[PAD_HEAD];
    head_of(n, head);
    return farm_text_holds(block_of(n), head, PAD_HEAD) &&
           farm_text_is_beside(block_of(n) + PAD_HEAD, pristine_of(n) + PAD_HEAD, ARCH_STUB_BYTES - PAD_HEAD);
}

/* Piece i of function n's head becomes what it is in `head`; false: the store failed. */
static bool put(uint32_t n, uint32_t i, const uint8_t *head)
{
    uint32_t at = pieces[i].at, end = at + pieces[i].size;
#ifdef CONTROL_PAD_HALF_WRITTEN
    if (i)
#endif
        if (!farm_text_write(block_of(n) + at, head + at, pieces[i].size))
            return false;
    for (; at < end; at++)
        changed[n][at] = head[at] ^ pristine_of(n)[at];
    return true;
}

static bool differs(uint32_t n, uint32_t i, const uint8_t *head)
{
    for (uint32_t at = pieces[i].at; at < pieces[i].at + (uint32_t)pieces[i].size; at++)
        if (head[at] != (pristine_of(n)[at] ^ changed[n][at]))
            return true;
    return false;
}

/* Function n's head becomes `head`, piece by piece: with the entry last or, `back`, first.  false: a store failed. */
static bool put_all(uint32_t n, const uint8_t *head, bool back)
{
    for (uint32_t i = 0; i < PIECES; i++) {
        uint32_t piece = back ? PIECES - 1 - i : i;
        if (differs(n, piece, head) && !put(n, piece, head))
            return false;
    }
    return true;
}

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uint8_t before[PAD_HEAD], head[PAD_HEAD];
    bool back = target == default_of(n), same = true;
    head_of(n, before);
    for (uint32_t i = 0; i < PAD_HEAD; i++)
        head[i] = back ? pristine_of(n)[i] : before[i];
    if (!back)
        pad_lead(n, head, arch_entry(target));
    for (uint32_t i = 0; i < PAD_HEAD; i++)
        same = same && head[i] == before[i];
    if (same ? put(n, PIECES - 1, head) : put_all(n, head, back)) /* the same once more: a store tells if it may be */
        return PATCH_OK;
    put_all(n, before, !back);
    return PATCH_READ_ONLY;
}

/* Where the function begins that a jump to `to` leads to: past its beginning, if it is another patchable one that makes
 * of a register there what the jump leaves alone (arch_entry). */
static uintptr_t beginning_of(uintptr_t to)
{
    for (uint32_t n = 0; n < FUNCTION_COUNT; n++)
        if (arch_entry(function_addresses[n]) == to)
            return ARCH_CODE(function_addresses[n]);
    return to;
}

uintptr_t mechanism_query(uint32_t n)
{
    uintptr_t target = pad_target(n);
    return target ? beginning_of(target) : ARCH_CODE(default_of(n));
}

/* The code behind the NOPs; of a variadic function that is not the default target's (pad.h). */
uintptr_t mechanism_original(uint32_t n) { return function_kinds[n] == KIND_VARIADIC ? default_of(n) : pad_behind(n); }

uintptr_t mechanism_word(uint32_t n) { return block_of(n) + PAD_ENTRY; }
