/* What an option pays, in sats and in units; the same numbers as protocol/options/payoff.py. */
#ifndef PAYOFF_H
#define PAYOFF_H

#include "guest.h"

enum { CALL = 1, PUT = 2 };

typedef struct { /* price in 10^-8 dollars, the rest in sats; all above 0 */
    uint8_t kind;
    uint64_t strike;
    uint64_t quantity;
    uint64_t collateral;
} Option;

/* call: q (S - K) / S, put: q (K - S) / S; 0 if negative, at most the collateral. S is not 0. */
uint64_t payoff(const Option *option, uint64_t spot);

/* min(floor(a * b / d), cap) with the full 128-bit product; d is not 0. */
uint64_t mul_div_capped(uint64_t a, uint64_t b, uint64_t d, uint64_t cap);

#endif
