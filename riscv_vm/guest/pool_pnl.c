#include "pool_pnl.h"

uint64_t closing_price(const Quote *quote, uint32_t side) {
    return side == LONG ? quote->min_price : quote->max_price;
}

uint64_t base_of(uint64_t size, uint64_t price, uint32_t side, const TokenParams *params) {
    return (side == LONG ? mul_div : mul_div_up)(size, params->unit, price);
}

uint64_t value_of(uint64_t base, uint64_t price, uint32_t side, const TokenParams *params) {
    return (side == LONG ? mul_div : mul_div_up)(base, price, params->unit);
}

uint64_t base_left(const Position *position, uint64_t size) {
    return (position->side == LONG ? mul_div : mul_div_up)(position->base, position->size - size,
                                                           position->size);
}

Pnl pnl(uint64_t size, uint64_t base, uint32_t side, uint64_t price, const TokenParams *params) {
    uint64_t value = value_of(base, price, side, params);
    Pnl found;
    found.profit = side == LONG ? less(value, size) : less(size, value);
    found.loss = side == LONG ? less(size, value) : less(value, size);
    return found;
}

int is_at_cap(const Position *position, uint64_t price, const TokenParams *params) {
    uint64_t profit = pnl(position->size, position->base, position->side, price, params).profit;
    return profit != 0 && profit >= position->reserve;
}

uint64_t position_fee(uint64_t size, const TokenParams *params) {
    return mul_div_up(size, params->fee_bps, BPS);
}

uint64_t max_size(uint64_t collateral, const TokenParams *params) {
    return mul_div(collateral, params->max_leverage_bps, BPS);
}

enum Health health(uint64_t size, uint64_t base, uint64_t collateral, uint32_t side, uint64_t price,
                   const TokenParams *params) {
    uint64_t loss = pnl(size, base, side, price, params).loss;
    if (loss > collateral) {
        return UNDERWATER;
    }
    uint64_t left = collateral - loss;
    if (left < position_fee(size, params) + params->liquidation_fee) {
        return UNDERWATER;
    }
    return size > max_size(left, params) ? OVER_LEVERAGED : IS_HEALTHY;
}
