/* The two bucket trees of the pool (docs/pool.md, "State"): those of their buckets that the batch
 * touches, in memory, under a root that the siblings beside them lead to.
 *
 * A bucket is its datums, a kind byte before each, in ascending order of their keys. A datum's key
 * is TH(tag of its kind, the first bytes of the datum), its identity; its bucket is the first 16
 * bits of the key. Input of a tree: per bucket place u16 | size u16 | datums, to a word with zeros;
 * then the siblings. */
#ifndef POOL_TREE_H
#define POOL_TREE_H

#include "bucket_root.h"

enum { BUCKETS_MAX = 512, BUCKET_DATUMS = 16, DATUM_MAX = 112 };

enum Kind { POSITION = 1, ORDER = 2, ACCOUNT = 3 };

typedef struct {
    uint32_t place;
    uint32_t size;
    uint8_t bytes[BUCKET_DATUMS * (1 + DATUM_MAX)];
} Bucket;

typedef struct {
    uint32_t count;
    uint32_t sibling_count;
    const uint8_t *siblings;
    Bucket buckets[BUCKETS_MAX]; /* places ascend */
} Tree;

extern Tree positions; /* positions and orders */
extern Tree accounts;

/* Reads `count` buckets and the siblings; returns the bytes read, 0 if they are malformed. */
uint32_t tree_read(Tree *tree, uint32_t count, uint32_t sibling_count, const uint8_t *at,
                   uint32_t size);

/* The root of the tree as it is now; 0 if the siblings are not those that it takes. */
int tree_root(const Tree *tree, uint8_t root[32]);

/* The datum with this identity, NULL if there is none. *bucket is where it is or belongs, NULL if
 * the batch did not open that bucket: then nothing is known. */
uint8_t *tree_find(Tree *tree, enum Kind kind, const uint8_t *identity, Bucket **bucket);

/* Whether one datum more fits. */
int bucket_has_room(const Bucket *bucket);

/* Puts a new datum, whose identity the bucket does not have, where there is room for it. */
void bucket_insert(Bucket *bucket, enum Kind kind, const uint8_t *datum);

/* Takes out a datum that tree_find found. */
void bucket_remove(Bucket *bucket, uint8_t *datum);

#endif
