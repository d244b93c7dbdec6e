#include "pool_draft.h"

#include "little.h"

Pool pool;
Draft draft;

void draft_begin(uint64_t funds) {
    memset(&draft, 0, sizeof draft);
    draft.vault = pool.vault;
    draft.funds = funds;
    refused = ACCEPTED;
}

uint32_t token_index(uint32_t token) {
    uint32_t i = 0;
    while (i < pool.terms.n_tokens && pool.tokens[i].id != token) {
        i++;
    }
    return i;
}

int draft_load(uint32_t token) {
    uint32_t index = token_index(token);
    if (index == pool.terms.n_tokens) {
        refuse(TOKEN);
        return 0;
    }
    draft.row = &pool.tokens[index];
    draft.token = *draft.row;
    draft.params = &pool.params[index];
    draft.quote = &pool.quotes[index];
    draft.others_reserved = 0;
    for (uint32_t i = 0; i < pool.terms.n_tokens; i++) {
        draft.others_reserved += i == index ? 0 : pool.tokens[i].reserved;
    }
    return 1;
}

static int find(Tree *tree, enum Kind kind, const uint8_t *identity, Place *place) {
    place->at = tree_find(tree, kind, identity, &place->bucket);
    require(place->bucket != NULL, NOT_OPENED);
    return place->at != NULL;
}

static int find_position(void) {
    uint8_t identity[POSITION_SIZE];
    position_store(&draft.old, identity);
    return find(&positions, POSITION, identity, &draft.position_place);
}

int draft_position(const uint8_t owner[HASH], uint32_t token, uint32_t side) {
    memset(&draft.old, 0, sizeof draft.old);
    memcpy(draft.old.owner, owner, HASH);
    draft.old.token = token;
    draft.old.side = side;
    if (!find_position()) {
        return 0;
    }
    position_load(&draft.old, draft.position_place.at);
    return 1;
}

int draft_order(const uint8_t owner[HASH], uint64_t nonce) {
    uint8_t identity[HASH + 8];
    memcpy(identity, owner, HASH);
    store_little_u64(identity + HASH, nonce);
    if (!find(&positions, ORDER, identity, &draft.order_place)) {
        return 0;
    }
    order_load(&draft.order, draft.order_place.at);
    return 1;
}

int draft_account(const uint8_t owner[HASH]) {
    memset(&draft.account, 0, sizeof draft.account);
    memcpy(draft.account.owner, owner, HASH);
    if (!find(&accounts, ACCOUNT, owner, &draft.account_place)) {
        return 0;
    }
    account_load(&draft.account, draft.account_place.at);
    return 1;
}

uint64_t draft_reserved_total(void) {
    return draft.others_reserved + draft.token.reserved;
}

uint64_t draft_free(void) {
    return sub(draft.vault.total_liquidity, draft_reserved_total());
}

void draft_receive(uint64_t amount) {
    require(amount <= draft.funds, DEPOSIT);
    draft.inflow = amount;
}

void draft_share_fee(uint64_t fee) {
    Vault *vault = &draft.vault;
    uint64_t lp = mul_div(fee, pool.terms.lp_fee_share_bps, BPS);
    uint64_t insurance = mul_div(fee, pool.terms.insurance_fee_share_bps, BPS);
    vault->total_liquidity = add(vault->total_liquidity, lp);
    vault->insurance = add(vault->insurance, insurance);
    vault->protocol_fees = add(vault->protocol_fees, fee - lp - insurance);
}

/* What the sums have of a position: size * entry_funding + reserve * entry_borrow. */
static Wide basis_of(const Position *position) {
    Wide basis = wide_product_signed(position->size, position->entry_funding);
    add_i128(&basis, product_i128(position->reserve, position->entry_borrow));
    return basis;
}

void draft_consume(void) {
    const Position *old = &draft.old;
    Token *token = &draft.token;
    token->reserved = sub(token->reserved, old->reserve);
    token->collateral = sub(token->collateral, old->collateral);
    token->oi[old->side] = sub(token->oi[old->side], old->size);
    token->base[old->side] = sub(token->base[old->side], old->base);
    sub_i128(&token->basis[old->side], basis_of(old));
    draft.vault.collateral_total = sub(draft.vault.collateral_total, old->collateral);
    draft.vault.pos_count = sub(draft.vault.pos_count, 1);
    draft.is_consumed = 1;
}

void draft_create(void) {
    const Position *new = &draft.new;
    Token *token = &draft.token;
    token->reserved = add(token->reserved, new->reserve);
    token->collateral = add(token->collateral, new->collateral);
    token->oi[new->side] = add(token->oi[new->side], new->size);
    token->base[new->side] = add(token->base[new->side], new->base);
    add_i128(&token->basis[new->side], basis_of(new));
    draft.vault.collateral_total = add(draft.vault.collateral_total, new->collateral);
    draft.vault.pos_count = add(draft.vault.pos_count, 1);
    draft.is_created = 1;
}

void draft_put_order(void) {
    draft.vault.order_escrow = add(draft.vault.order_escrow, draft.order.deposit);
    draft.is_order_put = 1;
}

void draft_take_order(void) {
    draft.vault.order_escrow = sub(draft.vault.order_escrow, draft.order.deposit);
    draft.is_order_taken = 1;
}

void draft_bump_nonce(void) {
    draft.account.nonce++;
    draft.is_account_put = 1;
}

static void require_room(int is_put, const Place *place) {
    if (is_put && refused == ACCEPTED) {
        require(place->at != NULL || bucket_has_room(place->bucket), BUCKET_FULL);
    }
}

static void put(const Place *place, enum Kind kind, const uint8_t *datum, size_t size) {
    if (place->at != NULL) {
        memcpy(place->at, datum, size);
    } else {
        bucket_insert(place->bucket, kind, datum);
    }
}

/* What the order's going did to the place of the position, if both are in one bucket. */
static void write_order(void) {
    uint8_t datum[ORDER_SIZE];
    if (draft.is_order_put) {
        order_store(&draft.order, datum);
        put(&draft.order_place, ORDER, datum, ORDER_SIZE);
    } else if (draft.is_order_taken) {
        bucket_remove(draft.order_place.bucket, draft.order_place.at);
        if (draft.position_place.at != NULL) {
            find_position();
        }
    }
}

static void write_position(void) {
    uint8_t datum[POSITION_SIZE];
    if (draft.is_created) {
        position_store(&draft.new, datum);
        put(&draft.position_place, POSITION, datum, POSITION_SIZE);
    } else if (draft.is_consumed) {
        bucket_remove(draft.position_place.bucket, draft.position_place.at);
    }
}

void draft_commit(void) {
    uint8_t datum[ACCOUNT_SIZE];
    require_room(draft.is_order_put, &draft.order_place);
    require_room(draft.is_created, &draft.position_place);
    require_room(draft.is_account_put, &draft.account_place);
    if (refused != ACCEPTED) {
        return;
    }
    write_order();
    write_position();
    if (draft.is_account_put) {
        account_store(&draft.account, datum);
        put(&draft.account_place, ACCOUNT, datum, ACCOUNT_SIZE);
    }
    pool.vault = draft.vault;
    if (draft.row != NULL) {
        *draft.row = draft.token;
    }
}
