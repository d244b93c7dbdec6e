#include "pool_rules.h"

enum { DEAD_SHARES = 1000 };
#define POOL_MAX 10000000000000000u

typedef uint64_t Rounded(uint64_t a, uint64_t b, uint64_t c);

/* What the positions of a token owe for funding and borrow, 10^-18 USDC. */
static Wide pending_of(const Token *token) {
    Wide owed = wide_product_signed(token->oi[LONG], token->cum[LONG]);
    sub_i128(&owed, token->basis[LONG]);
    add_i128(&owed, wide_product_signed(token->oi[SHORT], token->cum[SHORT]));
    sub_i128(&owed, token->basis[SHORT]);
    return owed;
}

static uint64_t assets_under_management(int is_max) {
    uint64_t high = pool.vault.total_liquidity, low = 0;
    Wide pending = {0, 0};
    Rounded *divide = is_max ? mul_div : mul_div_up, *other = is_max ? mul_div_up : mul_div;
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        const Token *token = &pool.tokens[i];
        const Quote *quote = &pool.quotes[i];
        uint64_t unit = pool.params[i].unit;
        uint64_t long_price = is_max ? quote->min_price : quote->max_price;
        uint64_t short_price = is_max ? quote->max_price : quote->min_price;
        uint64_t longs = divide(token->base[LONG], long_price, unit);
        uint64_t shorts = other(token->base[SHORT], short_price, unit);
        if (is_max) { /* no profit above the reserves is paid */
            longs = least(longs, add(token->oi[LONG], token->reserved));
            shorts = most(shorts, less(token->oi[SHORT], token->reserved));
        }
        low = add(low, add(longs, token->oi[SHORT]));
        high = add(high, add(shorts, token->oi[LONG]));
        add_i128(&pending, pending_of(token));
        add_i128(&pending, product_i128(token->reserved, token->cum_borrow));
    }
    if (wide_is_negative(pending)) {
        Wide magnitude = {0, 0};
        sub_i128(&magnitude, pending);
        low = add(low, (is_max ? index_floor : index_ceil)(magnitude));
    } else {
        high = add(high, (is_max ? index_ceil : index_floor)(pending));
    }
    return less(high, low);
}

void add_liquidity(const Operation *operation) {
    Vault *vault = &draft.vault;
    uint64_t amount = operation->amounts[0], min_glp = operation->amounts[1];
    draft_receive(amount);
    uint64_t fee = mul_div_up(amount, pool.terms.liquidity_fee_bps, BPS);
    uint64_t paid = amount - fee, minted = paid, glp = less(paid, DEAD_SHARES);
    if (vault->glp_supply != 0) {
        uint64_t value = most(assets_under_management(1), vault->total_liquidity);
        require(value != 0, NO_VALUE);
        minted = glp = mul_div(paid, vault->glp_supply, value);
    }
    require(glp != 0, NO_VALUE);
    require(glp >= min_glp, SLIPPAGE);
    vault->glp_supply = add(vault->glp_supply, minted);
    vault->total_liquidity = add(vault->total_liquidity, paid);
    draft_share_fee(fee);
    require(vault->total_liquidity <= POOL_MAX, OVERFLOW);
    draft.account.glp = add(draft.account.glp, glp);
    draft.account.last_added = vault->time;
    draft_bump_nonce();
}

/* Every cap on reserves, at the liquidity that is left. */
static void check_reserves(void) {
    uint64_t liquidity = draft.vault.total_liquidity, total = 0;
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        uint64_t limit = mul_div(liquidity, pool.params[i].max_utilization_bps, BPS);
        require(pool.tokens[i].reserved <= limit, UTILIZATION);
        total += pool.tokens[i].reserved;
    }
    require(total <= mul_div(liquidity, pool.terms.global_cap_bps, BPS), GLOBAL_CAP);
}

void remove_liquidity(const Operation *operation) {
    Vault *vault = &draft.vault;
    Account *account = &draft.account;
    uint64_t glp = operation->amounts[0], min_out = operation->amounts[1];
    require(glp != 0, NO_VALUE);
    require(glp <= account->glp, GLP_BALANCE);
    require(account->last_added + pool.terms.cooldown_s <= vault->time, COOLDOWN);
    uint64_t value = least(assets_under_management(0), vault->total_liquidity);
    uint64_t worth = mul_div(glp, value, vault->glp_supply);
    require(worth != 0, NO_VALUE);
    uint64_t fee = mul_div_up(worth, pool.terms.liquidity_fee_bps, BPS);
    draft.outflow = worth - fee;
    require(draft.outflow >= min_out, SLIPPAGE);
    vault->glp_supply = sub(vault->glp_supply, glp);
    vault->total_liquidity = sub(vault->total_liquidity, worth);
    draft_share_fee(fee);
    check_reserves();
    account->glp -= glp;
    draft_bump_nonce();
}
