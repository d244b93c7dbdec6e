/* BIP340 Schnorr signatures: verification only. */
#ifndef BIP340_H
#define BIP340_H

#include "guest.h"

/* 1 if the 64-byte signature of a message of any size verifies under the x-only key. */
int bip340_verify(const uint8_t key[32], const uint8_t *message, size_t size,
                  const uint8_t signature[64]);

#endif
