/* Settlement: halts with 0 only if the claimed payout follows from an expiry that a quorum of the
 * contract's oracles signed.
 *
 * Numbers are big-endian. The contract is in the terms page (protocol/settlement/terms.py):
 *   "TRM2" | holder's key 32 | expiry_round u64 | size of the terms u16
 *   | config_digest 32 | feed_id 32 | start u64 | grace u32 | rule u8 | window u32 | min_rounds u32
 *   | american u8 | kind u8 | binary u8 | barrier u8 | level u64 | strike u64 | quantity u64
 *   | collateral u64 | unit u64 | bits u8 | q u8 | n u8 | n x key 32
 *   | what is between the parties | behind the terms: contract_id 32
 * A European contract is settled in the expiry round, subject 0. An American one is settled in any
 * round from start to that, under tagged("btcfi/exercise/v1", contract_id | that round u64).
 * Input (protocol/settlement/claim.py), padded with zeros to a word:
 *   units u32
 *   | "EXP1" | config_digest 32 | feed_id 32 | subject 32 | start u64 | target u64 | end u64 | price u64
 *   | high u64 | low u64 | rounds u32 | expo i8 | rule u8 | window u32 | report_hash 32
 *   | q x (oracle u8, signature 64)
 * The exit code is the number of the first check that fails. */
#include "bip340.h"
#include "payoff.h"
#include "sha256.h"
#include "terms.h"

enum Check {
    TERMS_MAGIC = 1, /* "TRM2" */
    ROSTER,          /* 1 <= q <= n <= 8 */
    TERMS_SIZE,      /* the contract id lies behind the keys and on the page */
    INSTRUMENT,      /* a known kind; a binary is European and has no barrier */
    TERMS_RANGE,     /* numbers above 0, quantity of a call or binary within the collateral, rounds */
    UNIT,            /* bits in 8 to 20, unit = collateral / (2^bits - 1), not 0 */
    LENGTH,          /* a claim with q signatures, */
    PADDING,         /* then zeros */
    EXPIRY_MAGIC,    /* "EXP1" */
    CONFIG,          /* expiry and terms have the same oracles, */
    FEED,            /* the same feed, */
    SUBJECT,         /* the subject of the contract, */
    START,           /* the same first round, */
    TARGET,          /* the expiry round, or one that an American contract can be exercised in */
    END,             /* in target to target + grace */
    PRICE,           /* 0 < low <= price <= high */
    ROUNDS,          /* the minimum or more, and no more than lie in start to end */
    EXPO,            /* -8 */
    RULE,            /* that of the terms */
    WINDOW,          /* that of the terms */
    SIGNER,          /* oracles below n, strictly ascending */
    SIGNATURE,       /* each verifies under that oracle's key */
    UNITS_RANGE,     /* below 2^bits */
    PAYOUT,          /* what the option pays at the price, in whole units */
};

enum { ORACLES_MAX = 8, BITS_MIN = 8, BITS_MAX = 20 };

enum { /* offsets in the terms page */
    T_MAGIC = 0,
    T_HOLDER = T_MAGIC + 4,
    T_EXPIRY = T_HOLDER + 32,
    T_SIZE = T_EXPIRY + 8,
    T_CONFIG = T_SIZE + 2,
    T_FEED = T_CONFIG + 32,
    T_START = T_FEED + 32,
    T_GRACE = T_START + 8,
    T_RULE = T_GRACE + 4,
    T_WINDOW = T_RULE + 1,
    T_MIN_ROUNDS = T_WINDOW + 4,
    T_AMERICAN = T_MIN_ROUNDS + 4,
    T_KIND = T_AMERICAN + 1,
    T_BINARY = T_KIND + 1,
    T_BARRIER = T_BINARY + 1,
    T_LEVEL = T_BARRIER + 1,
    T_STRIKE = T_LEVEL + 8,
    T_QUANTITY = T_STRIKE + 8,
    T_COLLATERAL = T_QUANTITY + 8,
    T_UNIT = T_COLLATERAL + 8,
    T_BITS = T_UNIT + 8,
    T_QUORUM = T_BITS + 1,
    T_ORACLES = T_QUORUM + 1,
    T_KEYS = T_ORACLES + 1,
};

enum { /* offsets in the input */
    CLAIM_UNITS = 0,
    E_MAGIC = CLAIM_UNITS + 4,
    E_CONFIG = E_MAGIC + 4,
    E_FEED = E_CONFIG + 32,
    E_SUBJECT = E_FEED + 32,
    E_START = E_SUBJECT + 32,
    E_TARGET = E_START + 8,
    E_END = E_TARGET + 8,
    E_PRICE = E_END + 8,
    E_HIGH = E_PRICE + 8,
    E_LOW = E_HIGH + 8,
    E_ROUNDS = E_LOW + 8,
    E_EXPO = E_ROUNDS + 4,
    E_RULE = E_EXPO + 1,
    E_WINDOW = E_RULE + 1,
    E_REPORT = E_WINDOW + 4,
    ENTRIES = E_REPORT + 32,
    E_SIZE = ENTRIES - E_MAGIC,
    ENTRY = 1 + 64,
};

static const char EXPIRY_TAG[] = "btcfi/oracle/expiry/v1";
static const char EXERCISE_TAG[] = "btcfi/exercise/v1";

static Option option;

static uint32_t units_max(void) {
    return ((uint32_t)1 << terms[T_BITS]) - 1;
}

static uint32_t terms_size(void) {
    return (uint32_t)terms[T_SIZE] << 8 | terms[T_SIZE + 1];
}

static int is_instrument_known(void) {
    if (option.kind != CALL && option.kind != PUT) {
        return 0;
    }
    if (terms[T_AMERICAN] > 1 || option.is_binary > 1 || option.barrier > KNOCK_OUT_DOWN) {
        return 0;
    }
    return !option.is_binary || (!terms[T_AMERICAN] && option.barrier == NO_BARRIER);
}

static int is_option_in_range(void) {
    if (option.strike == 0 || option.quantity == 0 || option.collateral == 0) {
        return 0;
    }
    if ((option.level == 0) != (option.barrier == NO_BARRIER)) {
        return 0;
    }
    int is_bounded = option.kind == CALL || option.is_binary;
    return !is_bounded || option.quantity <= option.collateral;
}

/* An American option and a barrier need rounds before the expiry round. */
static int are_rounds_in_range(void) {
    uint64_t start = load_u64(terms + T_START);
    uint64_t expiry = load_u64(terms + T_EXPIRY);
    int needs_more = terms[T_AMERICAN] || option.barrier != NO_BARRIER;
    return load_u32(terms + T_MIN_ROUNDS) != 0 && (needs_more ? start < expiry : start <= expiry);
}

static void load_option(void) {
    option.kind = terms[T_KIND];
    option.is_binary = terms[T_BINARY];
    option.barrier = terms[T_BARRIER];
    option.level = load_u64(terms + T_LEVEL);
    option.strike = load_u64(terms + T_STRIKE);
    option.quantity = load_u64(terms + T_QUANTITY);
    option.collateral = load_u64(terms + T_COLLATERAL);
}

static int check_terms(void) {
    if (memcmp(terms + T_MAGIC, "TRM2", 4) != 0) {
        return TERMS_MAGIC;
    }
    if (terms[T_QUORUM] == 0 || terms[T_QUORUM] > terms[T_ORACLES] ||
        terms[T_ORACLES] > ORACLES_MAX) {
        return ROSTER;
    }
    if (terms_size() < T_KEYS + 32u * terms[T_ORACLES] || terms_size() > TERMS_PAGE - 32) {
        return TERMS_SIZE;
    }
    load_option();
    if (!is_instrument_known()) {
        return INSTRUMENT;
    }
    if (!is_option_in_range() || !are_rounds_in_range()) {
        return TERMS_RANGE;
    }
    if (terms[T_BITS] < BITS_MIN || terms[T_BITS] > BITS_MAX) {
        return UNIT;
    }
    uint64_t unit = load_u64(terms + T_UNIT);
    if (unit == 0 || unit != mul_div_capped(option.collateral, 1, units_max(), UINT64_MAX)) {
        return UNIT;
    }
    return 0;
}

static int check_length(void) {
    uint32_t size = ENTRIES + (uint32_t)ENTRY * terms[T_QUORUM];
    if (input_length != size) {
        return LENGTH;
    }
    for (; size % 4 != 0; size++) {
        if (input[size] != 0) {
            return PADDING;
        }
    }
    return 0;
}

static int agrees(int expiry_field, int terms_field, size_t size) {
    return memcmp(input + expiry_field, terms + terms_field, size) == 0;
}

static int is_price_in_range(void) {
    uint64_t price = load_u64(input + E_PRICE);
    uint64_t low = load_u64(input + E_LOW);
    return low > 0 && low <= price && price <= load_u64(input + E_HIGH);
}

static int is_subject_agreed(void) {
    Sha256 hash;
    uint8_t subject[32] = {0};
    if (terms[T_AMERICAN]) {
        sha256_init_tagged(&hash, EXERCISE_TAG, sizeof EXERCISE_TAG - 1);
        sha256_update(&hash, terms + terms_size(), 32);
        sha256_update(&hash, input + E_TARGET, 8);
        sha256_final(&hash, subject);
    }
    return memcmp(input + E_SUBJECT, subject, sizeof subject) == 0;
}

/* An exercise leaves room for the mean's window and the least number of rounds. */
static int is_target_agreed(void) {
    uint64_t target = load_u64(input + E_TARGET);
    uint64_t start = load_u64(terms + T_START);
    uint64_t expiry = load_u64(terms + T_EXPIRY);
    uint32_t window = load_u32(terms + T_WINDOW);
    uint32_t least = load_u32(terms + T_MIN_ROUNDS);
    if (!terms[T_AMERICAN]) {
        return target == expiry;
    }
    least = window > least ? window : least;
    return start <= target && target <= expiry && target - start >= least - 1;
}

static int check_expiry(void) {
    uint64_t end = load_u64(input + E_END);
    uint64_t target = load_u64(input + E_TARGET);
    uint32_t rounds = load_u32(input + E_ROUNDS);
    if (memcmp(input + E_MAGIC, "EXP1", 4) != 0) {
        return EXPIRY_MAGIC;
    }
    if (!agrees(E_CONFIG, T_CONFIG, 32)) {
        return CONFIG;
    }
    if (!agrees(E_FEED, T_FEED, 32)) {
        return FEED;
    }
    if (!is_subject_agreed()) {
        return SUBJECT;
    }
    if (!agrees(E_START, T_START, 8)) {
        return START;
    }
    if (!is_target_agreed()) {
        return TARGET;
    }
    if (end < target || end - target > load_u32(terms + T_GRACE)) {
        return END;
    }
    if (!is_price_in_range()) {
        return PRICE;
    }
    if (rounds < load_u32(terms + T_MIN_ROUNDS) || rounds - 1 > end - load_u64(terms + T_START)) {
        return ROUNDS;
    }
    if (input[E_EXPO] != (uint8_t)-8) {
        return EXPO;
    }
    if (!agrees(E_RULE, T_RULE, 1)) {
        return RULE;
    }
    if (!agrees(E_WINDOW, T_WINDOW, 4)) {
        return WINDOW;
    }
    return 0;
}

/* Every signer first: a signature costs 1.7 M steps. */
static int check_signatures(void) {
    int quorum = terms[T_QUORUM];
    int above = -1;
    for (int i = 0; i < quorum; i++) {
        int oracle = input[ENTRIES + i * ENTRY];
        if (oracle <= above || oracle >= terms[T_ORACLES]) {
            return SIGNER;
        }
        above = oracle;
    }
    Sha256 hash;
    uint8_t message[32];
    sha256_init_tagged(&hash, EXPIRY_TAG, sizeof EXPIRY_TAG - 1);
    sha256_update(&hash, input + E_MAGIC, E_SIZE);
    sha256_final(&hash, message);
    for (int i = 0; i < quorum; i++) {
        const uint8_t *entry = input + ENTRIES + i * ENTRY;
        const uint8_t *key = terms + T_KEYS + 32 * entry[0];
        if (!bip340_verify(key, message, sizeof message, entry + 1)) {
            return SIGNATURE;
        }
    }
    return 0;
}

static int check_payout(void) {
    uint32_t units = load_u32(input + CLAIM_UNITS);
    if (units > units_max()) {
        return UNITS_RANGE;
    }
    uint64_t sats = payoff(&option, load_u64(input + E_PRICE), load_u64(input + E_HIGH),
                           load_u64(input + E_LOW));
    uint64_t unit = load_u64(terms + T_UNIT);
    return units == mul_div_capped(sats, 1, unit, units_max()) ? 0 : PAYOUT;
}

int main(void) {
    int failed = check_terms();
    if (failed == 0) {
        failed = check_length();
    }
    if (failed == 0) {
        failed = check_expiry();
    }
    if (failed == 0) {
        failed = check_signatures();
    }
    if (failed == 0) {
        failed = check_payout();
    }
    return failed;
}
