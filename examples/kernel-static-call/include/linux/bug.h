/* Stand-in: what the kernel does not survive ends the guest. */
#ifndef STAND_IN_BUG_H
#define STAND_IN_BUG_H

#define BUG() __builtin_trap()
#define BUG_ON(condition) ((condition) ? BUG() : (void)0)
#define pr_err(...) ((void)0)
#define panic(...) BUG()

#endif
