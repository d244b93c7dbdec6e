/* CRC-32 (IEEE 802.3, as zlib); halts with 0 if the data, read `rounds` times in a row, has the
 * expected sum.
 * Input: rounds u32 | crc u32 | data, big-endian. */
#include "guest.h"

enum { DATA = 8 };

static uint32_t table[256];

static void make_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
        }
        table[byte] = crc;
    }
}

int main(void) {
    if (input_length < DATA) {
        return 1;
    }
    make_table();
    uint32_t crc = 0xffffffff;
    for (uint32_t rounds = load_u32(input); rounds > 0; rounds--) {
        for (uint32_t i = DATA; i < input_length; i++) {
            crc = crc >> 8 ^ table[(crc ^ input[i]) & 0xff];
        }
    }
    return ~crc == load_u32(input + 4) ? 0 : 2;
}
