#include "ciphersaber.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum {
    IV_SIZE = 10,
    RC4_KEY_MAX = 256, /* what lies behind has no effect */
    STEP = 1 << 19     /* of a large message: some milliseconds */
};

typedef struct rc4_state {
    uint8_t s[256];
    uint8_t i, j;
} rc4_state;

typedef struct saber_ctx {
    size_t len;               /* of the secret */
    uint8_t key[RC4_KEY_MAX]; /* the secret; the vector is put behind it for each message */
    rc4_state *opening;       /* of a message that is opened in steps, or NULL */
    rc4_state *sealing;       /* of one that is sealed in parts */
} saber_ctx;

static saber_ctx *own(etcp_cipher_ctx *ctx)
{
    return (saber_ctx *)(void *)ctx;
}

/* ---- RC4 ------------------------------------------------------------------------------------ */

/* RC4 as it was posted in 1994; draft-kaukonen-cipher-arcfour-03. OpenSSL's is in its legacy
 * provider, which may be missing. */
static void rc4_set_key(rc4_state *r, const uint8_t *key, size_t len)
{
    uint8_t j = 0;

    for (unsigned i = 0; i < 256; i++)
        r->s[i] = (uint8_t)i;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t swap = r->s[i];

        j = (uint8_t)(j + swap + key[i % len]);
        r->s[i] = r->s[j];
        r->s[j] = swap;
    }
    r->i = 0;
    r->j = 0;
}

static void rc4_run(rc4_state *r, const uint8_t *in, uint8_t *out, size_t len)
{
    uint8_t i = r->i;
    uint8_t j = r->j;

    for (size_t at = 0; at < len; at++) {
        uint8_t a, b;

        a = r->s[++i];
        j = (uint8_t)(j + a);
        b = r->s[j];
        r->s[i] = b;
        r->s[j] = a;
        out[at] = in[at] ^ r->s[(uint8_t)(a + b)];
    }
    r->i = i;
    r->j = j;
}

static void set_vector(saber_ctx *c, rc4_state *r, const uint8_t iv[IV_SIZE])
{
    size_t room = RC4_KEY_MAX - c->len;
    size_t iv_len = room < IV_SIZE ? room : IV_SIZE;

    memcpy(c->key + c->len, iv, iv_len);
    rc4_set_key(r, c->key, c->len + iv_len);
}

/* Both directions are the same. */
static void crypt_message(saber_ctx *c, const uint8_t iv[IV_SIZE], const uint8_t *in, uint8_t *out,
                          size_t len)
{
    rc4_state r;

    set_vector(c, &r, iv);
    rc4_run(&r, in, out, len);
    etcp_wipe(&r, sizeof r);
}

/* ---- messages ------------------------------------------------------------------------------- */

int etcp_ciphersaber_new_ctx(const etcp_cipher *row, const uint8_t *key, size_t len,
                             etcp_cipher_ctx **out)
{
    saber_ctx *c;

    (void)row;
    if (len == 0)
        return ETCP_EINVAL;
    c = etcp_zalloc(sizeof *c);
    if (!c)
        return ETCP_ENOMEM;
    c->len = len < RC4_KEY_MAX ? len : RC4_KEY_MAX;
    memcpy(c->key, key, c->len);
    *out = (etcp_cipher_ctx *)(void *)c;
    return 0;
}

/* Begins a message that takes several steps, in *run. */
static int begin_run(saber_ctx *c, rc4_state **run, const uint8_t iv[IV_SIZE])
{
    if (!*run)
        *run = etcp_malloc(sizeof **run);
    if (!*run)
        return ETCP_ENOMEM;
    set_vector(c, *run, iv);
    return 0;
}

static void end_run(rc4_state **run)
{
    if (*run)
        etcp_wipe(*run, sizeof **run);
    etcp_free(*run);
    *run = NULL;
}

void etcp_ciphersaber_free_ctx(etcp_cipher_ctx *ctx)
{
    saber_ctx *c = own(ctx);

    if (!c)
        return;
    end_run(&c->opening);
    end_run(&c->sealing);
    etcp_wipe(c, sizeof *c);
    etcp_free(c);
}

int etcp_ciphersaber_seal(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                          void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out)
{
    uint8_t *at;
    int rc;

    (void)style;
    if (len > SIZE_MAX - IV_SIZE)
        return ETCP_ETOOBIG;
    if (etcp_buf_reserve(out, IV_SIZE + len) < 0)
        return ETCP_ENOMEM;
    at = etcp_buf_tail(out);
    rc = source(source_arg, at, IV_SIZE);
    if (rc < 0)
        return rc;
    crypt_message(own(ctx), at, bytes, at + IV_SIZE, len);
    etcp_buf_commit(out, IV_SIZE + len);
    return 0;
}

static size_t sealed_len(const etcp_cipher_ctx *ctx, size_t len)
{
    (void)ctx;
    return len > SIZE_MAX - IV_SIZE ? 0 : IV_SIZE + len;
}

static int seal_part(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                     void *source_arg, etcp_seal_run *run, const uint8_t *bytes, size_t len,
                     int is_last, etcp_buf *out)
{
    saber_ctx *c = own(ctx);
    size_t header = run->begun ? 0 : IV_SIZE;
    uint8_t *at;
    int rc = 0;

    (void)style;
    if (etcp_buf_reserve(out, header + len) < 0)
        return ETCP_ENOMEM;
    at = etcp_buf_tail(out);
    if (header && (rc = source(source_arg, at, IV_SIZE)) == 0)
        rc = begin_run(c, &c->sealing, at);
    if (rc < 0)
        return rc;
    run->begun = 1;
    rc4_run(c->sealing, bytes, at + header, len);
    if (is_last)
        end_run(&c->sealing);
    etcp_buf_commit(out, header + len);
    return 0;
}

int etcp_ciphersaber_open(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                          etcp_cipher_style *style)
{
    if (len < IV_SIZE)
        return ETCP_ECRYPT;
    if (etcp_buf_reserve(out, len - IV_SIZE) < 0)
        return ETCP_ENOMEM;
    if (len > IV_SIZE)
        crypt_message(own(ctx), bytes, bytes + IV_SIZE, etcp_buf_tail(out), len - IV_SIZE);
    etcp_buf_commit(out, len - IV_SIZE);
    if (style)
        *style = ETCP_STYLE_NONE;
    return 0;
}

int etcp_ciphersaber_open_step(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len)
{
    saber_ctx *c = own(ctx);
    size_t part;
    int rc;

    if (run->done == 0) {
        rc = len < IV_SIZE ? ETCP_ECRYPT : begin_run(c, &c->opening, bytes);
        if (rc < 0)
            return rc;
        run->done = IV_SIZE;
    }
    part = len - run->done < STEP ? len - run->done : STEP;
    rc4_run(c->opening, bytes + run->done, bytes + run->len, part);
    run->done += part;
    run->len += part;
    if (run->done < len)
        return ETCP_AGAIN;
    end_run(&c->opening);
    return 0;
}

const etcp_large_ops etcp_ciphersaber_large = {IV_SIZE, sealed_len, seal_part};
