/* Asks the decoders of the `detour` mechanism: the default target of whatever_0 reads instructions from standard input,
 * each with where it is to be moved, answers on standard output with what does the same there, and ends the process. */
#include "../mechanism/detour/detour.h"
#include "patchfarm.h"

#define CODE_BYTES 32 /* several instructions, as of an IT block */
#define ROOM 256

struct question {
    uint64_t away;            /* from the code to the annex: added, may wrap around */
    uint32_t offset;          /* of the code, in bytes from what is aligned */
    uint32_t overwritten;     /* bytes of it, from its beginning */
    uint8_t code[CODE_BYTES]; /* that is to be moved: its first instruction */
};

struct answer {
    uint64_t from, at;    /* the code, and the annex */
    uint32_t size;        /* bytes that were moved; 0: none */
    uint32_t ends;        /* nothing behind it is executed */
    uint32_t failed;
    uint32_t end;         /* of what was written to the annex, which goes on behind what was moved unless it ends */
    uint8_t bytes[ANNEX_BYTES];
};

static volatile uint8_t place[ROOM] __attribute__((aligned(ROOM)));

static void answer_to(const struct question *question, struct answer *answer)
{
    static struct annex annex;
    volatile uint8_t *code = place + question->offset % (ROOM / 2);
    for (size_t i = 0; i < CODE_BYTES; i++)
        code[i] = question->code[i];
    annex.entry = (uintptr_t)code;
    annex.at = annex.entry + (uintptr_t)question->away;
    annex.overwritten = question->overwritten;
    annex.size = 0;
    annex.literals = ANNEX_LITERALS;
    annex.failed = false;
    for (size_t i = 0; i < ANNEX_BYTES; i++)
        ((volatile uint8_t *)annex.bytes)[i] = 0;
#ifdef ARCH_STUB_SLOT
    annex_slot_jump(&annex);
#endif
    annex.size = ANNEX_MOVED;
    struct moved moved = move_instruction(&annex, annex.entry);
    if (moved.size && !moved.ends)
        annex_jump(&annex, annex.entry + moved.size);
    answer->from = annex.entry;
    answer->at = annex.at;
    answer->size = moved.size;
    answer->ends = moved.ends;
    answer->failed = annex.failed;
    answer->end = annex.size;
    for (size_t i = 0; i < ANNEX_BYTES; i++)
        answer->bytes[i] = annex.bytes[i];
}

TARGET(default, 0)
{
    static struct question question;
    static struct answer answer;
    for (;;) {
        for (size_t got = 0; got < sizeof question;) {
            long more = arch_syscall(ARCH_SYS_READ, 0, (uintptr_t)&question + got, sizeof question - got);
            if (more <= 0)
                arch_syscall(ARCH_SYS_EXIT_GROUP, got ? 5 : 0, 0, 0);
            got += (size_t)more;
        }
        answer_to(&question, &answer);
        if (arch_syscall(ARCH_SYS_WRITE, 1, (uintptr_t)&answer, sizeof answer) != (long)sizeof answer)
            arch_syscall(ARCH_SYS_EXIT_GROUP, 6, 0, 0);
    }
    return x;
}
