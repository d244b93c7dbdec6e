#include "field.h"

/* 2^256 = 2^32 + FOLD modulo p. */
enum { FOLD = 977 };

const Field FIELD_ONE = {{1}};

static const Field PRIME = {{
    0xfffffc2f, 0xfffffffe, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
}};

/* a + b + *carry; the new carry is 0 or 1. */
static inline uint32_t add_carry(uint32_t a, uint32_t b, uint32_t *carry) {
    uint32_t sum = a + b;
    uint32_t total = sum + *carry;
    *carry = (sum < a) | (total < sum);
    return total;
}

static inline uint32_t sub_borrow(uint32_t a, uint32_t b, uint32_t *borrow) {
    uint32_t difference = a - b;
    uint32_t total = difference - *borrow;
    *borrow = (a < b) | (difference < *borrow);
    return total;
}

/* r + 2^32 + 977 = r - p + 2^256; returns the carry out of 2^256. */
static uint32_t add_fold(Field *r) {
    uint32_t carry = 0;
    r->w[0] = add_carry(r->w[0], FOLD, &carry);
    r->w[1] = add_carry(r->w[1], 1, &carry);
    for (int i = 2; carry && i < 8; i++) {
        r->w[i]++;
        carry = r->w[i] == 0;
    }
    return carry;
}

static uint32_t sub_fold(Field *r) {
    uint32_t borrow = 0;
    r->w[0] = sub_borrow(r->w[0], FOLD, &borrow);
    r->w[1] = sub_borrow(r->w[1], 1, &borrow);
    for (int i = 2; borrow && i < 8; i++) {
        borrow = r->w[i] == 0;
        r->w[i]--;
    }
    return borrow;
}

static int is_below_prime(const Field *a) {
    Field copy = *a;
    return !add_fold(&copy);
}

int field_load(Field *r, const uint8_t bytes[32]) {
    for (int i = 0; i < 8; i++) {
        r->w[i] = load_u32(bytes + 4 * (7 - i));
    }
    return is_below_prime(r);
}

int field_is_zero(const Field *a) {
    uint32_t any = 0;
    for (int i = 0; i < 8; i++) {
        any |= a->w[i];
    }
    return any == 0 || (a->w[0] == PRIME.w[0] && memcmp(a, &PRIME, sizeof *a) == 0);
}

int field_is_equal(const Field *a, const Field *b) {
    Field difference;
    field_sub(&difference, a, b);
    return field_is_zero(&difference);
}

int field_is_odd(const Field *a) {
    return (a->w[0] & 1) ^ !is_below_prime(a); /* p is odd */
}

void field_add(Field *r, const Field *a, const Field *b) {
    uint32_t carry = 0;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        r->w[i] = add_carry(a->w[i], b->w[i], &carry);
    }
    while (carry) {
        carry = add_fold(r);
    }
}

void field_sub(Field *r, const Field *a, const Field *b) {
    uint32_t borrow = 0;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        r->w[i] = sub_borrow(a->w[i], b->w[i], &borrow);
    }
    while (borrow) {
        borrow = sub_fold(r);
    }
}

void field_half(Field *r, const Field *a) {
    Field even = *a;
    uint32_t top = 0;
    if (even.w[0] & 1) { /* even = a + p = a - (2^32 + 977) + 2^256 */
        top = 1 - sub_fold(&even);
    }
#pragma GCC unroll 7
    for (int i = 0; i < 7; i++) {
        r->w[i] = even.w[i] >> 1 | even.w[i + 1] << 31;
    }
    r->w[7] = even.w[7] >> 1 | top << 31;
}

/* r = t modulo p for t below 2^512: twice, the part above 2^256 is multiplied by 2^32 + 977. */
static void reduce(Field *r, const uint32_t t[16]) {
    uint64_t sum = 0;
    uint32_t above = 0;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        sum += t[i];
        sum += above;
        above = t[8 + i];
        sum += (uint64_t)above * FOLD;
        r->w[i] = (uint32_t)sum;
        sum >>= 32;
    }
    sum += above; /* below 2^33 */
    uint32_t low = (uint32_t)sum, high = (uint32_t)(sum >> 32);
    uint64_t first = (uint64_t)low * FOLD + r->w[0];
    uint64_t second = (first >> 32) + (uint64_t)high * FOLD + low + r->w[1];
    uint64_t third = (second >> 32) + high + r->w[2];
    r->w[0] = (uint32_t)first;
    r->w[1] = (uint32_t)second;
    r->w[2] = (uint32_t)third;
    uint32_t carry = (uint32_t)(third >> 32);
    for (int i = 3; carry && i < 8; i++) {
        r->w[i]++;
        carry = r->w[i] == 0;
    }
    if (carry) {
        add_fold(r);
    }
}

/* Column sums: c2:c1:c0 is the running column. */
#define ADD_PRODUCT(x, y)                       \
    do {                                        \
        uint64_t product = (uint64_t)(x) * (y); \
        uint32_t lo = (uint32_t)product;        \
        uint32_t hi = (uint32_t)(product >> 32); \
        c0 += lo;                               \
        hi += c0 < lo;                          \
        c1 += hi;                               \
        c2 += c1 < hi;                          \
    } while (0)

#define END_COLUMN(k) (t[k] = c0, c0 = c1, c1 = c2, c2 = 0)

void field_mul(Field *r, const Field *a, const Field *b) {
    uint32_t t[16];
    uint32_t c0 = 0, c1 = 0, c2 = 0;
#pragma GCC unroll 16
    for (int k = 0; k < 15; k++) {
#pragma GCC unroll 8
        for (int i = k < 8 ? 0 : k - 7; i <= (k < 8 ? k : 7); i++) {
            ADD_PRODUCT(a->w[i], b->w[k - i]);
        }
        END_COLUMN(k);
    }
    t[15] = c0;
    reduce(r, t);
}

void field_sqr(Field *r, const Field *a) {
    uint32_t t[16];
    uint32_t c0 = 0, c1 = 0, c2 = 0;
#pragma GCC unroll 16
    for (int k = 0; k < 15; k++) {
        uint32_t d0 = c0, d1 = c1;
        c0 = c1 = c2 = 0;
#pragma GCC unroll 4
        for (int i = k < 8 ? 0 : k - 7; i < k - i; i++) {
            ADD_PRODUCT(a->w[i], a->w[k - i]);
        }
        c2 = c2 << 1 | c1 >> 31; /* each mixed product counts twice */
        c1 = c1 << 1 | c0 >> 31;
        c0 <<= 1;
        if (k % 2 == 0) {
            ADD_PRODUCT(a->w[k / 2], a->w[k / 2]);
        }
        c0 += d0; /* the carry of the last column, once */
        d1 += c0 < d0;
        c1 += d1;
        c2 += c1 < d1;
        END_COLUMN(k);
    }
    t[15] = c0;
    reduce(r, t);
}

static void sqr_times(Field *r, const Field *a, int times) {
    *r = *a;
    while (times-- > 0) {
        field_sqr(r, r);
    }
}

/* r = a^(2^(m+n) - 1) from x = a^(2^m - 1) and y = a^(2^n - 1). */
static void join_ones(Field *r, const Field *x, const Field *y, int n) {
    Field shifted;
    sqr_times(&shifted, x, n);
    field_mul(r, &shifted, y);
}

/* In binary p - 2 is 223 ones, 0, 22 ones, 0000101101 and (p + 1) / 4 is 223 ones, 0, 22 ones,
 * 00001100. r = a to the power of the first 246 bits; ones2 = a^3. */
static void common_power(Field *r, Field *ones2, const Field *a) {
    Field ones11, ones22, ones44, ones88, x;
    join_ones(ones2, a, a, 1);
    join_ones(&x, ones2, a, 1);       /* 3 */
    join_ones(&ones11, &x, &x, 3);    /* 6 */
    join_ones(&ones11, &ones11, &x, 3); /* 9 */
    join_ones(&ones11, &ones11, ones2, 2);
    join_ones(&ones22, &ones11, &ones11, 11);
    join_ones(&ones44, &ones22, &ones22, 22);
    join_ones(&ones88, &ones44, &ones44, 44);
    join_ones(r, &ones88, &ones88, 88);
    join_ones(r, r, &ones44, 44);
    join_ones(r, r, &x, 3);       /* 223 */
    join_ones(r, r, &ones22, 23); /* one zero more */
}

void field_inverse(Field *r, const Field *a) { /* a^(p - 2): ... 00001 011 01 */
    Field x, ones2;
    common_power(&x, &ones2, a);
    join_ones(&x, &x, a, 5);
    join_ones(&x, &x, &ones2, 3);
    join_ones(r, &x, a, 2);
}

void field_sqrt(Field *r, const Field *a) { /* a^((p + 1) / 4): ... 000011 00 */
    Field x, ones2;
    common_power(&x, &ones2, a);
    join_ones(&x, &x, &ones2, 6);
    sqr_times(r, &x, 2);
}
