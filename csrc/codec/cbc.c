#include "cbc.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"
#include "block_cipher.h"

enum {
    MAGIC_SIZE = 8,
    SALT_SIZE = 8, /* of the salt, or of the seed of the vector */
    HEADER_SIZE = MAGIC_SIZE + SALT_SIZE,
    COPIED_BELOW = 4096,
    STEP = 1 << 18, /* of a large message: some milliseconds of the slowest cipher */
    DIGEST_SIZE = 16,
    /* The longest key and vector together, rounded up to whole digests. */
    MATERIAL_SIZE =
        (ETCP_BLOCK_KEY_MAX + ETCP_BLOCK_MAX + DIGEST_SIZE - 1) / DIGEST_SIZE * DIGEST_SIZE
};

static const uint8_t magic_salted[MAGIC_SIZE] = {'S', 'a', 'l', 't', 'e', 'd', '_', '_'};
static const uint8_t magic_randomiv[MAGIC_SIZE] = {'R', 'a', 'n', 'd', 'o', 'm', 'I', 'V'};

typedef struct cbc_ctx {
    const etcp_block_cipher *block;
    EVP_MD_CTX *md5;
    void *schedule;          /* NULL until it is needed: many contexts see no message */
    etcp_cipher_style keyed; /* RANDOMIV: the schedule's key is good for every such message */
    size_t passphrase_len;
    uint8_t passphrase[];
} cbc_ctx;

static cbc_ctx *own(etcp_cipher_ctx *ctx)
{
    return (cbc_ctx *)(void *)ctx;
}

/* ---- contexts ------------------------------------------------------------------------------- */

int etcp_cbc_new_ctx(const etcp_cipher *row, const uint8_t *key, size_t len, etcp_cipher_ctx **out)
{
    cbc_ctx *c;

    if (len == 0 || len > SIZE_MAX - sizeof *c)
        return ETCP_EINVAL;
    c = etcp_zalloc(sizeof *c + len);
    if (!c)
        return ETCP_ENOMEM;
    c->block = row->block;
    c->passphrase_len = len;
    memcpy(c->passphrase, key, len);
    *out = (etcp_cipher_ctx *)(void *)c;
    return 0;
}

static void drop_schedule(cbc_ctx *c)
{
    if (!c->schedule)
        return;
    if (c->block->release)
        c->block->release(c->schedule);
    etcp_wipe(c->schedule, c->block->schedule_size);
    etcp_free(c->schedule);
    c->schedule = NULL;
    c->keyed = ETCP_STYLE_NONE;
}

void etcp_cbc_free_ctx(etcp_cipher_ctx *ctx)
{
    cbc_ctx *c = own(ctx);

    if (!c)
        return;
    drop_schedule(c);
    EVP_MD_CTX_free(c->md5);
    etcp_wipe(c->passphrase, c->passphrase_len);
    etcp_free(c);
}

/* The key of a "Salted__" message is good for no other. An idle connection need not keep four kilobytes
 * for it, unless looking up OpenSSL's cipher again would cost more than the message did. */
static void end_message(cbc_ctx *c)
{
    if (c->keyed != ETCP_STYLE_RANDOMIV && !c->block->release)
        drop_schedule(c);
}

/* What only a context that is used needs. The digest is looked up once, which costs as much as
 * several digests of a passphrase. */
static int prepare(cbc_ctx *c)
{
    if (!c->schedule) {
        c->schedule = etcp_zalloc(c->block->schedule_size);
        if (!c->schedule)
            return ETCP_ENOMEM;
    }
    if (!c->md5) {
        c->md5 = EVP_MD_CTX_new();
        if (!c->md5)
            return ETCP_ENOMEM;
        if (EVP_DigestInit_ex(c->md5, etcp_provider_digest(ETCP_ALGORITHM_MD5), NULL) != 1) {
            EVP_MD_CTX_free(c->md5);
            c->md5 = NULL;
            return ETCP_ECRYPT;
        }
    }
    return 0;
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* One run of bytes to digest. */
typedef struct part {
    const uint8_t *bytes;
    size_t len;
} part;

static int digest(cbc_ctx *c, const part *parts, size_t count, uint8_t out[DIGEST_SIZE])
{
    if (EVP_DigestInit_ex(c->md5, NULL, NULL) != 1)
        return ETCP_ECRYPT;
    for (size_t i = 0; i < count; i++)
        if (EVP_DigestUpdate(c->md5, parts[i].bytes, parts[i].len) != 1)
            return ETCP_ECRYPT;
    return EVP_DigestFinal_ex(c->md5, out, NULL) == 1 ? 0 : ETCP_ECRYPT;
}

/* Key and vector as OpenSSL's EVP_BytesToKey makes them with MD5 and one round: each digest is that
 * of the digest before, the passphrase and the salt. */
static int key_salted(cbc_ctx *c, const uint8_t *salt, uint8_t iv[ETCP_BLOCK_MAX])
{
    uint8_t material[MATERIAL_SIZE];
    size_t need = c->block->key_size + c->block->block_size;
    part parts[] = {{NULL, DIGEST_SIZE}, {c->passphrase, c->passphrase_len}, {salt, SALT_SIZE}};
    int rc = digest(c, parts + 1, 2, material);

    for (size_t have = DIGEST_SIZE; rc == 0 && have < need; have += DIGEST_SIZE) {
        parts[0].bytes = material + have - DIGEST_SIZE;
        rc = digest(c, parts, 3, material + have);
    }
    c->keyed = ETCP_STYLE_NONE;
    if (rc == 0)
        rc = c->block->set_key(c->schedule, material);
    if (rc == 0) {
        memcpy(iv, material + c->block->key_size, c->block->block_size);
        c->keyed = ETCP_STYLE_SALTED;
    }
    etcp_wipe(material, sizeof material);
    return rc;
}

/* The key depends on the passphrase alone: each digest is that of everything before it. */
static int key_randomiv(cbc_ctx *c)
{
    uint8_t material[MATERIAL_SIZE];
    part whole = {c->passphrase, c->passphrase_len};
    int rc;

    if (c->keyed == ETCP_STYLE_RANDOMIV)
        return 0;
    rc = digest(c, &whole, 1, material);
    for (size_t have = DIGEST_SIZE; rc == 0 && have < c->block->key_size; have += DIGEST_SIZE) {
        part so_far = {material, have};

        rc = digest(c, &so_far, 1, material + have);
    }
    c->keyed = ETCP_STYLE_NONE;
    if (rc == 0)
        rc = c->block->set_key(c->schedule, material);
    if (rc == 0)
        c->keyed = ETCP_STYLE_RANDOMIV;
    etcp_wipe(material, sizeof material);
    return rc;
}

/* Sets key and vector for a message of this style whose header carries salt. A seed that is shorter
 * than the block is followed by zeros. */
static int derive(cbc_ctx *c, etcp_cipher_style style, const uint8_t *salt,
                  uint8_t iv[ETCP_BLOCK_MAX])
{
    int rc = prepare(c);

    if (rc < 0)
        return rc;
    if (style != ETCP_STYLE_RANDOMIV)
        return key_salted(c, salt, iv);
    memset(iv, 0, ETCP_BLOCK_MAX);
    memcpy(iv, salt, SALT_SIZE);
    return key_randomiv(c);
}

/* ---- sealing -------------------------------------------------------------------------------- */

/* Writes bytes and their padding, sealed, to at. A short message is copied there first, so that one call
 * of the cipher is enough. */
static int seal_blocks(cbc_ctx *c, const uint8_t *iv, const uint8_t *bytes, size_t len, uint8_t *at)
{
    size_t block = c->block->block_size;
    size_t rest = len < COPIED_BELOW ? len : len % block;
    size_t direct = len - rest;
    size_t padding = block - rest % block;
    int rc = 0;

    if (direct) {
        rc = c->block->encrypt(c->schedule, iv, bytes, at, direct);
        at += direct;
        iv = at - block;
    }
    if (rest && at != bytes + direct)
        memcpy(at, bytes + direct, rest);
    memset(at + rest, (int)padding, padding);
    return rc < 0 ? rc : c->block->encrypt(c->schedule, iv, at, at, rest + padding);
}

static size_t sealed_len(const etcp_cipher_ctx *ctx, size_t len)
{
    size_t block = ((const cbc_ctx *)(const void *)ctx)->block->block_size;

    if (len > SIZE_MAX - HEADER_SIZE - ETCP_BLOCK_MAX)
        return 0;
    return HEADER_SIZE + len + block - len % block;
}

/* Writes a header to at, and sets key and vector for the message behind it. */
static int begin(cbc_ctx *c, etcp_cipher_style style, etcp_random_fn source, void *source_arg,
                 uint8_t *at, etcp_seal_run *run)
{
    int rc;

    memcpy(at, style == ETCP_STYLE_RANDOMIV ? magic_randomiv : magic_salted, MAGIC_SIZE);
    rc = source(source_arg, at + MAGIC_SIZE, SALT_SIZE);
    if (rc == 0)
        rc = derive(c, style, at + MAGIC_SIZE, run->chain);
    run->begun = rc == 0;
    return rc;
}

static int seal_part(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                     void *source_arg, etcp_seal_run *run, const uint8_t *bytes, size_t len,
                     int is_last, etcp_buf *out)
{
    cbc_ctx *c = own(ctx);
    size_t block = c->block->block_size;
    size_t header = run->begun ? 0 : HEADER_SIZE;
    size_t sealed = is_last ? len + block - len % block : len;
    uint8_t *at;
    int rc = 0;

    if (etcp_buf_reserve(out, header + sealed) < 0)
        return ETCP_ENOMEM;
    at = etcp_buf_tail(out);
    if (header && (rc = begin(c, style, source, source_arg, at, run)) < 0)
        return rc;
    at += header;
    if (is_last) {
        rc = seal_blocks(c, run->chain, bytes, len, at);
        end_message(c);
    } else if (len) {
        rc = c->block->encrypt(c->schedule, run->chain, bytes, at, len);
        memcpy(run->chain, at + len - block, block);
    }
    if (rc == 0)
        etcp_buf_commit(out, header + sealed);
    return rc;
}

int etcp_cbc_seal(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                  void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out)
{
    etcp_seal_run run = {0};

    if (sealed_len(ctx, len) == 0)
        return ETCP_ETOOBIG;
    return seal_part(ctx, style, source, source_arg, &run, bytes, len, 1, out);
}

/* ---- opening -------------------------------------------------------------------------------- */

static etcp_cipher_style style_of(const uint8_t *header)
{
    if (memcmp(header, magic_salted, MAGIC_SIZE) == 0)
        return ETCP_STYLE_SALTED;
    if (memcmp(header, magic_randomiv, MAGIC_SIZE) == 0)
        return ETCP_STYLE_RANDOMIV;
    return ETCP_STYLE_NONE;
}

/* How much of the last block is padding, or 0 when it is not PKCS #7's (RFC 5652, 6.3). Looks at
 * the whole block whatever is in it, so that time does not tell where damage begins. */
static size_t padding_of(const uint8_t *last, size_t block)
{
    unsigned size = last[block - 1];
    unsigned bad = size == 0 || size > block;

    for (size_t i = 0; i < block; i++)
        bad |= (unsigned)(block - i <= size) & (unsigned)(last[i] != size);
    return bad ? 0 : size;
}

/* Whether a message may be this long. */
static int has_blocks(const cbc_ctx *c, size_t len)
{
    size_t block = c->block->block_size;

    return len >= HEADER_SIZE + block && (len - HEADER_SIZE) % block == 0;
}

/* Opens the message bytes[0..len), of a length that may be, to out, which has room for its blocks
 * and is apart from them. Stores the length of the plain text. */
static int open_to(cbc_ctx *c, const uint8_t *bytes, size_t len, uint8_t *out, size_t *plain_len,
                   etcp_cipher_style *style)
{
    size_t block = c->block->block_size;
    size_t body = len - HEADER_SIZE;
    etcp_cipher_style found = style_of(bytes);
    uint8_t iv[ETCP_BLOCK_MAX];
    size_t padding;
    int rc;

    if (found == ETCP_STYLE_NONE)
        return ETCP_ECRYPT;
    rc = derive(c, found, bytes + MAGIC_SIZE, iv);
    if (rc == 0)
        rc = c->block->decrypt(c->schedule, iv, bytes + HEADER_SIZE, out, body);
    end_message(c);
    if (rc < 0)
        return rc;
    padding = padding_of(out + body - block, block);
    if (padding == 0)
        return ETCP_ECRYPT;
    *plain_len = body - padding;
    if (style)
        *style = found;
    return 0;
}

int etcp_cbc_open(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                  etcp_cipher_style *style)
{
    cbc_ctx *c = own(ctx);
    size_t plain_len;
    int rc;

    if (!has_blocks(c, len))
        return ETCP_ECRYPT;
    if (etcp_buf_reserve(out, len - HEADER_SIZE) < 0)
        return ETCP_ENOMEM;
    rc = open_to(c, bytes, len, etcp_buf_tail(out), &plain_len, style);
    if (rc == 0)
        etcp_buf_commit(out, plain_len);
    return rc;
}

/* Opens bytes[0..len), which are whole blocks, where they are; and notes the last one. */
static int open_blocks(cbc_ctx *c, etcp_open_run *run, uint8_t *bytes, size_t len)
{
    size_t block = c->block->block_size;
    uint8_t last[ETCP_BLOCK_MAX];
    int rc;

    memcpy(last, bytes + len - block, block);
    rc = c->block->decrypt(c->schedule, run->chain, bytes, bytes, len);
    memcpy(run->chain, last, block);
    return rc;
}

static int begin_opening(cbc_ctx *c, etcp_open_run *run, const uint8_t *bytes, size_t len)
{
    if (!has_blocks(c, len))
        return ETCP_ECRYPT;
    run->style = style_of(bytes);
    run->done = HEADER_SIZE;
    return run->style == ETCP_STYLE_NONE
               ? ETCP_ECRYPT
               : derive(c, run->style, bytes + MAGIC_SIZE, run->chain);
}

static int open_more(cbc_ctx *c, etcp_open_run *run, uint8_t *bytes, size_t len)
{
    size_t block = c->block->block_size;
    size_t some = len - run->done < STEP ? len - run->done : STEP;
    size_t padding;
    int rc = open_blocks(c, run, bytes + run->done, some);

    if (rc < 0)
        return rc;
    memmove(bytes + run->len, bytes + run->done, some);
    run->done += some;
    run->len += some;
    if (run->done < len)
        return ETCP_AGAIN;
    padding = padding_of(bytes + run->len - block, block);
    run->len -= padding;
    return padding ? 0 : ETCP_ECRYPT;
}

int etcp_cbc_open_step(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len)
{
    cbc_ctx *c = own(ctx);
    int rc = run->done ? 0 : begin_opening(c, run, bytes, len);

    if (rc == 0)
        rc = open_more(c, run, bytes, len);
    if (rc != ETCP_AGAIN)
        end_message(c);
    return rc;
}

const etcp_large_ops etcp_cbc_large = {HEADER_SIZE, sealed_len, seal_part};
