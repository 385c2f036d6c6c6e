/* Where a function leads as linked, for tables in C that say so: the bug of a wrong one is planted here. */
#ifndef INITIAL_H
#define INITIAL_H

#ifdef CONTROL_INITIAL_FAST
#define LINKED_TARGET(n) fast_##n
#else
#define LINKED_TARGET(n) default_##n
#endif

#endif
