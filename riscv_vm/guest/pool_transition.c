#include "pool_rules.h"

static int is_closing(uint32_t kind) {
    return kind == DECREASE || kind == LIQUIDATE || kind == CLOSE_AT_CAP ||
           kind == REMOVE_LIQUIDITY || kind == CANCEL_ORDER;
}

/* Nonce and deadline of what is signed, then what the pool's flags allow. */
static void authorise(const Operation *operation) {
    uint32_t flags = draft.vault.flags, kind = operation->kind;
    if (operation->signature != NULL) {
        draft_account(operation->owner);
        require(operation->nonce == draft.account.nonce, NONCE);
        require(draft.vault.time <= operation->deadline, DEADLINE);
    }
    require(!(flags & VAULT_HALTED), HALTED);
    if (flags & VAULT_CLOSE_ONLY) {
        require(is_closing(kind), CLOSE_ONLY);
    } else if (flags & VAULT_ORDERS_ONLY) {
        require(kind != INCREASE && kind != DECREASE, ORDER_REQUIRED);
    }
}

static void trade_directly(const Operation *operation) {
    const uint64_t *amounts = operation->amounts;
    Trade trade = {operation->owner, operation->token, operation->side, 0, 0, 0, amounts[2]};
    if (operation->kind == INCREASE) {
        trade.deposit = amounts[0];
        trade.size = amounts[1];
        increase(&trade, 0);
    } else {
        trade.size = amounts[0];
        trade.collateral = amounts[1];
        decrease(&trade);
    }
    draft_bump_nonce();
}

static void apply(const Operation *operation) {
    switch (operation->kind) {
    case ADD_LIQUIDITY:
        add_liquidity(operation);
        break;
    case REMOVE_LIQUIDITY:
        remove_liquidity(operation);
        break;
    case LIQUIDATE:
        liquidate(operation);
        break;
    case CLOSE_AT_CAP:
        close_at_cap(operation);
        break;
    case CREATE_ORDER:
        create_order(operation);
        break;
    case CANCEL_ORDER:
        cancel_order(operation);
        break;
    case FILL_ORDER:
        fill_order(operation);
        break;
    default:
        trade_directly(operation);
    }
}

void apply_signed(const Operation *operation, uint64_t funds) {
    draft_begin(funds);
    require(operation_is_authentic(operation, pool.terms.pool_id), SIGNATURE);
    if (refused == ACCEPTED) {
        authorise(operation);
    }
    if (refused == ACCEPTED) {
        apply(operation);
        draft_commit();
    }
}
