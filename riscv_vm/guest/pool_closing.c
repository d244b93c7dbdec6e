#include "pool_rules.h"

/* What is left of the old position's collateral once funding and borrow are settled. */
static uint64_t settled_collateral(const Settlement *settled) {
    return sub(draft.old.collateral + settled->received, settled->paid);
}

static int load(const Operation *operation) {
    if (!draft_load(operation->token)) {
        return 0;
    }
    int is_there = draft_position(operation->owner, operation->token, operation->side);
    require(is_there, NO_POSITION);
    return is_there;
}

void liquidate(const Operation *operation) {
    if (!load(operation)) {
        return;
    }
    const Position *old = &draft.old;
    Settlement settled =
        settle(&draft.vault, &draft.token, old, old->collateral, draft_free());
    uint64_t price = closing_price(draft.quote, old->side);
    enum Health state = health(old->size, old->base, settled_collateral(&settled), old->side, price,
                               draft.params);
    require(state != IS_HEALTHY || settled.unpaid != 0, HEALTHY);
    int is_underwater = state == UNDERWATER || settled.unpaid != 0;
    close_position(&settled, is_underwater ? draft.params->liquidation_fee : 0);
}

void close_at_cap(const Operation *operation) {
    if (!load(operation)) {
        return;
    }
    const Position *old = &draft.old;
    uint64_t price = closing_price(draft.quote, old->side);
    require(is_at_cap(old, price, draft.params), NOT_AT_CAP);
    Settlement settled =
        settle(&draft.vault, &draft.token, old, old->collateral, draft_free());
    close_position(&settled, 0);
}

void require_solvent(const Settlement *settled) {
    const Position *old = &draft.old;
    uint64_t price = closing_price(draft.quote, old->side);
    uint64_t loss = pnl(old->size, old->base, old->side, price, draft.params).loss;
    require(settled->unpaid == 0 && loss <= settled_collateral(settled), LOSS_EXCEEDS_COLLATERAL);
}

/* What a position closed below zero still owed: the insurance pays, the rest is the LPs'. */
static void write_off(uint64_t debt) {
    Vault *vault = &draft.vault;
    uint64_t paid = least(debt, vault->insurance);
    vault->insurance -= paid;
    vault->total_liquidity = add(vault->total_liquidity, paid);
    vault->bad_debt = add(vault->bad_debt, debt - paid);
}

void close_position(const Settlement *settled, uint64_t liquidation_fee) {
    Vault *vault = &draft.vault;
    const Position *old = &draft.old;
    uint64_t price = closing_price(draft.quote, old->side);
    Pnl found = pnl(old->size, old->base, old->side, price, draft.params);
    uint64_t collateral = settled_collateral(settled);
    draft.profit = least(found.profit, old->reserve);
    draft.loss = least(found.loss, collateral);
    uint64_t arrears = least(settled->unpaid, draft.profit);
    vault->total_liquidity =
        sub(add(vault->total_liquidity, draft.loss + arrears), draft.profit);
    uint64_t out = collateral - draft.loss + draft.profit - arrears;
    uint64_t fee = least(position_fee(old->size, draft.params), out);
    draft_share_fee(fee);
    liquidation_fee = least(liquidation_fee, out - fee);
    vault->insurance = add(vault->insurance, liquidation_fee);
    draft.outflow = out - fee - liquidation_fee;
    write_off(add(less(found.loss, collateral), settled->unpaid - arrears));
    draft_consume();
}
