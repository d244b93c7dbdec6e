/* Rows of questions about wide.c with their answers: halts with 0 if all are right, otherwise exits
 * with the number of the first wrong row, from 1.
 * A row, numbers little-endian: which u64 | a u64 | b u64 | d u64 | holds u64 | low u64 | high u64
 *   0 floor, 1 ceiling of a * b / d in `low`
 *   2 a * b with b signed, low and high words
 *   3, 4 that product + or - (b * a with a signed), low and high words, holds always
 *   5 the first product divided by d, its magnitude in `low` */
#include "little.h"
#include "wide.h"

enum { ROW = 7 * 8 };

typedef struct {
    uint64_t holds;
    Wide value;
} Answer;

static Answer answer(const uint8_t *row) {
    uint64_t which = little_u64(row), a = little_u64(row + 8);
    uint64_t b = little_u64(row + 16), d = little_u64(row + 24);
    Answer found = {1, {0, 0}};
    if (which == 0) {
        found.holds = (uint64_t)mul_div_floor(a, b, d, &found.value.low);
    } else if (which == 1) {
        found.holds = (uint64_t)mul_div_ceil(a, b, d, &found.value.low);
    } else if (which == 5) {
        found.holds = (uint64_t)wide_divide(wide_product_signed(a, (int64_t)b), d, &found.value.low);
    } else {
        found.value = wide_product_signed(a, (int64_t)b);
        Wide other = wide_product_signed(b, (int64_t)a);
        if (which == 3) {
            found.holds = (uint64_t)wide_add(&found.value, other);
        } else if (which == 4) {
            found.holds = (uint64_t)wide_subtract(&found.value, other);
        }
    }
    return found;
}

int main(void) {
    for (uint32_t row = 0; row < input_length / ROW; row++) {
        const uint8_t *at = input + row * ROW;
        Answer found = answer(at);
        int is_right = found.holds == little_u64(at + 32) &&
                       (!found.holds || (found.value.low == little_u64(at + 40) &&
                                         found.value.high == little_u64(at + 48)));
        if (!is_right) {
            return (int)row + 1;
        }
    }
    return 0;
}
