#include "certificate.h"

#include "bip340.h"
#include "pool_hash.h"

enum { /* offsets in the header */
    H_CONFIG = 4,
    H_ROUND = H_CONFIG + 32,
    H_COUNT = H_ROUND + 8,
    H_ROOT = H_COUNT + 2,
    H_SIZE = H_ROOT + 32 + 32,
};

enum { /* offsets in a report */
    R_CONFIG = 4,
    R_FEED = R_CONFIG + 32,
    R_ROUND = R_FEED + 32,
    R_PRICE = R_ROUND + 8,
    R_CONF = R_PRICE + 8,
    R_EXPO = R_CONF + 8,
    R_GRADE = R_EXPO + 1,
    R_SEEN = R_GRADE + 1,
    R_OBSERVERS = R_SEEN + 1,
    R_TIME = R_OBSERVERS + 1,
    R_SIZE = R_TIME + 8 + 32 + 32,
};

enum { ENTRY = 1 + 64, FULL = 1, DEGRADED = 2, LEVELS = 17 };

static uint32_t bits_of(uint32_t byte) {
    uint32_t count = 0;
    for (; byte != 0; byte &= byte - 1) {
        count++;
    }
    return count;
}

static int is_report_formed(const uint8_t *report, const uint8_t *previous) {
    if (memcmp(report, "RPT1", 4) != 0 || report[R_EXPO] != (uint8_t)-8) {
        return 0;
    }
    if (report[R_GRADE] != FULL && report[R_GRADE] != DEGRADED) {
        return 0;
    }
    if (report[R_SEEN] != bits_of(report[R_OBSERVERS])) {
        return 0;
    }
    return previous == NULL || memcmp(previous + R_FEED, report + R_FEED, 32) < 0;
}

static int is_observed(const uint8_t *report, const Roster *roster) {
    uint32_t seen = report[R_SEEN];
    int is_full = seen >= 2u * roster->faults + 1;
    if (report[R_OBSERVERS] >> roster->n != 0 || seen <= roster->faults) {
        return 0;
    }
    return is_full == (report[R_GRADE] == FULL);
}

static enum CertificateFault check_reports(Certificate *certificate, const Roster *roster,
                                           const uint8_t *header) {
    const uint8_t *previous = NULL;
    certificate->time_ms = 0;
    for (uint32_t i = 0; i < certificate->count; i++) {
        const uint8_t *report = certificate->reports + R_SIZE * i;
        uint64_t time_ms = load_u64(report + R_TIME);
        if (!is_report_formed(report, previous)) {
            return CERTIFICATE_FORM;
        }
        if (memcmp(report + R_CONFIG, roster->digest, 32) != 0 ||
            memcmp(report + R_ROUND, header + H_ROUND, 8) != 0) {
            return CERTIFICATE_CONFIG;
        }
        if (!is_observed(report, roster)) {
            return CERTIFICATE_OBSERVERS;
        }
        certificate->time_ms = time_ms > certificate->time_ms ? time_ms : certificate->time_ms;
        previous = report;
    }
    return CERTIFICATE_HOLDS;
}

/* The tree of protocol/oracle/merkle.py, leaf by leaf: bit l of the number of leaves so far says
 * whether level l has a node that waits for its right sibling. A promoted node meets it later. */
static void reports_root(const Certificate *certificate, uint8_t root[32]) {
    uint8_t waiting[LEVELS][32];
    uint32_t level = 0;
    for (uint32_t i = 0; i < certificate->count; i++) {
        hash_tagged(REPORTS_LEAF_TAG, certificate->reports + R_SIZE * i, R_SIZE, root);
        for (level = 0; i >> level & 1; level++) {
            hash_pair(REPORTS_NODE_TAG, waiting[level], root, root);
        }
        memcpy(waiting[level], root, 32);
    }
    for (level++; level < LEVELS; level++) {
        if (certificate->count >> level & 1) {
            hash_pair(REPORTS_NODE_TAG, waiting[level], root, root);
        }
    }
}

/* A signature costs 1.7 M steps: every signer first. */
static enum CertificateFault check_signatures(const Roster *roster, const uint8_t *header,
                                              const uint8_t *entries) {
    uint8_t message[32];
    int above = -1;
    for (int i = 0; i < roster->quorum; i++) {
        int oracle = entries[i * ENTRY];
        if (oracle <= above || oracle >= roster->n) {
            return CERTIFICATE_SIGNERS;
        }
        above = oracle;
    }
    hash_tagged(BATCH_TAG, header, H_SIZE, message);
    for (int i = 0; i < roster->quorum; i++) {
        const uint8_t *entry = entries + i * ENTRY;
        if (!bip340_verify(roster->keys + 32 * entry[0], message, sizeof message, entry + 1)) {
            return CERTIFICATE_SIGNATURE;
        }
    }
    return CERTIFICATE_HOLDS;
}

enum CertificateFault certificate_check(Certificate *certificate, const Roster *roster,
                                        const uint8_t *at, uint32_t size) {
    uint8_t root[32];
    if (size < H_SIZE || memcmp(at, "BAT1", 4) != 0) {
        return CERTIFICATE_FORM;
    }
    certificate->count = (uint32_t)at[H_COUNT] << 8 | at[H_COUNT + 1];
    certificate->round = load_u64(at + H_ROUND);
    certificate->reports = at + H_SIZE;
    uint32_t entries = H_SIZE + R_SIZE * certificate->count;
    if (certificate->count == 0 || size != entries + (uint32_t)ENTRY * roster->quorum) {
        return CERTIFICATE_FORM;
    }
    if (memcmp(at + H_CONFIG, roster->digest, 32) != 0) {
        return CERTIFICATE_CONFIG;
    }
    enum CertificateFault fault = check_reports(certificate, roster, at);
    if (fault != CERTIFICATE_HOLDS) {
        return fault;
    }
    reports_root(certificate, root);
    if (memcmp(root, at + H_ROOT, 32) != 0) {
        return CERTIFICATE_ROOT;
    }
    return check_signatures(roster, at, at + entries);
}

int certificate_price(const Certificate *certificate, const uint8_t feed_id[32], FeedPrice *price) {
    for (uint32_t i = 0; i < certificate->count; i++) {
        const uint8_t *report = certificate->reports + R_SIZE * i;
        if (memcmp(report + R_FEED, feed_id, 32) == 0) {
            price->price_e8 = load_u64(report + R_PRICE);
            price->conf_e8 = load_u64(report + R_CONF);
            return 1;
        }
    }
    return 0;
}
