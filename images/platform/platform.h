/* What the parts of the platform know of each other. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include "layer.h"

/* linux.c: where a region lies. */
struct range {
    uint8_t *start;
    const uint8_t *end;
};
struct range text_range(enum text_region region);

/* linux.c: what memory that executes has besides, in the kernel's bits of protection. */
uintptr_t guarded(void);

/* linux.c: whether the kernel may access `address` for the process, to carry out read (it stores there) or write. */
bool kernel_allows(long number, const uint8_t *address);
enum { PROBED = 4096 }; /* at least one address a page */

/* linux.c: 0 where there is a kernel. */
extern uintptr_t farm_doorbell;

/* alias.c, which only a guest has whose mechanism stores through a second mapping. */
#ifdef MECHANISM_ALIAS

/* The region is all or a part of what is mapped twice. */
bool alias_has(enum text_region region);

/* The second mapping of the region can be stored to; it can no longer.  false: nothing changed. */
bool alias_open(enum text_region region);
void alias_close(enum text_region region);

/* As text_faults, of the second mapping; and the first one has been writable since the last reset. */
uint32_t alias_faults(void);
void alias_is_bypassed(void);

/* Make the second mapping, as a process starts; the descriptor of the memory behind both, negative if there is none.
 * It is what a reset hands back. */
long alias_make(void);
void alias_keep(long descriptor);

/* Closed, whatever had it open. */
void alias_reset(void);

#else

static inline bool alias_has(enum text_region region) { return (void)region, false; }
static inline bool alias_open(enum text_region region) { return (void)region, false; }
static inline void alias_close(enum text_region region) { (void)region; }
static inline uint32_t alias_faults(void) { return 0; }
static inline void alias_is_bypassed(void) {}
static inline long alias_make(void) { return 0; }
static inline void alias_keep(long descriptor) { (void)descriptor; }
static inline void alias_reset(void) {}

#endif

#endif
