/* Blowfish (Schneier, "Description of a New Variable-Length Key, 64-Bit Block Cipher", 1993) with a key
 * of 56 bytes. OpenSSL's is in its legacy provider, which may be missing, or behind functions that are
 * deprecated and may be left out. */
#include "block_cipher.h"

#include <string.h>

#include "block_chain.h"
#include "blowfish_pi.h"
#include "words.h"

enum { KEY_SIZE = 56, BLOCK_SIZE = 8, ROUNDS = 16 };

typedef struct blowfish_schedule {
    uint32_t p[ETCP_BLOWFISH_SUBKEYS];
    uint32_t s[4][256];
} blowfish_schedule;

static inline uint32_t mix(const blowfish_schedule *k, uint32_t x)
{
    return ((k->s[0][x >> 24] + k->s[1][x >> 16 & 255]) ^ k->s[2][x >> 8 & 255]) + k->s[3][x & 255];
}

/* Two rounds at a time, so that the halves need not be swapped. */
static inline void encrypt_halves(const blowfish_schedule *k, uint32_t *left, uint32_t *right)
{
    uint32_t l = *left ^ k->p[0];
    uint32_t r = *right;

    for (int i = 1; i <= ROUNDS; i += 2) {
        r ^= mix(k, l) ^ k->p[i];
        l ^= mix(k, r) ^ k->p[i + 1];
    }
    *left = r ^ k->p[ROUNDS + 1];
    *right = l;
}

static inline void decrypt_halves(const blowfish_schedule *k, uint32_t *left, uint32_t *right)
{
    uint32_t l = *left ^ k->p[ROUNDS + 1];
    uint32_t r = *right;

    for (int i = ROUNDS; i >= 1; i -= 2) {
        r ^= mix(k, l) ^ k->p[i];
        l ^= mix(k, r) ^ k->p[i - 1];
    }
    *left = r ^ k->p[0];
    *right = l;
}

static void fill(const blowfish_schedule *k, uint32_t *words, int count, uint32_t *left,
                 uint32_t *right)
{
    for (int i = 0; i < count; i += 2) {
        encrypt_halves(k, left, right);
        words[i] = *left;
        words[i + 1] = *right;
    }
}

static int set_key(void *schedule, const uint8_t *key)
{
    blowfish_schedule *k = schedule;
    uint32_t left = 0, right = 0;

    memcpy(k->s, etcp_blowfish_s, sizeof k->s);
    /* The key is repeated over the subkeys: 56 bytes are 14 words. */
    for (int i = 0; i < ETCP_BLOWFISH_SUBKEYS; i++)
        k->p[i] = etcp_blowfish_p[i] ^ etcp_load_be32(key + i * 4 % KEY_SIZE);
    fill(k, k->p, ETCP_BLOWFISH_SUBKEYS, &left, &right);
    for (int i = 0; i < 4; i++)
        fill(k, k->s[i], 256, &left, &right);
    return 0;
}

static void encrypt_block(const void *schedule, uint8_t *block)
{
    uint32_t left = etcp_load_be32(block);
    uint32_t right = etcp_load_be32(block + 4);

    encrypt_halves(schedule, &left, &right);
    etcp_store_be32(block, left);
    etcp_store_be32(block + 4, right);
}

static void decrypt_block(const void *schedule, uint8_t *block)
{
    uint32_t left = etcp_load_be32(block);
    uint32_t right = etcp_load_be32(block + 4);

    decrypt_halves(schedule, &left, &right);
    etcp_store_be32(block, left);
    etcp_store_be32(block + 4, right);
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

const etcp_block_cipher etcp_blowfish = {KEY_SIZE, BLOCK_SIZE, sizeof(blowfish_schedule),
                                         set_key,  encrypt,    decrypt, NULL};
