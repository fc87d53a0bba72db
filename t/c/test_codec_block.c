/* The block ciphers alone, against published vectors: none comes from the modules they stand for.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codec/block_cipher.h"
#include "codec/cipher.h"
#include "recorded.h"
#include "tap.h"

enum { TEXT_MAX = 2048 };

/* What CBC mode makes of plain; a single block behind a vector of zeros is the cipher itself. */
typedef struct vector {
    const etcp_block_cipher *block;
    const char *source;
    const char *key;
    const char *iv; /* NULL: zeros */
    const char *plain;
    const char *sealed;
} vector;

/* Blowfish keys of fewer than 56 bytes are written as often as they are repeated: the cipher does
 * the same, so that those which go into 56 bytes without rest give the same subkeys. */
#define TWICE(x) x x
#define FOUR_TIMES(x) TWICE(x) TWICE(x)
#define SEVEN_TIMES(x) FOUR_TIMES(x) TWICE(x) x

/* clang-format off */
static const vector vectors[] = {
    {&etcp_aes_256, "FIPS 197, C.3",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", NULL,
     "00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089"},
    {&etcp_aes_256, "SP 800-38A, F.2.5",
     "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
     "000102030405060708090a0b0c0d0e0f",
     "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
     "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
     "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
     "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"},

    {&etcp_des, "FIPS 81, appendix C", "0123456789abcdef", "1234567890abcdef",
     "4e6f77206973207468652074696d6520666f7220616c6c20",
     "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6"},
    {&etcp_des, "SP 800-17, table A.1", "0101010101010101", NULL,
     "8000000000000000", "95f8a5e5dd31d900"},
    {&etcp_des, "SP 800-17, table A.4", "7ca110454a1a6e57", NULL,
     "01a1d6d039776742", "690f5b0d9a26939b"},
    {&etcp_des, "parity bits have no effect", "0022446688aaccee", "1234567890abcdef",
     "4e6f77206973207468652074696d6520666f7220616c6c20",
     "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6"},

    {&etcp_des_ede3, "SP 800-67, B.1, block 1",
     "0123456789abcdef23456789abcdef01456789abcdef0123", NULL,
     "5468652071756663", "a826fd8ce53b855f"},
    {&etcp_des_ede3, "SP 800-67, B.1, block 2",
     "0123456789abcdef23456789abcdef01456789abcdef0123", NULL,
     "6b2062726f776e20", "cce21c8112256fe6"},
    {&etcp_des_ede3, "SP 800-67, B.1, block 3",
     "0123456789abcdef23456789abcdef01456789abcdef0123", NULL,
     "666f78206a756d70", "68d5c05dd9b6b900"},

    /* Eric Young's set for Blowfish, on its author's pages. */
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("0000000000000000"), NULL,
     "0000000000000000", "4ef997456198dd78"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("ffffffffffffffff"), NULL,
     "ffffffffffffffff", "51866fd5b85ecb8a"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("3000000000000000"), NULL,
     "1000000000000001", "7d856f9a613063f2"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("1111111111111111"), NULL,
     "1111111111111111", "2466dd878b963c9d"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("0123456789abcdef"), NULL,
     "1111111111111111", "61f9c3802281b096"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("fedcba9876543210"), NULL,
     "0123456789abcdef", "0aceab0fc6a0a28d"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("7ca110454a1a6e57"), NULL,
     "01a1d6d039776742", "59c68245eb05282b"},
    {&etcp_blowfish, "Eric Young, ECB", SEVEN_TIMES("0131d9619dc1376e"), NULL,
     "5cd54ca83def57da", "b1b8cc0b250f09a0"},
    {&etcp_blowfish, "Eric Young, set_key, 4 bytes", SEVEN_TIMES(TWICE("f0e1d2c3")), NULL,
     "fedcba9876543210", "be1e639408640f05"},
    {&etcp_blowfish, "Eric Young, set_key, 8 bytes", SEVEN_TIMES("f0e1d2c3b4a59687"), NULL,
     "fedcba9876543210", "e87a244e2cc85e82"},
    {&etcp_blowfish, "Eric Young, set_key, 14 bytes", FOUR_TIMES("f0e1d2c3b4a5968778695a4b3c2d"), NULL,
     "fedcba9876543210", "1f85031c19e11968"},
    {&etcp_blowfish, "OpenSSL 3.0 (legacy), 56 bytes",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b"
     "1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
     "f0f1f2f3f4f5f6f7", "404142434445464748494a4b4c4d4e4f5051525354555657",
     "d221a7e5fa4abcf60925d03285c84bc6f8951e1554176741"},

    {&etcp_rc6, "the paper, appendix",
     "0000000000000000000000000000000000000000000000000000000000000000", NULL,
     "00000000000000000000000000000000", "8f5fbd0510d15fa893fa3fda6e857ec2"},
    {&etcp_rc6, "the paper, appendix",
     "0123456789abcdef0112233445566778899aabbccddeeff01032547698badcfe", NULL,
     "02132435465768798a9bacbdcedfe0f1", "c8241816f0d7e48920ad16a1674e5d48"},

    {&etcp_twofish_256, "the submission, ecb_ival",
     "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff", NULL,
     "00000000000000000000000000000000", "37527be0052334b89f0cfccae87cfa20"},

    /* Needham's and Wheeler's code computes with words; these were published with big-endian ones, and
     * are written here with each word turned round. */
    {&etcp_xtea, "Mbed TLS 2.28, turned round",
     "03020100070605040b0a09080f0e0d0c", NULL, "4443424148474645", "d0f37d49b52c6172"},
    {&etcp_xtea, "Mbed TLS 2.28, turned round",
     "03020100070605040b0a09080f0e0d0c", NULL, "4141414141414141", "132d8fe7d8414374"},
    {&etcp_xtea, "Mbed TLS 2.28, turned round",
     "00000000000000000000000000000000", NULL, "4443424148474645", "890539a0a5efb8f8"},
    {&etcp_xtea, "Bouncy Castle, XTEATest, turned round",
     "00000000000000000000000000000000", NULL, "0000000000000000", "d8d4e9ded91e13f7"},
    {&etcp_xtea, "Bouncy Castle, XTEATest, turned round",
     "6745230178563412896745239a785634", NULL, "0000000000000000", "26a0f91f6442c61a"},
};
/* clang-format on */

/* ---- schedules ------------------------------------------------------------------------------ */

static void *new_schedule(const etcp_block_cipher *block)
{
    void *schedule = calloc(1, block->schedule_size);

    recorded_need(schedule != NULL, "out of memory");
    return schedule;
}

static void free_schedule(const etcp_block_cipher *block, void *schedule)
{
    if (block->release)
        block->release(schedule);
    free(schedule);
}

/* Both directions with one schedule, to another place and in place. Returns what went wrong, or "".
 */
static const char *check(const etcp_block_cipher *block, void *schedule, const uint8_t *iv,
                         const uint8_t *plain, const uint8_t *sealed, size_t len)
{
    uint8_t text[TEXT_MAX];

    if (block->encrypt(schedule, iv, plain, text, len) != 0 || memcmp(text, sealed, len) != 0)
        return "encrypts to something else";
    if (block->decrypt(schedule, iv, sealed, text, len) != 0 || memcmp(text, plain, len) != 0)
        return "decrypts to something else";
    if (block->encrypt(schedule, iv, text, text, len) != 0 || memcmp(text, sealed, len) != 0)
        return "encrypts to something else in place";
    if (block->decrypt(schedule, iv, text, text, len) != 0 || memcmp(text, plain, len) != 0)
        return "decrypts to something else in place";
    return "";
}

/* ---- vectors -------------------------------------------------------------------------------- */

static void read_hex(etcp_buf *out, const char *hex, size_t len)
{
    etcp_buf_init(out);
    if (hex) {
        recorded_append_hex(out, hex, strlen(hex));
        recorded_need(len == 0 || etcp_buf_len(out) == len, "a vector of the wrong length");
        return;
    }
    recorded_need(etcp_buf_reserve(out, len) == 0, "out of memory");
    memset(etcp_buf_tail(out), 0, len);
    etcp_buf_commit(out, len);
}

static void test_vector(const vector *v)
{
    void *schedule = new_schedule(v->block);
    etcp_buf key, iv, plain, sealed;

    read_hex(&key, v->key, v->block->key_size);
    read_hex(&iv, v->iv, v->block->block_size);
    read_hex(&plain, v->plain, 0);
    read_hex(&sealed, v->sealed, etcp_buf_len(&plain));
    recorded_need(v->block->set_key(schedule, etcp_buf_bytes(&key)) == 0, "no key");
    tap_is_str(check(v->block, schedule, etcp_buf_bytes(&iv), etcp_buf_bytes(&plain),
                     etcp_buf_bytes(&sealed), etcp_buf_len(&plain)),
               "", "%s: %s", v->source, v->plain);
    etcp_buf_deinit(&key);
    etcp_buf_deinit(&iv);
    etcp_buf_deinit(&plain);
    etcp_buf_deinit(&sealed);
    free_schedule(v->block, schedule);
}

/* The submission's ecb_tbl: the text is the last result, the key takes the last text in front. Goes
 * through 49 keys with one schedule; the last result covers all. */
static void test_twofish_table(const etcp_block_cipher *block, const char *first, const char *last)
{
    static const uint8_t zeros[ETCP_BLOCK_MAX];
    uint8_t key[32] = {0}, plain[16] = {0}, sealed[16];
    void *schedule = new_schedule(block);
    etcp_buf want;

    for (int i = 1; i <= 49; i++) {
        recorded_need(block->set_key(schedule, key) == 0 &&
                          block->encrypt(schedule, zeros, plain, sealed, 16) == 0,
                      "cannot encrypt");
        if (i == 1 || i == 49) {
            read_hex(&want, i == 1 ? first : last, 16);
            tap_is_mem(sealed, 16, etcp_buf_bytes(&want), 16, "Twofish, %d bits, ecb_tbl, I=%d",
                       (int)block->key_size * 8, i);
            tap_is_str(check(block, schedule, zeros, plain, sealed, 16), "", "both ways");
            etcp_buf_deinit(&want);
        }
        memmove(key + 16, key, 16);
        memcpy(key, plain, 16);
        memcpy(plain, sealed, 16);
    }
    free_schedule(block, schedule);
}

/* ---- CBC mode ------------------------------------------------------------------------------- */

/* Many blocks at once are those blocks one by one, each behind the one before: SP 800-38A, 6.2. */
static void test_chain(const etcp_block_cipher *block, const char *name)
{
    const size_t size = block->block_size;
    void *schedule = new_schedule(block);
    uint8_t sealed[TEXT_MAX];
    int wrong = 0;
    etcp_buf key, text;

    etcp_buf_init(&key);
    etcp_buf_init(&text);
    recorded_make(&key, "pkey:56");
    recorded_make(&text, "ptext:2064"); /* the first 16 bytes are the vector */
    const uint8_t *iv = etcp_buf_bytes(&text), *plain = iv + 16;

    recorded_need(block->set_key(schedule, etcp_buf_bytes(&key)) == 0, "no key");
    for (size_t at = 0; at < TEXT_MAX; at += size)
        wrong += block->encrypt(schedule, at ? sealed + at - size : iv, plain + at, sealed + at,
                                size) != 0;
    tap_is_int(wrong, 0, "%s: blocks are encrypted one by one", name);
    for (size_t blocks = 1; blocks <= TEXT_MAX / size;
         blocks = blocks < 20 ? blocks + 1 : blocks * 2)
        wrong += *check(block, schedule, iv, plain, sealed, blocks * size) != '\0';
    tap_is_int(wrong, 0, "%s: and together, of any number", name);
    /* Another key in between leaves nothing behind. */
    recorded_need(block->set_key(schedule, plain) == 0 &&
                      block->set_key(schedule, etcp_buf_bytes(&key)) == 0,
                  "no key");
    tap_is_str(check(block, schedule, iv, plain, sealed, TEXT_MAX), "", "%s: with a key set anew",
               name);
    etcp_buf_deinit(&key);
    etcp_buf_deinit(&text);
    free_schedule(block, schedule);
}

/* ---- one message after another ------------------------------------------------------------------ */

/* One message in one direction with a schedule of its own, or NULL: with one made for it. */
static void crypt(const etcp_block_cipher *block, void *schedule, const uint8_t *key, int is_sealing,
                  const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
    void *fresh = schedule ? NULL : new_schedule(block);
    int rc = schedule ? 0 : block->set_key(fresh, key);

    if (rc == 0)
        rc = (is_sealing ? block->encrypt : block->decrypt)(schedule ? schedule : fresh, iv, in, out,
                                                            len);
    recorded_need(rc == 0, "cannot encrypt or decrypt");
    if (fresh)
        free_schedule(block, fresh);
}

/* Each message depends on its own vector alone, however many went before with the same key: in one
 * direction, to another place and in place; after the other direction; after another key. */
static void test_run(const etcp_block_cipher *block, const char *name)
{
    static const char pattern[] = "EEEEeEeKEEeEkeDDDdDdEeDdKDDDkddEDEDeedd";
    const size_t size = block->block_size;
    void *schedule = new_schedule(block);
    uint8_t got[TEXT_MAX], want[TEXT_MAX];
    etcp_buf text;
    int wrong = 0;

    etcp_buf_init(&text);
    recorded_make(&text, "ptext:2300");
    const uint8_t *bytes = etcp_buf_bytes(&text);
    const uint8_t *key = bytes;

    recorded_need(block->set_key(schedule, key) == 0, "no key");
    for (size_t i = 0; pattern[i]; i++) {
        const int is_sealing = pattern[i] == 'E' || pattern[i] == 'e';
        const size_t len = size * (1 + i % 5 * (i % 3));
        const uint8_t *iv = bytes + 7 * i, *plain = bytes + 11 * i;

        if (pattern[i] == 'K' || pattern[i] == 'k') {
            key = bytes + i;
            recorded_need(block->set_key(schedule, key) == 0, "no key");
            continue;
        }
        memcpy(got, plain, len);
        crypt(block, schedule, key, is_sealing, iv, strchr("ed", pattern[i]) ? got : plain, got, len);
        crypt(block, NULL, key, is_sealing, iv, plain, want, len);
        wrong += memcmp(got, want, len) != 0;
    }
    tap_is_int(wrong, 0, "%s: a message depends on none before it", name);
    etcp_buf_deinit(&text);
    free_schedule(block, schedule);
}

static void test_mode(const etcp_block_cipher *block, const char *name)
{
    test_chain(block, name);
    test_run(block, name);
}

/* ---- RC4, which hides in CipherSaber --------------------------------------------------------- */

/* Opens what key opens; the vector is the message's head. */
static void test_saber(const char *source, const char *key, const char *sealed, const void *plain,
                       size_t len)
{
    const etcp_cipher *row = etcp_cipher_by_key('2');
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf key_bytes, bytes, out;

    read_hex(&key_bytes, key, 0);
    read_hex(&bytes, sealed, 0);
    etcp_buf_init(&out);
    recorded_need(row->new_ctx(row, etcp_buf_bytes(&key_bytes), etcp_buf_len(&key_bytes), &ctx) ==
                      0,
                  "no context");
    tap_is_int(row->open(ctx, etcp_buf_bytes(&bytes), etcp_buf_len(&bytes), &out, NULL), 0,
               "CipherSaber: %s opens", source);
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), plain, len, "to the right text");
    row->free_ctx(ctx);
    etcp_buf_deinit(&key_bytes);
    etcp_buf_deinit(&bytes);
    etcp_buf_deinit(&out);
}

/* RFC 6229 gives key streams: what zeros are encrypted to. The last ten bytes of its keys are the
 * vector here. */
static void test_rc4(void)
{
    static const uint8_t zeros[32];

    test_saber("the file of its home page", "6173646667" /* asdfg */,
               "6f6d0babf3aa67190315"
               "30edb677ca74e0089dd0e7b8854356bb1448e37cdbefe7f3a84f4f5fb3fd",
               "This is a test of CipherSaber.", 30);
    test_saber("RFC 6229, 128 bits", "010203040506",
               "0708090a0b0c0d0e0f10"
               "9ac7cc9a609d1ef7b2932899cde41b975248c4959014126a6e8a84f11d1a9e1c",
               zeros, 32);
    test_saber("RFC 6229, 256 bits", "0102030405060708090a0b0c0d0e0f10111213141516",
               "1718191a1b1c1d1e1f20"
               "eaa6bd25880bf93d3f5d1e4ca2611d91cfa45c9f7e714b54bdfa80027cb14380",
               zeros, 32);
}

int main(void)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        test_vector(&vectors[i]);
    test_twofish_table(&etcp_twofish_128, "9f589f5cf6122c32b6bfec2f2ae8c35a",
                       "5d9d4eeffa9151575524f115815a12e0");
    test_twofish_table(&etcp_twofish_256, "57ff739d4dc92c1bd7fc01700cc8216f",
                       "37fe26ff1cf66175f5ddf4c33b97a205");
    test_mode(&etcp_aes_256, "AES");
    test_mode(&etcp_des, "DES");
    test_mode(&etcp_des_ede3, "triple DES");
    test_mode(&etcp_blowfish, "Blowfish");
    test_mode(&etcp_rc6, "RC6");
    test_mode(&etcp_twofish_256, "Twofish, 256 bits");
    test_mode(&etcp_twofish_128, "Twofish, 128 bits");
    test_mode(&etcp_xtea, "XTEA");
    test_rc4();
    return tap_done();
}
