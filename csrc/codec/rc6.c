/* RC6-32/20/32 (Rivest, Robshaw, Sidney, Yin, "The RC6 Block Cipher", 1998). */
#include "block_cipher.h"

#include "block_chain.h"
#include "base/mem.h"
#include "words.h"

enum {
    KEY_SIZE = 32,
    KEY_WORDS = KEY_SIZE / 4,
    BLOCK_SIZE = 16,
    ROUNDS = 20,
    SUBKEYS = 2 * ROUNDS + 4,
    MIXING_STEPS = 3 * SUBKEYS /* three times the longer of subkeys and key */
};

static const uint32_t P32 = 0xb7e15163; /* Odd((e - 2) 2^32) */
static const uint32_t Q32 = 0x9e3779b9; /* Odd((golden ratio - 1) 2^32) */

typedef struct rc6_schedule {
    uint32_t s[SUBKEYS];
} rc6_schedule;

static int set_key(void *schedule, const uint8_t *key)
{
    rc6_schedule *k = schedule;
    uint32_t words[KEY_WORDS];
    uint32_t a = 0, b = 0;

    for (int i = 0; i < KEY_WORDS; i++)
        words[i] = etcp_load_le32(key + 4 * i);
    k->s[0] = P32;
    for (int i = 1; i < SUBKEYS; i++)
        k->s[i] = k->s[i - 1] + Q32;
    for (int step = 0, i = 0, j = 0; step < MIXING_STEPS; step++) {
        a = k->s[i] = etcp_rotate_left(k->s[i] + a + b, 3);
        b = words[j] = etcp_rotate_left(words[j] + a + b, a + b);
        i = i + 1 == SUBKEYS ? 0 : i + 1;
        j = (j + 1) % KEY_WORDS;
    }
    etcp_wipe(words, sizeof words);
    return 0;
}

static inline uint32_t quadratic(uint32_t x)
{
    return etcp_rotate_left(x * (2 * x + 1), 5);
}

static void encrypt_block(const void *schedule, uint8_t *block)
{
    const uint32_t *s = ((const rc6_schedule *)schedule)->s;
    uint32_t a = etcp_load_le32(block);
    uint32_t b = etcp_load_le32(block + 4) + s[0];
    uint32_t c = etcp_load_le32(block + 8);
    uint32_t d = etcp_load_le32(block + 12) + s[1];

    for (int i = 2; i <= 2 * ROUNDS; i += 2) {
        const uint32_t t = quadratic(b), u = quadratic(d);
        const uint32_t next_d = etcp_rotate_left(a ^ t, u) + s[i];

        a = b;
        b = etcp_rotate_left(c ^ u, t) + s[i + 1];
        c = d;
        d = next_d;
    }
    etcp_store_le32(block, a + s[SUBKEYS - 2]);
    etcp_store_le32(block + 4, b);
    etcp_store_le32(block + 8, c + s[SUBKEYS - 1]);
    etcp_store_le32(block + 12, d);
}

static void decrypt_block(const void *schedule, uint8_t *block)
{
    const uint32_t *s = ((const rc6_schedule *)schedule)->s;
    uint32_t a = etcp_load_le32(block) - s[SUBKEYS - 2];
    uint32_t b = etcp_load_le32(block + 4);
    uint32_t c = etcp_load_le32(block + 8) - s[SUBKEYS - 1];
    uint32_t d = etcp_load_le32(block + 12);

    for (int i = 2 * ROUNDS; i >= 2; i -= 2) {
        const uint32_t t = quadratic(a), u = quadratic(c);
        const uint32_t last_c = etcp_rotate_right(b - s[i + 1], t) ^ u;

        b = a;
        a = etcp_rotate_right(d - s[i], u) ^ t;
        d = c;
        c = last_c;
    }
    etcp_store_le32(block, a);
    etcp_store_le32(block + 4, b - s[0]);
    etcp_store_le32(block + 8, c);
    etcp_store_le32(block + 12, d - s[1]);
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

const etcp_block_cipher etcp_rc6 = {KEY_SIZE, BLOCK_SIZE, sizeof(rc6_schedule),
                                    set_key,  encrypt,    decrypt, NULL};
