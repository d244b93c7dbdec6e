/* Integers as protocol/pool/muldiv.py has them: a result without a place refuses the operation.
 * A refusal does not jump: the first one stays in `refused`, the operation runs on with zeros, and
 * whoever began it throws its draft away. */
#ifndef POOL_NUMBER_H
#define POOL_NUMBER_H

#include "wide.h"

enum { BPS = 10000, PPM = 1000000 };
#define INDEX_ONE 1000000000000u
#define AMOUNT_MAX 1000000000000000u
#define PRICE_MAX 1000000000000000u

enum RejectCode { /* protocol/pool/reject.py */
    ACCEPTED = 0,
    SIGNATURE = 1,
    NONCE = 2,
    DEADLINE = 3,
    HALTED = 4,
    CLOSE_ONLY = 5,
    ORDER_REQUIRED = 6,
    TOKEN = 10,
    NOT_SHORTABLE = 11,
    LEVERAGE = 20,
    UTILIZATION = 30,
    DEPOSIT = 40,
    MIN_COLLATERAL = 41,
    FEE = 50,
    PRICE = 60,
    EMPTY = 61,
    SIZE_BELOW_COLLATERAL = 62,
    LIQUIDATABLE = 63,
    GLOBAL_CAP = 64,
    OPEN_INTEREST_CAP = 65,
    AT_CAP = 66,
    NO_POSITION = 70,
    SIZE_TOO_LARGE = 71,
    COLLATERAL_TOO_LARGE = 72,
    LOSS_EXCEEDS_COLLATERAL = 73,
    HEALTHY = 80,
    NOT_AT_CAP = 81,
    SLIPPAGE = 90,
    GLP_BALANCE = 91,
    COOLDOWN = 92,
    NO_VALUE = 93,
    NO_ORDER = 100,
    NOT_DUE = 101,
    EXPIRED = 102,
    PENDING = 103,
    BUCKET_FULL = 110,
    OVERFLOW = 111,
    NOT_OPENED = 255, /* the input lacks a bucket: no verdict on the operation */
};

extern enum RejectCode refused;

static inline void refuse(enum RejectCode code) {
    if (refused == ACCEPTED) {
        refused = code;
    }
}

static inline void require(int holds, enum RejectCode code) {
    if (!holds) {
        refuse(code);
    }
}

uint64_t add(uint64_t a, uint64_t b);
uint64_t sub(uint64_t a, uint64_t b);
uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c);
uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c);
int64_t add_i64(int64_t a, int64_t b);
int64_t sub_i64(int64_t a, int64_t b);
Wide product_i128(uint64_t a, uint64_t b);
void add_i128(Wide *a, Wide b);
void sub_i128(Wide *a, Wide b);

uint64_t index_floor(Wide magnitude);
uint64_t index_ceil(Wide magnitude);

static inline uint64_t less(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

static inline uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t most(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

#endif
