/* What a mechanism supplies and what it may use.
 *
 * Functions are named by number.  Function n is whatever_n; its address is function_addresses[n], and that of its
 * default target target_addresses[n][TARGET_DEFAULT] (guest.h).  Addresses of functions are as C has them: ARCH_CODE
 * makes of one where its code begins, and arch_entry (patch.h) where a jump must lead.
 *
 * Services: text.h stores to text, compare.h looks at what is there before, patch.h has each architecture's encoders
 * and cache maintenance, reach.h asks whether a jump reaches, breakpoint.h is for instructions that change by one.  Two
 * more sources to list: original.c keeps the promise `original` where default targets are never overwritten, redirect.c
 * makes the first four functions of one that leads a function anywhere (redirect.h). */
#ifndef MECHANISM_H
#define MECHANISM_H

#include "guest.h"

#define OPTIONAL __attribute__((weak)) /* a mechanism may leave it out: its address is then NULL */

/* The five that every mechanism has; layer.c alone calls them.  The first four answer
 *
 *     PATCH_OK            it is done
 *     PATCH_READ_ONLY     the text could not be opened, or a store to it failed
 *     PATCH_BAD_TARGET, PATCH_MISALIGNED    function n may not be led there (check_target says which)
 *     PATCH_FOREIGN       what is at the function is neither as linked nor as this mechanism left it
 *     PATCH_BUSY          another request is being carried out
 *     PATCH_UNSUPPORTED   there is no such operation
 *
 * and change nothing unless it is the first.  Of a mechanism that does not promise `checks-targets`, layer.c has refused
 * by then what function n may not be led to; of one that does not promise `closes-text`, it has opened the text and
 * closes it afterwards.
 *
 * Lead function n to target: any function of the guest, one out of a jump's reach and another patchable function too;
 * never its default target, for which mechanism_restore is asked. */
uint32_t mechanism_set(uint32_t n, uintptr_t target);
/* Lead function n back to its default target; with the bytes that the linker left if `restores-bytes` is promised. */
uint32_t mechanism_restore(uint32_t n);
/* NULL: the call returns at once; only for void functions.  RET0: the call returns 0 at once.  Where nothing else does
 * it, return_void and return_zero are functions to lead to. */
uint32_t mechanism_null(uint32_t n);
uint32_t mechanism_ret0(uint32_t n);
/* Where the code that a call of function n reaches begins (ARCH_CODE), read from what is patched; NULL leads to
 * return_void, RET0 to return_zero, however it is done. */
uintptr_t mechanism_query(uint32_t n);

/* Lead function n to target with offset added to the address that is patched: other than 0 it is not an instruction
 * boundary and must be refused.  Without it the answer is PATCH_UNSUPPORTED. */
OPTIONAL uint32_t mechanism_set_at(uint32_t n, uintptr_t target, uint32_t offset);
/* Address of the code_word that a patch of function n replaces: what another tool overwrites in a test.  Without it,
 * the first one of the patched bytes. */
OPTIONAL uintptr_t mechanism_word(uint32_t n);
/* The byte at `at`, one of function n's patched bytes, may hold anything: nothing leads to it now. */
OPTIONAL bool mechanism_ignores(uint32_t n, uintptr_t at);
/* The module's call sites have appeared; they are about to go. */
OPTIONAL void mechanism_sites_loaded(void);
OPTIONAL void mechanism_sites_unloaded(void);
/* Undo what the platform cannot know of: it puts back the state, the module, the stubs and the call sites by itself. */
OPTIONAL void mechanism_reset(void);

/* The address, as C has it, of a function that does what function n's default target does although function n is
 * patched; 0 if there is none.  Nothing is stored.  Of mechanisms that promise `original`. */
OPTIONAL uintptr_t mechanism_original(uint32_t n);

/* What a patch of function n changes, for comparison with the pristine image.  layer.c has a weak one: the n-th piece
 * of the section .stub, each as large as a stub. */
struct patched_bytes {
    uintptr_t start;
    size_t size;
};
struct patched_bytes patched_bytes(uint32_t n);

/* target.c: PATCH_OK, PATCH_BAD_TARGET or PATCH_MISALIGNED for leading function n to target. */
uint32_t check_target(uint32_t n, uintptr_t target);

/* target.c: function n may be led to NULL (it is void), to RET0 (it returns nothing or an integer). */
bool may_be_null(uint32_t n);
bool may_be_zero(uint32_t n);

/* The platform's part: text is executable and read-only but between these two.  text_open returns false, and changes
 * nothing, if the text cannot be made writable.  A mechanism that does not promise `closes-text` leaves them to
 * layer.c, which opens what the mechanism writes to around every request. */
enum text_region {
    TEXT_STUBS,
    TEXT_MODULE,
    TEXT_ALL,      /* the module, the call sites and the stubs */
    TEXT_LITERALS, /* read-only data that the text loads its targets from: never executable */
    TEXT_ALIAS,    /* no region: what the doorbell is told besides of one that is meant in its second mapping */
};
bool text_open(enum text_region region);
void text_close(enum text_region region);

/* Where a store to the text at `at` goes.  Of a mechanism with `alias = true`, what it patches is never writable where it
 * is: to open it makes a second mapping of it writable, and a store goes there (alias.c).  Everything is read, compared
 * and made visible (arch_sync_code) at the first address. */
#ifdef MECHANISM_ALIAS
uintptr_t farm_text_alias(uintptr_t at);
#else
static inline uintptr_t farm_text_alias(uintptr_t at) { return at; }
#endif

/* arena.c: memory for code that is made while the guest runs, `size` bytes at a multiple of 16, all 0; NULL: there is no
 * more, or none within a near branch of `near` (0: anywhere), an address in the near text, the module, the call sites or
 * the stubs.  It is executable, and written to as the stubs are: while TEXT_STUBS is open.  Nothing is given back; a
 * reset takes all. */
void *farm_exec_alloc(size_t size, uintptr_t near);

/* There is a kernel below, which keeps some of the CPU to itself and does on request what user mode may not. */
bool has_kernel(void);
long arch_syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c); /* negative errno on failure */
long arch_syscall6(const uintptr_t words[7]); /* the number and six arguments; likewise */

#endif
