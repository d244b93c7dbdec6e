#include "bucket_root.h"

#include "pool_hash.h"

int bucket_root(Node *nodes, uint32_t count, const uint8_t *siblings, uint32_t sibling_count,
                uint8_t root[32]) {
    for (int level = 0; level < TREE_DEPTH; level++) {
        uint32_t parents = 0;
        for (uint32_t i = 0; i < count; parents++) {
            const Node *node = &nodes[i++];
            uint32_t place = node->place;
            const uint8_t *sibling = siblings;
            if (i < count && nodes[i].place == (place ^ 1)) {
                sibling = nodes[i++].hash; /* places ascend: the right one of two */
            } else if (sibling_count-- == 0) {
                return 0;
            } else {
                siblings += 32;
            }
            hash_pair(NODE_TAG, place & 1 ? sibling : node->hash, place & 1 ? node->hash : sibling,
                      nodes[parents].hash);
            nodes[parents].place = place >> 1;
        }
        count = parents;
    }
    if (count != 1 || sibling_count != 0) {
        return 0;
    }
    memcpy(root, nodes[0].hash, 32);
    return 1;
}
