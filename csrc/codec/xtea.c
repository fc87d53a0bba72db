/* XTEA (Needham, Wheeler, "TEA extensions", 1997), 32 cycles. The module that uses it calls itself
 * Crypt::TEA, and takes key and blocks for little-endian words where most take big-endian ones. */
#include "block_cipher.h"

#include "block_chain.h"
#include "words.h"

enum { KEY_SIZE = 16, BLOCK_SIZE = 8, CYCLES = 32 };

static const uint32_t DELTA = 0x9e3779b9;

/* What both halves of each cycle add: sum + key word. */
typedef struct xtea_schedule {
    uint32_t first[CYCLES];
    uint32_t second[CYCLES];
} xtea_schedule;

static int set_key(void *schedule, const uint8_t *key)
{
    xtea_schedule *k = schedule;
    uint32_t sum = 0;

    for (int i = 0; i < CYCLES; i++) {
        k->first[i] = sum + etcp_load_le32(key + 4 * (sum & 3));
        sum += DELTA;
        k->second[i] = sum + etcp_load_le32(key + 4 * (sum >> 11 & 3));
    }
    return 0;
}

static inline uint32_t mix(uint32_t x)
{
    return (x << 4 ^ x >> 5) + x;
}

static void encrypt_block(const void *schedule, uint8_t *block)
{
    const xtea_schedule *k = schedule;
    uint32_t y = etcp_load_le32(block);
    uint32_t z = etcp_load_le32(block + 4);

    for (int i = 0; i < CYCLES; i++) {
        y += mix(z) ^ k->first[i];
        z += mix(y) ^ k->second[i];
    }
    etcp_store_le32(block, y);
    etcp_store_le32(block + 4, z);
}

static void decrypt_block(const void *schedule, uint8_t *block)
{
    const xtea_schedule *k = schedule;
    uint32_t y = etcp_load_le32(block);
    uint32_t z = etcp_load_le32(block + 4);

    for (int i = CYCLES - 1; i >= 0; i--) {
        z -= mix(y) ^ k->second[i];
        y -= mix(z) ^ k->first[i];
    }
    etcp_store_le32(block, y);
    etcp_store_le32(block + 4, z);
}

/* Why these are here and not once for all: block_chain.h. */
static int encrypt(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
    etcp_chain_encrypt(encrypt_block, BLOCK_SIZE, schedule, iv, in, out, len);
    return 0;
}

static int decrypt(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
    etcp_chain_decrypt(decrypt_block, BLOCK_SIZE, schedule, iv, in, out, len);
    return 0;
}

const etcp_block_cipher etcp_xtea = {KEY_SIZE, BLOCK_SIZE, sizeof(xtea_schedule),
                                     set_key,  encrypt,    decrypt, NULL};
