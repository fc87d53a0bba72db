#include "crypt3.h"

#include <string.h>

#include "base/mem.h"

/* DES as in FIPS 46-3, with the two changes of crypt(3): 25 passes over a block of zeros without
 * the permutations between them, and a salt that swaps halves of the expansion. Bits are numbered
 * as in the standard: 1 is the most significant. Blocks and keys are 64-bit numbers. */

static const uint8_t key_choice_1[56] = {57, 49, 41, 33, 25, 17, 9,  1,  58, 50, 42, 34, 26, 18,
                                         10, 2,  59, 51, 43, 35, 27, 19, 11, 3,  60, 52, 44, 36,
                                         63, 55, 47, 39, 31, 23, 15, 7,  62, 54, 46, 38, 30, 22,
                                         14, 6,  61, 53, 45, 37, 29, 21, 13, 5,  28, 20, 12, 4};

static const uint8_t key_choice_2[48] = {
    14, 17, 11, 24, 1,  5,  3,  28, 15, 6,  21, 10, 23, 19, 12, 4,  26, 8,  16, 7,  27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32};

static const uint8_t key_shifts[16] = {1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1};

static const uint8_t round_permutation[32] = {16, 7, 20, 21, 29, 12, 28, 17, 1,  15, 23,
                                              26, 5, 18, 31, 10, 2,  8,  24, 14, 32, 27,
                                              3,  9, 19, 13, 30, 6,  22, 11, 4,  25};

static const uint8_t final_permutation[64] = {
    40, 8,  48, 16, 56, 24, 64, 32, 39, 7,  47, 15, 55, 23, 63, 31, 38, 6,  46, 14, 54, 22,
    62, 30, 37, 5,  45, 13, 53, 21, 61, 29, 36, 4,  44, 12, 52, 20, 60, 28, 35, 3,  43, 11,
    51, 19, 59, 27, 34, 2,  42, 10, 50, 18, 58, 26, 33, 1,  41, 9,  49, 17, 57, 25};

/* Row b1 b6, column b2..b5 of the six input bits, as printed in the standard. */
static const uint8_t substitution[8][64] = {
    {14, 4,  13, 1, 2,  15, 11, 8, 3, 10, 6, 12, 5,  9,  0,  7,  0,  15, 7,  4,  14, 2,
     13, 1,  10, 6, 12, 11, 9,  5, 3, 8,  4, 1,  14, 8,  13, 6,  2,  11, 15, 12, 9,  7,
     3,  10, 5,  0, 15, 12, 8,  2, 4, 9,  1, 7,  5,  11, 3,  14, 10, 0,  6,  13},
    {15, 1,  8,  14, 6,  11, 3,  4, 9,  7,  2, 13, 12, 0,  5,  10, 3,  13, 4,  7, 15, 2,
     8,  14, 12, 0,  1,  10, 6,  9, 11, 5,  0, 14, 7,  11, 10, 4,  13, 1,  5,  8, 12, 6,
     9,  3,  2,  15, 13, 8,  10, 1, 3,  15, 4, 2,  11, 6,  7,  12, 0,  5,  14, 9},
    {10, 0,  9,  14, 6, 3,  15, 5,  1,  13, 12, 7, 11, 4,  2,  8,  13, 7, 0,  9, 3, 4,
     6,  10, 2,  8,  5, 14, 12, 11, 15, 1,  13, 6, 4,  9,  8,  15, 3,  0, 11, 1, 2, 12,
     5,  10, 14, 7,  1, 10, 13, 0,  6,  9,  8,  7, 4,  15, 14, 3,  11, 5, 2,  12},
    {7, 13, 14, 3, 0, 6,  9, 10, 1,  2, 8,  5, 11, 12, 4,  15, 13, 8,  11, 5, 6, 15,
     0, 3,  4,  7, 2, 12, 1, 10, 14, 9, 10, 6, 9,  0,  12, 11, 7,  13, 15, 1, 3, 14,
     5, 2,  8,  4, 3, 15, 0, 6,  10, 1, 13, 8, 9,  4,  5,  11, 12, 7,  2,  14},
    {2,  12, 4, 1,  7,  10, 11, 6, 8, 5,  3, 15, 13, 0,  14, 9,  14, 11, 2,  12, 4,  7,
     13, 1,  5, 0,  15, 10, 3,  9, 8, 6,  4, 2,  1,  11, 10, 13, 7,  8,  15, 9,  12, 5,
     6,  3,  0, 14, 11, 8,  12, 7, 1, 14, 2, 13, 6,  15, 0,  9,  10, 4,  5,  3},
    {12, 1,  10, 15, 9,  2,  6, 8,  0, 13, 3,  4,  14, 7,  5, 11, 10, 15, 4, 2, 7, 12,
     9,  5,  6,  1,  13, 14, 0, 11, 3, 8,  9,  14, 15, 5,  2, 8,  12, 3,  7, 0, 4, 10,
     1,  13, 11, 6,  4,  3,  2, 12, 9, 5,  15, 10, 11, 14, 1, 7,  6,  0,  8, 13},
    {4, 11, 2,  14, 15, 0,  8,  13, 3, 12, 9,  7, 5,  10, 6,  1,  13, 0,  11, 7,  4, 9,
     1, 10, 14, 3,  5,  12, 2,  15, 8, 6,  1,  4, 11, 13, 12, 3,  7,  14, 10, 15, 6, 8,
     0, 5,  9,  2,  6,  11, 13, 8,  1, 4,  10, 7, 9,  5,  0,  15, 14, 2,  3,  12},
    {13, 2, 8,  4, 6, 15, 11, 1,  10, 9,  3, 14, 5,  0,  12, 7,  1,  15, 13, 8, 10, 3,
     7,  4, 12, 5, 6, 11, 0,  14, 9,  2,  7, 11, 4,  1,  9,  12, 14, 2,  0,  6, 10, 13,
     15, 3, 5,  8, 2, 1,  14, 7,  4,  10, 8, 13, 15, 12, 9,  0,  3,  5,  6,  11}};

static const char alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

enum { PASSES = 25, ROUNDS = 16, PASSWORD_CHARS = 8 };

typedef struct crypt_state {
    uint32_t round_box[8][64]; /* substitution and round permutation in one step */
    uint32_t key[ROUNDS][2];   /* two halves of 24 bits per round */
    uint32_t salt;             /* which bits of the two halves of the expansion change places */
} crypt_state;

/* Bit i of the result (1 = most significant of count) is bit table[i] of value, which is width
 * wide. */
static uint64_t permute(uint64_t value, unsigned width, const uint8_t *table, unsigned count)
{
    uint64_t result = 0;
    unsigned i;

    for (i = 0; i < count; i++)
        result = result << 1 | (value >> (width - table[i]) & 1);
    return result;
}

static void make_round_boxes(crypt_state *c)
{
    unsigned box;
    unsigned in;

    for (box = 0; box < 8; box++) {
        for (in = 0; in < 64; in++) {
            unsigned at = (in & 32) | (in & 1) << 4 | (in >> 1 & 15);
            uint64_t out = (uint64_t)substitution[box][at] << (28 - 4 * box);

            c->round_box[box][in] = (uint32_t)permute(out, 32, round_permutation, 32);
        }
    }
}

static uint32_t rotate_28(uint32_t half, unsigned by)
{
    return (half << by | half >> (28 - by)) & 0x0fffffffu;
}

static void make_keys(crypt_state *c, uint64_t key)
{
    uint64_t chosen = permute(key, 64, key_choice_1, 56);
    uint32_t left = (uint32_t)(chosen >> 28);
    uint32_t right = (uint32_t)(chosen & 0x0fffffffu);
    unsigned round;

    for (round = 0; round < ROUNDS; round++) {
        uint64_t k;

        left = rotate_28(left, key_shifts[round]);
        right = rotate_28(right, key_shifts[round]);
        k = permute((uint64_t)left << 28 | right, 56, key_choice_2, 48);
        c->key[round][0] = (uint32_t)(k >> 24);
        c->key[round][1] = (uint32_t)(k & 0xffffffu);
    }
}

/* The expansion: bits 32 1 2 3 4 5 | 4 5 6 7 8 9 | ... in two halves of four groups of six. */
static void expand(uint32_t half, uint32_t *high, uint32_t *low)
{
    uint32_t around = half >> 1 | half << 31;  /* bits 32 1 2 ... 31 */
    uint32_t shifted = half << 1 | half >> 31; /* bits 2 3 ... 32 1 */

    *high = (around >> 26 & 63) << 18 | (around >> 22 & 63) << 12 | (around >> 18 & 63) << 6 |
            (around >> 14 & 63);
    *low = (around >> 10 & 63) << 18 | (around >> 6 & 63) << 12 | (around >> 2 & 63) << 6 |
           (shifted & 63);
}

static uint32_t round_function(const crypt_state *c, uint32_t half, const uint32_t key[2])
{
    uint32_t high;
    uint32_t low;
    uint32_t swapped;

    expand(half, &high, &low);
    swapped = (high ^ low) & c->salt;
    high ^= swapped ^ key[0];
    low ^= swapped ^ key[1];
    return c->round_box[0][high >> 18 & 63] | c->round_box[1][high >> 12 & 63] |
           c->round_box[2][high >> 6 & 63] | c->round_box[3][high & 63] |
           c->round_box[4][low >> 18 & 63] | c->round_box[5][low >> 12 & 63] |
           c->round_box[6][low >> 6 & 63] | c->round_box[7][low & 63];
}

static uint64_t encrypt_zeros(const crypt_state *c)
{
    uint32_t left = 0;
    uint32_t right = 0;
    unsigned pass;

    for (pass = 0; pass < PASSES; pass++) {
        unsigned round;
        uint32_t old_left;

        for (round = 0; round < ROUNDS; round++) {
            uint32_t next = left ^ round_function(c, right, c->key[round]);

            left = right;
            right = next;
        }
        /* The halves change places after the last round; final and initial permutation of the
         * passes in between cancel out. */
        old_left = left;
        left = right;
        right = old_left;
    }
    return permute((uint64_t)left << 32 | right, 64, final_permutation, 64);
}

static unsigned character_value(uint8_t c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (unsigned)(at - alphabet) : 64;
}

int etcp_crypt3_salt_is_valid(const uint8_t salt[2])
{
    return character_value(salt[0]) < 64 && character_value(salt[1]) < 64;
}

/* Bit i of the salt, counted from its least significant, changes place i of the two halves. */
static uint32_t salt_mask(const uint8_t salt[2])
{
    unsigned value = character_value(salt[0]) | character_value(salt[1]) << 6;
    uint32_t mask = 0;
    unsigned i;

    for (i = 0; i < 12; i++)
        mask |= (uint32_t)(value >> i & 1) << (23 - i);
    return mask;
}

static uint64_t password_key(const uint8_t *password, size_t len)
{
    uint64_t key = 0;
    unsigned i;

    for (i = 0; i < PASSWORD_CHARS && i < len && password[i]; i++)
        key |= (uint64_t)(password[i] & 0x7f) << (57 - 8 * i);
    return key;
}

/* 64 bits and two zeros make 11 characters. */
static void print_block(uint64_t block, char out[12])
{
    unsigned i;

    for (i = 0; i < 10; i++)
        out[i] = alphabet[block >> (58 - 6 * i) & 63];
    out[10] = alphabet[block << 2 & 63];
    out[11] = '\0';
}

void etcp_crypt3(const uint8_t *password, size_t len, const uint8_t salt[2],
                 char out[ETCP_CRYPT3_SIZE])
{
    crypt_state c;

    if (!etcp_crypt3_salt_is_valid(salt)) {
        memcpy(out, salt[0] == '*' && salt[1] == '0' ? "*1" : "*0", 3);
        return;
    }
    make_round_boxes(&c);
    make_keys(&c, password_key(password, len));
    c.salt = salt_mask(salt);
    out[0] = (char)salt[0];
    out[1] = (char)salt[1];
    print_block(encrypt_zeros(&c), out + 2);
    etcp_wipe(&c, sizeof c);
}
