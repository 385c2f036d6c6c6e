/* What the interpreter and the platform ask for: layer.c, between them and the mechanism.  All requests return a PATCH_
 * status of wire.h. */
#ifndef LAYER_H
#define LAYER_H

#include "mechanism.h"

/* Lead function n to target; the default restores.  offset is added to the address that is patched: other than 0 it is
 * not an instruction boundary and must be refused. */
uint32_t patch_set(uint32_t n, uintptr_t target, uint32_t offset);
uint32_t patch_restore(uint32_t n);
uint32_t patch_null(uint32_t n);
uint32_t patch_ret0(uint32_t n);
uintptr_t patch_query(uint32_t n);

/* The address, as C has it, of a function that does what function n's default target does, whatever function n leads
 * to; 0 if the mechanism keeps none. */
uintptr_t patch_original(uint32_t n);

extern const uint32_t mechanism_number;

/* Nothing but what the ABI leaves to linkage changes between a call site and its target. */
extern const bool mechanism_is_transparent;

/* A patch changes code, where a jump may name the target; else data, which is loaded. */
extern const bool mechanism_patches_code;

/* Fault injection: text_open fails, but for the module alone; the number of the store to text from now that fails (0:
 * none). */
extern uint32_t text_locked, failing_poke;

/* text.c, which only a guest whose text is patched has.
 * Overwrite the patched instruction of function n as another tool would: not through the mechanism. */
OPTIONAL uint32_t patch_scribble(uint32_t n);

/* Change one bit of function n's patched bytes or call sites at a time, as another tool would, ask for a request and put
 * the bit back: 0 if each was refused, else 1 + the number of the byte of which a change went unnoticed. */
OPTIONAL uint32_t patch_tamper(uint32_t n);

/* Fault injection: in the middle of the next request, before its next store to text, another one asks for function n
 * to lead to target, as from an interrupt or another thread; what that one was answered. */
OPTIONAL void patch_interrupted_by(uint32_t n, uintptr_t target);
OPTIONAL uint32_t patch_interruption(void);

/* The text that a patch stores to is open between these two, which may stand inside each other.  A mechanism that opens
 * it by itself closes it before they do. */
OPTIONAL bool patched_text_open(void);
OPTIONAL void patched_text_close(void);
/* A request on function n is over; the status that its caller gets. */
OPTIONAL uint32_t patched_text_after(uint32_t n, uint32_t status);

/* The platform: a region becomes what `protection` says; false: it stays as it was. */
enum { READ = 1, WRITE = 2, EXECUTE = 4 };
bool text_protect(enum text_region region, uintptr_t protection);

/* The platform: a word of text that is open becomes `word`. */
void text_put(uintptr_t at, uint32_t word);

/* The platform: what is wrong with the protection of text while nobody has it open, as TEXT_ bits of wire.h.  It asks
 * whoever keeps the memory, not what was asked for last. */
uint32_t text_faults(void);

/* site_table.c, which only a guest whose call sites are redirected has.
 * The call sites of function n are as linked. */
OPTIONAL bool sites_are_pristine(uint32_t n);
/* Number of function n's call sites that do not lead to target although they reach it, or do not lead to the stub
 * although they do not; NO_SITES: the host found no call site of any function. */
OPTIONAL uint32_t sites_left_behind(uint32_t n, uint32_t target);
/* Write the words of all call sites, for the trace; their number. */
OPTIONAL uint32_t sites_words(uint32_t *words);
/* Address of byte i of function n's call sites, opcodes and words; 0: there are fewer. */
OPTIONAL uintptr_t sites_byte(uint32_t n, uint32_t i);
/* Make all call sites as linked, whatever they hold. */
OPTIONAL void sites_reset(void);
/* Tell the mechanism that the module's call sites have appeared, or are about to go. */
OPTIONAL void sites_loaded(void);
OPTIONAL void sites_unloaded(void);

#endif
