#include "terms.h"

/* In a unit of its own: where `terms` is read, the compiler must not know that it is zero. */
__attribute__((section(".terms"), aligned(TERMS_PAGE))) const uint8_t terms[TERMS_PAGE] = {0};
