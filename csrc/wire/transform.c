#include "transform.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "password.h"

static void free_contexts(etcp_transform *t)
{
    if (!t->cipher)
        return;
    t->cipher->free_ctx(t->seal);
    t->cipher->free_ctx(t->open);
    t->seal = NULL;
    t->open = NULL;
}

static void free_keys(etcp_transform *t)
{
    if (t->keys)
        etcp_wipe(t->keys, (size_t)t->peer_key_len + t->own_key_len);
    etcp_free(t->keys);
    t->keys = NULL;
    t->peer_key_len = 0;
    t->own_key_len = 0;
}

void etcp_transform_drop_cipher(etcp_transform *t)
{
    free_contexts(t);
    free_keys(t);
    t->cipher = NULL;
    t->style = ETCP_STYLE_NONE;
}

void etcp_transform_deinit(etcp_transform *t)
{
    etcp_transform_drop_cipher(t);
    memset(t, 0, sizeof *t);
}

/* Keeps copies of both keys, either of which may lie in the old copy. */
static int keep_keys(etcp_transform *t, const uint8_t *peer, size_t peer_len, const uint8_t *own,
                     size_t own_len)
{
    uint8_t *keys;

    if (peer_len > 0xffffffu || own_len > 0xffffffu)
        return ETCP_EINVAL;
    keys = etcp_malloc(peer_len + own_len);
    if (!keys)
        return ETCP_ENOMEM;
    if (peer_len)
        memcpy(keys, peer, peer_len);
    if (own_len)
        memcpy(keys + peer_len, own, own_len);
    free_keys(t);
    t->keys = keys;
    t->peer_key_len = (uint32_t)peer_len;
    t->own_key_len = (uint32_t)own_len;
    return 0;
}

static const uint8_t *own_key(const etcp_transform *t)
{
    return t->keys + t->peer_key_len;
}

/* Puts a context for key into *slot. */
static int replace_context(const etcp_transform *t, etcp_cipher_ctx **slot, const uint8_t *key,
                           size_t len)
{
    etcp_cipher_ctx *ctx;
    int rc = t->cipher->new_ctx(t->cipher, key, len, &ctx);

    if (rc < 0)
        return rc;
    t->cipher->free_ctx(*slot);
    *slot = ctx;
    return 0;
}

int etcp_transform_set_own_key(etcp_transform *t, const uint8_t *key, size_t len)
{
    etcp_cipher_ctx *ctx = NULL;
    int rc = replace_context(t, &ctx, key, len);

    if (rc == 0)
        rc = keep_keys(t, t->keys, t->peer_key_len, key, len);
    if (rc < 0) {
        t->cipher->free_ctx(ctx);
        return rc;
    }
    t->cipher->free_ctx(t->open);
    t->open = ctx;
    return 0;
}

int etcp_transform_set_peer_key(etcp_transform *t, const uint8_t *key, size_t len)
{
    etcp_cipher_ctx *ctx = NULL;
    int rc = replace_context(t, &ctx, key, len);

    if (rc == 0)
        rc = keep_keys(t, key, len, t->keys ? own_key(t) : NULL, t->own_key_len);
    if (rc < 0) {
        t->cipher->free_ctx(ctx);
        return rc;
    }
    t->cipher->free_ctx(t->seal);
    t->seal = ctx;
    return 0;
}

int etcp_transform_merge(etcp_transform *t, const uint8_t *password, size_t len)
{
    etcp_buf merged;
    size_t peer_len = t->peer_key_len;
    size_t own_len = t->own_key_len;
    int rc;

    etcp_buf_init(&merged);
    if ((rc = etcp_password_merge(password, len, t->keys, peer_len, &merged)) == 0 &&
        (rc = etcp_password_merge(password, len, own_key(t), own_len, &merged)) == 0 &&
        (rc = keep_keys(t, etcp_buf_bytes(&merged), peer_len, etcp_buf_bytes(&merged) + peer_len,
                        own_len)) == 0 &&
        (rc = replace_context(t, &t->seal, t->keys, peer_len)) == 0)
        rc = replace_context(t, &t->open, own_key(t), own_len);
    etcp_buf_wipe(&merged);
    return rc;
}

int etcp_transform_clone(const etcp_transform *t, etcp_transform *copy)
{
    int rc = 0;

    copy->cipher = t->cipher;
    copy->style = t->style;
    copy->compressor = t->compressor;
    copy->is_mixed = t->is_mixed;
    copy->takes = t->takes;
    copy->peer_takes = t->peer_takes;
    if (t->keys)
        rc = keep_keys(copy, t->keys, t->peer_key_len, own_key(t), t->own_key_len);
    if (rc == 0 && t->seal)
        rc = replace_context(copy, &copy->seal, copy->keys, copy->peer_key_len);
    if (rc == 0 && t->open)
        rc = replace_context(copy, &copy->open, own_key(copy), copy->own_key_len);
    if (rc < 0)
        etcp_transform_deinit(copy);
    return rc;
}

static etcp_cipher_style own_style(const etcp_transform *t)
{
    if (t->style == ETCP_STYLE_NONE && (t->cipher->flags & ETCP_CIPHER_CBC))
        return ETCP_STYLE_SALTED;
    return t->style;
}

int etcp_transform_seal(etcp_transform *t, const etcp_config *config, const uint8_t *bytes,
                        size_t len, etcp_buf *out)
{
    if (!t->seal)
        return ETCP_ECRYPT;
    return t->cipher->seal(t->seal, own_style(t), config->random, config->random_arg, bytes, len,
                           out);
}

int etcp_transform_seal_part(etcp_transform *t, const etcp_config *config, etcp_seal_run *run,
                             const uint8_t *bytes, size_t len, int is_last, etcp_buf *out)
{
    return t->cipher->large->seal_part(t->seal, own_style(t), config->random, config->random_arg,
                                       run, bytes, len, is_last, out);
}

int etcp_transform_open(etcp_transform *t, const uint8_t *bytes, size_t len, etcp_buf *out)
{
    etcp_cipher_style style = ETCP_STYLE_NONE;
    int rc = t->cipher->open(t->open, bytes, len, out, &style);

    if (rc == 0)
        t->style = style;
    return rc;
}

int etcp_transform_open_step(etcp_transform *t, etcp_open_run *run, uint8_t *bytes, size_t len)
{
    int rc = t->cipher->open_step(t->open, run, bytes, len);

    if (rc == 0)
        t->style = run->style;
    return rc;
}

etcp_compressor_state **etcp_compressor_state_of(etcp_config *config, const etcp_compressor *row)
{
    size_t count;

    return &config->compressor_states[row - etcp_compressors(&count)];
}

/* The row that a mixed connection's first byte names, if we said that we take it; or NULL. */
static const etcp_compressor *named_row(const etcp_transform *t, uint8_t key)
{
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);
    const etcp_compressor *row = etcp_compressor_by_key((char)key);

    return row && (t->takes >> (row - rows) & 1) ? row : NULL;
}

const etcp_compressor *etcp_transform_compressor_of(const etcp_transform *t, const uint8_t **bytes,
                                                    size_t *len)
{
    const etcp_compressor *row;

    if (!t->is_mixed)
        return t->compressor;
    row = *len ? named_row(t, **bytes) : NULL;
    if (row) {
        ++*bytes;
        --*len;
    }
    return row;
}

int etcp_transform_decompress(etcp_transform *t, etcp_config *config, const uint8_t *bytes,
                              size_t len, size_t max, etcp_buf *out)
{
    const etcp_compressor *row = etcp_transform_compressor_of(t, &bytes, &len);

    if (!row)
        return ETCP_EDECODE;
    return row->decompress(etcp_compressor_state_of(config, row), bytes, len, max, out);
}
