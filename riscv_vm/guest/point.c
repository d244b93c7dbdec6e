/* a * G + b * p by Strauss: both scalars are split by the endomorphism, four streams of signed
 * digits share 130 doublings. The odd multiples of p all have the same denominator z, so they are
 * affine points of the isomorphic curve that has z = 1 there; the sum is built on that curve. */
#include "point.h"

enum { WIDTH = 5, ENTRIES = 1 << (WIDTH - 2) };

static const Field BETA = {{
    0x719501ee, 0xc1396c28, 0x12f58995, 0x9cf04975, 0xac3434e9, 0x6e64479e, 0x657c0710, 0x7ae96a2b,
}};

/* Halving M and S of the usual formulas halves z: M = 3 x^2 / 2, S = x y^2. */
static void double_point(Jacobian *r) {
    Field m, s, yy, t;
    if (r->is_infinity) {
        return;
    }
    field_sqr(&t, &r->x);
    field_add(&m, &t, &t);
    field_add(&m, &m, &t);
    field_half(&m, &m);
    field_sqr(&yy, &r->y);
    field_mul(&s, &r->x, &yy);
    field_mul(&r->z, &r->z, &r->y);
    field_sqr(&t, &m); /* x' = M^2 - 2 S */
    field_sub(&t, &t, &s);
    field_sub(&r->x, &t, &s);
    field_sub(&t, &s, &r->x); /* y' = M (S - x') - y^4 */
    field_mul(&t, &t, &m);
    field_sqr(&yy, &yy);
    field_sub(&r->y, &t, &yy);
}

/* r += p; *ratio = the new z over the old one. */
static void add_affine(Jacobian *r, const Affine *p, Field *ratio) {
    Field zz, h, slope, hh, v, t;
    if (r->is_infinity) {
        r->x = p->x;
        r->y = p->y;
        r->z = FIELD_ONE;
        r->is_infinity = 0;
        return;
    }
    field_sqr(&zz, &r->z);
    field_mul(&h, &p->x, &zz); /* h = x2 z^2 - x1 */
    field_sub(&h, &h, &r->x);
    field_mul(&zz, &zz, &r->z);
    field_mul(&slope, &p->y, &zz); /* slope = y2 z^3 - y1 */
    field_sub(&slope, &slope, &r->y);
    if (field_is_zero(&h)) {
        if (field_is_zero(&slope)) {
            *ratio = r->y;
            double_point(r);
        } else {
            r->is_infinity = 1;
        }
        return;
    }
    *ratio = h;
    field_mul(&r->z, &r->z, &h);
    field_sqr(&hh, &h);
    field_mul(&v, &r->x, &hh);
    field_mul(&hh, &hh, &h);
    field_sqr(&t, &slope); /* x' = slope^2 - h^3 - 2 v */
    field_sub(&t, &t, &hh);
    field_sub(&t, &t, &v);
    field_sub(&r->x, &t, &v);
    field_sub(&v, &v, &r->x); /* y' = slope (v - x') - y1 h^3 */
    field_mul(&v, &v, &slope);
    field_mul(&hh, &hh, &r->y);
    field_sub(&r->y, &v, &hh);
}

/* p -> (x s^2, y s^3). */
static void rescale(Affine *p, const Field *s) {
    Field power;
    field_sqr(&power, s);
    field_mul(&p->x, &p->x, &power);
    field_mul(&power, &power, s);
    field_mul(&p->y, &p->y, &power);
}

/* table = p, 3 p, 5 p, ... over their common z, which is returned in *z. */
static void odd_multiples(Affine table[ENTRIES], Field *z, const Affine *p) {
    Field ratios[ENTRIES], ratio;
    Jacobian twice = {p->x, p->y, FIELD_ONE, 0};
    double_point(&twice);
    Affine step = {twice.x, twice.y}; /* affine on the curve scaled by twice.z, where p is too */
    table[0] = *p;
    rescale(&table[0], &twice.z);
    Jacobian sum = {table[0].x, table[0].y, FIELD_ONE, 0};
    for (int i = 1; i < ENTRIES; i++) {
        add_affine(&sum, &step, &ratios[i]);
        table[i].x = sum.x;
        table[i].y = sum.y;
    }
    field_mul(z, &sum.z, &twice.z);
    ratio = FIELD_ONE;
    for (int i = ENTRIES - 1; i > 0; i--) {
        field_mul(&ratio, &ratio, &ratios[i]);
        rescale(&table[i - 1], &ratio);
    }
}

/* sum += digit * (table[0] = P) where the table holds odd multiples; x and y are scaled on the way
 * if the scales are given. */
static void add_digit(Jacobian *sum, const Affine *table, int digit, const Field *scale_x,
                      const Field *scale_y) {
    static const Field zero;
    Field ratio;
    if (digit == 0) {
        return;
    }
    Affine point = table[(digit > 0 ? digit : -digit) >> 1];
    if (scale_x) {
        field_mul(&point.x, &point.x, scale_x);
    }
    if (scale_y) {
        field_mul(&point.y, &point.y, scale_y);
    }
    if (digit < 0) {
        field_sub(&point.y, &zero, &point.y);
    }
    add_affine(sum, &point, &ratio);
}

void point_multiply(Jacobian *r, const Scalar *a, const Scalar *b, const Affine *p) {
    int8_t a_low[DIGITS], a_high[DIGITS], b_low[DIGITS], b_high[DIGITS];
    Affine table[ENTRIES];
    Field z, zz, beta_zz, zzz;
    odd_multiples(table, &z, p);
    scalar_split(a_low, a_high, a, GENERATOR_WIDTH);
    scalar_split(b_low, b_high, b, WIDTH);
    field_sqr(&zz, &z);
    field_mul(&zzz, &zz, &z);
    field_mul(&beta_zz, &zz, &BETA);
    r->is_infinity = 1;
    for (int i = DIGITS - 1; i >= 0; i--) {
        double_point(r);
        add_digit(r, GENERATOR_MULTIPLES, a_low[i], &zz, &zzz);
        add_digit(r, GENERATOR_MULTIPLES, a_high[i], &beta_zz, &zzz);
        add_digit(r, table, b_low[i], NULL, NULL);
        add_digit(r, table, b_high[i], &BETA, NULL);
    }
    field_mul(&r->z, &r->z, &z);
}

int point_lift_x(Affine *r, const Field *x) {
    static const Field seven = {{7}}, zero;
    Field right, square;
    field_sqr(&right, x);
    field_mul(&right, &right, x);
    field_add(&right, &right, &seven);
    field_sqrt(&r->y, &right);
    field_sqr(&square, &r->y);
    if (!field_is_equal(&square, &right)) {
        return 0;
    }
    r->x = *x;
    if (field_is_odd(&r->y)) {
        field_sub(&r->y, &zero, &r->y);
    }
    return 1;
}
