/* An annex: executable memory that a patchable function is given with its first patch (farm_exec_alloc), within reach of
 * its entry's jump.  It holds a jump to wherever the slot says, the slot, the instructions that stood at the entry, and
 * the literals that these load. */
#ifndef ANNEX_H
#define ANNEX_H

#define ANNEX_BYTES 128
#define ANNEX_SLOT 24  /* naturally aligned, so one store replaces it */
#define ANNEX_MOVED 32 /* as is every function */
#define ANNEX_LITERALS 96

#endif
