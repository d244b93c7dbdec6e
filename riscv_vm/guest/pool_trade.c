#include "pool_rules.h"

enum { FULL_RESERVE = -1 };

static void require_tradable(uint32_t side) {
    require(draft.token.flags & TOKEN_WHITELISTED, TOKEN);
    require(side != SHORT || (draft.token.flags & TOKEN_SHORTABLE), NOT_SHORTABLE);
}

/* The price against an increase, moved by up to impact_bps with the skew that it leaves. */
static uint64_t entry_price(uint32_t side, uint64_t size) {
    const Token *token = &draft.token;
    uint64_t price = side == LONG ? draft.quote->max_price : draft.quote->min_price;
    uint64_t liquidity = draft.vault.total_liquidity;
    if (draft.params->impact_bps == 0 || liquidity == 0) {
        return price;
    }
    uint64_t skew = less(token->oi[side] + size, token->oi[!side]);
    uint64_t furthest = mul_div_up(price, draft.params->impact_bps, BPS);
    uint64_t moved = mul_div_up(furthest, least(skew, liquidity), liquidity);
    return side == LONG ? price + moved : sub(price, moved);
}

static uint64_t reserve_of(uint64_t collateral, uint64_t size) {
    if (draft.params->max_profit_bps == (uint32_t)FULL_RESERVE) {
        return size;
    }
    return least(mul_div_up(collateral, draft.params->max_profit_bps, BPS), size);
}

static int is_worse(uint64_t price, uint64_t acceptable, int is_buy) {
    return is_buy ? price > acceptable : price < acceptable;
}

static uint32_t next_nonce(const Position *position) {
    require(position->nonce != UINT32_MAX, OVERFLOW);
    return position->nonce + 1;
}

/* Leverage, then utilisation; a size that no position may have is out of bounds. */
static void check_brief(void) {
    const Position *new = &draft.new;
    require(new->size <= AMOUNT_MAX, OVERFLOW);
    require(new->size <= max_size(new->collateral, draft.params), LEVERAGE);
    uint64_t added = new->reserve - draft.old.reserve;
    uint64_t limit =
        mul_div(draft.vault.total_liquidity, draft.params->max_utilization_bps, BPS);
    require(added == 0 || draft.token.reserved + added <= limit, UTILIZATION);
}

/* The cap on all reserves, and the token's on open interest, after the increase. */
static void check_caps(uint32_t side) {
    uint64_t limit = mul_div(draft.vault.total_liquidity, pool.terms.global_cap_bps, BPS);
    require(draft_reserved_total() <= limit, GLOBAL_CAP);
    require(draft.token.oi[side] <= draft.params->oi_cap[side], OPEN_INTEREST_CAP);
}

/* Leverage of at least 1, and health. */
static void check_open(void) {
    const Position *new = &draft.new;
    require(new->size >= new->collateral, SIZE_BELOW_COLLATERAL);
    uint64_t price = closing_price(draft.quote, new->side);
    enum Health state =
        health(new->size, new->base, new->collateral, new->side, price, draft.params);
    require(state == IS_HEALTHY, LIQUIDATABLE);
}

/* The position that the trade leaves, but for its amounts. */
static void renew(void) {
    Position *new = &draft.new;
    *new = draft.old;
    new->nonce = next_nonce(&draft.old);
    new->entry_funding = draft.token.cum[new->side];
    new->entry_borrow = draft.token.cum_borrow;
}

void increase(const Trade *trade, int is_escrowed) {
    if (!draft_load(trade->token)) {
        return;
    }
    require_tradable(trade->side);
    uint64_t price = entry_price(trade->side, trade->size);
    int is_held = draft_position(trade->owner, trade->token, trade->side);
    const Position *old = &draft.old;
    Position *new = &draft.new;
    Settlement settled = settle(&draft.vault, &draft.token, old,
                                add(old->collateral, trade->deposit), draft_free());
    uint64_t fee = position_fee(trade->size, draft.params);
    uint64_t means = sub(old->collateral + trade->deposit + settled.received, settled.paid);
    renew();
    new->size += trade->size;
    new->base = add(old->base, base_of(trade->size, price, trade->side, draft.params));
    new->collateral = less(means, fee);
    new->reserve += reserve_of(less(trade->deposit, fee), trade->size);
    new->opened = old->opened != 0 ? old->opened : draft.vault.time;
    new->last_increased = draft.vault.time;
    check_brief();
    if (!is_escrowed) {
        draft_receive(trade->deposit);
    }
    require(new->collateral >= draft.params->min_collateral, MIN_COLLATERAL);
    require(means >= fee, FEE);
    draft_share_fee(fee);
    if (is_held) {
        draft_consume();
    }
    draft_create();
    int is_buy = trade->side == LONG;
    require(trade->size == 0 || !is_worse(price, trade->acceptable_price, is_buy), PRICE);
    require(trade->size != 0 || trade->deposit != 0, EMPTY);
    check_open();
    if (trade->size != 0) {
        check_caps(trade->side);
        /* A larger reserve would revive the profit that the one of before had cut off. */
        uint64_t now = closing_price(draft.quote, old->side);
        require(!is_held || !is_at_cap(old, now, draft.params), AT_CAP);
    }
}

/* Takes the fee from what goes out if that is more, else from the collateral; the first is left. */
static uint64_t take_fee(uint64_t out, uint64_t fee, uint64_t *collateral) {
    if (out > fee) {
        return out - fee;
    }
    require(*collateral >= fee, FEE);
    *collateral -= fee;
    return out;
}

/* A decrease that does not close. */
static void reduce(const Trade *trade, const Settlement *settled) {
    Vault *vault = &draft.vault;
    const Position *old = &draft.old;
    Position *new = &draft.new;
    uint64_t reserve_delta = mul_div(old->reserve, trade->size, old->size);
    uint64_t price = closing_price(draft.quote, old->side);
    Pnl found = pnl(old->size, old->base, old->side, price, draft.params);
    uint64_t profit = least(mul_div(found.profit, trade->size, old->size), reserve_delta);
    uint64_t loss = mul_div_up(found.loss, trade->size, old->size);
    uint64_t collateral = sub(old->collateral + settled->received, settled->paid);
    require(loss <= collateral, LOSS_EXCEEDS_COLLATERAL);
    collateral -= loss;
    require(trade->collateral <= collateral, COLLATERAL_TOO_LARGE);
    collateral -= trade->collateral;
    vault->total_liquidity = sub(add(vault->total_liquidity, loss), profit);
    uint64_t fee = position_fee(trade->size, draft.params);
    draft.outflow = take_fee(profit + trade->collateral, fee, &collateral);
    draft_share_fee(fee);
    renew();
    new->size -= trade->size;
    new->base = base_left(old, trade->size);
    new->collateral = collateral;
    new->reserve -= reserve_delta;
    draft_consume();
    draft_create();
    require(new->collateral >= draft.params->min_collateral, MIN_COLLATERAL);
    check_open();
}

void decrease(const Trade *trade) {
    if (!draft_load(trade->token)) {
        return;
    }
    if (!draft_position(trade->owner, trade->token, trade->side)) {
        refuse(NO_POSITION);
        return;
    }
    const Position *old = &draft.old;
    require(trade->size <= old->size, SIZE_TOO_LARGE);
    require(trade->collateral <= old->collateral, COLLATERAL_TOO_LARGE);
    uint64_t price = closing_price(draft.quote, trade->side);
    int is_buy = trade->side == SHORT;
    require(trade->size == 0 || !is_worse(price, trade->acceptable_price, is_buy), PRICE);
    require(trade->size != 0 || trade->collateral != 0, EMPTY);
    Settlement settled =
        settle(&draft.vault, &draft.token, old, old->collateral, draft_free());
    if (trade->size == old->size) {
        require_solvent(&settled);
        close_position(&settled, 0);
    } else {
        reduce(trade, &settled);
    }
}
