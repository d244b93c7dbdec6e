/* Profit, loss and health of a position from its base quantity (protocol/pool/pnl.py). */
#ifndef POOL_PNL_H
#define POOL_PNL_H

#include "pool_funding.h"

enum Health { IS_HEALTHY = 0, UNDERWATER = 1, OVER_LEVERAGED = 2 };

typedef struct { /* micro-USDC, at most one above 0 */
    uint64_t profit;
    uint64_t loss;
} Pnl;

uint64_t closing_price(const Quote *quote, uint32_t side);
uint64_t base_of(uint64_t size, uint64_t price, uint32_t side, const TokenParams *params);
uint64_t value_of(uint64_t base, uint64_t price, uint32_t side, const TokenParams *params);
uint64_t base_left(const Position *position, uint64_t size);
Pnl pnl(uint64_t size, uint64_t base, uint32_t side, uint64_t price, const TokenParams *params);
int is_at_cap(const Position *position, uint64_t price, const TokenParams *params);
uint64_t position_fee(uint64_t size, const TokenParams *params);
uint64_t max_size(uint64_t collateral, const TokenParams *params);
enum Health health(uint64_t size, uint64_t base, uint64_t collateral, uint32_t side, uint64_t price,
                   const TokenParams *params);

#endif
