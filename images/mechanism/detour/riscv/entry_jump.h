/* riscv: a jump of one word, which replaces one instruction or two compressed ones, or a half of the second. */
#ifndef ENTRY_JUMP_H
#define ENTRY_JUMP_H

#define ENTRY_JUMP_BYTES 4
#define ENTRY_STORE uint32_t
#define CODE_UNIT 2 /* bytes of the shortest instruction */

#endif
