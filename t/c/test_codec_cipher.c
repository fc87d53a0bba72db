/* The ciphers with a key string: what real modules wrote, damage, exhausted memory. Crypt::RSA is
 * tested by test_rsa.c, the block ciphers alone by test_codec_block.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "codec/block_cipher.h"
#include "codec/cipher.h"
#include "recorded.h"
#include "tap.h"

enum {
    CBC_HEADER = 16,
    SABER_HEADER = 10,
    LINE_SIZE = 8192 /* of the file */
};

static const char key_string[] = "A key of many characters, fit for any of the ciphers here.";

/* ---- sources of random bytes ---------------------------------------------------------------- */

/* Recorded bytes. */
static int replay(void *arg, uint8_t *out, size_t len)
{
    etcp_buf *bytes = arg;

    if (etcp_buf_len(bytes) < len)
        return ETCP_ECRYPT;
    memcpy(out, etcp_buf_bytes(bytes), len);
    etcp_buf_consume(bytes, len);
    return 0;
}

/* 0, 1, 2 and so on: the same in every run. */
static int counting(void *arg, uint8_t *out, size_t len)
{
    uint8_t *next = arg;

    while (len--)
        *out++ = (*next)++;
    return 0;
}

static int failing(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0xee, len);
    return ETCP_ECRYPT;
}

/* ---- one context and its messages ----------------------------------------------------------- */

typedef struct fixture {
    const etcp_cipher *row;
    etcp_cipher_ctx *ctx;
    uint8_t salt; /* the next byte of counting */
    int steps;    /* taken in opening in place */
    etcp_buf message, sealed, out;
} fixture;

static void fixture_init(fixture *f, const etcp_cipher *row, const char *key, size_t key_len)
{
    memset(f, 0, sizeof *f);
    f->row = row;
    recorded_need(row->new_ctx(row, (const uint8_t *)key, key_len, &f->ctx) == 0, "no context");
}

static void fixture_deinit(fixture *f)
{
    f->row->free_ctx(f->ctx);
    etcp_buf_deinit(&f->message);
    etcp_buf_deinit(&f->sealed);
    etcp_buf_deinit(&f->out);
}

static int seal(fixture *f, etcp_cipher_style style)
{
    etcp_buf_clear(&f->sealed);
    return f->row->seal(f->ctx, style, counting, &f->salt, etcp_buf_bytes(&f->message),
                        etcp_buf_len(&f->message), &f->sealed);
}

/* Opens from a heap block of exactly that size, so that a sanitizer sees one byte too far. */
static int open_exact(fixture *f, const uint8_t *bytes, size_t len, etcp_cipher_style *style)
{
    uint8_t *exact = malloc(len ? len : 1);
    int rc;

    recorded_need(exact != NULL, "out of memory");
    if (len)
        memcpy(exact, bytes, len);
    etcp_buf_clear(&f->out);
    rc = f->row->open(f->ctx, len ? exact : exact + 1, len, &f->out, style);
    free(exact);
    return rc;
}

static int open_sealed(fixture *f, etcp_cipher_style *style)
{
    return open_exact(f, etcp_buf_bytes(&f->sealed), etcp_buf_len(&f->sealed), style);
}

/* The styles a row knows, ending in ETCP_STYLE_NONE, which ciphers of Crypt::CBC never read. */
static const etcp_cipher_style *styles_of(const etcp_cipher *row)
{
    static const etcp_cipher_style cbc[] = {ETCP_STYLE_SALTED, ETCP_STYLE_RANDOMIV};
    static const etcp_cipher_style none[] = {ETCP_STYLE_NONE, ETCP_STYLE_NONE};

    return row->flags & ETCP_CIPHER_CBC ? cbc : none;
}

static size_t header_of(const etcp_cipher *row)
{
    return row->flags & ETCP_CIPHER_CBC ? CBC_HEADER : SABER_HEADER;
}

/* ---- what real modules wrote ---------------------------------------------------------------- */

/* The random bytes of a recorded message: salt, seed or vector; and the style it is in. */
static etcp_cipher_style take_random(fixture *f, const char *form, etcp_buf *random)
{
    etcp_buf_clear(random);
    recorded_append_hex(random, form, 2 * header_of(f->row));
    if (!(f->row->flags & ETCP_CIPHER_CBC))
        return ETCP_STYLE_NONE;
    const int salted = memcmp(etcp_buf_bytes(random), "Salted__", 8) == 0;

    etcp_buf_consume(random, 8);
    return salted ? ETCP_STYLE_SALTED : ETCP_STYLE_RANDOMIV;
}

static int is_form(const etcp_buf *b, const char *form)
{
    const char *digest = strchr(form, '=');
    etcp_buf want;
    int same;

    if (digest)
        return recorded_has_digest(b, digest + 1);
    etcp_buf_init(&want);
    recorded_append_hex(&want, form, strlen(form));
    same = recorded_is_content(b, &want);
    etcp_buf_deinit(&want);
    return same;
}

/* Seals to the recorded bytes, so that opening ours is opening theirs. */
static const char *check_line(fixture *f, const char *spec, const char *form)
{
    etcp_cipher_style style, found = ETCP_STYLE_NONE;
    etcp_buf random;
    int rc;

    etcp_buf_init(&random);
    recorded_make(&f->message, spec);
    style = take_random(f, form, &random);
    etcp_buf_clear(&f->sealed);
    rc = f->row->seal(f->ctx, style, replay, &random, etcp_buf_bytes(&f->message),
                      etcp_buf_len(&f->message), &f->sealed);
    etcp_buf_deinit(&random);
    if (rc != 0)
        return "cannot be sealed";
    if (!is_form(&f->sealed, form))
        return "other bytes";
    if (open_sealed(f, &found) != 0)
        return "cannot be opened";
    if (found != style)
        return "another style";
    return recorded_is_content(&f->out, &f->message) ? "" : "another message";
}

static const etcp_cipher *row_named(const char *name)
{
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* A context is kept as long as module and key stay the same: a message must not depend on those
 * before it. */
static void test_recorded(const char *path)
{
    static char line[LINE_SIZE];
    char last_key[100] = "";
    FILE *data = fopen(path, "r");
    fixture f;
    int lines = 0;

    memset(&f, 0, sizeof f);
    recorded_need(data != NULL, "no file of recorded messages: run from the top directory");
    while (fgets(line, sizeof line, data)) {
        if (line[0] == '#')
            continue;
        const etcp_cipher *row = row_named(strtok(line, " \n"));
        const char *key = strtok(NULL, " \n");
        const char *spec = strtok(NULL, " \n");
        const char *form = strtok(NULL, " \n");

        recorded_need(row && form && strlen(key) < sizeof last_key, "a line makes no sense");
        if (row != f.row || strcmp(key, last_key) != 0) {
            if (f.row)
                fixture_deinit(&f);
            fixture_init(&f, row, key, strlen(key));
            memcpy(last_key, key, strlen(key) + 1);
        }
        tap_is_str(check_line(&f, spec, form), "", "%s: %.40s, %.32s...", row->name, spec, form);
        lines++;
    }
    fclose(data);
    fixture_deinit(&f);
    tap_ok(lines > 400, "%d recorded messages", lines);
}

/* ---- messages of our own -------------------------------------------------------------------- */

static size_t sealed_length(const etcp_cipher *row, size_t len)
{
    if (!row->block)
        return SABER_HEADER + len;
    return CBC_HEADER + (len / row->block->block_size + 1) * row->block->block_size;
}

static int comes_back(fixture *f, etcp_cipher_style style)
{
    etcp_cipher_style found = ETCP_STYLE_NONE;

    return seal(f, style) == 0 &&
           etcp_buf_len(&f->sealed) == sealed_length(f->row, etcp_buf_len(&f->message)) &&
           open_sealed(f, &found) == 0 && found == style &&
           recorded_is_content(&f->out, &f->message);
}

/* One context seals and opens both styles in turn, at every position in a block; from 4096 bytes
 * on, the last block is sealed by itself. */
static void test_lengths(const etcp_cipher *row)
{
    const etcp_cipher_style *styles = styles_of(row);
    int wrong = 0;
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    for (int len = 0; len <= 4120; len = len == 40 ? 4080 : len + 1) {
        char spec[20];

        snprintf(spec, sizeof spec, "plen:%d", len);
        recorded_make(&f.message, spec);
        wrong += !comes_back(&f, styles[0]) + !comes_back(&f, styles[1]);
        wrong += !comes_back(&f, styles[1]) + !comes_back(&f, styles[0]);
    }
    tap_is_int(wrong, 0, "%s: messages of 0 to 40 and 4080 to 4120 bytes come back, in every style",
               row->name);
    recorded_make(&f.message, "plarge:1048576");
    tap_ok(comes_back(&f, styles[0]), "%s: a megabyte comes back", row->name);
    tap_ok(comes_back(&f, styles[1]), "%s: and again", row->name);
    fixture_deinit(&f);
}

/* Two contexts of one key understand each other; of different keys they do not. */
static void test_keys(const etcp_cipher *row)
{
    static const size_t lengths[] = {1, 2, 15, 16, 17, 58, 255, 256, 257, 1000};
    char key[1001]; /* the other key begins one byte later */
    int wrong = 0, other = 0;

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (char)(i * 7); /* NUL and bytes above 127 among them */
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        fixture one, two;

        fixture_init(&one, row, key, lengths[i]);
        recorded_make(&one.message, "t100");
        wrong += seal(&one, styles_of(row)[0]) != 0;
        fixture_init(&two, row, key, lengths[i]);
        wrong +=
            open_exact(&two, etcp_buf_bytes(&one.sealed), etcp_buf_len(&one.sealed), NULL) != 0;
        wrong += !recorded_is_content(&two.out, &one.message);
        fixture_deinit(&two);
        fixture_init(&two, row, key + 1, lengths[i]);
        if (open_exact(&two, etcp_buf_bytes(&one.sealed), etcp_buf_len(&one.sealed), NULL) == 0)
            other += recorded_is_content(&two.out, &one.message);
        fixture_deinit(&two);
        fixture_deinit(&one);
    }
    tap_is_int(wrong, 0, "%s: keys of any length and any bytes", row->name);
    tap_is_int(other, 0, "%s: another key does not open", row->name);

    etcp_cipher_ctx *ctx = NULL;

    tap_is_int(row->new_ctx(row, (const uint8_t *)"", 0, &ctx), ETCP_EINVAL,
               "%s: an empty key is refused", row->name);
    tap_ok(ctx == NULL, "%s: and makes nothing", row->name);
    row->free_ctx(NULL);
}

/* What is in the buffer already stays in front of what is appended, and of what fails. */
static void test_appends(const etcp_cipher *row)
{
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    recorded_make(&f.message, "t90");
    recorded_need(etcp_buf_append(&f.sealed, "before", 6) == 0 &&
                      etcp_buf_append(&f.out, "before", 6) == 0,
                  "out of memory");
    tap_is_int(
        row->seal(f.ctx, ETCP_STYLE_NONE, failing, NULL, etcp_buf_bytes(&f.message), 90, &f.sealed),
        ETCP_ECRYPT, "%s: no random bytes, no message", row->name);
    tap_is_mem(etcp_buf_bytes(&f.sealed), etcp_buf_len(&f.sealed), "before", 6,
               "%s: the output is as it was", row->name);
    tap_is_int(row->seal(f.ctx, ETCP_STYLE_NONE, counting, &f.salt, etcp_buf_bytes(&f.message), 90,
                         &f.sealed),
               0, "%s: seals behind other content", row->name);
    tap_is_mem(etcp_buf_bytes(&f.sealed), 6, "before", 6, "%s: which is still there", row->name);
    etcp_buf_consume(&f.sealed, 6);
    tap_is_int(row->open(f.ctx, etcp_buf_bytes(&f.sealed), 9, &f.out, NULL), ETCP_ECRYPT,
               "%s: nine bytes are no message", row->name);
    tap_is_mem(etcp_buf_bytes(&f.out), etcp_buf_len(&f.out), "before", 6,
               "%s: the output is as it was", row->name);
    tap_is_int(row->open(f.ctx, etcp_buf_bytes(&f.sealed), etcp_buf_len(&f.sealed), &f.out, NULL),
               0, "%s: opens behind other content", row->name);
    tap_is_mem(etcp_buf_bytes(&f.out), 6, "before", 6, "%s: which is still there", row->name);
    etcp_buf_consume(&f.out, 6);
    tap_ok(recorded_is_content(&f.out, &f.message), "%s: and so is the message", row->name);
    fixture_deinit(&f);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* Whether opening did no harm: failed and gave nothing, or gave something else than the message. */
static int is_harmless(const fixture *f, int rc)
{
    if (rc != 0)
        return rc == ETCP_ECRYPT && etcp_buf_len(&f->out) == 0;
    return !recorded_is_content(&f->out, &f->message);
}

/* A message that ends anywhere: only one of whole blocks can be anything at all. */
static void test_cut_short(const etcp_cipher *row, etcp_cipher_style style)
{
    int wrong = 0;
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    recorded_make(&f.message, "t100");
    recorded_need(seal(&f, style) == 0, "cannot seal");
    for (size_t len = 0; len < etcp_buf_len(&f.sealed); len++) {
        const int rc = open_exact(&f, etcp_buf_bytes(&f.sealed), len, NULL);
        const int possible =
            row->block ? len > CBC_HEADER && (len - CBC_HEADER) % row->block->block_size == 0
                       : len >= SABER_HEADER;

        wrong += !is_harmless(&f, rc) || (rc == 0 && !possible);
    }
    tap_is_int(wrong, 0, "%s: no message cut short does harm (style %d)", row->name, (int)style);
    fixture_deinit(&f);
}

static void test_flipped_bits(const etcp_cipher *row, etcp_cipher_style style)
{
    int wrong = 0, magic = 0;
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    recorded_make(&f.message, "t33");
    recorded_need(seal(&f, style) == 0, "cannot seal");
    for (size_t bit = 0; bit < 8 * etcp_buf_len(&f.sealed); bit++) {
        uint8_t *at = f.sealed.data + f.sealed.start + bit / 8;

        *at ^= (uint8_t)(1u << bit % 8);
        const int rc = open_sealed(&f, NULL);

        wrong += !is_harmless(&f, rc);
        magic += row->block && bit < 64 && rc == 0;
        *at ^= (uint8_t)(1u << bit % 8);
    }
    tap_is_int(wrong, 0, "%s: no changed bit does harm (style %d)", row->name, (int)style);
    tap_is_int(magic, 0, "%s: a changed magic is refused (style %d)", row->name, (int)style);
    tap_ok(open_sealed(&f, NULL) == 0 && recorded_is_content(&f.out, &f.message),
           "%s: the context opens the sound message after that (style %d)", row->name, (int)style);
    fixture_deinit(&f);
}

/* Makes the last block of the sealed message decrypt to want, through the block before it. */
static void force_last_block(fixture *f, const uint8_t *plain, const uint8_t *want)
{
    const size_t block = f->row->block->block_size;
    uint8_t *before = f->sealed.data + f->sealed.end - 2 * block;

    for (size_t i = 0; i < block; i++)
        before[i] ^= (uint8_t)(plain[i] ^ want[i]);
}

/* Whether a message whose last block decrypts to want opens as it must; padding is how many bytes
 * of it are right padding, 0 for none. */
static int opens_rightly(fixture *f, const uint8_t *want, size_t padding)
{
    const size_t block = f->row->block->block_size;
    uint8_t plain[ETCP_BLOCK_MAX];
    int rc;

    memset(plain, (int)block, block); /* the message is of whole blocks */
    force_last_block(f, plain, want);
    rc = open_sealed(f, NULL);
    force_last_block(f, want, plain);
    if (padding == 0)
        return rc == ETCP_ECRYPT && etcp_buf_len(&f->out) == 0;
    return rc == 0 && etcp_buf_len(&f->out) == etcp_buf_len(&f->message) + block - padding &&
           memcmp(etcp_buf_bytes(&f->out) + etcp_buf_len(&f->message), want, block - padding) == 0;
}

/* Every last byte, and for those that can be right every single wrong byte before it. */
static void test_padding(const etcp_cipher *row)
{
    const size_t block = row->block->block_size;
    int wrong = 0, tried = 0;
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    recorded_make(&f.message, "t48");
    recorded_need(seal(&f, ETCP_STYLE_SALTED) == 0, "cannot seal");
    for (size_t size = 0; size < 256; size++) {
        const size_t right = size >= 1 && size <= block ? size : 0;
        uint8_t want[ETCP_BLOCK_MAX];

        memset(want, 0x99, block);
        memset(want + block - (right ? right : block), (int)size, right ? right : block);
        wrong += !opens_rightly(&f, want, right);
        for (size_t i = block - right; i + 1 < block; i++) {
            want[i] ^= 0x40;
            wrong += !opens_rightly(&f, want, 0);
            want[i] ^= 0x40;
            tried++;
        }
    }
    tap_is_int(wrong, 0, "%s: only padding that is right to the last byte opens", row->name);
    tap_is_int(tried, (long long)(block * (block - 1) / 2), "%s: paddings with one wrong byte",
               row->name);
    fixture_deinit(&f);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void test_exhausted_memory(const etcp_cipher *row, etcp_cipher_style style)
{
    int rc, wrong = 0;
    long n = 0;

    do {
        etcp_cipher_ctx *ctx = NULL;
        etcp_buf sealed, out;
        uint8_t salt = 0;

        etcp_buf_init(&sealed);
        etcp_buf_init(&out);
        alloc_fail_at(++n);
        rc = row->new_ctx(row, (const uint8_t *)key_string, row->key_length, &ctx);
        if (rc == 0)
            rc = row->seal(ctx, style, counting, &salt, (const uint8_t *)"message", 7, &sealed);
        wrong += rc < 0 && etcp_buf_len(&sealed) != 0;
        if (rc == 0)
            rc = row->open(ctx, etcp_buf_bytes(&sealed), etcp_buf_len(&sealed), &out, NULL);
        wrong += rc < 0 ? rc != ETCP_ENOMEM || etcp_buf_len(&out) != 0 : etcp_buf_len(&out) != 7;
        if (rc < 0 && ctx) { /* the failure is over: the same context works */
            etcp_buf_clear(&sealed);
            wrong +=
                row->seal(ctx, style, counting, &salt, (const uint8_t *)"again", 5, &sealed) != 0;
            wrong +=
                row->open(ctx, etcp_buf_bytes(&sealed), etcp_buf_len(&sealed), &out, NULL) != 0;
        }
        row->free_ctx(ctx);
        etcp_buf_deinit(&sealed);
        etcp_buf_deinit(&out);
        wrong += alloc_live() != 0;
    } while (rc != 0 && n < 100);
    tap_is_int(wrong, 0, "%s: exhausted memory is an error and no more (style %d)", row->name,
               (int)style);
    tap_ok(n > 3 && rc == 0, "%s: %ld allocations were made to fail (style %d)", row->name, n - 1,
           (int)style);
    alloc_reset();
}

/* The schedule of a key that is used once goes with the message, where it can be made again
 * quickly. */
static void test_idle_memory(const etcp_cipher *row)
{
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf sealed;
    uint8_t salt = 0;
    long live;

    etcp_buf_init(&sealed);
    alloc_fail_at(0);
    recorded_need(etcp_buf_reserve(&sealed, 1000) == 0 &&
                      row->new_ctx(row, (const uint8_t *)key_string, row->key_length, &ctx) == 0,
                  "no context");
    live = alloc_live();
    recorded_need(row->seal(ctx, ETCP_STYLE_SALTED, counting, &salt, (const uint8_t *)"message", 7,
                            &sealed) == 0,
                  "cannot seal");
    tap_is_int(alloc_live() - live, row->block && row->block->release ? 1 : 0,
               "%s: what an idle context keeps of a message", row->name);
    row->free_ctx(ctx);
    etcp_buf_deinit(&sealed);
    alloc_reset();
}

static void test_exhausted_memory_for_keys(const etcp_cipher *row)
{
    int rc, wrong = 0;
    long n = 0;

    do {
        etcp_buf public_key, private_key;
        uint8_t next = 0;

        etcp_buf_init(&public_key);
        etcp_buf_init(&private_key);
        alloc_fail_at(++n);
        rc = etcp_cipher_new_keys(row, counting, &next, &public_key, &private_key);
        wrong += rc < 0 && (rc != ETCP_ENOMEM || etcp_buf_len(&public_key) != 0 ||
                            etcp_buf_len(&private_key) != 0);
        etcp_buf_deinit(&public_key);
        etcp_buf_deinit(&private_key);
        wrong += alloc_live() != 0;
    } while (rc != 0 && n < 100);
    tap_is_int(wrong, 0, "%s: keys: exhausted memory is an error and no more", row->name);
    tap_ok(n > 1 && rc == 0, "%s: keys: %ld allocations were made to fail", row->name, n - 1);
    alloc_reset();
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* Starts counting at every byte, so that every first character comes up. Originals take a '-' in
 * front for the name of an option, and a '%' for armour. */
static void test_new_keys(const etcp_cipher *row)
{
    int wrong = 0;

    for (unsigned start = 0; start < 256; start++) {
        uint8_t next = (uint8_t)start;
        etcp_buf public_key, private_key;

        etcp_buf_init(&public_key);
        etcp_buf_init(&private_key);
        recorded_need(etcp_cipher_new_keys(row, counting, &next, &public_key, &private_key) == 0,
                      "no keys");
        const uint8_t *key = etcp_buf_bytes(&public_key);

        wrong += !recorded_is_content(&public_key, &private_key) ||
                 etcp_buf_len(&public_key) != row->key_length || key[0] == '-' || key[0] == '%';
        for (size_t i = 0; i < etcp_buf_len(&public_key); i++)
            wrong += key[i] < 33 || key[i] > 126;
        etcp_buf_deinit(&public_key);
        etcp_buf_deinit(&private_key);
    }
    tap_is_int(wrong, 0, "%s: new keys are of %lu characters, and do not begin with - or %%",
               row->name, (unsigned long)row->key_length);
}

static void test_failing_source(const etcp_cipher *row)
{
    etcp_buf public_key, private_key;

    etcp_buf_init(&public_key);
    etcp_buf_init(&private_key);
    tap_is_int(etcp_cipher_new_keys(row, failing, NULL, &public_key, &private_key), ETCP_ECRYPT,
               "%s: no random bytes, no keys", row->name);
    tap_is_int((long long)(etcp_buf_len(&public_key) + etcp_buf_len(&private_key)), 0,
               "%s: and nothing written", row->name);
    etcp_buf_deinit(&public_key);
    etcp_buf_deinit(&private_key);
}

/* ---- all ------------------------------------------------------------------------------------ */

/* The order is that of the original's manual and decides what old peers are offered. */
static void test_table(void)
{
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);
    char keys[20] = "";

    recorded_need(count < sizeof keys, "more ciphers than expected");
    for (size_t i = 0; i < count; i++) {
        keys[i] = rows[i].key;
        tap_ok(etcp_cipher_by_key(rows[i].key) == &rows[i], "%s is found by its key", rows[i].name);
        tap_ok(!rows[i].block == !(rows[i].flags & ETCP_CIPHER_CBC),
               "%s has a block cipher if its messages are of blocks", rows[i].name);
    }
    tap_is_str(keys, "BA9465CDE2", "the ciphers, in order");
    tap_ok(etcp_cipher_by_key('1') == NULL, "no row has key 1");
    tap_ok(etcp_cipher_by_key('\0') == NULL, "nor NUL");
}

/* ---- large messages ------------------------------------------------------------------------- */

/* Seals the message in parts of that size, with the random bytes of the first seal() of a fixture.
 */
static int seal_in_parts(fixture *f, etcp_cipher_style style, size_t part, etcp_buf *out)
{
    const uint8_t *at = etcp_buf_bytes(&f->message);
    size_t left = etcp_buf_len(&f->message);
    etcp_seal_run run = {0};
    uint8_t salt = 0;
    int rc;

    for (;;) {
        size_t len = left < part ? left : part;
        int is_last = len < part;

        rc = f->row->large->seal_part(f->ctx, style, counting, &salt, &run, at, len, is_last, out);
        if (rc < 0 || is_last)
            return rc;
        at += len;
        left -= len;
    }
}

static void test_parts(const etcp_cipher *row, etcp_cipher_style style, const char *spec)
{
    static const size_t sizes[] = {16, 4096, 131072, 1 << 20};
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    recorded_make(&f.message, spec);
    (void)seal(&f, style);
    tap_is_int((long long)row->large->sealed_len(f.ctx, etcp_buf_len(&f.message)),
               (long long)etcp_buf_len(&f.sealed), "%s, %s: the size is known before", row->name,
               spec);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        etcp_buf_clear(&f.out);
        tap_is_int(seal_in_parts(&f, style, sizes[i], &f.out), 0, "%s, %s, by %lu: sealed",
                   row->name, spec, (unsigned long)sizes[i]);
        tap_ok(recorded_is_content(&f.out, &f.sealed), "to the same bytes as in one");
    }
    fixture_deinit(&f);
}

/* Seals the message in the memory where its sealed form will be. */
static void test_seal_in_place(const etcp_cipher *row, etcp_cipher_style style, const char *spec)
{
    const size_t header = row->large->header_len;
    etcp_seal_run run = {0};
    const uint8_t *data;
    uint8_t salt = 0;
    fixture f;
    int rc;

    fixture_init(&f, row, key_string, row->key_length);
    recorded_make(&f.message, spec);
    (void)seal(&f, style);
    rc = etcp_buf_reserve(&f.out, header + etcp_buf_len(&f.message) + ETCP_SEALED_TAIL_MAX);
    recorded_need(rc == 0, "out of memory");
    etcp_buf_commit(&f.out, header);
    (void)etcp_buf_append(&f.out, etcp_buf_bytes(&f.message), etcp_buf_len(&f.message));
    data = etcp_buf_bytes(&f.out);
    etcp_buf_clear(&f.out);
    rc = row->large->seal_part(f.ctx, style, counting, &salt, &run, data + header,
                               etcp_buf_len(&f.message), 1, &f.out);
    tap_ok(rc == 0 && etcp_buf_bytes(&f.out) == data && recorded_is_content(&f.out, &f.sealed),
           "%s, %s: sealed where it lies", row->name, spec);
    fixture_deinit(&f);
}

/* Opens a copy of bytes where it lies. */
static int open_in_place(fixture *f, const uint8_t *bytes, size_t len, etcp_cipher_style *style)
{
    uint8_t *exact = malloc(len ? len : 1);
    etcp_open_run run = {0};
    int rc;

    recorded_need(exact != NULL, "out of memory");
    if (len)
        memcpy(exact, bytes, len);
    do {
        rc = f->row->open_step(f->ctx, &run, exact, len);
        f->steps++;
    } while (rc == ETCP_AGAIN);
    etcp_buf_clear(&f->out);
    if (rc == 0)
        recorded_need(etcp_buf_append(&f->out, exact, run.len) == 0, "out of memory");
    if (rc == 0 && style)
        *style = run.style;
    free(exact);
    return rc;
}

static void test_cut_in_place(fixture *f, etcp_cipher_style style)
{
    const etcp_cipher *row = f->row;
    int refused = 0;

    recorded_make(&f->message, "plen:39");
    (void)seal(f, style);
    for (size_t len = 0; len < etcp_buf_len(&f->sealed); len++)
        if (len < CBC_HEADER + row->block->block_size || len % row->block->block_size)
            refused += open_in_place(f, etcp_buf_bytes(&f->sealed), len, NULL) == ETCP_ECRYPT;
        else
            refused += is_harmless(f, open_in_place(f, etcp_buf_bytes(&f->sealed), len, NULL));
    tap_is_int(refused, (long long)etcp_buf_len(&f->sealed), "%s: and not when cut short",
               row->name);
}

static void test_in_place(const etcp_cipher *row, etcp_cipher_style style)
{
    etcp_cipher_style found = ETCP_STYLE_NONE;
    int right = 0;
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    for (int len = 0; len < 40; len++) {
        char spec[20];

        snprintf(spec, sizeof spec, "plen:%d", len);
        recorded_make(&f.message, spec);
        (void)seal(&f, style);
        right +=
            open_in_place(&f, etcp_buf_bytes(&f.sealed), etcp_buf_len(&f.sealed), &found) == 0 &&
            found == style && recorded_is_content(&f.out, &f.message);
    }
    tap_is_int(right, 40, "%s: opened in place", row->name);
    recorded_make(&f.message, "plarge:1200001");
    (void)seal(&f, style);
    f.steps = 0;
    tap_is_int(open_in_place(&f, etcp_buf_bytes(&f.sealed), etcp_buf_len(&f.sealed), &found), 0,
               "%s: a large message, too", row->name);
    tap_ok(recorded_is_content(&f.out, &f.message), "with the same text");
    tap_ok(f.steps > 1, "in more than one step");
    if (row->block)
        test_cut_in_place(&f, style);
    fixture_deinit(&f);
}

static void test_large_ops(const etcp_cipher *row)
{
    static const char *const in_place[] = {"plen:0", "plen:15", "plen:16", "plarge:4095", "plarge:4096",
                                           "plarge:300001"};
    fixture f;

    fixture_init(&f, row, key_string, row->key_length);
    tap_is_int((long long)row->large->sealed_len(f.ctx, SIZE_MAX - 8), 0, "%s: too large",
               row->name);
    fixture_deinit(&f);
    for (int i = 0; i < 2; i++) {
        test_parts(row, styles_of(row)[i], "plarge:300001");
        test_parts(row, styles_of(row)[i], "plarge:262144");
        for (size_t j = 0; j < sizeof in_place / sizeof in_place[0]; j++)
            test_seal_in_place(row, styles_of(row)[i], in_place[j]);
    }
}

static void test_row(const etcp_cipher *row)
{
    const etcp_cipher_style *styles = styles_of(row);

    test_lengths(row);
    test_keys(row);
    test_appends(row);
    for (int i = 0; i < 2; i++) {
        test_cut_short(row, styles[i]);
        test_flipped_bits(row, styles[i]);
        test_exhausted_memory(row, styles[i]);
        test_in_place(row, styles[i]);
    }
    if (row->block)
        test_padding(row);
    test_large_ops(row);
    test_idle_memory(row);
    test_exhausted_memory_for_keys(row);
    test_new_keys(row);
    test_failing_source(row);
}

int main(int argc, char **argv)
{
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);

    test_table();
    test_recorded(argc > 1 ? argv[1] : "t/data/ciphers.txt");
    for (size_t i = 0; i < count; i++)
        if (rows[i].flags & ETCP_CIPHER_SYMMETRIC)
            test_row(&rows[i]);
    return tap_done();
}
