/* A SHA-256 chain: the data is hashed, then its digest again and again; halts with 0 if the last
 * digest is as expected.
 * Input: rounds u32 (at least 1) | digest 32 | data. */
#include "sha256.h"

enum { EXPECTED = 4, DATA = EXPECTED + 32 };

static void sha256(const uint8_t *data, size_t size, uint8_t digest[32]) {
    Sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, data, size);
    sha256_final(&hash, digest);
}

int main(void) {
    uint8_t digest[32];
    if (input_length < DATA || load_u32(input) == 0) {
        return 1;
    }
    sha256(input + DATA, input_length - DATA, digest);
    for (uint32_t rounds = load_u32(input); rounds > 1; rounds--) {
        sha256(digest, sizeof digest, digest);
    }
    return memcmp(digest, input + EXPECTED, sizeof digest) == 0 ? 0 : 2;
}
