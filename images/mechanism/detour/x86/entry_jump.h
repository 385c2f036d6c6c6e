/* x86: a jump of five bytes, behind a landing pad of four if there is one. */
#ifndef ENTRY_JUMP_H
#define ENTRY_JUMP_H

#define ENTRY_JUMP_BYTES 16
#define ENTRY_STORE uintptr_t
#define ENTRY_WAIT 0xfeeb /* jmp . */
#define CODE_UNIT 1       /* byte of an instruction's size */

#endif
