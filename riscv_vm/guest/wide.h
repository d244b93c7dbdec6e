/* Arithmetic beyond 64 bits, every result checked; the same numbers as protocol/pool/muldiv.py. */
#ifndef WIDE_H
#define WIDE_H

#include "guest.h"

typedef struct { /* 128 bits, two's complement where signed */
    uint64_t low;
    uint64_t high;
} Wide;

/* *result = a * b / d, rounded down, with the full product; 0 if d is 0 or it has over 64 bits. */
int mul_div_floor(uint64_t a, uint64_t b, uint64_t d, uint64_t *result);

/* The same rounded up. */
int mul_div_ceil(uint64_t a, uint64_t b, uint64_t d, uint64_t *result);

/* a + b modulo 2^128, and 0 if that is another number than the sum of two signed ones. */
int wide_add(Wide *a, Wide b);

/* a - b, likewise. */
int wide_subtract(Wide *a, Wide b);

/* The product of two numbers, all 128 bits. */
Wide wide_product(uint64_t a, uint64_t b);

/* The signed product of a number and a signed one. */
Wide wide_product_signed(uint64_t a, int64_t b);

/* |a| / d rounded towards 0, in *magnitude; 0 if d is 0 or it has over 64 bits. */
int wide_divide(Wide a, uint64_t d, uint64_t *magnitude);

static inline int wide_is_negative(Wide a) {
    return (int)(a.high >> 63);
}

#endif
