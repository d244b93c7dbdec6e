/* The operations' canonical bytes (protocol/pool/operation.py). */
#ifndef POOL_OPERATION_H
#define POOL_OPERATION_H

#include "pool_state.h"

enum OperationKind {
    ADD_LIQUIDITY = 1,
    REMOVE_LIQUIDITY,
    INCREASE,
    DECREASE,
    LIQUIDATE,
    CLOSE_AT_CAP,
    CREATE_ORDER,
    CANCEL_ORDER,
    FILL_ORDER,
    KINDS,
};

enum { OPERATION_HEAD = 56, AMOUNTS_MAX = 6, SIGNATURE_SIZE = 64 };

typedef struct {
    const uint8_t *bytes;
    uint32_t size; /* of the bytes before the signature */
    uint32_t kind;
    uint32_t side;
    uint32_t flags;
    uint32_t order_kind;
    uint32_t token;
    const uint8_t *owner;
    uint64_t nonce;
    uint64_t deadline;
    uint64_t amounts[AMOUNTS_MAX]; /* in the order of the encoding */
    const uint8_t *signature;      /* NULL where none is needed */
} Operation;

/* Reads the operation that the `size` bytes begin with; the bytes it takes, 0 if it is none. */
uint32_t operation_read(Operation *operation, const uint8_t *bytes, uint32_t size);

/* Whether the signature is the owner's for this pool, where one is needed. */
int operation_is_authentic(const Operation *operation, const uint8_t pool_id[HASH]);

#endif
