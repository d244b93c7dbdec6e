/* Prices of a batch, funding and borrow (protocol/pool/prices.py, funding.py). */
#ifndef POOL_FUNDING_H
#define POOL_FUNDING_H

#include "certificate.h"
#include "pool_state.h"

typedef struct {
    uint64_t price;
    uint64_t min_price;
    uint64_t max_price;
} Quote;

typedef struct { /* micro-USDC */
    uint64_t paid;
    uint64_t received;
    uint64_t unpaid;
} Settlement;

/* Price -+ max(conf, spread); 0 if the price or its lower bound is outside of 1 .. 10^15. */
int quote_of(Quote *quote, const FeedPrice *feed, const TokenParams *params);

/* Brings the token's indices from last_funding up to `now`. */
void accrue(Token *token, const TokenParams *params, const PoolParams *terms, uint64_t liquidity,
            uint64_t now);

/* Pays a position's funding and borrow into the liquidity, at most `means`, or its funding out of
 * it, at most `free`. */
Settlement settle(Vault *vault, const Token *token, const Position *position, uint64_t means,
                  uint64_t free);

#endif
