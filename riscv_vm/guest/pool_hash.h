/* Tagged hashes of the pool and of the oracles' batches. A tag is compressed once a run. */
#ifndef POOL_HASH_H
#define POOL_HASH_H

#include "sha256.h"

enum Tag {
    STATE_TAG,
    BUCKET_TAG,
    NODE_TAG,
    POSITION_TAG,
    ORDER_TAG,
    ACCOUNT_TAG,
    TOKENS_TAG,
    PARAMS_TAG,
    TERMS_TAG,
    OPERATION_TAG,
    OPERATIONS_TAG,
    PRICES_TAG,
    PAYMENTS_TAG,
    REPORTS_LEAF_TAG,
    REPORTS_NODE_TAG,
    BATCH_TAG,
    TAGS,
};

void hash_prepare(void);                       /* once, before the others */
void hash_start(Sha256 *hash, enum Tag tag);   /* the message follows by sha256_update */
void hash_tagged(enum Tag tag, const uint8_t *message, size_t size, uint8_t digest[32]);
void hash_pair(enum Tag tag, const uint8_t left[32], const uint8_t right[32], uint8_t digest[32]);

#endif
