/* What every mechanism offers.  Functions are named by number; all return a PATCH_ status of wire.h. */
#ifndef MECHANISM_H
#define MECHANISM_H

#include "guest.h"

/* Lead function n to target.  offset is added to the address that is patched: other than 0 it is not an instruction
 * boundary and must be refused.  The default target restores. */
uint32_t patch_set(uint32_t n, uintptr_t target, uint32_t offset);

/* Lead function n back to its default, with the bytes that the pristine image has. */
uint32_t patch_restore(uint32_t n);

/* NULL: the call returns at once; only for void functions.  RET0: the call returns 0 at once. */
uint32_t patch_null(uint32_t n);
uint32_t patch_ret0(uint32_t n);

/* Where the code that a call of function n reaches begins (ARCH_CODE), read from what is patched. */
uintptr_t patch_query(uint32_t n);

/* The address, as C has it, of a function that does what function n's default target does although function n is
 * patched; 0 if there is none.  Nothing is stored.  Of mechanisms that promise `original`. */
uintptr_t mechanism_original(uint32_t n) __attribute__((weak));

/* Overwrite the patched instruction of function n as another tool would: not through this mechanism. */
uint32_t patch_scribble(uint32_t n);

/* Change one bit of function n's stub or call sites at a time, as another tool would, ask for a request and put the bit
 * back: 0 if each was refused, else 1 + the number of the byte of which a change went unnoticed. */
uint32_t patch_tamper(uint32_t n);

/* What a patch of function n changes, for comparison with the pristine image. */
struct patched_bytes {
    uintptr_t start;
    size_t size;
};
struct patched_bytes patched_bytes(uint32_t n);
extern const uint32_t mechanism_number; /* MECHANISM_IDENTITY */

/* Nothing but what the ABI leaves to linkage changes between a call site and its target. */
extern const bool mechanism_is_transparent;

/* target.c: PATCH_OK, PATCH_BAD_TARGET or PATCH_MISALIGNED for leading function n to target. */
uint32_t check_target(uint32_t n, uintptr_t target);

/* target.c: function n may be led to NULL (it is void), to RET0 (it returns nothing or an integer). */
bool may_be_null(uint32_t n);
bool may_be_zero(uint32_t n);

/* The platform's part: text is executable and read-only but between these two.  text_open returns false, and changes
 * nothing, if the text cannot be made writable. */
enum text_region {
    TEXT_STUBS,
    TEXT_MODULE,
    TEXT_ALL, /* the module, the call sites and the stubs */
};
bool text_open(enum text_region region);
void text_close(enum text_region region);

/* There is a kernel below, which keeps some of the CPU to itself and does on request what user mode may not. */
bool has_kernel(void);
long arch_syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c); /* negative errno on failure */

/* Fault injection: text_open fails, but for the module alone; the number of the poke from now that fails (0: none). */
extern uint32_t text_locked, failing_poke;

/* poke.c: in the middle of the next request, between two stores, another one asks for function n to lead to target;
 * what that one was answered. */
void patch_interrupted_by(uint32_t n, uintptr_t target);
uint32_t patch_interruption(void);

/* The platform: what is wrong with the protection of text while nobody has it open, as TEXT_ bits of wire.h.  It asks
 * whoever keeps the memory, not what was asked for last. */
uint32_t text_faults(void);

/* site_table.c: the call sites that the host found. */
struct site {
    uintptr_t at;      /* of the word */
    uint32_t linked;   /* what the linker left there */
    uint32_t function; /* its number; SITE_IN_MODULE is set if the site exists only while the module is loaded */
};
extern const volatile struct site farm_sites[SITE_CAPACITY];
extern const volatile uint32_t farm_site_count;

/* The next four: site_table.c, or no_sites.c in the other mechanisms.
 * The call sites of function n are as linked. */
bool sites_are_pristine(uint32_t n);
/* Number of function n's call sites that do not lead to target although they reach it, or do not lead to the stub
 * although they do not; NO_SITES: the host found no call site of any function. */
uint32_t sites_left_behind(uint32_t n, uint32_t target);
/* Write the words of all call sites, for the trace; their number. */
uint32_t sites_words(uint32_t *words);
/* Byte i of those in the words of function n's call sites; NULL: there are fewer. */
volatile uint8_t *sites_byte(uint32_t n, uint32_t i);

/* The next five: relocated.c, or no_sites.c in the other mechanisms.
 * The call sites of function n hold what was put there. */
bool sites_are_ours(uint32_t n);
/* Lead the call sites of function n to entry as its stub (0: back to the stub, as linked); false: a poke failed and
 * they are as they were. */
bool sites_follow(uint32_t n, uintptr_t entry);
/* Make all call sites as linked, whatever they hold. */
void sites_reset(void);
/* The module's call sites have appeared. */
void sites_loaded(void);
/* The module's call sites are gone. */
void sites_unloaded(void);

#endif
