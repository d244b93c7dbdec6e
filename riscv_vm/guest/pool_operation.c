#include "pool_operation.h"

#include "bip340.h"
#include "little.h"
#include "pool_hash.h"

enum Bound { ANY = 1, AMOUNT, TRIGGER }; /* of an amount: none, AMOUNT_MAX, PRICE_MAX */
enum Head { HAS_SIDE = 1, HAS_TOKEN = 2, HAS_ORDER = 4, IS_SIGNED = 8 };

static const struct {
    uint8_t head;
    uint8_t amounts[AMOUNTS_MAX]; /* up to the first 0 */
} FORMS[KINDS] = {
    [ADD_LIQUIDITY] = {IS_SIGNED, {AMOUNT, ANY}},
    [REMOVE_LIQUIDITY] = {IS_SIGNED, {ANY, ANY}},
    [INCREASE] = {HAS_SIDE | HAS_TOKEN | IS_SIGNED, {AMOUNT, AMOUNT, ANY}},
    [DECREASE] = {HAS_SIDE | HAS_TOKEN | IS_SIGNED, {AMOUNT, AMOUNT, ANY}},
    [LIQUIDATE] = {HAS_SIDE | HAS_TOKEN, {0}},
    [CLOSE_AT_CAP] = {HAS_SIDE | HAS_TOKEN, {0}},
    [CREATE_ORDER] = {HAS_SIDE | HAS_TOKEN | HAS_ORDER | IS_SIGNED,
                      {AMOUNT, AMOUNT, AMOUNT, TRIGGER, ANY, ANY}},
    [CANCEL_ORDER] = {IS_SIGNED, {ANY}},
    [FILL_ORDER] = {0, {ANY}},
};

static int is_head_formed(const Operation *operation, uint32_t head) {
    uint32_t side_max = head & HAS_SIDE ? SHORT : 0;
    if (operation->side > side_max || (!(head & HAS_TOKEN) && operation->token != 0)) {
        return 0;
    }
    if (!(head & HAS_ORDER) && (operation->flags != 0 || operation->order_kind != 0)) {
        return 0;
    }
    return (head & IS_SIGNED) || (operation->nonce == 0 && operation->deadline == 0);
}

/* Terms that an order can have (protocol/pool/order.py). */
static int is_order_formed(const Operation *operation) {
    uint64_t deposit = operation->amounts[0], collateral = operation->amounts[2];
    uint32_t kind = operation->order_kind, flags = operation->flags;
    if (kind < MARKET || kind > TAKE_PROFIT || flags > (ORDER_DECREASE | ORDER_REDUCE_ONLY)) {
        return 0;
    }
    if (flags & ORDER_DECREASE) {
        return deposit == 0;
    }
    return flags == 0 && collateral == 0 && kind != TAKE_PROFIT;
}

static int read_amounts(Operation *operation) {
    const uint8_t *bounds = FORMS[operation->kind].amounts;
    for (int i = 0; i < AMOUNTS_MAX && bounds[i] != 0; i++) {
        uint64_t amount = little_u64(operation->bytes + OPERATION_HEAD + 8 * i);
        if ((bounds[i] == AMOUNT && amount > AMOUNT_MAX) ||
            (bounds[i] == TRIGGER && amount > PRICE_MAX)) {
            return 0;
        }
        operation->amounts[i] = amount;
    }
    return 1;
}

uint32_t operation_read(Operation *operation, const uint8_t *bytes, uint32_t size) {
    memset(operation, 0, sizeof *operation);
    if (size < OPERATION_HEAD || bytes[0] == 0 || bytes[0] >= KINDS) {
        return 0;
    }
    operation->bytes = bytes;
    operation->kind = bytes[0];
    operation->side = bytes[1];
    operation->flags = bytes[2];
    operation->order_kind = bytes[3];
    operation->token = little_u32(bytes + 4);
    operation->owner = bytes + 8;
    operation->nonce = little_u64(bytes + 40);
    operation->deadline = little_u64(bytes + 48);
    operation->size = OPERATION_HEAD;
    const uint8_t *bounds = FORMS[operation->kind].amounts;
    for (int i = 0; i < AMOUNTS_MAX && bounds[i] != 0; i++) {
        operation->size += 8;
    }
    uint32_t head = FORMS[operation->kind].head;
    uint32_t whole = operation->size + (head & IS_SIGNED ? SIGNATURE_SIZE : 0);
    if (size < whole || !is_head_formed(operation, head) || !read_amounts(operation)) {
        return 0;
    }
    if (operation->kind == CREATE_ORDER && !is_order_formed(operation)) {
        return 0;
    }
    operation->signature = head & IS_SIGNED ? bytes + operation->size : NULL;
    return whole;
}

int operation_is_authentic(const Operation *operation, const uint8_t pool_id[HASH]) {
    Sha256 hash;
    uint8_t message[HASH];
    if (operation->signature == NULL) {
        return 1;
    }
    hash_start(&hash, OPERATION_TAG);
    sha256_update(&hash, pool_id, HASH);
    sha256_update(&hash, operation->bytes, operation->size);
    sha256_final(&hash, message);
    return bip340_verify(operation->owner, message, sizeof message, operation->signature);
}
