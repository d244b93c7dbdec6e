/* Settlement: halts with 0 only if the claimed payout follows from the certified report.
 *
 * Input, 309 bytes, numbers big-endian (protocol/settlement/claim.py):
 *   terms   "TRM1" | config_digest 32 | feed_id 32 | round u64 | option u8 (1 call, 2 put)
 *           | strike u64 | quantity u64 | collateral u64
 *   report  "RPT1" | config_digest 32 | feed_id 32 | round u64 | price u64 | conf u64 | expo i8
 *           | grade u8 | n_obs u8 | obs_bitmap u8 | time u64 | observations_root 32 | prev 32
 *   report_hash 32 | payout u64
 * The exit code is the number of the first check that fails. */
#include "sha256.h"

enum Check {
    LENGTH = 1,   /* 309 bytes, padded with zeros */
    TERMS_MAGIC,  /* "TRM1" */
    OPTION,       /* call or put */
    TERMS_RANGE,  /* numbers above 0, a call's quantity within its collateral */
    REPORT_MAGIC, /* "RPT1" */
    CONFIG,       /* report and terms have the same oracles, */
    FEED,         /* the same feed */
    ROUND,        /* and the same round */
    EXPO,         /* -8 */
    GRADE,        /* full or degraded */
    PRICE,        /* not 0 */
    REPORT_HASH,  /* the tagged hash of the report */
    PAYOUT,       /* what the option pays at the report's price */
};

enum { CALL = 1, PUT = 2 };

enum { /* offsets in the input */
    T_MAGIC = 0,
    T_CONFIG = T_MAGIC + 4,
    T_FEED = T_CONFIG + 32,
    T_ROUND = T_FEED + 32,
    T_OPTION = T_ROUND + 8,
    T_STRIKE = T_OPTION + 1,
    T_QUANTITY = T_STRIKE + 8,
    T_COLLATERAL = T_QUANTITY + 8,
    R_MAGIC = T_COLLATERAL + 8,
    R_CONFIG = R_MAGIC + 4,
    R_FEED = R_CONFIG + 32,
    R_ROUND = R_FEED + 32,
    R_PRICE = R_ROUND + 8,
    R_CONF = R_PRICE + 8,
    R_EXPO = R_CONF + 8,
    R_GRADE = R_EXPO + 1,
    R_SIZE = 168,
    CLAIM_HASH = R_MAGIC + R_SIZE,
    CLAIM_PAYOUT = CLAIM_HASH + 32,
    CLAIM_SIZE = CLAIM_PAYOUT + 8,
    CLAIM_PADDED = (CLAIM_SIZE + 3) & ~3,
};

static const char REPORT_TAG[] = "btcfi/oracle/report/v1";

static int same(int left, int right, size_t size) {
    return memcmp(input + left, input + right, size) == 0;
}

static int is_padded_claim(void) {
    if (input_length != CLAIM_SIZE) {
        return 0;
    }
    uint8_t padding = 0;
    for (int i = CLAIM_SIZE; i < CLAIM_PADDED; i++) {
        padding |= input[i];
    }
    return padding == 0;
}

static int is_report_hash_right(void) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_init_tagged(&hash, REPORT_TAG, sizeof REPORT_TAG - 1);
    sha256_update(&hash, input + R_MAGIC, R_SIZE);
    sha256_final(&hash, digest);
    return memcmp(digest, input + CLAIM_HASH, sizeof digest) == 0;
}

/* min(floor(a * b / d), cap) with the full 128-bit product; d is not 0. */
static uint64_t mul_div_capped(uint64_t a, uint64_t b, uint64_t d, uint64_t cap) {
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

static int are_numbers_in_range(uint8_t option, uint64_t strike, uint64_t quantity,
                                uint64_t collateral) {
    if (strike == 0 || quantity == 0 || collateral == 0) {
        return 0;
    }
    return option == PUT || quantity <= collateral;
}

static uint64_t payoff(uint8_t option, uint64_t spot, uint64_t strike, uint64_t quantity,
                       uint64_t collateral) {
    if (option == CALL) {
        return spot <= strike ? 0 : mul_div_capped(quantity, spot - strike, spot, collateral);
    }
    return spot >= strike ? 0 : mul_div_capped(quantity, strike - spot, spot, collateral);
}

int main(void) {
    if (!is_padded_claim()) {
        return LENGTH;
    }
    if (memcmp(input + T_MAGIC, "TRM1", 4) != 0) {
        return TERMS_MAGIC;
    }
    uint8_t option = input[T_OPTION];
    uint64_t strike = load_u64(input + T_STRIKE);
    uint64_t quantity = load_u64(input + T_QUANTITY);
    uint64_t collateral = load_u64(input + T_COLLATERAL);
    if (option != CALL && option != PUT) {
        return OPTION;
    }
    if (!are_numbers_in_range(option, strike, quantity, collateral)) {
        return TERMS_RANGE;
    }
    if (memcmp(input + R_MAGIC, "RPT1", 4) != 0) {
        return REPORT_MAGIC;
    }
    if (!same(T_CONFIG, R_CONFIG, 32)) {
        return CONFIG;
    }
    if (!same(T_FEED, R_FEED, 32)) {
        return FEED;
    }
    if (!same(T_ROUND, R_ROUND, 8)) {
        return ROUND;
    }
    if (input[R_EXPO] != (uint8_t)-8) {
        return EXPO;
    }
    if (input[R_GRADE] != 1 && input[R_GRADE] != 2) {
        return GRADE;
    }
    uint64_t spot = load_u64(input + R_PRICE);
    if (spot == 0) {
        return PRICE;
    }
    if (!is_report_hash_right()) {
        return REPORT_HASH;
    }
    if (load_u64(input + CLAIM_PAYOUT) != payoff(option, spot, strike, quantity, collateral)) {
        return PAYOUT;
    }
    return 0;
}
