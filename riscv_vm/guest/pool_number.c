#include "pool_number.h"

enum RejectCode refused;

uint64_t add(uint64_t a, uint64_t b) {
    require(a + b >= a, OVERFLOW);
    return a + b;
}

uint64_t sub(uint64_t a, uint64_t b) {
    require(a >= b, OVERFLOW);
    return less(a, b);
}

uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t result = 0;
    require(mul_div_floor(a, b, c, &result), OVERFLOW);
    return result;
}

uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t result = 0;
    require(mul_div_ceil(a, b, c, &result), OVERFLOW);
    return result;
}

/* The least i64 and i128 have no magnitude of their type: they are none of the pool's numbers. */
int64_t add_i64(int64_t a, int64_t b) {
    uint64_t sum = (uint64_t)a + (uint64_t)b;
    int is_outside = (a < 0) == (b < 0) && (a < 0) != ((int64_t)sum < 0);
    require(!is_outside && sum != (uint64_t)INT64_MIN, OVERFLOW);
    return (int64_t)sum;
}

int64_t sub_i64(int64_t a, int64_t b) {
    require(b != INT64_MIN, OVERFLOW);
    return add_i64(a, b == INT64_MIN ? 0 : -b);
}

void add_i128(Wide *a, Wide b) {
    require(wide_add(a, b) && !(a->low == 0 && a->high == (uint64_t)INT64_MIN), OVERFLOW);
}

void sub_i128(Wide *a, Wide b) {
    require(wide_subtract(a, b) && !(a->low == 0 && a->high == (uint64_t)INT64_MIN), OVERFLOW);
}

Wide product_i128(uint64_t a, uint64_t b) {
    Wide wide = wide_product(a, b);
    require(!wide_is_negative(wide), OVERFLOW);
    return wide;
}

uint64_t index_floor(Wide magnitude) {
    uint64_t result = 0;
    require(wide_divide(magnitude, INDEX_ONE, &result), OVERFLOW);
    return result;
}

uint64_t index_ceil(Wide magnitude) {
    uint64_t result = index_floor(magnitude);
    Wide whole = wide_product(result, INDEX_ONE);
    int is_exact = whole.low == magnitude.low && whole.high == magnitude.high;
    return is_exact ? result : add(result, 1);
}
