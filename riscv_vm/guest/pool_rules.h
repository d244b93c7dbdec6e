/* The operations' rules, each on the draft: protocol/pool/trade.py, closing.py, liquidity.py,
 * orders.py, with the same names and the same order of checks. */
#ifndef POOL_RULES_H
#define POOL_RULES_H

#include "pool_draft.h"
#include "pool_operation.h"

typedef struct { /* what an operation and an order say alike */
    const uint8_t *owner;
    uint32_t token;
    uint32_t side;
    uint64_t deposit;
    uint64_t size;
    uint64_t collateral;
    uint64_t acceptable_price;
} Trade;

void increase(const Trade *trade, int is_escrowed);
void decrease(const Trade *trade);

void liquidate(const Operation *operation);
void close_at_cap(const Operation *operation);
void require_solvent(const Settlement *settled);
void close_position(const Settlement *settled, uint64_t liquidation_fee);

void add_liquidity(const Operation *operation);
void remove_liquidity(const Operation *operation);

void create_order(const Operation *operation);
void cancel_order(const Operation *operation);
void fill_order(const Operation *operation);

/* One operation of an owner who has paid in `funds`: afterwards `refused` says whether and why it
 * changed nothing, else draft.inflow and draft.outflow are its flows. */
void apply_signed(const Operation *operation, uint64_t funds);

#endif
