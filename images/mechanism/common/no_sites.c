/* Mechanisms that leave call sites alone. */
#include "mechanism.h"

bool sites_are_ours(uint32_t n) { return n < FUNCTION_COUNT; }

bool sites_follow(uint32_t n, uintptr_t entry) { return (void)entry, n < FUNCTION_COUNT; }

bool sites_are_pristine(uint32_t n) { return n < FUNCTION_COUNT; }

/* unreached: never asked for */
uint32_t sites_left_behind(uint32_t n, uint32_t target) { return (void)n, (void)target, 0; }

uint32_t sites_words(uint32_t *words) { return (void)words, 0; }

volatile uint8_t *sites_byte(uint32_t n, uint32_t i) { return (void)n, (void)i, NULL; }

void sites_reset(void) {}

void sites_loaded(void) {}

void sites_unloaded(void) {}
