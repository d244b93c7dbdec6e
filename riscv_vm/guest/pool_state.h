/* The pool's datums in memory (docs/pool.md, "State"; protocol/pool/state.py, position.py, order.py,
 * account.py, params.py). Amounts in micro-USDC, prices as mantissas, times in unix seconds. */
#ifndef POOL_STATE_H
#define POOL_STATE_H

#include "pool_number.h"

enum { TOKENS_MAX = 32, HASH = 32 };
enum { VAULT_SIZE = 256, TOKEN_SIZE = 136, PARAMS_SIZE = 64, POOL_PARAMS_SIZE = 1416 };
enum { POSITION_SIZE = 112, ORDER_SIZE = 112, ACCOUNT_SIZE = 56 };
enum Side { LONG = 0, SHORT = 1 };
enum VaultFlag { VAULT_HALTED = 1, VAULT_CLOSE_ONLY = 2, VAULT_ORDERS_ONLY = 4 };
enum TokenFlag { TOKEN_WHITELISTED = 1, TOKEN_SHORTABLE = 2 };
enum OrderKind { MARKET = 1, LIMIT = 2, STOP = 3, TAKE_PROFIT = 4 };
enum OrderFlag { ORDER_DECREASE = 1, ORDER_REDUCE_ONLY = 2 };

typedef struct {
    uint32_t version;
    uint32_t n_tokens;
    uint32_t flags;
    uint64_t seq;
    uint64_t time;
    uint64_t total_liquidity;
    uint64_t collateral_total;
    uint64_t protocol_fees;
    uint64_t insurance;
    uint64_t glp_supply;
    uint64_t pos_count;
    uint64_t bad_debt;
    uint8_t stable_id[HASH];
    uint8_t params_root[HASH];
    uint8_t tokens_root[HASH];
    uint8_t positions_root[HASH];
    uint8_t lp_root[HASH];
    uint64_t vault_sats;
    uint64_t order_escrow;
} Vault;

typedef struct { /* [LONG] and [SHORT] */
    uint32_t id;
    uint32_t flags;
    uint64_t reserved;
    uint64_t collateral;
    uint64_t oi[2];
    uint64_t base[2];
    int64_t cum[2];
    uint64_t cum_borrow;
    Wide basis[2];
    uint64_t last_funding;
    uint64_t price;
    uint64_t price_time;
} Token;

typedef struct {
    uint32_t max_utilization_bps;
    uint32_t fee_bps;
    uint32_t spread_bps;
    uint32_t impact_bps;
    uint32_t max_leverage_bps;
    uint32_t max_profit_bps;
    uint32_t funding_ppm;
    uint32_t borrow_ppm;
    uint64_t oi_cap[2];
    uint64_t min_collateral;
    uint64_t liquidation_fee;
    uint64_t unit;      /* base * price / unit = micro-USD */
    uint64_t sats_unit; /* of Bitcoin: sats * price / sats_unit = micro-USD */
} TokenParams;

typedef struct {
    uint32_t is_backed;
    uint32_t lp_fee_share_bps;
    uint32_t insurance_fee_share_bps;
    uint32_t global_cap_bps;
    uint32_t liquidity_fee_bps;
    uint32_t funding_interval_s;
    uint32_t max_elapsed_s;
    uint32_t max_rate_ppm;
    uint32_t cooldown_s;
    uint32_t btc_token;
    uint32_t n_tokens;
    const uint8_t *oracle_config;
    const uint8_t *feeds; /* n_tokens x (id u32 | 0 u32 | feed id 32) */
    uint8_t pool_id[HASH];
} PoolParams;

typedef struct {
    uint8_t owner[HASH];
    uint32_t token;
    uint32_t side;
    uint32_t nonce;
    uint64_t size;
    uint64_t base;
    uint64_t collateral;
    uint64_t reserve;
    int64_t entry_funding;
    uint64_t entry_borrow;
    uint64_t opened;
    uint64_t last_increased;
} Position;

typedef struct {
    uint8_t owner[HASH];
    uint64_t nonce;
    uint32_t token;
    uint32_t kind;
    uint32_t side;
    uint32_t flags;
    uint64_t deposit;
    uint64_t size;
    uint64_t collateral;
    uint64_t trigger_price;
    uint64_t acceptable_price;
    uint64_t expiry;
    uint64_t commit_seq;
} Order;

typedef struct {
    uint8_t owner[HASH];
    uint64_t nonce;
    uint64_t glp;
    uint64_t last_added;
} Account;

/* Readers of fixed sizes. Those of vault and parameters return 0 for what no program writes. */
int vault_load(Vault *vault, const uint8_t at[VAULT_SIZE]);
void vault_store(const Vault *vault, uint8_t at[VAULT_SIZE]);
void token_load(Token *token, const uint8_t at[TOKEN_SIZE]);
void token_store(const Token *token, uint8_t at[TOKEN_SIZE]);
int token_params_load(TokenParams *params, const uint8_t at[PARAMS_SIZE]);
int pool_params_load(PoolParams *params, const uint8_t at[POOL_PARAMS_SIZE]);
void position_load(Position *position, const uint8_t at[POSITION_SIZE]);
void position_store(const Position *position, uint8_t at[POSITION_SIZE]);
void order_load(Order *order, const uint8_t at[ORDER_SIZE]);
void order_store(const Order *order, uint8_t at[ORDER_SIZE]);
void account_load(Account *account, const uint8_t at[ACCOUNT_SIZE]);
void account_store(const Account *account, uint8_t at[ACCOUNT_SIZE]);

#endif
