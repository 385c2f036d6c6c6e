/* For a mechanism that has one way to lead a function anywhere: redirect.c, among its sources, makes the requests of it. */
#ifndef REDIRECT_H
#define REDIRECT_H

#include "mechanism.h"

/* What a patch of function n changes is as linked, or as this mechanism left it. */
bool mechanism_is_intact(uint32_t n);

/* Lead function n to target, which has been checked; its default target: back.  The text is open, and no other request
 * comes between.  PATCH_OK, or why not, and then all is as it was. */
uint32_t mechanism_lead(uint32_t n, uintptr_t target);

#endif
