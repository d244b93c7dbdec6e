/* What every guest program has: its input, and big-endian numbers in it. */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>

extern const uint32_t input_length; /* bytes; placed by link.ld */
extern const uint8_t input[];       /* zero-padded by the machine to a whole word */

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);

static inline uint32_t load_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t load_u64(const uint8_t *at) {
    return (uint64_t)load_u32(at) << 32 | load_u32(at + 4);
}

static inline void store_u32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

#endif
