#include "pool_rules.h"

void create_order(const Operation *operation) {
    const uint64_t *amounts = operation->amounts;
    require(token_index(operation->token) < pool.terms.n_tokens, TOKEN);
    draft_receive(amounts[0]);
    require(amounts[0] != 0 || amounts[1] != 0 || amounts[2] != 0, EMPTY);
    draft_order(operation->owner, operation->nonce);
    Order *order = &draft.order;
    memcpy(order->owner, operation->owner, HASH);
    order->nonce = operation->nonce;
    order->token = operation->token;
    order->kind = operation->order_kind;
    order->side = operation->side;
    order->flags = operation->flags;
    order->deposit = amounts[0];
    order->size = amounts[1];
    order->collateral = amounts[2];
    order->trigger_price = amounts[3];
    order->acceptable_price = amounts[4];
    order->expiry = amounts[5];
    order->commit_seq = draft.vault.seq;
    draft_put_order();
    draft_bump_nonce();
}

static int load(const Operation *operation) {
    int is_there = draft_order(operation->owner, operation->amounts[0]);
    require(is_there, NO_ORDER);
    return is_there;
}

void cancel_order(const Operation *operation) {
    if (!load(operation)) {
        return;
    }
    const Order *order = &draft.order;
    require(order->kind != MARKET || draft.vault.seq > order->commit_seq + 1, PENDING);
    draft_take_order();
    draft.outflow = order->deposit;
    draft_bump_nonce();
}

/* A buy waits for a price at or below the trigger of a limit or take-profit, a sale for one at or
 * above; a stop the other way round. */
static int is_due(const Order *order, const Quote *quote) {
    if (order->kind == MARKET) {
        return draft.vault.seq == order->commit_seq + 1;
    }
    if (draft.vault.seq <= order->commit_seq) {
        return 0;
    }
    int is_decrease = (order->flags & ORDER_DECREASE) != 0;
    int is_buy = (order->side == LONG) != is_decrease;
    int is_falling = order->kind == LIMIT || order->kind == TAKE_PROFIT;
    uint64_t price = is_buy ? quote->max_price : quote->min_price;
    return is_falling == is_buy ? price <= order->trigger_price : price >= order->trigger_price;
}

void fill_order(const Operation *operation) {
    if (!load(operation)) {
        return;
    }
    const Order *order = &draft.order;
    uint32_t index = token_index(order->token);
    if (index == pool.terms.n_tokens) {
        refuse(TOKEN);
        return;
    }
    require(draft.vault.time <= order->expiry, EXPIRED);
    require(is_due(order, &pool.quotes[index]), NOT_DUE);
    draft_take_order();
    Trade trade = {order->owner, order->token,      order->side,            order->deposit,
                   order->size,  order->collateral, order->acceptable_price};
    if (!(order->flags & ORDER_DECREASE)) {
        increase(&trade, 1);
        return;
    }
    if ((order->flags & ORDER_REDUCE_ONLY) &&
        draft_position(order->owner, order->token, order->side)) {
        trade.size = least(trade.size, draft.old.size);
    }
    decrease(&trade);
}
