#include "wide.h"

Wide wide_product(uint64_t a, uint64_t b) {
    uint32_t a0 = (uint32_t)a, a1 = (uint32_t)(a >> 32);
    uint32_t b0 = (uint32_t)b, b1 = (uint32_t)(b >> 32);
    uint64_t p00 = (uint64_t)a0 * b0, p01 = (uint64_t)a0 * b1;
    uint64_t p10 = (uint64_t)a1 * b0, p11 = (uint64_t)a1 * b1;
    uint64_t middle = (p00 >> 32) + (uint32_t)p01 + (uint32_t)p10;
    Wide wide;
    wide.low = middle << 32 | (uint32_t)p00;
    wide.high = p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
    return wide;
}

/* *remainder, *quotient of a / d; 0 if the quotient has more than 64 bits or d is 0. */
static int divide(Wide a, uint64_t d, uint64_t *quotient, uint64_t *remainder) {
    if (a.high >= d) {
        return 0;
    }
    if (a.high == 0) {
        *quotient = a.low / d;
        *remainder = a.low - *quotient * d;
        return 1;
    }
    for (int i = 0; i < 64; i++) { /* a is dividend and remainder above, quotient below */
        uint32_t carry = (uint32_t)(a.high >> 63);
        a.high = a.high << 1 | a.low >> 63;
        a.low <<= 1;
        if (carry || a.high >= d) {
            a.high -= d;
            a.low |= 1;
        }
    }
    *quotient = a.low;
    *remainder = a.high;
    return 1;
}

int mul_div_floor(uint64_t a, uint64_t b, uint64_t d, uint64_t *result) {
    uint64_t remainder;
    return divide(wide_product(a, b), d, result, &remainder);
}

int mul_div_ceil(uint64_t a, uint64_t b, uint64_t d, uint64_t *result) {
    uint64_t remainder;
    if (!divide(wide_product(a, b), d, result, &remainder)) {
        return 0;
    }
    if (remainder != 0) {
        *result += 1;
        return *result != 0;
    }
    return 1;
}

static Wide negated(Wide a) {
    Wide wide = {~a.low + 1, ~a.high + (a.low == 0)};
    return wide;
}

int wide_add(Wide *a, Wide b) {
    int negative = wide_is_negative(*a), other = wide_is_negative(b);
    a->low += b.low;
    a->high += b.high + (a->low < b.low);
    return negative != other || negative == wide_is_negative(*a);
}

int wide_subtract(Wide *a, Wide b) {
    int negative = wide_is_negative(*a), other = wide_is_negative(b);
    uint64_t borrow = a->low < b.low;
    a->low -= b.low;
    a->high -= b.high + borrow;
    return negative == other || negative == wide_is_negative(*a);
}

Wide wide_product_signed(uint64_t a, int64_t b) {
    uint64_t magnitude = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    Wide wide = wide_product(a, magnitude);
    return b < 0 ? negated(wide) : wide;
}

int wide_divide(Wide a, uint64_t d, uint64_t *magnitude) {
    uint64_t remainder;
    return divide(wide_is_negative(a) ? negated(a) : a, d, magnitude, &remainder);
}
