/* Big-integer multiplication: a * b^rounds modulo 2^(32n) - 1; halts with 0 if the result is as
 * expected (0, not the modulus, stands for the residue 0).
 * Input: rounds u32 | n u32 (1 to 64 words) | a | b | expected, each 4n bytes, big-endian. */
#include "guest.h"

enum { MAX_WORDS = 64, NUMBERS = 8 };

static uint32_t a[MAX_WORDS], b[MAX_WORDS], expected[MAX_WORDS]; /* least significant word first */
static uint32_t product[2 * MAX_WORDS];

static void load_number(uint32_t *number, const uint8_t *at, uint32_t words) {
    for (uint32_t i = 0; i < words; i++) {
        number[i] = load_u32(at + 4 * (words - 1 - i));
    }
}

static void multiply(uint32_t words) {
    memset(product, 0, 2 * words * sizeof *product);
    for (uint32_t i = 0; i < words; i++) {
        uint32_t carry = 0;
        for (uint32_t j = 0; j < words; j++) {
            uint64_t sum = (uint64_t)a[i] * b[j] + product[i + j] + carry;
            product[i + j] = (uint32_t)sum;
            carry = (uint32_t)(sum >> 32);
        }
        product[i + words] = carry;
    }
}

/* a = product modulo 2^(32 words) - 1: the upper half counts as much as the lower one, and so does
 * a carry. */
static void fold(uint32_t words) {
    uint32_t carry = 0;
    for (uint32_t i = 0; i < words; i++) {
        uint64_t sum = (uint64_t)product[i] + product[i + words] + carry;
        a[i] = (uint32_t)sum;
        carry = (uint32_t)(sum >> 32);
    }
    for (uint32_t i = 0; carry && i < words; i++) {
        a[i] += carry;
        carry = a[i] == 0;
    }
}

static void all_ones_to_zero(uint32_t *number, uint32_t words) {
    for (uint32_t i = 0; i < words; i++) {
        if (number[i] != 0xffffffff) {
            return;
        }
    }
    memset(number, 0, words * sizeof *number);
}

int main(void) {
    if (input_length < NUMBERS) {
        return 1;
    }
    uint32_t words = load_u32(input + 4);
    if (words == 0 || words > MAX_WORDS || input_length != NUMBERS + 12 * words) {
        return 1;
    }
    load_number(a, input + NUMBERS, words);
    load_number(b, input + NUMBERS + 4 * words, words);
    load_number(expected, input + NUMBERS + 8 * words, words);
    for (uint32_t rounds = load_u32(input); rounds > 0; rounds--) {
        multiply(words);
        fold(words);
    }
    all_ones_to_zero(a, words);
    return memcmp(a, expected, words * sizeof *a) == 0 ? 0 : 2;
}
