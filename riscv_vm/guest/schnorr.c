/* Halts with 0 if a BIP340 signature is valid, exits with 1 if the input is too short, with 2 if
 * the signature is not valid.
 * Input: key 32 | signature 64 | message of any size. */
#include "bip340.h"

enum { KEY = 0, SIGNATURE = KEY + 32, MESSAGE = SIGNATURE + 64 };

int main(void) {
    if (input_length < MESSAGE) {
        return 1;
    }
    size_t size = input_length - MESSAGE;
    return bip340_verify(input + KEY, input + MESSAGE, size, input + SIGNATURE) ? 0 : 2;
}
