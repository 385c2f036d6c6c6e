/* The adapter: the farm's five functions in terms of the kernel's static calls, and a static call for each patchable
 * function.  Everything named here in the kernel's way is the kernel's own (linux/static_call.h of its tree). */
#include "guest.h"
#include "initial.h"
#include "mechanism.h"

#include <linux/static_call.h>

#include <linux/memory.h>

bool text_mutex;

/* DEFINE_STATIC_CALL makes a trampoline in asm, in a section of the kernel's choice.  The farm protects, digests and
 * resets .stub, so that the first line, which names the section, is made a comment; each has ARCH_STUB_BYTES. */
#define STRING(x) __stringify(x)
#define asm(text)                                                                                                      \
    __asm__(".pushsection .stub, \"ax\"\n"                                                                             \
            ".balign " STRING(ARCH_STUB_BYTES) "\n"                                                                    \
            "# " text)
#define DEFINE(n, kind) DEFINE_STATIC_CALL(whatever_##n, LINKED_TARGET(n));
FOR_EACH_FUNCTION(DEFINE)
#undef DEFINE
#undef asm
__asm__(".pushsection .stub, \"ax\"\n.balign " STRING(ARCH_STUB_BYTES) "\n.popsection");

/* whatever_0 is what the farm calls the trampoline of the static call whatever_0. */
#define ALIAS(n, kind)                                                                                                 \
    __asm__(".globl whatever_" #n "\n.type whatever_" #n ", %function\n"                                               \
            ".set whatever_" #n ", " STATIC_CALL_TRAMP_STR(whatever_##n));
FOR_EACH_FUNCTION(ALIAS)
#undef ALIAS

#define KEY(n, kind) &STATIC_CALL_KEY(whatever_##n),
static struct static_call_key *const keys[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(KEY)};
#undef KEY

static uint32_t update(uint32_t n, void *func)
{
    __static_call_update(keys[n], (void *)function_addresses[n], func);
    return PATCH_OK;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target) { return update(n, (void *)target); }

uint32_t mechanism_restore(uint32_t n) { return update(n, (void *)target_addresses[n][TARGET_DEFAULT]); }

uint32_t mechanism_null(uint32_t n) { return update(n, NULL); }

/* __static_call_return0 returns a long; who needs more of a function has to write one. */
uint32_t mechanism_ret0(uint32_t n)
{
    bool is_wider = function_kinds[n] == KIND_LONG && sizeof(long) < sizeof(uint64_t);
    return update(n, is_wider ? (void *)return_zero : (void *)__static_call_return0);
}

/* As static_call_query: what the key holds. */
uintptr_t mechanism_query(uint32_t n)
{
    void *func = READ_ONCE(keys[n]->func);
    if (!func)
        return (uintptr_t)return_void;
    return func == (void *)__static_call_return0 ? (uintptr_t)return_zero : (uintptr_t)func;
}
