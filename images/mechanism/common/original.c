/* The way to the original for mechanisms whose default targets are functions that no patch touches. */
#include "mechanism.h"

uintptr_t mechanism_original(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }
