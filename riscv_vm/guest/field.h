/* The field of secp256k1: integers modulo p = 2^256 - 2^32 - 977.
 *
 * A value is eight 32-bit words, least significant first, below 2^256 but not always below p: p to
 * p + 2^32 + 976 stand for the same residues as 0 to 2^32 + 976. Nothing here hides timing: only
 * public data is verified. Results may be the same object as operands. */
#ifndef FIELD_H
#define FIELD_H

#include "guest.h"

typedef struct {
    uint32_t w[8];
} Field;

extern const Field FIELD_ONE;

int field_load(Field *r, const uint8_t bytes[32]); /* big-endian; 0 unless below p */
int field_is_zero(const Field *a);
int field_is_equal(const Field *a, const Field *b);
int field_is_odd(const Field *a); /* of the residue below p */

void field_add(Field *r, const Field *a, const Field *b);
void field_sub(Field *r, const Field *a, const Field *b);
void field_half(Field *r, const Field *a);
void field_mul(Field *r, const Field *a, const Field *b);
void field_sqr(Field *r, const Field *a);
void field_inverse(Field *r, const Field *a); /* of 0: 0 */
void field_sqrt(Field *r, const Field *a);    /* the caller checks that its square is a */

#endif
