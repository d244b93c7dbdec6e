/* What owners bring and get in one batch of a backed pool, and the payments that follow
 * (protocol/pool/batch.py). */
#ifndef POOL_FLOWS_H
#define POOL_FLOWS_H

#include "pool_hash.h"
#include "pool_state.h"

enum { OWNERS_MAX = 512, DEPOSIT_SIZE = 76 };
#define SATS_MAX 2100000000000000u

/* Sats that an owner deposited, before any operation; 0 if there are too many owners. */
int flows_deposit(const uint8_t owner[HASH], uint64_t sats);

/* What an owner may still bring, micro-USDC. */
uint64_t flows_funds(const uint8_t owner[HASH]);

/* An operation that was accepted; 0 as above. */
int flows_note(const uint8_t owner[HASH], uint64_t inflow, uint64_t outflow);

/* Takes the deposits into the vault and pays; the payments go into `hash`. */
void flows_pay(Sha256 *hash);

/* Close-only while the assets are below what the pool owes. */
void flows_watch(void);

#endif
