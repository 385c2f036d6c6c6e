/* What an architecture supplies to the `detour` mechanism (detour/NAME/prologue.c, entry_jump.h), besides patch.h's
 * encoders.
 *
 * entry_jump.h has ENTRY_JUMP_BYTES, within which lies all of an entry that a jump there may change; ENTRY_STORE, the
 * type of the largest aligned store; and, where one such store may be too small for it, ENTRY_WAIT: an instruction of
 * two bytes, as a number, that leads to itself. */
#ifndef DETOUR_H
#define DETOUR_H

#include "annex.h"
#include "entry.h"
#include "patch.h"

/* An annex that is being written: `bytes` are what memory at `at` will hold. */
struct annex {
    uintptr_t at;
    uintptr_t entry;        /* whose instructions are moved */
    uint32_t overwritten;   /* bytes of it, from its beginning, behind which its own instructions stay what they are */
    uint32_t size, literals; /* ends of what has been written, as offsets */
    bool failed;            /* it has no room, or what is wanted cannot be said there */
    uint8_t bytes[ANNEX_BYTES];
};

static inline uintptr_t annex_end(const struct annex *annex) { return annex->at + annex->size; }

static inline void annex_put(struct annex *annex, const void *bytes, uint32_t n)
{
    if (annex->size + n > (annex->size < ANNEX_SLOT ? ANNEX_SLOT : ANNEX_LITERALS)) {
        annex->failed = true; /* unreached: no prologue of this guest is so long */
        return; /* unreached: likewise */
    }
    for (uint32_t i = 0; i < n; i++)
        annex->bytes[annex->size++] = ((const uint8_t *)bytes)[i];
}

static inline void annex_put8(struct annex *annex, uint8_t byte) { annex_put(annex, &byte, sizeof byte); }
static inline void annex_put16(struct annex *annex, uint16_t half) { annex_put(annex, &half, sizeof half); }
static inline void annex_put32(struct annex *annex, uint32_t word) { annex_put(annex, &word, sizeof word); }

/* Address of a literal with this value, which is data: in the byte order of data. */
static inline uintptr_t annex_literal(struct annex *annex, uintptr_t value)
{
    uint32_t offset = annex->literals;
    if (offset + sizeof value > ANNEX_BYTES) {
        annex->failed = true; /* unreached: no prologue of this guest has so many */
        return annex->at; /* unreached: likewise */
    }
    for (uint32_t i = 0; i < sizeof value; i++)
        annex->bytes[offset + i] = ((const uint8_t *)&value)[i];
    annex->literals += (uint32_t)sizeof value;
    return annex->at + offset;
}

/* A branch that is moved leads to `to`, which it may not if that is inside what is overwritten. */
static inline uintptr_t annex_leads(struct annex *annex, uintptr_t to)
{
    if (ARCH_CODE(to) - annex->entry < annex->overwritten)
        annex->failed = true; /* unreached: entry.h promises that no branch ends there */
    return to;
}

/* Address of the stub, as patch.h has it, that a jump in the entry at `entry` is, of which `linked` is what the linker
 * put there.  What lies before its word in `head` becomes what must be there: an opcode, a landing pad. */
uintptr_t entry_jump(uintptr_t entry, const uint8_t *linked, uint8_t *head);

/* What was written instead of instructions that were moved. */
struct moved {
    uint32_t size; /* bytes that were moved: more than one instruction if it cannot stand alone; 0: it cannot be moved */
    bool ends;     /* nothing behind it is executed unless something leads there */
};

/* Move the instruction at `from`: the annex gets what does the same from there. */
struct moved move_instruction(struct annex *annex, uintptr_t from);

/* The bytes between two addresses are no instructions that anybody wants, behind one that ends. */
bool is_filling(uintptr_t start, uintptr_t end);

/* The annex goes on at `to`. */
void annex_jump(struct annex *annex, uintptr_t to);

#ifdef ARCH_STUB_SLOT
/* The annex goes on where its slot says; only what ABIs leave to linkage is written. */
void annex_slot_jump(struct annex *annex);
#endif

#endif
