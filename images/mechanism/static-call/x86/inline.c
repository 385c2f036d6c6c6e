/* x86-64: what a call site becomes (arch/x86/kernel/static_call.c in Linux): `call` and `jmp` to another target keep their
 * opcode, as does `jcc`, which is led to a return of its own.
 *
 *          call                              jmp (tail call)
 *   NULL   nopl 0(%rax,%rax), of 5 bytes     ret; int3 behind it stops who goes on by speculation
 *   RET0   cs cs cs xorl %eax, %eax          jmp return_zero
 *
 * With them the opcode changes too.  Where all five bytes lie in one aligned quadword, one store replaces it with the
 * bytes beside them, which stay: nobody else stores there meanwhile (static_call.c is not entered twice).  Where they do
 * not, the site leads to return_void or return_zero as to any target, by its operand alone. */
#include "sites.h"
#include "static_call.h"
#include "text.h"

#define CALL 0xe8
#define JMP 0xe9

static uintptr_t quadword_of(uint32_t i) { return farm_sites[i].at & ~(uintptr_t)7; }

static bool is_in_one_quadword(uint32_t i) { return farm_sites[i].at - 1 >= quadword_of(i); }

/* Call site i as it is with `to` done in place; false: it is not. */
static bool in_place(uint32_t i, uintptr_t to, struct site_code *code)
{
    bool calls = farm_site_opcodes[i] == CALL, jumps = farm_site_opcodes[i] == JMP;
    if (!is_in_one_quadword(i) || site_word(i, to) == farm_sites[i].linked)
        return false;
#ifdef CONTROL_TAIL_AS_CALL
    if (jumps && to != (uintptr_t)return_void && to != (uintptr_t)return_zero) {
        *code = (struct site_code){site_word(i, to), CALL};
        return true;
    }
#endif
    if (to == (uintptr_t)return_void && calls)
        *code = (struct site_code){0x0000441fu, 0x0f};
    else if (to == (uintptr_t)return_void && jumps)
        *code = (struct site_code){0xccccccccu, 0xc3};
    else if (to == (uintptr_t)return_zero && calls)
#ifdef CONTROL_RET0_MINUS_ONE
        *code = (struct site_code){0xffc88348u, 0x2e}; /* cs orq $-1, %rax */
#else
        *code = (struct site_code){0xc0312e2eu, 0x2e};
#endif
    else
        return false;
    return true;
}

struct site_code site_code(uint32_t i, uintptr_t to)
{
    struct site_code code = {site_word(i, to), farm_site_opcodes[i]};
    in_place(i, to, &code);
    return code;
}

bool site_store(uint32_t i, struct site_code now, struct site_code code)
{
    uintptr_t at = farm_sites[i].at;
    if (code.opcode != now.opcode) {
        uint64_t quadword = *(const volatile uint64_t *)quadword_of(i);
        uint32_t bit = 8 * (uint32_t)(at - 1 - quadword_of(i));
        uint64_t mask = 0xffffffffffu, bytes = (uint64_t)code.word << 8 | code.opcode;
        quadword = (quadword & ~(mask << bit)) | bytes << bit;
        return farm_text_write(quadword_of(i), &quadword, sizeof quadword);
    }
    return farm_text_write(at, &code.word, sizeof code.word);
}
