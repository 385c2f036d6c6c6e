/* Stand-in: no CPU comes or goes. */
#ifndef STAND_IN_CPU_H
#define STAND_IN_CPU_H

static inline void cpus_read_lock(void) {}
static inline void cpus_read_unlock(void) {}

#endif
