/* What an option pays, in sats and in units; the same numbers as protocol/options/payoff.py. */
#ifndef PAYOFF_H
#define PAYOFF_H

#include "guest.h"

enum { CALL = 1, PUT = 2 };
enum { NO_BARRIER = 0, KNOCK_OUT_UP = 1, KNOCK_OUT_DOWN = 2 };

typedef struct { /* prices in 10^-8 dollars, amounts in sats */
    uint8_t kind;
    uint8_t is_binary;
    uint8_t barrier;
    uint64_t level; /* of the barrier */
    uint64_t strike;
    uint64_t quantity;
    uint64_t collateral;
} Option;

/* call: q (S - K) / S, put: q (K - S) / S; 0 if negative, at most the collateral. S is not 0.
 * A binary pays q where that is above 0 before rounding, a knock-out 0 once high or low touched its
 * barrier. */
uint64_t payoff(const Option *option, uint64_t spot, uint64_t high, uint64_t low);

/* min(floor(a * b / d), cap) with the full 128-bit product; d is not 0. */
uint64_t mul_div_capped(uint64_t a, uint64_t b, uint64_t d, uint64_t cap);

#endif
