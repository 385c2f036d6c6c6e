/* Asks an architecture's own encoders: the default target of whatever_0 reads questions from standard input, in the
 * guest's byte order, answers each on standard output, and ends the process. */
#include "patch.h"
#include "patchfarm.h"

#define SCRATCH UINT64_MAX

struct question {
    uint64_t at, to;    /* SCRATCH: the scratch words */
    uint32_t site;      /* 1: of a call site; 2: a system call with six arguments; 3: where a jump enters; else of a stub */
    uint32_t word;      /* that is there */
    uint8_t around[16]; /* for the scratch words, which lie in the middle of it */
};

struct answer {
    uint64_t scratch, target;
    uint32_t reaches, word, slot_jump, zero;
};

/* An architecture without call sites has no sites.c. */
bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to) __attribute__((weak));
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to) __attribute__((weak));

static volatile uint8_t around[16] __attribute__((aligned(16)));

/* futex(2) on the scratch words, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG: nobody waits, so it does nothing and answers 0
 * if each of the six arguments arrives.  Argument `wrong` is -1, for which there is an error. */
static bool futex_succeeds(uint32_t number, uintptr_t scratch, uint64_t wrong)
{
    uintptr_t words[7] = {number, scratch, 4 | 128, 0, 0, scratch + 4, *(const volatile uint32_t *)scratch};
    if (wrong)
        words[wrong] = (uintptr_t)-1;
    return arch_syscall6(words) == 0;
}

static struct answer answer_to(const struct question *question)
{
    uintptr_t scratch = (uintptr_t)around + sizeof around / 2;
    uintptr_t at = question->at == SCRATCH ? scratch : (uintptr_t)question->at;
    uintptr_t to = question->to == SCRATCH ? scratch : (uintptr_t)question->to;
    struct answer answer;
    answer.scratch = scratch;
    answer.target = 0;
    answer.reaches = answer.word = answer.slot_jump = answer.zero = 0;
    for (size_t i = 0; i < sizeof around; i++)
        around[i] = question->around[i];
    if (question->site == 2) {
        answer.reaches = futex_succeeds(question->word, scratch, question->at);
        return answer;
    }
    if (question->site == 3) {
        answer.target = arch_entry(to);
        return answer;
    }
    if (question->site) {
        answer.reaches = arch_site_reaches(at, question->word, to);
        if (answer.reaches)
            answer.word = arch_site_jump(at, question->word, to);
        return answer;
    }
    answer.reaches = arch_reaches(at, to);
    if (answer.reaches) {
        code_word word = arch_jump(at, to);
        answer.word = (uint32_t)word;
        answer.target = arch_jump_target(at, word);
    }
#ifdef ARCH_STUB_SLOT
    answer.slot_jump = (uint32_t)arch_slot_jump(at);
#endif
    return answer;
}

TARGET(default, 0)
{
    struct question question;
    struct answer answer;
    for (;;) {
        for (size_t got = 0; got < sizeof question;) {
            long more = arch_syscall(ARCH_SYS_READ, 0, (uintptr_t)&question + got, sizeof question - got);
            if (more <= 0)
                arch_syscall(ARCH_SYS_EXIT_GROUP, got ? 5 : 0, 0, 0);
            got += (size_t)more;
        }
        answer = answer_to(&question);
        if (arch_syscall(ARCH_SYS_WRITE, 1, (uintptr_t)&answer, sizeof answer) != (long)sizeof answer)
            arch_syscall(ARCH_SYS_EXIT_GROUP, 6, 0, 0);
    }
    return x;
}
