/* Stand-in: of asm/reg.h, the type of an instruction on 32 bits. */
#ifndef STAND_IN_REG_H
#define STAND_IN_REG_H

#include <linux/types.h>

typedef u32 ppc_inst_t;

#endif
