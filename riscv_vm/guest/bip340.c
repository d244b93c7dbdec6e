#include "bip340.h"

#include "point.h"
#include "sha256.h"

static const char CHALLENGE_TAG[] = "BIP0340/challenge";

static void load_challenge(Scalar *e, const uint8_t r[32], const uint8_t key[32],
                           const uint8_t *message, size_t size) {
    Sha256 hash;
    uint8_t digest[32];
    sha256_init_tagged(&hash, CHALLENGE_TAG, sizeof CHALLENGE_TAG - 1);
    sha256_update(&hash, r, 32);
    sha256_update(&hash, key, 32);
    sha256_update(&hash, message, size);
    sha256_final(&hash, digest);
    scalar_load(e, digest); /* a hash above the order is reduced */
}

/* R has the x coordinate r and an even y. */
static int is_nonce_point(const Jacobian *point, const Field *r) {
    Field inverse, zz, t;
    if (point->is_infinity) {
        return 0;
    }
    field_sqr(&zz, &point->z);
    field_mul(&t, &zz, r);
    if (!field_is_equal(&t, &point->x)) {
        return 0;
    }
    field_mul(&t, &zz, &point->z);
    field_inverse(&inverse, &t);
    field_mul(&t, &inverse, &point->y);
    return !field_is_odd(&t);
}

int bip340_verify(const uint8_t key[32], const uint8_t *message, size_t size,
                  const uint8_t signature[64]) {
    Field x, r;
    Affine p;
    Scalar s, e;
    Jacobian nonce;
    if (!field_load(&x, key) || !point_lift_x(&p, &x)) {
        return 0;
    }
    if (!field_load(&r, signature) || !scalar_load(&s, signature + 32)) {
        return 0;
    }
    load_challenge(&e, signature, key, message, size);
    scalar_negate(&e);
    point_multiply(&nonce, &s, &e, &p); /* R = s G - e P */
    return is_nonce_point(&nonce, &r);
}
