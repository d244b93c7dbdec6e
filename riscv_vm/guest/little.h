/* Little-endian numbers at any address: a misaligned access of the machine traps. */
#ifndef LITTLE_H
#define LITTLE_H

#include "guest.h"

static inline uint32_t little_u16(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t little_u32(const uint8_t *at) {
    return little_u16(at) | little_u16(at + 2) << 16;
}

static inline uint64_t little_u64(const uint8_t *at) {
    return (uint64_t)little_u32(at + 4) << 32 | little_u32(at);
}

static inline void store_little_u16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void store_little_u32(uint8_t *at, uint32_t value) {
    store_little_u16(at, value);
    store_little_u16(at + 2, value >> 16);
}

static inline void store_little_u64(uint8_t *at, uint64_t value) {
    store_little_u32(at, (uint32_t)value);
    store_little_u32(at + 4, (uint32_t)(value >> 32));
}

/* Padding. */
static inline int is_zero(const uint8_t *at, uint32_t size) {
    while (size > 0 && at[size - 1] == 0) {
        size--;
    }
    return size == 0;
}

#endif
