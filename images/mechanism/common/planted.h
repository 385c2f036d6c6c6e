/* Of the bugs that layer.c plants, what target.c must let pass: a target that is not where a function begins. */
#ifndef PLANTED_H
#define PLANTED_H

/* Bytes by which every target is missed. */
#if defined(CONTROL_OFF_BY_ONE)
#define TARGET_MISSED_BY (uintptr_t) ARCH_ENTRY_INSTRUCTION
#elif defined(CONTROL_FALLS_SHORT)
#define TARGET_MISSED_BY (-(uintptr_t)ARCH_ENTRY_INSTRUCTION)
#else
#define TARGET_MISSED_BY (uintptr_t)0
#endif

/* Where NULL leads when it is called: nowhere, and not 0, which a mechanism may test for. */
#ifdef CONTROL_NULL_CALLED
#define CALLED_FOR_NULL (uintptr_t) ARCH_ENTRY_INSTRUCTION
#endif

#endif
