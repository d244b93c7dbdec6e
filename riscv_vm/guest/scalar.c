/* The curve has an endomorphism (x, y) -> (beta x, y) that multiplies by lambda. (A1, -B1) and
 * (A2, A1) are short vectors (u, v) with u + v lambda = 0 modulo n; the multiple of them that is
 * nearest to (k, 0) leaves two halves of 128 bits (Gallant, Lambert, Vanstone 2001). */
#include "scalar.h"

enum { HALF = 5 }; /* words of a half: 128 bits, a carry and a sign */

static const uint32_t ORDER[8] = {
    0xd0364141, 0xbfd25e8c, 0xaf48a03b, 0xbaaedce6, 0xfffffffe, 0xffffffff, 0xffffffff, 0xffffffff,
};
static const uint32_t A1[HALF] = {0x9284eb15, 0xe86c90e4, 0xa7d46bcd, 0x3086d221, 0};
static const uint32_t B1[HALF] = {0x0abfe4c3, 0x6f547fa9, 0x010e8828, 0xe4437ed6, 0};
static const uint32_t A2[HALF] = {0x9d44cfd8, 0x57c1108d, 0xa8e2f3f6, 0x14ca50f7, 1};

/* 2^384 A1 / n and 2^384 B1 / n, rounded. */
static const uint32_t G1[8] = {
    0x45dbb031, 0xe893209a, 0x71e8ca7f, 0x3daa8a14, 0x9284eb15, 0xe86c90e4, 0xa7d46bcd, 0x3086d221,
};
static const uint32_t G2[8] = {
    0x8ac47f71, 0x1571b4ae, 0x9df506c6, 0x221208ac, 0x0abfe4c4, 0x6f547fa9, 0x010e8828, 0xe4437ed6,
};

/* a -= b; the borrow. */
static uint32_t subtract(uint32_t *a, const uint32_t *b, int words) {
    uint32_t borrow = 0;
    for (int i = 0; i < words; i++) {
        uint64_t difference = (uint64_t)a[i] - b[i] - borrow;
        a[i] = (uint32_t)difference;
        borrow = (uint32_t)(difference >> 32) & 1;
    }
    return borrow;
}

/* product = a * b, cut off after `words` words; a and b have `size` words. */
static void multiply(uint32_t *product, int words, const uint32_t *a, const uint32_t *b, int size) {
    memset(product, 0, (size_t)words * sizeof *product);
    for (int i = 0; i < size; i++) {
        uint32_t carry = 0;
        for (int j = 0; j < size && i + j < words; j++) {
            uint64_t sum = (uint64_t)a[i] * b[j] + product[i + j] + carry;
            product[i + j] = (uint32_t)sum;
            carry = (uint32_t)(sum >> 32);
        }
        if (i + size < words) {
            product[i + size] = carry;
        }
    }
}

/* r = k * g / 2^384, rounded. */
static void scaled(uint32_t r[HALF], const Scalar *k, const uint32_t g[8]) {
    uint32_t product[16];
    multiply(product, 16, k->w, g, 8);
    uint32_t carry = product[11] >> 31;
    for (int i = 0; i < 4; i++) {
        r[i] = product[12 + i] + carry;
        carry = carry && r[i] == 0;
    }
    r[4] = carry;
}

static uint32_t bits(const uint32_t half[HALF], int at, int count) {
    uint64_t pair = half[at / 32] | (at / 32 + 1 < HALF ? (uint64_t)half[at / 32 + 1] << 32 : 0);
    return (uint32_t)(pair >> at % 32) & ((1u << count) - 1);
}

static void write_digits(int8_t digits[DIGITS], uint32_t half[HALF], int width) {
    int is_negative = half[HALF - 1] >> 31;
    if (is_negative) {
        uint32_t copy[HALF];
        memcpy(copy, half, sizeof copy);
        memset(half, 0, sizeof copy);
        subtract(half, copy, HALF);
    }
    memset(digits, 0, DIGITS);
    uint32_t carry = 0;
    for (int at = 0; at < DIGITS;) {
        if (bits(half, at, 1) == carry) {
            at++;
            continue;
        }
        uint32_t window = bits(half, at, width) + carry;
        carry = window >> (width - 1);
        int digit = (int)window - (int)(carry << width);
        digits[at] = (int8_t)(is_negative ? -digit : digit);
        at += width;
    }
}

int scalar_load(Scalar *r, const uint8_t bytes[32]) {
    for (int i = 0; i < 8; i++) {
        r->w[i] = load_u32(bytes + 4 * (7 - i));
    }
    Scalar reduced = *r;
    if (subtract(reduced.w, ORDER, 8)) {
        return 1;
    }
    *r = reduced;
    return 0;
}

void scalar_negate(Scalar *r) {
    Scalar negative;
    memcpy(negative.w, ORDER, sizeof ORDER);
    subtract(negative.w, r->w, 8);
    uint32_t any = 0;
    for (int i = 0; i < 8; i++) {
        any |= r->w[i];
    }
    if (any) {
        *r = negative;
    }
}

void scalar_split(int8_t low[DIGITS], int8_t high[DIGITS], const Scalar *k, int width) {
    uint32_t c1[HALF], c2[HALF], part[HALF], half[HALF];
    scaled(c1, k, G1);
    scaled(c2, k, G2);
    memcpy(half, k->w, sizeof half); /* k - c1 A1 - c2 A2 */
    multiply(part, HALF, c1, A1, HALF);
    subtract(half, part, HALF);
    multiply(part, HALF, c2, A2, HALF);
    subtract(half, part, HALF);
    write_digits(low, half, width);
    multiply(half, HALF, c1, B1, HALF); /* c1 B1 - c2 A1 */
    multiply(part, HALF, c2, A1, HALF);
    subtract(half, part, HALF);
    write_digits(high, half, width);
}
