/* arm: a branch of one word, which replaces one instruction or two of Thumb, or a half of the second. */
#ifndef ENTRY_JUMP_H
#define ENTRY_JUMP_H

#define ENTRY_JUMP_BYTES 4
#define ENTRY_STORE uint32_t
#define CODE_UNIT ARCH_FUNCTION_ALIGNMENT /* bytes of the shortest instruction */

#endif
