/* Twofish (Schneier et al., "Twofish: A 128-Bit Block Cipher", 1998) with keys of 128 and of 256 bits.
 * Names and section numbers are the specification's. */
#include "block_cipher.h"

#include "base/mem.h"
#include "block_chain.h"
#include "twofish_tables.h"
#include "words.h"

enum {
    BLOCK_SIZE = 16,
    ROUNDS = 16,
    WHITENING = 8, /* words: four before the rounds, four behind */
    SUBKEYS = WHITENING + 2 * ROUNDS,
    KEY_UNITS_MAX = 4 /* of 64 bits: N / 64, called k */
};

typedef struct twofish_schedule {
    uint32_t k[SUBKEYS];
    uint32_t s[4][256]; /* function g, byte by byte: "full keying", section 5.1 */
} twofish_schedule;

/* Which of q0 and q1 takes byte i in each stage of function h (section 4.3.2, figure 2), the stage of
 * the key's first unit last. The very last permutation is part of etcp_twofish_mds. */
static const uint8_t stages[KEY_UNITS_MAX][4] = {
    {0, 0, 1, 1}, /* before unit 0 is mixed in */
    {0, 1, 0, 1},
    {1, 1, 0, 0},
    {1, 0, 0, 1}
};

/* What byte x becomes in column i of h with list[0..units). */
static inline uint32_t h_column(int i, uint8_t x, const uint32_t *list, int units)
{
    for (int unit = units - 1; unit >= 0; unit--)
        x = (uint8_t)(etcp_twofish_q[stages[unit][i]][x] ^ (list[unit] >> 8 * i & 255));
    return etcp_twofish_mds[i][x];
}

/* h(x) where all four bytes of x are the same. */
static uint32_t h(uint8_t x, const uint32_t *list, int units)
{
    return h_column(0, x, list, units) ^ h_column(1, x, list, units) ^ h_column(2, x, list, units) ^
           h_column(3, x, list, units);
}

/* Multiplies the remainder by x in the ring of the Reed-Solomon code (section 4.3.1), whose generator
 * is x^4 + (a + 1/a) x^3 + a x^2 + (a + 1/a) x + 1 over GF(2^8) with 14d; a is 2 there. */
static uint32_t rs_step(uint32_t remainder)
{
    const uint32_t b = remainder >> 24;
    const uint32_t times_a = (b << 1 ^ (b >> 7) * 0x14du) & 255;
    const uint32_t by_a = b >> 1 ^ (b & 1) * (0x14du >> 1);
    const uint32_t sum = times_a ^ by_a;

    return remainder << 8 ^ sum << 24 ^ times_a << 16 ^ sum << 8 ^ b;
}

static uint32_t rs_code(uint32_t low, uint32_t high)
{
    for (int i = 0; i < 4; i++)
        high = rs_step(high);
    high ^= low;
    for (int i = 0; i < 4; i++)
        high = rs_step(high);
    return high;
}

static void expand_subkeys(twofish_schedule *t, const uint32_t *even, const uint32_t *odd, int units)
{
    for (int i = 0; i < SUBKEYS; i += 2) {
        const uint32_t a = h((uint8_t)i, even, units);
        const uint32_t b = etcp_rotate_left(h((uint8_t)(i + 1), odd, units), 8);

        t->k[i] = a + b;
        t->k[i + 1] = etcp_rotate_left(a + 2 * b, 9);
    }
}

static void set_any_key(twofish_schedule *t, const uint8_t *key, int units)
{
    uint32_t even[KEY_UNITS_MAX], odd[KEY_UNITS_MAX], codes[KEY_UNITS_MAX];

    for (int i = 0; i < units; i++) {
        even[i] = etcp_load_le32(key + 8 * i);
        odd[i] = etcp_load_le32(key + 8 * i + 4);
        codes[units - 1 - i] = rs_code(even[i], odd[i]); /* used in reverse order */
    }
    expand_subkeys(t, even, odd, units);
    for (int i = 0; i < 4; i++)
        for (int x = 0; x < 256; x++)
            t->s[i][x] = h_column(i, (uint8_t)x, codes, units);
    etcp_wipe(even, sizeof even);
    etcp_wipe(odd, sizeof odd);
    etcp_wipe(codes, sizeof codes);
}

/* Constant numbers of units, so that the compiler unrolls their loops. */
static int set_key_128(void *schedule, const uint8_t *key)
{
    set_any_key(schedule, key, 2);
    return 0;
}

static int set_key_256(void *schedule, const uint8_t *key)
{
    set_any_key(schedule, key, 4);
    return 0;
}

static inline uint32_t g(const twofish_schedule *t, uint32_t x)
{
    return t->s[0][x & 255] ^ t->s[1][x >> 8 & 255] ^ t->s[2][x >> 16 & 255] ^ t->s[3][x >> 24];
}

/* g of x rotated left by eight bits. */
static inline uint32_t g_rotated(const twofish_schedule *t, uint32_t x)
{
    return t->s[0][x >> 24] ^ t->s[1][x & 255] ^ t->s[2][x >> 8 & 255] ^ t->s[3][x >> 16 & 255];
}

static void encrypt_block(const void *schedule, uint8_t *block)
{
    const twofish_schedule *t = schedule;
    const uint32_t *k = t->k;
    uint32_t r[4];

    for (int i = 0; i < 4; i++)
        r[i] = etcp_load_le32(block + 4 * i) ^ k[i];
    /* Two rounds at a time, so that the halves need not be swapped. */
    for (int round = 0; round < ROUNDS; round += 2) {
        const uint32_t *rk = k + WHITENING + 2 * round;
        uint32_t t0 = g(t, r[0]), t1 = g_rotated(t, r[1]);

        r[2] = etcp_rotate_right(r[2] ^ (t0 + t1 + rk[0]), 1);
        r[3] = etcp_rotate_left(r[3], 1) ^ (t0 + 2 * t1 + rk[1]);
        t0 = g(t, r[2]);
        t1 = g_rotated(t, r[3]);
        r[0] = etcp_rotate_right(r[0] ^ (t0 + t1 + rk[2]), 1);
        r[1] = etcp_rotate_left(r[1], 1) ^ (t0 + 2 * t1 + rk[3]);
    }
    for (int i = 0; i < 4; i++)
        etcp_store_le32(block + 4 * i, r[(i + 2) & 3] ^ k[4 + i]);
}

static void decrypt_block(const void *schedule, uint8_t *block)
{
    const twofish_schedule *t = schedule;
    const uint32_t *k = t->k;
    uint32_t r[4];

    for (int i = 0; i < 4; i++)
        r[(i + 2) & 3] = etcp_load_le32(block + 4 * i) ^ k[4 + i];
    for (int round = ROUNDS - 2; round >= 0; round -= 2) {
        const uint32_t *rk = k + WHITENING + 2 * round;
        uint32_t t0 = g(t, r[2]), t1 = g_rotated(t, r[3]);

        r[0] = etcp_rotate_left(r[0], 1) ^ (t0 + t1 + rk[2]);
        r[1] = etcp_rotate_right(r[1] ^ (t0 + 2 * t1 + rk[3]), 1);
        t0 = g(t, r[0]);
        t1 = g_rotated(t, r[1]);
        r[2] = etcp_rotate_left(r[2], 1) ^ (t0 + t1 + rk[0]);
        r[3] = etcp_rotate_right(r[3] ^ (t0 + 2 * t1 + rk[1]), 1);
    }
    for (int i = 0; i < 4; i++)
        etcp_store_le32(block + 4 * i, r[i] ^ k[i]);
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

const etcp_block_cipher etcp_twofish_128 = {16,          BLOCK_SIZE, sizeof(twofish_schedule),
                                            set_key_128, encrypt,    decrypt, NULL};

const etcp_block_cipher etcp_twofish_256 = {32,          BLOCK_SIZE, sizeof(twofish_schedule),
                                            set_key_256, encrypt,    decrypt, NULL};
