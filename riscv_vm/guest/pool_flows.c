#include "pool_flows.h"

#include "little.h"
#include "pool_draft.h"

typedef struct {
    uint8_t owner[HASH];
    uint64_t sats;
    uint64_t inflow;
    uint64_t outflow;
} Flow;

static Flow flows[OWNERS_MAX]; /* owners ascend */
static uint32_t count;

/* Where an owner is or belongs. */
static uint32_t place_of(const uint8_t owner[HASH]) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (memcmp(flows[middle].owner, owner, HASH) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static Flow *find(const uint8_t owner[HASH]) {
    uint32_t place = place_of(owner);
    int is_there = place < count && memcmp(flows[place].owner, owner, HASH) == 0;
    return is_there ? &flows[place] : NULL;
}

static Flow *find_or_insert(const uint8_t owner[HASH]) {
    Flow *found = find(owner);
    if (found != NULL || count == OWNERS_MAX) {
        return found;
    }
    uint32_t place = place_of(owner);
    for (uint32_t i = count++; i > place; i--) {
        flows[i] = flows[i - 1];
    }
    memset(&flows[place], 0, sizeof flows[place]);
    memcpy(flows[place].owner, owner, HASH);
    return &flows[place];
}

static const Quote *bitcoin_quote(void) {
    return &pool.quotes[token_index(pool.terms.btc_token)];
}

/* sats * price / this = micro-USD. */
static uint64_t sats_unit(void) {
    return pool.params[token_index(pool.terms.btc_token)].sats_unit;
}

static uint64_t value_of_sats(uint64_t sats) {
    uint64_t value;
    return mul_div_floor(sats, bitcoin_quote()->min_price, sats_unit(), &value) ? value
                                                                              : UINT64_MAX;
}

static uint64_t liabilities(void) {
    const Vault *vault = &pool.vault;
    uint64_t owed = add(vault->total_liquidity, vault->collateral_total);
    owed = add(owed, vault->order_escrow);
    return add(owed, add(vault->protocol_fees, vault->insurance));
}

int flows_deposit(const uint8_t owner[HASH], uint64_t sats) {
    Flow *flow = find_or_insert(owner);
    if (flow == NULL) {
        return 0;
    }
    flow->sats += sats;
    return 1;
}

uint64_t flows_funds(const uint8_t owner[HASH]) {
    const Flow *flow = find(owner);
    if (flow == NULL) {
        return 0;
    }
    uint64_t value = value_of_sats(flow->sats), brought = value + flow->outflow;
    return less(brought < value ? UINT64_MAX : brought, flow->inflow);
}

int flows_note(const uint8_t owner[HASH], uint64_t inflow, uint64_t outflow) {
    Flow *flow = find_or_insert(owner);
    if (flow == NULL) {
        return 0;
    }
    flow->inflow += inflow;
    flow->outflow += outflow;
    return 1;
}

static uint64_t used_sats(const Flow *flow) {
    uint64_t due = less(flow->inflow, flow->outflow);
    return mul_div_up(due, sats_unit(), bitcoin_quote()->min_price);
}

static void hash_payment(Sha256 *hash, const Flow *flow, uint64_t sats) {
    uint8_t bytes[8];
    store_little_u64(bytes, sats);
    sha256_update(hash, flow->owner, HASH);
    sha256_update(hash, bytes, sizeof bytes);
}

void flows_pay(Sha256 *hash) {
    Vault *vault = &pool.vault;
    uint64_t owed = liabilities();
    for (uint32_t i = 0; i < count; i++) {
        vault->vault_sats += used_sats(&flows[i]);
        owed = add(owed, less(flows[i].outflow, flows[i].inflow));
    }
    uint64_t assets = value_of_sats(vault->vault_sats);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t due = less(flows[i].outflow, flows[i].inflow);
        if (assets < owed) {
            due = mul_div(due, assets, owed);
        }
        uint64_t paid = mul_div(due, sats_unit(), bitcoin_quote()->max_price);
        vault->vault_sats -= paid;
        uint64_t sats = paid + flows[i].sats - used_sats(&flows[i]);
        if (sats != 0) {
            hash_payment(hash, &flows[i], sats);
        }
    }
}

void flows_watch(void) {
    pool.vault.flags &= ~(uint32_t)VAULT_CLOSE_ONLY;
    if (value_of_sats(pool.vault.vault_sats) < liabilities()) {
        pool.vault.flags |= VAULT_CLOSE_ONLY;
    }
}
