#include "pool_funding.h"

int quote_of(Quote *quote, const FeedPrice *feed, const TokenParams *params) {
    uint64_t price = feed->price_e8;
    if (price == 0 || price > PRICE_MAX) {
        return 0;
    }
    uint64_t half = most(feed->conf_e8, (price * params->spread_bps + BPS - 1) / BPS);
    if (half >= price) {
        return 0;
    }
    quote->price = price;
    quote->min_price = price - half;
    quote->max_price = price + half;
    return 1;
}

/* What the heavier side pays an interval, 10^-12. */
static uint64_t funding_rate(const Token *token, const TokenParams *params, const PoolParams *terms,
                             uint64_t liquidity) {
    uint64_t skew = most(token->oi[LONG], token->oi[SHORT]) - least(token->oi[LONG], token->oi[SHORT]);
    if (liquidity == 0 || skew == 0) {
        return 0;
    }
    uint64_t rate = mul_div((uint64_t)params->funding_ppm * PPM, skew, liquidity);
    return least(rate, (uint64_t)terms->max_rate_ppm * PPM);
}

static uint64_t borrow_rate(const Token *token, const TokenParams *params, const PoolParams *terms,
                            uint64_t liquidity) {
    if (liquidity == 0) {
        return 0;
    }
    uint64_t rate = mul_div((uint64_t)params->borrow_ppm * PPM, token->reserved, liquidity);
    return least(rate, (uint64_t)terms->max_rate_ppm * PPM);
}

static uint64_t growth(uint64_t rate, uint64_t start, uint64_t end, const PoolParams *terms) {
    uint64_t interval = terms->funding_interval_s;
    uint64_t elapsed = least(end - start, terms->max_elapsed_s);
    uint64_t phase = start % interval;
    return rate * (phase + elapsed) / interval - rate * phase / interval;
}

void accrue(Token *token, const TokenParams *params, const PoolParams *terms, uint64_t liquidity,
            uint64_t now) {
    uint64_t start = token->last_funding;
    if (start == 0) {
        return;
    }
    enum Side payer = token->oi[LONG] > token->oi[SHORT] ? LONG : SHORT;
    uint64_t rate = funding_rate(token, params, terms, liquidity);
    int64_t step = (int64_t)growth(rate, start, now, terms);
    token->cum[payer] = add_i64(token->cum[payer], step);
    token->cum[!payer] = sub_i64(token->cum[!payer], step);
    uint64_t fee = borrow_rate(token, params, terms, liquidity);
    token->cum_borrow = add(token->cum_borrow, growth(fee, start, now, terms));
}

Settlement settle(Vault *vault, const Token *token, const Position *position, uint64_t means,
                  uint64_t free) {
    Settlement done = {0, 0, 0};
    int64_t moved = sub_i64(token->cum[position->side], position->entry_funding);
    uint64_t grown = sub(token->cum_borrow, position->entry_borrow);
    uint64_t owed = mul_div_up(position->reserve, grown, INDEX_ONE);
    if (moved > 0) {
        owed = add(owed, mul_div_up(position->size, (uint64_t)moved, INDEX_ONE));
    } else {
        uint64_t gained = mul_div(position->size, 0 - (uint64_t)moved, INDEX_ONE);
        done.received = least(gained, free);
    }
    done.paid = least(owed, add(means, done.received));
    done.unpaid = owed - done.paid;
    vault->total_liquidity = sub(add(vault->total_liquidity, done.paid), done.received);
    return done;
}
