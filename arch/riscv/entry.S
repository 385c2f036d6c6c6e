/* riscv: the patchable functions as ordinary functions, for mechanisms that overwrite an entry.  Each begins with another
 * prologue and goes on to its default target; only t0 and t1 are written, and all arguments, ra and the stack pass
 * through.  A jump takes the place of what stands there, which is awkward to move since
 *
 *   0  auipc, load            is relative to the pc, and the load counts on what the auipc made
 *   1  auipc, addi            likewise, an address
 *   2  beq zero, zero         is always taken, and reaches 4 KiB
 *   3  jal zero               is a jump already
 *   4  c.j                    is a jump already, of two bytes
 *   5  c.addi, c.sdsp, ...    sets up stack and frame pointer, in pairs of two bytes
 *   6  mv t1, ra, jal         comes back, to where it was moved
 *   7  c.beqz a0              has two ends, in two bytes, and reaches 256
 *   8  jal t0                 calls through the other link register, as __riscv_save_0 is called, and comes back
 *
 * and so on, from 9 on again as from 0. */
#include "arch.h"
#include "entry.h"
#include "wire.h"

    .option norvc                   /* every instruction is an aligned word, but for those that say c. */
    .option norelax

.macro compressed instruction:vararg
    .option push
    .option rvc
    \instruction
    .option pop
.endm

.macro tail
    .balign ENTRY_HEAD
.endm

.macro entry n, target
    .balign ENTRY_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    .if \n % ENTRY_PROLOGUES == 0
    auipc   t1, 0
    LOAD    t1, ENTRY_HEAD(t1)
    jr      t1
    tail
    ADDRESS \target
    .elseif \n % ENTRY_PROLOGUES == 1
1:  auipc   t1, %pcrel_hi(\target)
    addi    t1, t1, %pcrel_lo(1b)
    jr      t1
    .elseif \n % ENTRY_PROLOGUES == 2
    beq     zero, zero, 1f
    ebreak
    tail
1:  jal     zero, \target
    .elseif \n % ENTRY_PROLOGUES == 3
    jal     zero, \target
    .elseif \n % ENTRY_PROLOGUES == 4
    compressed c.j 1f
    tail
1:  jal     zero, \target
    .elseif \n % ENTRY_PROLOGUES == 5
    compressed addi sp, sp, -16
    compressed STORE ra, WORD(sp)
    compressed STORE s0, 0(sp)
    compressed addi s0, sp, 16
    compressed LOAD s0, 0(sp)
    compressed LOAD ra, WORD(sp)
    compressed addi sp, sp, 16
    jal     zero, \target
    .elseif \n % ENTRY_PROLOGUES == 6
    mv      t1, ra
    jal     ra, entry_called
    mv      ra, t1
    jal     zero, \target
    .elseif \n % ENTRY_PROLOGUES == 7
    compressed c.beqz a0, 1f
    jal     zero, \target
    tail
1:  jal     zero, \target
    .else
    jal     t0, entry_saved
    jal     zero, \target
    .endif
.endm

    .section .stub, "ax"
    FOR_EACH_ENTRY
    .balign ENTRY_BYTES

    .text
    .type entry_called, %function
entry_called:
    ret
    .type entry_saved, %function
entry_saved:
    jr      t0
