/* The pool: halts with 0 only if the claimed journal follows from a batch of operations, under the
 * prices that a quorum of the pool's oracles signed (docs/pool-guest.md).
 *
 * Numbers are little-endian, those of the certificate and of CFG1 big-endian. In the terms page
 * (protocol/pool/image.py):
 *   PoolParams 1,416 | CFG1
 * Input (protocol/pool/witness.py), each part at a word:
 *   journal 168: old_root | new_root | ops_root | prices_root | payments_root 32 each | seq u64
 *   | bytes of the certificate, position buckets, their siblings, account buckets, their siblings:
 *     u32 each
 *   | vault 256 | n_tokens x token 136 | n_tokens x parameters 64 | certificate, padded
 *   | position buckets and siblings | account buckets and siblings (pool_tree.h)
 *   | batch: n u32 | n x deposit 76 | m u32 | m x operation | m x result code u8, padded
 * The exit code is the number of the first check that fails. */
#include "little.h"
#include "pool_flows.h"
#include "pool_rules.h"
#include "terms.h"

enum Check {
    TERMS = 1,             /* "POL1", 1 to 32 tokens; "CFG1", 1 <= quorum <= oracles <= 8 */
    LENGTH,                /* every part ends within the input, */
    PADDING,               /* the last one at its end; what fills a word is zero */
    CERTIFICATE,           /* magics, lengths, ascending feeds, exponents, counts */
    CONFIG,                /* of the pool's oracles, of one round */
    OBSERVERS,             /* enough oracles behind each report */
    SIGNERS,               /* the quorum, strictly ascending */
    REPORTS,               /* under the header's root */
    QUORUM_SIGNATURE,      /* each verifies */
    STATE,                 /* the vault is the claim's old root */
    PARAMETERS,            /* the tokens' parameters are the vault's */
    TOKENS,                /* so are the tokens, those of the terms, */
    POSITIONS,             /* the opened buckets of positions, */
    ACCOUNTS,              /* and of accounts */
    TIME,                  /* later than the last batch */
    PRICES,                /* one in range for every token */
    ACCRUAL,               /* no index leaves its bounds */
    DEPOSITS,              /* ascending, of sats that exist, and of a backed pool */
    OPERATION_FORM,        /* every operation is one, */
    OPENED,                /* finds its buckets open, */
    RESULT,                /* and ends with its result code */
    PAYMENTS,              /* no number leaves its bounds, no owner its table */
    SEQ,                   /* the claim: the batch's number, */
    OPERATIONS_ROOT,       /* what was done, */
    PRICES_ROOT,           /* at which prices, */
    PAYMENTS_ROOT,         /* who is paid, */
    NEW_ROOT,              /* and the state that it leads to */
};

enum { /* offsets in CFG1, behind PoolParams */
    C_ORACLES = 4 + 32 + 4,
    C_KEYS = C_ORACLES + 1,
    ORACLES_MAX = 8,
};

enum { /* offsets in the input */
    J_OLD = 0,
    J_NEW = J_OLD + HASH,
    J_OPERATIONS = J_NEW + HASH,
    J_PRICES = J_OPERATIONS + HASH,
    J_PAYMENTS = J_PRICES + HASH,
    J_SEQ = J_PAYMENTS + HASH,
    COUNTS = J_SEQ + 8,
    VAULT = COUNTS + 5 * 4,
    TABLES = VAULT + VAULT_SIZE,
};

enum { FEED_SIZE = 40, PRICE_ROW = 24 };

static Roster roster;
static Certificate certificate;
static FeedPrice prices[TOKENS_MAX];
static const uint8_t *tokens_at, *params_at, *certificate_at, *batch_at;
static Sha256 payments;

static const uint8_t *end(void) {
    return input + input_length;
}

static uint32_t left(const uint8_t *at) {
    return (uint32_t)(end() - at);
}

static int check_terms(void) {
    const uint8_t *config = terms + POOL_PARAMS_SIZE;
    if (!pool_params_load(&pool.terms, terms) || memcmp(config, "CFG1", 4) != 0) {
        return TERMS;
    }
    roster.digest = pool.terms.oracle_config;
    roster.keys = config + C_KEYS;
    roster.n = config[C_ORACLES];
    if (roster.n > ORACLES_MAX) {
        return TERMS;
    }
    roster.quorum = config[C_KEYS + 32 * roster.n];
    roster.faults = config[C_KEYS + 32 * roster.n + 1];
    return roster.quorum >= 1 && roster.quorum <= roster.n ? 0 : TERMS;
}

static uint32_t padded(uint32_t size) {
    return (size + 3) & ~(uint32_t)3;
}

/* Where each part begins; the trees are read, the rest is only measured. */
static int check_parts(void) {
    uint32_t n = pool.terms.n_tokens, size;
    if (input_length < TABLES + n * (TOKEN_SIZE + PARAMS_SIZE)) {
        return LENGTH;
    }
    const uint8_t *counts = input + COUNTS;
    uint32_t certificate_size = little_u32(counts);
    tokens_at = input + TABLES;
    params_at = tokens_at + n * TOKEN_SIZE;
    certificate_at = params_at + n * PARAMS_SIZE;
    if (certificate_size > left(certificate_at) || padded(certificate_size) > left(certificate_at)) {
        return LENGTH;
    }
    batch_at = certificate_at + padded(certificate_size);
    if (!is_zero(certificate_at + certificate_size, padded(certificate_size) - certificate_size)) {
        return PADDING;
    }
    size = tree_read(&positions, little_u32(counts + 4), little_u32(counts + 8), batch_at,
                     left(batch_at));
    if (size == 0) {
        return POSITIONS;
    }
    batch_at += size;
    size = tree_read(&accounts, little_u32(counts + 12), little_u32(counts + 16), batch_at,
                     left(batch_at));
    if (size == 0) {
        return ACCOUNTS;
    }
    batch_at += size;
    return 0;
}

static int check_certificate(void) {
    uint32_t size = little_u32(input + COUNTS);
    switch (certificate_check(&certificate, &roster, certificate_at, size)) {
    case CERTIFICATE_HOLDS:
        return 0;
    case CERTIFICATE_FORM:
        return CERTIFICATE;
    case CERTIFICATE_CONFIG:
        return CONFIG;
    case CERTIFICATE_OBSERVERS:
        return OBSERVERS;
    case CERTIFICATE_SIGNERS:
        return SIGNERS;
    case CERTIFICATE_ROOT:
        return REPORTS;
    default:
        return QUORUM_SIGNATURE;
    }
}

static int is_tagged(enum Tag tag, const uint8_t *message, uint32_t size, const uint8_t root[HASH]) {
    uint8_t digest[HASH];
    hash_tagged(tag, message, size, digest);
    return memcmp(digest, root, HASH) == 0;
}

static int is_tree(const Tree *tree, const uint8_t root[HASH]) {
    uint8_t found[HASH];
    return tree_root(tree, found) && memcmp(found, root, HASH) == 0;
}

static int load_tables(void) {
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        token_load(&pool.tokens[i], tokens_at + i * TOKEN_SIZE);
        if (!token_params_load(&pool.params[i], params_at + i * PARAMS_SIZE)) {
            return PARAMETERS;
        }
        if (pool.tokens[i].id != little_u32(pool.terms.feeds + i * FEED_SIZE)) {
            return TOKENS;
        }
    }
    return 0;
}

static int check_state(void) {
    const Vault *vault = &pool.vault;
    uint32_t n = pool.terms.n_tokens;
    if (!is_tagged(STATE_TAG, input + VAULT, VAULT_SIZE, input + J_OLD) ||
        !vault_load(&pool.vault, input + VAULT) || vault->n_tokens != n) {
        return STATE;
    }
    if (!is_tagged(PARAMS_TAG, params_at, n * PARAMS_SIZE, vault->params_root)) {
        return PARAMETERS;
    }
    if (!is_tagged(TOKENS_TAG, tokens_at, n * TOKEN_SIZE, vault->tokens_root)) {
        return TOKENS;
    }
    if (!is_tree(&positions, vault->positions_root)) {
        return POSITIONS;
    }
    if (!is_tree(&accounts, vault->lp_root)) {
        return ACCOUNTS;
    }
    return load_tables();
}

/* Begins the batch: accrual at the old prices, then the new ones (protocol/pool/pool.py). */
static int check_prices(void) {
    uint64_t time = certificate.time_ms / 1000;
    if (time <= pool.vault.time) {
        return TIME;
    }
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        const uint8_t *feed_id = pool.terms.feeds + i * FEED_SIZE + 8;
        if (!certificate_price(&certificate, feed_id, &prices[i]) ||
            !quote_of(&pool.quotes[i], &prices[i], &pool.params[i])) {
            return PRICES;
        }
    }
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        Token *token = &pool.tokens[i];
        if (!(pool.vault.flags & VAULT_HALTED)) {
            accrue(token, &pool.params[i], &pool.terms, pool.vault.total_liquidity, time);
        }
        token->last_funding = token->price_time = time;
        token->price = pool.quotes[i].price;
    }
    pool.vault.time = time;
    pool.vault.seq++;
    return refused == ACCEPTED ? 0 : ACCRUAL;
}

static const uint8_t *operations_at; /* their number, behind the deposits */

static int check_deposits(void) {
    const uint8_t *at = batch_at + 4, *previous = NULL;
    if (left(batch_at) < 4) {
        return LENGTH;
    }
    uint32_t n = little_u32(batch_at);
    if (n > left(at) / DEPOSIT_SIZE || (n != 0 && !pool.terms.is_backed)) {
        return DEPOSITS;
    }
    for (uint32_t i = 0; i < n; i++, previous = at, at += DEPOSIT_SIZE) {
        uint64_t sats = little_u64(at + DEPOSIT_SIZE - 8);
        if (sats > SATS_MAX || (previous != NULL && memcmp(previous, at, 36) >= 0)) {
            return DEPOSITS;
        }
        if (!flows_deposit(at + 36, sats)) {
            return PAYMENTS;
        }
    }
    operations_at = at;
    return left(at) < 4 ? LENGTH : 0;
}

/* One operation: as the rules have it, and with the code that the input gives it. */
static int check_operation(const Operation *operation, uint32_t code) {
    uint64_t funds = pool.terms.is_backed ? flows_funds(operation->owner) : UINT64_MAX;
    apply_signed(operation, funds);
    if (refused == NOT_OPENED) {
        return OPENED;
    }
    if ((uint32_t)refused != code) {
        return RESULT;
    }
    if (refused == ACCEPTED && pool.terms.is_backed &&
        !flows_note(operation->owner, draft.inflow, draft.outflow)) {
        return PAYMENTS;
    }
    return 0;
}

static int read_operations(uint32_t n, const uint8_t **at) {
    Operation operation;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t size = operation_read(&operation, *at, left(*at));
        if (size == 0) {
            return OPERATION_FORM;
        }
        *at += size;
    }
    if (left(*at) < n) {
        return LENGTH;
    }
    uint32_t rest = left(*at) - n;
    return rest < 4 && input_length % 4 == 0 && is_zero(*at + n, rest) ? 0 : PADDING;
}

static int check_operations(void) {
    Operation operation;
    uint32_t n = little_u32(operations_at);
    const uint8_t *at = operations_at + 4, *codes = at;
    int failed = read_operations(n, &codes);
    if (failed == 0 && !is_tagged(OPERATIONS_TAG, batch_at, (uint32_t)(codes - batch_at),
                                  input + J_OPERATIONS)) {
        failed = OPERATIONS_ROOT;
    }
    if (pool.terms.is_backed) {
        flows_watch();
    }
    for (uint32_t i = 0; failed == 0 && i < n; i++) {
        at += operation_read(&operation, at, left(at));
        failed = check_operation(&operation, codes[i]);
    }
    return failed;
}

static int check_payments(void) {
    refused = ACCEPTED;
    hash_start(&payments, PAYMENTS_TAG);
    if (pool.terms.is_backed) {
        flows_pay(&payments);
        flows_watch();
    }
    return refused == ACCEPTED ? 0 : PAYMENTS;
}

static int is_prices_root(void) {
    Sha256 hash;
    uint8_t row[PRICE_ROW], digest[HASH];
    hash_start(&hash, PRICES_TAG);
    store_little_u64(row, pool.vault.time);
    sha256_update(&hash, row, 8);
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        store_little_u64(row, pool.tokens[i].id);
        store_little_u64(row + 8, prices[i].price_e8);
        store_little_u64(row + 16, prices[i].conf_e8);
        sha256_update(&hash, row, PRICE_ROW);
    }
    sha256_final(&hash, digest);
    return memcmp(digest, input + J_PRICES, HASH) == 0;
}

static int is_new_root(void) {
    Sha256 hash;
    uint8_t token[TOKEN_SIZE], vault[VAULT_SIZE];
    hash_start(&hash, TOKENS_TAG);
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        token_store(&pool.tokens[i], token);
        sha256_update(&hash, token, TOKEN_SIZE);
    }
    sha256_final(&hash, pool.vault.tokens_root);
    if (!tree_root(&positions, pool.vault.positions_root) ||
        !tree_root(&accounts, pool.vault.lp_root)) {
        return 0;
    }
    vault_store(&pool.vault, vault);
    return is_tagged(STATE_TAG, vault, VAULT_SIZE, input + J_NEW);
}

static int check_claim(void) {
    uint8_t digest[HASH];
    if (little_u64(input + J_SEQ) != pool.vault.seq) {
        return SEQ;
    }
    if (!is_prices_root()) {
        return PRICES_ROOT;
    }
    sha256_final(&payments, digest);
    if (memcmp(digest, input + J_PAYMENTS, HASH) != 0) {
        return PAYMENTS_ROOT;
    }
    return is_new_root() ? 0 : NEW_ROOT;
}

int main(void) {
    static int (*const CHECKS[])(void) = {
        check_parts,  check_certificate, check_state,    check_prices,
        check_deposits, check_operations, check_payments, check_claim,
    };
    hash_prepare();
    int failed = check_terms();
    for (size_t i = 0; failed == 0 && i < sizeof CHECKS / sizeof CHECKS[0]; i++) {
        failed = CHECKS[i]();
    }
    return failed;
}
