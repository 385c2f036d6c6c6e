/* An instruction of several bytes that no one store can change, its opcode among them, becomes another one while other
 * CPUs execute it, as the Linux kernel does it (text_poke_bp): a breakpoint over the first byte, then the other bytes,
 * then the first one.  Between the three every CPU serialises, so none has fetched the first byte before a phase and the
 * others behind it.  Who meets the breakpoint goes on at the new target, which the slot has by then (handler.c). */
#include "int3.h"
#include "patch.h"
#include "redirect.h"
#include "text.h"

enum { INT3 = 0xcc, JMP = 0xe9, BYTES = 6 };

static uintptr_t jump_of(uint32_t n) { return function_addresses[n]; }

static bool is_near(uint32_t n) { return *(const volatile uint8_t *)jump_of(n) == JMP; }

static uint32_t operand_of(uint32_t n, uint32_t at)
{
    uint32_t operand = 0;
    for (uint32_t i = 0; i < sizeof operand; i++)
        operand |= (uint32_t)((const volatile uint8_t *)jump_of(n))[at + i] << 8 * i;
    return operand;
}

/* The jump to `to`: jmp rel32, or out of its reach jmp *slot (Intel SDM volume 2A, "JMP"). */
static void encode(uint32_t n, uintptr_t to, uint8_t code[BYTES])
{
    const bool near = arch_reaches(jump_of(n), to);
    const uint32_t operand = near ? arch_jump(jump_of(n), to) : 0;
    code[0] = near ? JMP : 0xff;
    code[1] = near ? (uint8_t)operand : 0x25;
    for (uint32_t i = 0; i < 4; i++)
        code[near ? 1 + i : 2 + i] = (uint8_t)((near ? operand : SLOT - BYTES) >> 8 * i);
    if (near)
        code[BYTES - 1] = INT3; /* as linked: nobody comes there */
}

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    static const uint8_t breakpoint = INT3;
    uint8_t code[BYTES];
    encode(n, target, code);
    breakpoints_on();
    farm_slot_write(slot_of(n), target);
    if (!farm_text_write(jump_of(n), &breakpoint, 1))
        return PATCH_READ_ONLY;
    every_cpu_serialises();
    farm_text_write(jump_of(n) + 1, code + 1, BYTES - 1);
    every_cpu_serialises();
    farm_text_write(jump_of(n), code, 1);
    every_cpu_serialises();
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n) { return is_near(n) ? arch_jump_target(jump_of(n), operand_of(n, 1)) : *slot_of(n); }
