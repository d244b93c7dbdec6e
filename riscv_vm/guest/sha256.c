#include "sha256.h"

static const uint32_t INITIAL[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotr(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static void compress(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        w[i] = load_u32(block + 4 * i);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15];
        uint32_t y = w[i - 2];
        uint32_t s0 = rotr(x, 7) ^ rotr(x, 18) ^ x >> 3;
        uint32_t s1 = rotr(y, 17) ^ rotr(y, 19) ^ y >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t choice = g ^ (e & (f ^ g));
        uint32_t majority = (a & (b ^ c)) ^ (b & c);
        uint32_t t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + choice + ROUND[i] + w[i];
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + majority;
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void sha256_init(Sha256 *hash) {
    memcpy(hash->state, INITIAL, sizeof INITIAL);
    hash->length = 0;
}

void sha256_update(Sha256 *hash, const uint8_t *data, size_t size) {
    size_t used = (size_t)hash->length & 63;
    hash->length += size;
    while (size > 0) {
        size_t part = 64 - used;
        if (part > size) {
            part = size;
        }
        memcpy(hash->block + used, data, part);
        data += part;
        size -= part;
        used += part;
        if (used == 64) {
            compress(hash->state, hash->block);
            used = 0;
        }
    }
}

void sha256_final(Sha256 *hash, uint8_t digest[32]) {
    uint64_t bits = hash->length << 3;
    size_t used = (size_t)hash->length & 63;
    hash->block[used++] = 0x80;
    if (used > 56) {
        memset(hash->block + used, 0, 64 - used);
        compress(hash->state, hash->block);
        used = 0;
    }
    memset(hash->block + used, 0, 56 - used);
    store_u32(hash->block + 56, (uint32_t)(bits >> 32));
    store_u32(hash->block + 60, (uint32_t)bits);
    compress(hash->state, hash->block);
    for (int i = 0; i < 8; i++) {
        store_u32(digest + 4 * i, hash->state[i]);
    }
}

void sha256_init_tagged(Sha256 *hash, const char *tag, size_t size) {
    uint8_t digest[32];
    sha256_init(hash);
    sha256_update(hash, (const uint8_t *)tag, size);
    sha256_final(hash, digest);
    sha256_init(hash);
    sha256_update(hash, digest, sizeof digest);
    sha256_update(hash, digest, sizeof digest);
}
