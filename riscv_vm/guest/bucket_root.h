/* The root of a tree of 2^16 buckets over some of them and the siblings beside their paths
 * (protocol/pool/witness.py). */
#ifndef BUCKET_ROOT_H
#define BUCKET_ROOT_H

#include "guest.h"

enum { TREE_DEPTH = 16 };

typedef struct {
    uint32_t place; /* at its level, from the left */
    uint8_t hash[32];
} Node;

/* Climbs from `count` leaves, places strictly ascending and below 2^16; `nodes` are used up.
 * Siblings lie level by level from the leaves, places ascending; 0 unless all are needed and are
 * enough. */
int bucket_root(Node *nodes, uint32_t count, const uint8_t *siblings, uint32_t sibling_count,
                uint8_t root[32]);

#endif
