/* Heapsort of pseudo-random words; halts with 0 if the result is ordered and holds the same words.
 * Input: count u32 (at most 65536) | seed u32 (not 0), big-endian. */
#include "guest.h"

enum { MAX_COUNT = 65536 };

static uint32_t words[MAX_COUNT];

static uint32_t xorshift(uint32_t x) {
    x ^= x << 13;
    x ^= x >> 17;
    return x ^ x << 5;
}

/* Equal for equal multisets; two sums make an unnoticed change unlikely. */
static uint64_t fingerprint(uint32_t count) {
    uint32_t sum = 0, mixed = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += words[i];
        mixed += xorshift(words[i]) * 2654435761u;
    }
    return (uint64_t)sum << 32 | mixed;
}

static void sift_down(uint32_t root, uint32_t count) {
    uint32_t value = words[root];
    for (uint32_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && words[child] < words[child + 1]) {
            child++;
        }
        if (words[child] <= value) {
            break;
        }
        words[root] = words[child];
    }
    words[root] = value;
}

static void heapsort(uint32_t count) {
    for (uint32_t i = count / 2; i > 0; i--) {
        sift_down(i - 1, count);
    }
    for (uint32_t last = count; last-- > 1;) {
        uint32_t top = words[0];
        words[0] = words[last];
        words[last] = top;
        sift_down(0, last);
    }
}

int main(void) {
    if (input_length != 8) {
        return 1;
    }
    uint32_t count = load_u32(input);
    uint32_t seed = load_u32(input + 4);
    if (count > MAX_COUNT || seed == 0) {
        return 2;
    }
    for (uint32_t i = 0; i < count; i++) {
        seed = xorshift(seed);
        words[i] = seed;
    }
    uint64_t before = fingerprint(count);
    heapsort(count);
    for (uint32_t i = 1; i < count; i++) {
        if (words[i - 1] > words[i]) {
            return 3;
        }
    }
    return fingerprint(count) == before ? 0 : 4;
}
