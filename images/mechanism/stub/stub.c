/* The `stub` mechanism: calls go to the stub, and the stub is poked (poke.c). */
#include "patch.h"

const uint32_t mechanism_number = MECHANISM_IDENTITY;
const bool mechanism_is_transparent = true;
const enum text_region mechanism_text = TEXT_STUBS;
