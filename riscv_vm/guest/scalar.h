/* Integers modulo the group order n of secp256k1, and their halves of 128 bits. */
#ifndef SCALAR_H
#define SCALAR_H

#include "guest.h"

typedef struct {
    uint32_t w[8]; /* least significant first, below n */
} Scalar;

/* Digits of a half, least significant first; a half is below 2^128 and may carry once. */
enum { DIGITS = 130 };

int scalar_load(Scalar *r, const uint8_t bytes[32]); /* big-endian, less n if not below n: then 0 */
void scalar_negate(Scalar *r);

/* k = low + high * lambda modulo n with |low|, |high| < 2^128, each written in signed odd digits:
 * non-zero digits lie between -2^(width-1) and 2^(width-1), at least `width` places apart. */
void scalar_split(int8_t low[DIGITS], int8_t high[DIGITS], const Scalar *k, int width);

#endif
