/* The three functions that a freestanding compiler may call on its own. Whole words are moved
   when both sides are aligned: a misaligned access traps. */
#include "guest.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((((uintptr_t)out | (uintptr_t)in) & 3) == 0) {
        for (; size >= 4; size -= 4, out += 4, in += 4) {
            *(uint32_t *)(void *)out = *(const uint32_t *)(const void *)in;
        }
    }
    for (; size > 0; size--) {
        *out++ = *in++;
    }
    return to;
}

void *memset(void *to, int value, size_t size) {
    uint8_t *out = to;
    for (; size > 0; size--) {
        *out++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; size > 0; size--, a++, b++) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}
