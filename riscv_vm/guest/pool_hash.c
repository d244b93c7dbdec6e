#include "pool_hash.h"

static const struct {
    const char *text;
    size_t size;
} TEXTS[TAGS] = {
#define TEXT(tag, text) [tag] = {text, sizeof(text) - 1}
    TEXT(STATE_TAG, "btcfi/pool/state/v1"),
    TEXT(BUCKET_TAG, "btcfi/pool/bucket/v1"),
    TEXT(NODE_TAG, "btcfi/pool/node/v1"),
    TEXT(POSITION_TAG, "btcfi/pool/pos/v1"),
    TEXT(ORDER_TAG, "btcfi/pool/order/v1"),
    TEXT(ACCOUNT_TAG, "btcfi/pool/account/v1"),
    TEXT(TOKENS_TAG, "btcfi/pool/tokens/v1"),
    TEXT(PARAMS_TAG, "btcfi/pool/params/v1"),
    TEXT(TERMS_TAG, "btcfi/pool/terms/v1"),
    TEXT(OPERATION_TAG, "btcfi/pool/op/v1"),
    TEXT(OPERATIONS_TAG, "btcfi/pool/ops/v1"),
    TEXT(PRICES_TAG, "btcfi/pool/prices/v1"),
    TEXT(PAYMENTS_TAG, "btcfi/pool/payments/v1"),
    TEXT(REPORTS_LEAF_TAG, "btcfi/merkle/leaf/v1"),
    TEXT(REPORTS_NODE_TAG, "btcfi/merkle/node/v1"),
    TEXT(BATCH_TAG, "btcfi/oracle/batch/v1"),
#undef TEXT
};

static Sha256 started[TAGS];

void hash_prepare(void) {
    for (int tag = 0; tag < TAGS; tag++) {
        sha256_init_tagged(&started[tag], TEXTS[tag].text, TEXTS[tag].size);
    }
}

void hash_start(Sha256 *hash, enum Tag tag) {
    memcpy(hash->state, started[tag].state, sizeof hash->state); /* its block is empty */
    hash->length = started[tag].length;
}

void hash_tagged(enum Tag tag, const uint8_t *message, size_t size, uint8_t digest[32]) {
    Sha256 hash;
    hash_start(&hash, tag);
    sha256_update(&hash, message, size);
    sha256_final(&hash, digest);
}

void hash_pair(enum Tag tag, const uint8_t left[32], const uint8_t right[32], uint8_t digest[32]) {
    Sha256 hash;
    hash_start(&hash, tag);
    sha256_update(&hash, left, 32);
    sha256_update(&hash, right, 32);
    sha256_final(&hash, digest);
}
