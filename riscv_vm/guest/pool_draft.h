/* The pool that a batch changes, and the changes of one operation before they count
 * (protocol/pool/pool.py, draft.py). Nothing of the pool changes before draft_commit. */
#ifndef POOL_DRAFT_H
#define POOL_DRAFT_H

#include "pool_pnl.h"
#include "pool_tree.h"

typedef struct {
    PoolParams terms;
    Vault vault;
    Token tokens[TOKENS_MAX];
    TokenParams params[TOKENS_MAX];
    Quote quotes[TOKENS_MAX];
} Pool;

typedef struct { /* where a datum is, or where it belongs if `at` is NULL */
    Bucket *bucket;
    uint8_t *at;
} Place;

typedef struct {
    Vault vault;
    Token token; /* after draft_load */
    const TokenParams *params;
    const Quote *quote;
    Token *row; /* of the loaded token; NULL before */
    uint64_t others_reserved;
    uint64_t funds; /* what the owner has paid in and not used, micro-USDC */
    uint64_t inflow;
    uint64_t outflow;
    uint64_t profit;
    uint64_t loss;

    Place position_place; /* after draft_position */
    Position old;         /* all zero but for its identity if there is none */
    Position new;
    int is_consumed;
    int is_created;

    Place order_place; /* after draft_order */
    Order order;
    int is_order_put;
    int is_order_taken;

    Place account_place; /* after draft_account */
    Account account;
    int is_account_put;
} Draft;

extern Pool pool;
extern Draft draft;

/* Begins an operation of an owner who has paid in `funds`; forgets the last refusal. */
void draft_begin(uint64_t funds);

/* The row of a token; 0 and TOKEN if the pool has none such. */
int draft_load(uint32_t token);

/* The index of a token, terms.n_tokens if the pool has none such. */
uint32_t token_index(uint32_t token);

/* Look up a datum; 0 if there is none. NOT_OPENED if the batch did not open its bucket. */
int draft_position(const uint8_t owner[HASH], uint32_t token, uint32_t side);
int draft_order(const uint8_t owner[HASH], uint64_t nonce);
int draft_account(const uint8_t owner[HASH]);

uint64_t draft_reserved_total(void);
uint64_t draft_free(void);
void draft_receive(uint64_t amount);
void draft_share_fee(uint64_t fee);
void draft_consume(void);
void draft_create(void);
void draft_put_order(void);
void draft_take_order(void);

/* Uses up the account's nonce, after draft_account. */
void draft_bump_nonce(void);

/* Makes all of it count unless something was refused; BUCKET_FULL if a new datum finds no room. */
void draft_commit(void);

#endif
