/* arm64: a branch behind a landing pad, or instead of an instruction that signs the return address and is one. */
#ifndef ENTRY_JUMP_H
#define ENTRY_JUMP_H

#define ENTRY_JUMP_BYTES 8
#define ENTRY_STORE uintptr_t
#define CODE_UNIT 4 /* bytes of an instruction */

#endif
