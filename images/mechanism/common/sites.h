/* The call sites that the host found (site_table.c), for a mechanism that redirects them. */
#ifndef SITES_H
#define SITES_H

#include "compare.h"
#include "reach.h"

struct site {
    uintptr_t at;      /* of the word */
    uint32_t linked;   /* what the linker left there */
    uint32_t function; /* its number; SITE_IN_MODULE is set if the site exists only while the module is loaded */
};
extern const volatile struct site farm_sites[SITE_CAPACITY];
extern const volatile uint32_t farm_site_count;

/* By site: the byte before its word, as linked; where ARCH_SITE_OPCODE is 1, that is the branch's opcode. */
extern const volatile uint8_t farm_site_opcodes[SITE_CAPACITY];

/* The opcode before the word of site i, if there is one, is the one expected. */
static inline bool site_opcode_is(uint32_t i, uint8_t opcode)
{
#ifdef ARCH_SITE_OPCODE
    return farm_text_holds(farm_sites[i].at - 1, &opcode, sizeof opcode);
#else
    return (void)i, (void)opcode, true;
#endif
}

/* The word that leads site i to `entry`.  0, and what it does not reach, leave it as linked: on the stub, which is
 * always right. */
static inline uint32_t site_word(uint32_t i, uintptr_t entry)
{
    uintptr_t at = farm_sites[i].at;
    uint32_t linked = farm_sites[i].linked;
#ifdef CONTROL_SITES_STAY
    return linked;
#endif
#ifdef CONTROL_EVERY_OTHER_SITE
    if (i % 2)
        return linked;
#endif
#ifdef CONTROL_BARE_SITES_ONLY
    if (at - ARCH_CODE(call_sites[farm_sites[i].function & ~SITE_IN_MODULE][SHAPE_BARE]) >= 64)
        return linked;
#endif
    return entry && site_reaches(at, linked, entry) ? arch_site_jump(at, linked, entry) : linked;
}

#endif
