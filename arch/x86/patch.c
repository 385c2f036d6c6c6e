/* x86: encoding of the jump's operand.
 *
 * The opcode never changes, and the operand is naturally aligned, so it changes in one store (Intel SDM volume 3A,
 * "Guaranteed Atomic Operations").  That a CPU that executes the stub meanwhile fetches the old operand or the new one
 * is how implementations behave; the manual promises it to a CPU that serialises ("Handling Self- and Cross-Modifying
 * Code"). */
#include "patch.h"

#define JUMP_BYTES 5

uintptr_t arch_entry(uintptr_t function) { return function; }

/* JMP rel32: signed, from the end of the instruction (Intel SDM volume 2A, JMP): [-2 GiB, +2 GiB), which in 32 bits,
 * where addresses wrap, is all of them. */
bool arch_reaches(uintptr_t at, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + JUMP_BYTES));
    return displacement == (int32_t)displacement;
}

code_word arch_jump(uintptr_t at, uintptr_t to) { return (uint32_t)(to - (at + JUMP_BYTES)); }

uintptr_t arch_jump_target(uintptr_t at, code_word word)
{
    return at + JUMP_BYTES + (uintptr_t)(intptr_t)(int32_t)word;
}

#ifdef ARCH_STUB_SLOT
#define TAIL 13 /* the `jmp *slot`, from the stub's address */

code_word arch_slot_jump(uintptr_t at) { return arch_jump(at, at + TAIL); }

/* Stores of one CPU are seen in program order (Intel SDM volume 3A, "Memory Ordering"): only the compiler is held. */
void arch_store_barrier(void) { __asm__ volatile("" ::: "memory"); }
#endif

/* Nothing to do: a store through the linear address that is fetched from is seen by the next fetch of this CPU (Intel
 * SDM volume 3A, "Self-Modifying Code"). */
void arch_sync_code(uintptr_t word) { __asm__ volatile("" ::"r"(word) : "memory"); }
