#include "pool_state.h"

#include "little.h"
#include "pool_hash.h"

enum { VERSION = 1, FEED_SIZE = 40, FEEDS_AT = 136, EXP_MAX = 18 };

/* A place in an encoding; every step moves it on. */
typedef struct {
    const uint8_t *at;
} Reader;

typedef struct {
    uint8_t *at;
} Writer;

static uint32_t read(Reader *reader, int bytes) {
    uint32_t value = bytes == 4   ? little_u32(reader->at)
                     : bytes == 2 ? little_u16(reader->at)
                                  : reader->at[0];
    reader->at += bytes;
    return value;
}

static uint64_t read_u64(Reader *reader) {
    reader->at += 8;
    return little_u64(reader->at - 8);
}

static void read_hash(Reader *reader, uint8_t hash[HASH]) {
    memcpy(hash, reader->at, HASH);
    reader->at += HASH;
}

static Wide read_wide(Reader *reader) {
    Wide wide;
    wide.low = read_u64(reader);
    wide.high = read_u64(reader);
    return wide;
}

static void write(Writer *writer, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        *writer->at++ = (uint8_t)(value >> 8 * i);
    }
}

static void write_u64(Writer *writer, uint64_t value) {
    store_little_u64(writer->at, value);
    writer->at += 8;
}

static void write_hash(Writer *writer, const uint8_t hash[HASH]) {
    memcpy(writer->at, hash, HASH);
    writer->at += HASH;
}

static void write_wide(Writer *writer, Wide wide) {
    write_u64(writer, wide.low);
    write_u64(writer, wide.high);
}

int vault_load(Vault *vault, const uint8_t at[VAULT_SIZE]) {
    Reader reader = {at};
    vault->version = read(&reader, 2);
    vault->n_tokens = read(&reader, 2);
    vault->flags = read(&reader, 4);
    vault->seq = read_u64(&reader);
    vault->time = read_u64(&reader);
    vault->total_liquidity = read_u64(&reader);
    vault->collateral_total = read_u64(&reader);
    vault->protocol_fees = read_u64(&reader);
    vault->insurance = read_u64(&reader);
    vault->glp_supply = read_u64(&reader);
    vault->pos_count = read_u64(&reader);
    vault->bad_debt = read_u64(&reader);
    read_hash(&reader, vault->stable_id);
    read_hash(&reader, vault->params_root);
    read_hash(&reader, vault->tokens_root);
    read_hash(&reader, vault->positions_root);
    read_hash(&reader, vault->lp_root);
    vault->vault_sats = read_u64(&reader);
    vault->order_escrow = read_u64(&reader);
    return vault->version == VERSION && vault->n_tokens <= TOKENS_MAX;
}

void vault_store(const Vault *vault, uint8_t at[VAULT_SIZE]) {
    Writer writer = {at};
    write(&writer, vault->version, 2);
    write(&writer, vault->n_tokens, 2);
    write(&writer, vault->flags, 4);
    write_u64(&writer, vault->seq);
    write_u64(&writer, vault->time);
    write_u64(&writer, vault->total_liquidity);
    write_u64(&writer, vault->collateral_total);
    write_u64(&writer, vault->protocol_fees);
    write_u64(&writer, vault->insurance);
    write_u64(&writer, vault->glp_supply);
    write_u64(&writer, vault->pos_count);
    write_u64(&writer, vault->bad_debt);
    write_hash(&writer, vault->stable_id);
    write_hash(&writer, vault->params_root);
    write_hash(&writer, vault->tokens_root);
    write_hash(&writer, vault->positions_root);
    write_hash(&writer, vault->lp_root);
    write_u64(&writer, vault->vault_sats);
    write_u64(&writer, vault->order_escrow);
}

void token_load(Token *token, const uint8_t at[TOKEN_SIZE]) {
    Reader reader = {at};
    token->id = read(&reader, 4);
    token->flags = read(&reader, 4);
    token->reserved = read_u64(&reader);
    token->collateral = read_u64(&reader);
    token->oi[LONG] = read_u64(&reader);
    token->oi[SHORT] = read_u64(&reader);
    token->base[LONG] = read_u64(&reader);
    token->base[SHORT] = read_u64(&reader);
    token->cum[LONG] = (int64_t)read_u64(&reader);
    token->cum[SHORT] = (int64_t)read_u64(&reader);
    token->cum_borrow = read_u64(&reader);
    token->basis[LONG] = read_wide(&reader);
    token->basis[SHORT] = read_wide(&reader);
    token->last_funding = read_u64(&reader);
    token->price = read_u64(&reader);
    token->price_time = read_u64(&reader);
}

void token_store(const Token *token, uint8_t at[TOKEN_SIZE]) {
    Writer writer = {at};
    write(&writer, token->id, 4);
    write(&writer, token->flags, 4);
    write_u64(&writer, token->reserved);
    write_u64(&writer, token->collateral);
    write_u64(&writer, token->oi[LONG]);
    write_u64(&writer, token->oi[SHORT]);
    write_u64(&writer, token->base[LONG]);
    write_u64(&writer, token->base[SHORT]);
    write_u64(&writer, (uint64_t)token->cum[LONG]);
    write_u64(&writer, (uint64_t)token->cum[SHORT]);
    write_u64(&writer, token->cum_borrow);
    write_wide(&writer, token->basis[LONG]);
    write_wide(&writer, token->basis[SHORT]);
    write_u64(&writer, token->last_funding);
    write_u64(&writer, token->price);
    write_u64(&writer, token->price_time);
}

static uint64_t power_of_ten(uint32_t exp) {
    uint64_t power = 1;
    for (; exp > 0; exp--) {
        power *= 10;
    }
    return power;
}

int token_params_load(TokenParams *params, const uint8_t at[PARAMS_SIZE]) {
    Reader reader = {at};
    uint32_t price_exp = read(&reader, 1), exp = price_exp + read(&reader, 1);
    params->max_utilization_bps = read(&reader, 2);
    params->fee_bps = read(&reader, 2);
    params->spread_bps = read(&reader, 2);
    params->impact_bps = read(&reader, 2);
    reader.at += 2;
    params->max_leverage_bps = read(&reader, 4);
    params->max_profit_bps = read(&reader, 4);
    params->funding_ppm = read(&reader, 4);
    params->borrow_ppm = read(&reader, 4);
    reader.at += 4;
    params->oi_cap[LONG] = read_u64(&reader);
    params->oi_cap[SHORT] = read_u64(&reader);
    params->min_collateral = read_u64(&reader);
    params->liquidation_fee = read_u64(&reader);
    if (exp < 6 || exp > 6 + EXP_MAX) {
        return 0;
    }
    params->unit = power_of_ten(exp - 6);
    params->sats_unit = power_of_ten(price_exp + 2); /* of more than 19 digits for no Bitcoin */
    return 1;
}

int pool_params_load(PoolParams *params, const uint8_t at[POOL_PARAMS_SIZE]) {
    Reader reader = {at + 4};
    params->is_backed = read(&reader, 4) & 1;
    params->lp_fee_share_bps = read(&reader, 2);
    params->insurance_fee_share_bps = read(&reader, 2);
    params->global_cap_bps = read(&reader, 2);
    params->liquidity_fee_bps = read(&reader, 2);
    params->funding_interval_s = read(&reader, 4);
    params->max_elapsed_s = read(&reader, 4);
    params->max_rate_ppm = read(&reader, 4);
    params->cooldown_s = read(&reader, 4);
    params->btc_token = read(&reader, 4);
    params->n_tokens = read(&reader, 4);
    params->oracle_config = reader.at + HASH;
    params->feeds = at + FEEDS_AT;
    hash_tagged(TERMS_TAG, at, POOL_PARAMS_SIZE, params->pool_id);
    return memcmp(at, "POL1", 4) == 0 && params->n_tokens >= 1 &&
           params->n_tokens <= TOKENS_MAX && params->funding_interval_s != 0;
}

void position_load(Position *position, const uint8_t at[POSITION_SIZE]) {
    Reader reader = {at};
    read_hash(&reader, position->owner);
    position->token = read(&reader, 4);
    position->side = read(&reader, 4) & 1; /* no flags, padding */
    position->nonce = read(&reader, 4);
    reader.at += 4;
    position->size = read_u64(&reader);
    position->base = read_u64(&reader);
    position->collateral = read_u64(&reader);
    position->reserve = read_u64(&reader);
    position->entry_funding = (int64_t)read_u64(&reader);
    position->entry_borrow = read_u64(&reader);
    position->opened = read_u64(&reader);
    position->last_increased = read_u64(&reader);
}

void position_store(const Position *position, uint8_t at[POSITION_SIZE]) {
    Writer writer = {at};
    write_hash(&writer, position->owner);
    write(&writer, position->token, 4);
    write(&writer, position->side, 4);
    write(&writer, position->nonce, 4);
    write(&writer, 0, 4);
    write_u64(&writer, position->size);
    write_u64(&writer, position->base);
    write_u64(&writer, position->collateral);
    write_u64(&writer, position->reserve);
    write_u64(&writer, (uint64_t)position->entry_funding);
    write_u64(&writer, position->entry_borrow);
    write_u64(&writer, position->opened);
    write_u64(&writer, position->last_increased);
}

void order_load(Order *order, const uint8_t at[ORDER_SIZE]) {
    Reader reader = {at};
    read_hash(&reader, order->owner);
    order->nonce = read_u64(&reader);
    order->token = read(&reader, 4);
    order->kind = read(&reader, 1);
    order->side = read(&reader, 1) & 1;
    order->flags = read(&reader, 1);
    reader.at += 1;
    order->deposit = read_u64(&reader);
    order->size = read_u64(&reader);
    order->collateral = read_u64(&reader);
    order->trigger_price = read_u64(&reader);
    order->acceptable_price = read_u64(&reader);
    order->expiry = read_u64(&reader);
    order->commit_seq = read_u64(&reader);
}

void order_store(const Order *order, uint8_t at[ORDER_SIZE]) {
    Writer writer = {at};
    write_hash(&writer, order->owner);
    write_u64(&writer, order->nonce);
    write(&writer, order->token, 4);
    write(&writer, order->kind, 1);
    write(&writer, order->side, 1);
    write(&writer, order->flags, 1);
    write(&writer, 0, 1);
    write_u64(&writer, order->deposit);
    write_u64(&writer, order->size);
    write_u64(&writer, order->collateral);
    write_u64(&writer, order->trigger_price);
    write_u64(&writer, order->acceptable_price);
    write_u64(&writer, order->expiry);
    write_u64(&writer, order->commit_seq);
    write_u64(&writer, 0);
}

void account_load(Account *account, const uint8_t at[ACCOUNT_SIZE]) {
    Reader reader = {at};
    read_hash(&reader, account->owner);
    account->nonce = read_u64(&reader);
    account->glp = read_u64(&reader);
    account->last_added = read_u64(&reader);
}

void account_store(const Account *account, uint8_t at[ACCOUNT_SIZE]) {
    Writer writer = {at};
    write_hash(&writer, account->owner);
    write_u64(&writer, account->nonce);
    write_u64(&writer, account->glp);
    write_u64(&writer, account->last_added);
}
