/* Points of secp256k1, y^2 = x^3 + 7, and the one sum of multiples that a verifier needs. */
#ifndef POINT_H
#define POINT_H

#include "field.h"
#include "scalar.h"

typedef struct {
    Field x, y;
} Affine;

typedef struct { /* (x / z^2, y / z^3) */
    Field x, y, z;
    int is_infinity;
} Jacobian;

enum { GENERATOR_WIDTH = 8, GENERATOR_ENTRIES = 1 << (GENERATOR_WIDTH - 2) };

extern const Affine GENERATOR_MULTIPLES[GENERATOR_ENTRIES]; /* G, 3 G, 5 G, ... */

int point_lift_x(Affine *r, const Field *x); /* the point with even y; 0 if there is none */

/* r = a * G + b * p */
void point_multiply(Jacobian *r, const Scalar *a, const Scalar *b, const Affine *p);

#endif
