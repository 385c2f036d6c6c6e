/* Asks what mechanisms share (mechanism/common): the default target of whatever_0 reads questions from standard input,
 * in the guest's byte order, answers each on standard output, and ends the process.  The store is that of a mechanism
 * that patches stubs (PATCHES_STUB), with the architecture's STORE_WITHIN and ARCH_STUB_BYTES, to MECHANISM_TEXT. */
#include "jump.h"
#include "arena.c"
#include "patchfarm.h"

#define ROOM 64

enum { WRITE, HOLDS, IS_BESIDE, ALLOCATE, SLOT_HAS, MAY_LEAD, ADDRESS, IS_WHOLE, REACHES };

struct question {
    uint32_t what;
    uint32_t number;     /* of bytes; of a function */
    uint64_t at;         /* an offset in the scratch bytes, an address, or the number of a patchable function */
    uint8_t bytes[ROOM]; /* that the scratch bytes are, or that are expected there */
};

struct answer {
    uint64_t value;
    uint8_t scratch[ROOM];
};

static volatile uint8_t scratch[ROOM] __attribute__((aligned(ROOM)));

static uint64_t answer_to(const struct question *question)
{
    uintptr_t at = (uintptr_t)scratch + (uintptr_t)question->at;
    size_t n = question->number;
    uint64_t away;
    switch (question->what) {
    case WRITE:
        return farm_text_write(at, question->bytes, n);
    case HOLDS:
        return farm_text_holds(at, question->bytes, n);
    case IS_BESIDE:
        return farm_text_is_beside(at, question->bytes, n);
    case ALLOCATE:
        return (uintptr_t)farm_exec_alloc(n, (uintptr_t)question->at);
    case SLOT_HAS:
        return jump_slot_has(ARCH_CODE(function_addresses[0]), (uintptr_t)question->at);
    case MAY_LEAD:
        return check_target(question->number, question->at < FUNCTION_COUNT ? function_addresses[question->at]
                                                                            : (uintptr_t)question->at);
    case ADDRESS:
        return function_addresses[n];
    case IS_WHOLE:
        return is_never_torn(at, n);
    default: /* REACHES: as the encoder says, to somewhere from there */
        __builtin_memcpy(&away, question->bytes, sizeof away);
        return stub_reaches((uintptr_t)question->at, (uintptr_t)(question->at + away)) ==
               arch_reaches((uintptr_t)question->at, (uintptr_t)(question->at + away));
    }
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
        for (size_t i = 0; i < sizeof scratch; i++)
            scratch[i] = (uint8_t)(0xa5 ^ i);
        answer.value = answer_to(&question);
        for (size_t i = 0; i < sizeof scratch; i++)
            answer.scratch[i] = scratch[i];
        if (arch_syscall(ARCH_SYS_WRITE, 1, (uintptr_t)&answer, sizeof answer) != (long)sizeof answer)
            arch_syscall(ARCH_SYS_EXIT_GROUP, 6, 0, 0);
    }
    return x;
}
