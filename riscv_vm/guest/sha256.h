/* SHA-256 (FIPS 180-4) and the tagged hash of BIP340. */
#ifndef SHA256_H
#define SHA256_H

#include "guest.h"

typedef struct {
    uint32_t state[8];
    uint8_t block[64]; /* the last length % 64 bytes wait here */
    uint64_t length;   /* bytes hashed so far */
} Sha256;

void sha256_init(Sha256 *hash);
void sha256_update(Sha256 *hash, const uint8_t *data, size_t size);
void sha256_final(Sha256 *hash, uint8_t digest[32]);

/* Starts sha256(sha256(tag) || sha256(tag) || ...); the message follows by sha256_update. */
void sha256_init_tagged(Sha256 *hash, const char *tag, size_t size);

#endif
