#include "payoff.h"

uint64_t mul_div_capped(uint64_t a, uint64_t b, uint64_t d, uint64_t cap) {
    uint32_t a0 = (uint32_t)a, a1 = (uint32_t)(a >> 32);
    uint32_t b0 = (uint32_t)b, b1 = (uint32_t)(b >> 32);
    uint64_t p00 = (uint64_t)a0 * b0, p01 = (uint64_t)a0 * b1;
    uint64_t p10 = (uint64_t)a1 * b0, p11 = (uint64_t)a1 * b1;
    uint64_t middle = (p00 >> 32) + (uint32_t)p01 + (uint32_t)p10;
    uint64_t low = middle << 32 | (uint32_t)p00;
    uint64_t rest = p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
    if (rest >= d) {
        return cap; /* the quotient has more than 64 bits */
    }
    for (int i = 0; i < 64; i++) { /* rest:low is dividend and remainder above, quotient below */
        uint32_t carry = (uint32_t)(rest >> 63);
        rest = rest << 1 | low >> 63;
        low <<= 1;
        if (carry || rest >= d) {
            rest -= d;
            low |= 1;
        }
    }
    return low < cap ? low : cap;
}

static int is_knocked_out(const Option *option, uint64_t high, uint64_t low) {
    return (option->barrier == KNOCK_OUT_UP && high >= option->level) ||
           (option->barrier == KNOCK_OUT_DOWN && low <= option->level);
}

uint64_t payoff(const Option *option, uint64_t spot, uint64_t high, uint64_t low) {
    int pays = option->kind == CALL ? spot > option->strike : spot < option->strike;
    if (!pays || is_knocked_out(option, high, low)) {
        return 0;
    }
    if (option->is_binary) {
        return option->quantity;
    }
    uint64_t gain = option->kind == CALL ? spot - option->strike : option->strike - spot;
    return mul_div_capped(option->quantity, gain, spot, option->collateral);
}
