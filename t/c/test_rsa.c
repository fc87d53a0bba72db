/* Crypt::RSA: keys and messages of real releases, damage, exhausted memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>

#include "alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "codec/rsa.h"
#include "tap.h"

enum { LINE_SIZE = 60000 };

/* ---- reading t/data/rsa.txt ----------------------------------------------------------------- */

static unsigned digit(int c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Decodes the hex digits up to a space or the end of the line; "-" is nothing. Returns what follows. */
static const char *take_hex(const char *at, etcp_buf *out)
{
    etcp_buf_clear(out);
    if (*at == '-')
        return at + 2;
    while (*at > ' ') {
        if (etcp_buf_append_byte(out, (uint8_t)(digit(at[0]) << 4 | digit(at[1]))) < 0)
            abort();
        at += 2;
    }
    return *at ? at + 1 : at;
}

/* A source of recorded bytes. */
static int replay(void *arg, uint8_t *out, size_t len)
{
    etcp_buf *seeds = arg;

    if (etcp_buf_len(seeds) < len)
        return ETCP_ECRYPT;
    memcpy(out, etcp_buf_bytes(seeds), len);
    etcp_buf_consume(seeds, len);
    return 0;
}

static etcp_cipher_ctx *context(const etcp_buf *key)
{
    etcp_cipher_ctx *ctx = NULL;

    return etcp_rsa_new_ctx(NULL, etcp_buf_bytes(key), etcp_buf_len(key), &ctx) == 0 ? ctx : NULL;
}

/* ---- recorded messages ---------------------------------------------------------------------- */

typedef struct pair {
    etcp_cipher_ctx *public_key;
    etcp_cipher_ctx *private_key;
} pair;

static void drop(pair *keys)
{
    etcp_rsa_free_ctx(keys->public_key);
    etcp_rsa_free_ctx(keys->private_key);
    memset(keys, 0, sizeof *keys);
}

/* Where the module could not read its own message back, it had sealed an empty last piece instead of
 * "0": that much is missing then, and we cut such messages otherwise. */
static void check_message(const pair *keys, const char *at, int line)
{
    etcp_buf plain, seeds, sealed, out;
    int readable = *at == '1';

    etcp_buf_init(&plain);
    etcp_buf_init(&seeds);
    etcp_buf_init(&sealed);
    etcp_buf_init(&out);
    at = take_hex(at + 2, &plain);
    at = take_hex(at, &seeds);
    (void)take_hex(at, &sealed);
    tap_is_int(etcp_rsa_open(keys->private_key, etcp_buf_bytes(&sealed), etcp_buf_len(&sealed), &out,
                             NULL),
               0, "line %d opens", line);
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), etcp_buf_bytes(&plain),
               etcp_buf_len(&plain) - (readable || etcp_buf_len(&out) == etcp_buf_len(&plain) ? 0 : 1),
               "line %d: plain text", line);
    etcp_buf_clear(&out);
    if (readable) {
        tap_is_int(etcp_rsa_seal(keys->public_key, ETCP_STYLE_NONE, replay, &seeds,
                                 etcp_buf_bytes(&plain), etcp_buf_len(&plain), &out),
                   0, "line %d seals", line);
        tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), etcp_buf_bytes(&sealed),
                   etcp_buf_len(&sealed), "line %d: sealed text", line);
    }
    etcp_buf_deinit(&plain);
    etcp_buf_deinit(&seeds);
    etcp_buf_deinit(&sealed);
    etcp_buf_deinit(&out);
}

static void check_recorded(const char *path)
{
    static char text[LINE_SIZE];
    FILE *file = fopen(path, "r");
    pair keys = {NULL, NULL};
    etcp_buf key;
    int line = 0;

    etcp_buf_init(&key);
    if (!tap_ok(file != NULL, "%s is there", path))
        return;
    while (fgets(text, sizeof text, file)) {
        line++;
        if (strncmp(text, "private ", 8) == 0) {
            drop(&keys);
            (void)take_hex(text + 8, &key);
            keys.private_key = context(&key);
            tap_ok(keys.private_key != NULL, "line %d: private key", line);
        } else if (strncmp(text, "public ", 7) == 0) {
            (void)take_hex(text + 7, &key);
            keys.public_key = context(&key);
            tap_ok(keys.public_key != NULL, "line %d: public key", line);
        } else if (strncmp(text, "message ", 8) == 0) {
            check_message(&keys, text + 8, line);
        }
    }
    drop(&keys);
    etcp_buf_deinit(&key);
    (void)fclose(file);
}

/* ---- our own keys --------------------------------------------------------------------------- */

static void check_round_trip(const pair *keys, size_t len, uint8_t last)
{
    uint8_t message[200];
    etcp_buf sealed, out;

    memset(message, 'x', sizeof message);
    message[len - 1] = last;
    etcp_buf_init(&sealed);
    etcp_buf_init(&out);
    tap_is_int(etcp_rsa_seal(keys->public_key, ETCP_STYLE_NONE, etcp_random_bytes, NULL, message, len,
                             &sealed),
               0, "%d bytes seal", (int)len);
    tap_is_int((long long)(etcp_buf_len(&sealed) % 64), 0, "in whole blocks");
    tap_is_int(etcp_rsa_open(keys->private_key, etcp_buf_bytes(&sealed), etcp_buf_len(&sealed), &out,
                             NULL),
               0, "and open");
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), message, len, "to the same");
    etcp_buf_deinit(&sealed);
    etcp_buf_deinit(&out);
}

/* Opens a message of many blocks where it is. */
static void check_steps(const pair *keys)
{
    uint8_t message[3000];
    etcp_open_run run = {0};
    etcp_buf sealed;
    int steps = 0;
    int rc;

    memset(message, 'y', sizeof message);
    etcp_buf_init(&sealed);
    tap_is_int(etcp_rsa_seal(keys->public_key, ETCP_STYLE_NONE, etcp_random_bytes, NULL, message,
                             sizeof message, &sealed),
               0, "a message of many blocks seals");
    do {
        rc = etcp_rsa_open_step(keys->private_key, &run, sealed.data, etcp_buf_len(&sealed));
        steps++;
    } while (rc == ETCP_AGAIN);
    tap_is_int(rc, 0, "and opens where it is");
    tap_ok(steps > 1, "in more than one step");
    tap_is_mem(sealed.data, run.len, message, sizeof message, "to the same");
    memset(&run, 0, sizeof run);
    tap_is_int(etcp_rsa_open_step(keys->private_key, &run, sealed.data, 63), ETCP_ECRYPT,
               "half a block does not");
    etcp_buf_deinit(&sealed);
}

/* The last block of "x" * 22q . "0" must not hold "0" alone: the module cannot read that. */
static void check_lonely_zero(const pair *keys)
{
    uint8_t message[45];
    etcp_buf sealed, out;

    memset(message, 'x', 44);
    message[44] = '0';
    etcp_buf_init(&sealed);
    etcp_buf_init(&out);
    tap_is_int(etcp_rsa_seal(keys->public_key, ETCP_STYLE_NONE, etcp_random_bytes, NULL, message, 45,
                             &sealed),
               0, "45 bytes ending in 0 seal");
    tap_is_int(etcp_rsa_open(keys->private_key, etcp_buf_bytes(&sealed) + 128, 64, &out, NULL), 0,
               "the last block opens by itself");
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), "x0", 2, "to two bytes");
    etcp_buf_deinit(&sealed);
    etcp_buf_deinit(&out);
}

static void check_refused(const pair *keys)
{
    etcp_buf out;

    etcp_buf_init(&out);
    tap_is_int(etcp_rsa_seal(keys->public_key, ETCP_STYLE_NONE, etcp_random_bytes, NULL,
                             (const uint8_t *)"", 0, &out),
               ETCP_ECRYPT, "the empty message cannot be sealed");
    tap_is_int(etcp_rsa_seal(keys->public_key, ETCP_STYLE_NONE, etcp_random_bytes, NULL,
                             (const uint8_t *)"0", 1, &out),
               ETCP_ECRYPT, "nor can 0");
    tap_is_int((long long)etcp_buf_len(&out), 0, "nothing was written");
    tap_is_int(etcp_rsa_open(keys->public_key, (const uint8_t *)"", 0, &out, NULL), ETCP_ECRYPT,
               "a public key opens nothing");
    etcp_buf_deinit(&out);
}

/* Whether ctx, made from a damaged key, does what the sound one did. */
static int still_works(etcp_cipher_ctx *ctx, const pair *sound, int is_private)
{
    etcp_buf sealed, out;
    int ok;

    etcp_buf_init(&sealed);
    etcp_buf_init(&out);
    ok = etcp_rsa_seal(is_private ? sound->public_key : ctx, ETCP_STYLE_NONE, etcp_random_bytes, NULL,
                       (const uint8_t *)"message", 7, &sealed) == 0 &&
         etcp_rsa_open(is_private ? ctx : sound->private_key, etcp_buf_bytes(&sealed),
                       etcp_buf_len(&sealed), &out, NULL) == 0 &&
         etcp_buf_len(&out) == 7;
    etcp_buf_deinit(&sealed);
    etcp_buf_deinit(&out);
    return ok;
}

/* A damaged private key is refused, unless the damage is in what is not read. Nothing binds the numbers
 * of a public key to each other, so there it is enough that nothing breaks. */
static int survives(const uint8_t *key, size_t len, const pair *sound, int is_private)
{
    etcp_cipher_ctx *ctx = NULL;
    int ok = etcp_rsa_new_ctx(NULL, key, len, &ctx) < 0 || still_works(ctx, sound, is_private) ||
             !is_private;

    etcp_rsa_free_ctx(ctx);
    return ok;
}

/* Every single-byte change and truncation. */
static void check_damage(const etcp_buf *key, const pair *sound, int is_private)
{
    size_t len = etcp_buf_len(key);
    uint8_t *copy = etcp_memdup(etcp_buf_bytes(key), len);
    int failures = 0;
    size_t i;

    if (!copy)
        abort();
    for (i = 0; i < len; i++) {
        uint8_t was = copy[i];

        copy[i] = (uint8_t)(was ^ (1u << i % 8));
        failures += !survives(copy, len, sound, is_private);
        copy[i] = was;
        failures += !survives(copy, i, sound, is_private);
    }
    tap_is_int(failures, 0, "%s key: damage is refused or harmless",
               is_private ? "private" : "public");
    etcp_free(copy);
}

static void check_own_keys(void)
{
    etcp_buf public_key, private_key;
    pair keys;

    etcp_buf_init(&public_key);
    etcp_buf_init(&private_key);
    tap_is_int(etcp_rsa_new_keys(&public_key, &private_key), 0, "a pair of keys is made");
    keys.public_key = context(&public_key);
    keys.private_key = context(&private_key);
    if (tap_ok(keys.public_key && keys.private_key, "and read back")) {
        check_round_trip(&keys, 1, '1');
        check_round_trip(&keys, 22, 'x');
        check_round_trip(&keys, 23, 'x');
        check_round_trip(&keys, 23, '0');
        check_round_trip(&keys, 200, '0');
        check_steps(&keys);
        check_lonely_zero(&keys);
        check_refused(&keys);
        check_damage(&public_key, &keys, 0);
        check_damage(&private_key, &keys, 1);
    }
    drop(&keys);
    etcp_buf_deinit(&public_key);
    etcp_buf_deinit(&private_key);
}

/* ---- keys that only a hostile peer sends ----------------------------------------------------- */

static void check_bad_key(const char *text, size_t len, const char *what)
{
    etcp_cipher_ctx *ctx = NULL;

    tap_is_int(etcp_rsa_new_ctx(NULL, (const uint8_t *)text, len, &ctx), ETCP_EINVAL, "%s", what);
    etcp_rsa_free_ctx(ctx);
}

/* Makes a frozen public key of any numbers; n is short or 2^bits + plus. */
static int read_public(unsigned bits, int plus, const char *e)
{
    static const char head[] = "\x05\x0b\x11\x17" "Crypt::RSA::Key::Public\x03\0\0\0\x02";
    BIGNUM *n = BN_new();
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf image;
    char *digits;
    int rc;

    if (!n || (bits && !BN_set_bit(n, (int)bits)) ||
        !(plus < 0 ? BN_sub_word(n, (BN_ULONG)-plus) : BN_add_word(n, (BN_ULONG)plus)))
        abort();
    digits = BN_bn2dec(n);
    etcp_buf_init(&image);
    if (!digits || etcp_buf_append(&image, head, sizeof head - 1) < 0 ||
        etcp_buf_append(&image, "\x01\0\0", 3) < 0 ||
        etcp_buf_append_byte(&image, (uint8_t)(strlen(digits) >> 8)) < 0 ||
        etcp_buf_append_byte(&image, (uint8_t)strlen(digits)) < 0 ||
        etcp_buf_append_str(&image, digits) < 0 ||
        etcp_buf_append(&image, "\0\0\0\x01n\x0a", 6) < 0 ||
        etcp_buf_append_byte(&image, (uint8_t)strlen(e)) < 0 || etcp_buf_append_str(&image, e) < 0 ||
        etcp_buf_append(&image, "\0\0\0\x01" "e", 5) < 0)
        abort();
    rc = etcp_rsa_new_ctx(NULL, etcp_buf_bytes(&image), etcp_buf_len(&image), &ctx);
    etcp_rsa_free_ctx(ctx);
    etcp_buf_deinit(&image);
    OPENSSL_free(digits);
    BN_free(n);
    return rc;
}

/* Numbers that would be no use, or would take long to compute with. */
static void check_public_numbers(void)
{
    tap_is_int(read_public(512, -1, "65537"), 0, "an odd modulus of 512 bits");
    tap_is_int(read_public(512, -2, "65537"), ETCP_EINVAL, "an even modulus");
    tap_is_int(read_public(0, 0, "65537"), ETCP_EINVAL, "the modulus 0");
    tap_is_int(read_public(0, 1, "65537"), ETCP_EINVAL, "the modulus 1");
    tap_is_int(read_public(344, -1, "65537"), 0, "a modulus of 344 bits");
    tap_is_int(read_public(343, -1, "65537"), ETCP_EINVAL, "a modulus of 343 bits");
    tap_is_int(read_public(1024, -1, "65537"), 0, "a modulus of 1024 bits");
    tap_is_int(read_public(1024, 1, "65537"), ETCP_EINVAL, "a modulus of 1025 bits");
    tap_is_int(read_public(2048, -1, "65537"), ETCP_EINVAL, "a modulus of 2048 bits");
    tap_is_int(read_public(512, -1, "0"), ETCP_EINVAL, "the exponent 0");
    tap_is_int(read_public(512, -1, "1"), ETCP_EINVAL, "the exponent 1");
    tap_is_int(read_public(512, -1, "65536"), ETCP_EINVAL, "an even exponent");
    tap_is_int(read_public(512, -1, "4294967295"), 0, "an exponent of 32 bits");
    tap_is_int(read_public(512, -1, "4294967297"), ETCP_EINVAL, "an exponent of 33 bits");
    tap_is_int(read_public(512, -1, "-3"), ETCP_EINVAL, "a negative exponent");
    tap_is_int(read_public(512, -1, ""), ETCP_EINVAL, "no exponent");
}

static void check_hostile(void)
{
    static char digits[8000];

    check_bad_key("", 0, "no key");
    check_bad_key("bless system('x')", 17, "code");
    check_bad_key("\x05\x0b\x11\x17" "Crypt::RSA::Key::Public\x03\xff\xff\xff\xff", 32,
                  "a public key that claims 4 billion entries");
    check_bad_key("\x05\x0b\x11\x17" "Crypt::RSA::Key::Public\x03\0\0\0\x01\x01\xff\xff\xff\xff", 37,
                  "a number that claims 4 GiB");
    memset(digits, '9', sizeof digits);
    memcpy(digits, "'_n' => '", 9);
    check_bad_key(digits, sizeof digits, "a number of 8000 digits");
    check_bad_key("'_n' => '7', '_n' => '7'", 24, "the same number twice");
}

/* ---- memory --------------------------------------------------------------------------------- */

static void check_exhaustion(void)
{
    long n;
    int rc = ETCP_ENOMEM;

    for (n = 1; rc < 0 && n < 100; n++) {
        etcp_buf public_key, private_key;
        etcp_cipher_ctx *ctx = NULL;

        alloc_fail_at(n);
        etcp_buf_init(&public_key);
        etcp_buf_init(&private_key);
        rc = etcp_rsa_new_keys(&public_key, &private_key);
        if (rc == 0)
            rc = etcp_rsa_new_ctx(NULL, etcp_buf_bytes(&private_key), etcp_buf_len(&private_key), &ctx);
        etcp_rsa_free_ctx(ctx);
        etcp_buf_deinit(&public_key);
        etcp_buf_deinit(&private_key);
        if (alloc_live() != 0)
            break;
    }
    tap_is_int(alloc_live(), 0, "nothing stays allocated when the n-th allocation fails");
    tap_is_int(rc, 0, "and it succeeds when none does");
    alloc_reset();
}

int main(int argc, char **argv)
{
    check_recorded(argc > 1 ? argv[1] : "t/data/rsa.txt");
    check_own_keys();
    check_hostile();
    check_public_numbers();
    check_exhaustion();
    return tap_done();
}
