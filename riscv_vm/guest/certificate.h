/* The oracles' batch certificate (protocol/oracle/batch_certificate.py), numbers big-endian:
 *   BAT1 110 | n x RPT1 168, feed ids ascending | quorum x (index u8 | signature 64) */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

#include "guest.h"

typedef struct { /* of one feed, 10^-8 dollars */
    uint64_t price_e8;
    uint64_t conf_e8;
} FeedPrice;

typedef struct {
    const uint8_t *digest; /* of the configuration that the pool's terms name */
    const uint8_t *keys;   /* n x 32 */
    uint8_t n;
    uint8_t quorum;
    uint8_t faults;
} Roster;

typedef struct {
    const uint8_t *reports;
    uint32_t count;
    uint64_t round;
    uint64_t time_ms; /* the latest of its reports */
} Certificate;

enum CertificateFault {
    CERTIFICATE_HOLDS,
    CERTIFICATE_FORM,      /* magics, lengths, ascending feeds, exponents, counts */
    CERTIFICATE_CONFIG,    /* header and reports of the roster's configuration, one round */
    CERTIFICATE_OBSERVERS, /* oracles that there are, enough of them, the grade they give */
    CERTIFICATE_SIGNERS,   /* the quorum: strictly ascending oracles */
    CERTIFICATE_ROOT,      /* the reports are those under the header */
    CERTIFICATE_SIGNATURE, /* each verifies */
};

/* The first of these that fails on `size` bytes at `at`, and what the certificate says. Nothing of
 * `certificate` holds unless it is CERTIFICATE_HOLDS. */
enum CertificateFault certificate_check(Certificate *certificate, const Roster *roster,
                                        const uint8_t *at, uint32_t size);

/* 0 if the certificate has no such feed. */
int certificate_price(const Certificate *certificate, const uint8_t feed_id[32], FeedPrice *price);

#endif
