#include "pool_tree.h"

#include "little.h"
#include "pool_hash.h"

Tree positions;
Tree accounts;

static Node nodes[BUCKETS_MAX];

static uint32_t identity_size(enum Kind kind) {
    return kind == POSITION ? 32 + 4 + 1 : kind == ORDER ? 32 + 8 : 32;
}

static uint32_t datum_size(enum Kind kind) {
    return kind == ACCOUNT ? 32 + 3 * 8 : DATUM_MAX;
}

static int belongs(const Tree *tree, uint32_t kind) {
    return tree == &accounts ? kind == ACCOUNT : kind == POSITION || kind == ORDER;
}

static void key_of(enum Kind kind, const uint8_t *identity, uint8_t key[32]) {
    enum Tag tag = kind == POSITION ? POSITION_TAG : kind == ORDER ? ORDER_TAG : ACCOUNT_TAG;
    hash_tagged(tag, identity, identity_size(kind), key);
}

/* What lies behind the kind byte of every datum fits; at most 16 of them. */
static int is_bucket_formed(const Tree *tree, const Bucket *bucket) {
    uint32_t at = 0, count = 0;
    for (; at < bucket->size; count++) {
        if (count == BUCKET_DATUMS || !belongs(tree, bucket->bytes[at])) {
            return 0;
        }
        at += 1 + datum_size(bucket->bytes[at]);
    }
    return at == bucket->size;
}

uint32_t tree_read(Tree *tree, uint32_t count, uint32_t sibling_count, const uint8_t *at,
                   uint32_t size) {
    const uint8_t *start = at, *end = at + size;
    if (count > BUCKETS_MAX || sibling_count > BUCKETS_MAX * TREE_DEPTH) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        Bucket *bucket = &tree->buckets[i];
        if (end - at < 4) {
            return 0;
        }
        bucket->place = little_u16(at);
        bucket->size = little_u16(at + 2);
        uint32_t padded = (bucket->size + 3) & ~(uint32_t)3;
        at += 4;
        if (bucket->size > sizeof bucket->bytes || (uint32_t)(end - at) < padded) {
            return 0;
        }
        memcpy(bucket->bytes, at, bucket->size);
        if (!is_zero(at + bucket->size, padded - bucket->size)) {
            return 0;
        }
        at += padded;
        if ((i > 0 && bucket->place <= bucket[-1].place) || !is_bucket_formed(tree, bucket)) {
            return 0;
        }
    }
    if ((uint32_t)(end - at) < 32 * sibling_count) {
        return 0;
    }
    tree->count = count;
    tree->sibling_count = sibling_count;
    tree->siblings = at;
    return (uint32_t)(at + 32 * sibling_count - start);
}

int tree_root(const Tree *tree, uint8_t root[32]) {
    for (uint32_t i = 0; i < tree->count; i++) {
        const Bucket *bucket = &tree->buckets[i];
        nodes[i].place = bucket->place;
        hash_tagged(BUCKET_TAG, bucket->bytes, bucket->size, nodes[i].hash);
    }
    return bucket_root(nodes, tree->count, tree->siblings, tree->sibling_count, root);
}

static Bucket *bucket_at(Tree *tree, uint32_t place) {
    uint32_t low = 0, high = tree->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (tree->buckets[middle].place < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < tree->count && tree->buckets[low].place == place ? &tree->buckets[low] : NULL;
}

uint8_t *tree_find(Tree *tree, enum Kind kind, const uint8_t *identity, Bucket **bucket) {
    uint8_t key[32];
    key_of(kind, identity, key);
    *bucket = bucket_at(tree, (uint32_t)key[0] << 8 | key[1]);
    if (*bucket == NULL) {
        return NULL;
    }
    uint8_t *at = (*bucket)->bytes, *end = at + (*bucket)->size;
    for (; at < end; at += 1 + datum_size(*at)) {
        if (*at == kind && memcmp(at + 1, identity, identity_size(kind)) == 0) {
            return at + 1;
        }
    }
    return NULL;
}

int bucket_has_room(const Bucket *bucket) {
    uint32_t at = 0, count = 0;
    for (; at < bucket->size; at += 1 + datum_size(bucket->bytes[at])) {
        count++;
    }
    return count < BUCKET_DATUMS;
}

/* memmove for two ends of one bucket. */
static void shift(uint8_t *from, uint32_t size, uint32_t by, int up) {
    for (uint32_t i = 0; i < size; i++) {
        uint32_t at = up ? size - 1 - i : i;
        from[up ? at + by : at - by] = from[at];
    }
}

void bucket_insert(Bucket *bucket, enum Kind kind, const uint8_t *datum) {
    uint8_t key[32], other[32];
    uint32_t at = 0, size = 1 + datum_size(kind);
    key_of(kind, datum, key);
    for (; at < bucket->size; at += 1 + datum_size(bucket->bytes[at])) {
        key_of(bucket->bytes[at], bucket->bytes + at + 1, other);
        if (memcmp(key, other, 32) < 0) {
            break;
        }
    }
    shift(bucket->bytes + at, bucket->size - at, size, 1);
    bucket->bytes[at] = (uint8_t)kind;
    memcpy(bucket->bytes + at + 1, datum, size - 1);
    bucket->size += size;
}

void bucket_remove(Bucket *bucket, uint8_t *datum) {
    uint8_t *at = datum - 1;
    uint32_t size = 1 + datum_size(*at);
    uint8_t *rest = at + size;
    shift(rest, (uint32_t)(bucket->bytes + bucket->size - rest), size, 0);
    bucket->size -= size;
}
