#include "rsa.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"
#include "rsa_key.h"
#include "rsa_oaep.h"

enum {
    NEW_KEY_BITS = 512,
    NEW_EXPONENT = 65537,
    BLOCK_MAX = ETCP_RSA_BITS_MAX / 8,
    STEP_BLOCKS = 64 /* opened in one step: some milliseconds */
};

typedef struct rsa_ctx {
    etcp_rsa_key key;
    size_t block; /* bytes of the modulus: one block of sealed text */
    BN_CTX *scratch;
    BN_MONT_CTX *mont;
} rsa_ctx;

static rsa_ctx *own(etcp_cipher_ctx *ctx)
{
    return (rsa_ctx *)(void *)ctx;
}

/* ---- contexts -------------------------------------------------------------------------------- */

void etcp_rsa_free_ctx(etcp_cipher_ctx *ctx)
{
    rsa_ctx *r = own(ctx);

    if (!r)
        return;
    BN_MONT_CTX_free(r->mont);
    BN_CTX_free(r->scratch);
    etcp_rsa_key_deinit(&r->key);
    etcp_free(r);
}

/* A frozen key begins with Storable's header byte, which no text does. */
static int read_key(const uint8_t *key, size_t len, etcp_rsa_key *out)
{
    if (len > 0 && key[0] == 0x05)
        return etcp_rsa_key_read_public(key, len, out);
    return etcp_rsa_key_read_private(key, len, out);
}

int etcp_rsa_new_ctx(const etcp_cipher *row, const uint8_t *key, size_t len, etcp_cipher_ctx **out)
{
    rsa_ctx *r = etcp_zalloc(sizeof *r);
    int rc;

    (void)row;
    if (!r)
        return ETCP_ENOMEM;
    rc = read_key(key, len, &r->key);
    if (rc == 0) {
        r->block = (size_t)BN_num_bytes(r->key.n);
        r->scratch = BN_CTX_new();
        r->mont = BN_MONT_CTX_new();
        if (!r->scratch || !r->mont || !BN_MONT_CTX_set(r->mont, r->key.n, r->scratch))
            rc = ETCP_ENOMEM;
    }
    if (rc < 0) {
        etcp_rsa_free_ctx((etcp_cipher_ctx *)(void *)r);
        return rc;
    }
    *out = (etcp_cipher_ctx *)(void *)r;
    return 0;
}

/* ---- sealing --------------------------------------------------------------------------------- */

/* out[0..block) = em[0..block-1) ^ e mod n */
static int raise_public(rsa_ctx *r, const uint8_t *em, uint8_t *out)
{
    BIGNUM *m = BN_bin2bn(em, (int)r->block - 1, NULL);
    BIGNUM *c = BN_new();
    int ok = m && c && BN_mod_exp_mont(c, m, r->key.e, r->key.n, r->scratch, r->mont) &&
             BN_bn2binpad(c, out, (int)r->block) == (int)r->block;

    BN_clear_free(m);
    BN_free(c);
    return ok ? 0 : ETCP_ECRYPT;
}

static int seal_piece(rsa_ctx *r, etcp_random_fn source, void *source_arg, const uint8_t *piece,
                      size_t len, uint8_t *out)
{
    uint8_t em[BLOCK_MAX];
    uint8_t seed[ETCP_OAEP_HASH];
    int rc = source(source_arg, seed, sizeof seed);

    if (rc == 0)
        rc = etcp_oaep_encode(em, r->block - 1, seed, piece, len);
    if (rc == 0)
        rc = raise_public(r, em, out);
    etcp_wipe(em, sizeof em);
    return rc;
}

/* The length of the next piece. The module's reader takes a piece that is just "0" for a failure: when
 * such a one would come last, one byte of the piece before goes with it. */
static size_t piece_length(const uint8_t *bytes, size_t left, size_t room)
{
    if (left <= room)
        return left;
    if (left == room + 1 && room > 1 && bytes[left - 1] == '0')
        return room - 1;
    return room;
}

int etcp_rsa_seal(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                  void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out)
{
    rsa_ctx *r = own(ctx);
    size_t room = r->block - 1 - ETCP_OAEP_OVERHEAD;
    size_t before = etcp_buf_len(out);
    int rc = 0;

    (void)style;
    if (len == 0 || (len == 1 && bytes[0] == '0'))
        return ETCP_ECRYPT;
    if (len / room + 2 > SIZE_MAX / 4 / r->block)
        return ETCP_ETOOBIG;
    if (etcp_buf_reserve(out, (len / room + 2) * r->block) < 0)
        return ETCP_ENOMEM;
    while (rc == 0 && len > 0) {
        size_t piece = piece_length(bytes, len, room);

        rc = seal_piece(r, source, source_arg, bytes, piece, etcp_buf_tail(out));
        if (rc == 0)
            etcp_buf_commit(out, r->block);
        bytes += piece;
        len -= piece;
    }
    if (rc < 0)
        etcp_buf_truncate(out, before);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* em[0..block) = sealed[0..block) ^ d mod n, in time that does not depend on d. */
static int raise_private(rsa_ctx *r, const uint8_t *sealed, uint8_t *em)
{
    BIGNUM *c = BN_bin2bn(sealed, (int)r->block, NULL);
    BIGNUM *m = BN_new();
    int ok = c && m && BN_cmp(c, r->key.n) < 0 &&
             BN_mod_exp_mont_consttime(m, c, r->key.d, r->key.n, r->scratch, r->mont) &&
             BN_bn2binpad(m, em, (int)r->block) == (int)r->block;

    BN_free(c);
    BN_clear_free(m);
    return ok ? 0 : ETCP_ECRYPT;
}

/* Opens one block to out, which has room for as much and may be where the block is. */
static int open_block(rsa_ctx *r, const uint8_t *sealed, uint8_t *out, size_t *len)
{
    uint8_t em[BLOCK_MAX];
    const uint8_t *piece = NULL;
    int rc = raise_private(r, sealed, em);

    if (rc == 0)
        rc = etcp_oaep_decode(em + 1, r->block - 1, em[0], &piece, len);
    if (rc == 0)
        memcpy(out, piece, *len);
    etcp_wipe(em, sizeof em);
    return rc;
}

static int has_blocks(const rsa_ctx *r, size_t len)
{
    return r->key.d && len > 0 && len % r->block == 0;
}

int etcp_rsa_open(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                  etcp_cipher_style *style)
{
    rsa_ctx *r = own(ctx);
    size_t before = etcp_buf_len(out);
    int rc = 0;

    if (!has_blocks(r, len))
        return ETCP_ECRYPT;
    for (; rc == 0 && len > 0; bytes += r->block, len -= r->block) {
        size_t piece;

        if (etcp_buf_reserve(out, r->block) < 0)
            rc = ETCP_ENOMEM;
        else if ((rc = open_block(r, bytes, etcp_buf_tail(out), &piece)) == 0)
            etcp_buf_commit(out, piece);
    }
    if (rc < 0)
        etcp_buf_truncate(out, before);
    else if (style)
        *style = ETCP_STYLE_NONE;
    return rc;
}

int etcp_rsa_open_step(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len)
{
    rsa_ctx *r = own(ctx);
    int blocks = STEP_BLOCKS;

    if (!has_blocks(r, len))
        return ETCP_ECRYPT;
    while (run->done < len && blocks-- > 0) {
        size_t piece;
        int rc = open_block(r, bytes + run->done, bytes + run->len, &piece);

        if (rc < 0)
            return rc;
        run->done += r->block;
        run->len += piece;
    }
    return run->done < len ? ETCP_AGAIN : 0;
}

/* ---- new keys -------------------------------------------------------------------------------- */

/* phi, d, dp, dq and u from p, q and e. Returns 0 when d does not exist for this pair of primes. */
static int derive(etcp_rsa_key *k, BN_CTX *ctx)
{
    BIGNUM *p1 = BN_dup(k->p);
    BIGNUM *q1 = BN_dup(k->q);
    int ok = p1 && q1 && BN_sub_word(p1, 1) && BN_sub_word(q1, 1) && BN_mul(k->n, k->p, k->q, ctx) &&
             BN_mul(k->phi, p1, q1, ctx) && BN_mod_inverse(k->d, k->e, k->phi, ctx) &&
             BN_mod(k->dp, k->d, p1, ctx) && BN_mod(k->dq, k->d, q1, ctx) &&
             BN_mod_inverse(k->u, k->p, k->q, ctx);

    BN_clear_free(p1);
    BN_clear_free(q1);
    return ok;
}

static int draw_primes(etcp_rsa_key *k)
{
    return etcp_provider_prime(k->p, NEW_KEY_BITS / 2) == 0 &&
           etcp_provider_prime(k->q, NEW_KEY_BITS / 2) == 0;
}

static int generate(etcp_rsa_key *k)
{
    BN_CTX *ctx = BN_CTX_new();
    int tries = 100;
    int ok = 0;

    k->n = BN_new();
    k->e = BN_new();
    k->d = BN_new();
    k->p = BN_new();
    k->q = BN_new();
    k->dp = BN_new();
    k->dq = BN_new();
    k->u = BN_new();
    k->phi = BN_new();
    if (ctx && k->n && k->e && k->d && k->p && k->q && k->dp && k->dq && k->u && k->phi &&
        BN_set_word(k->e, NEW_EXPONENT)) {
        while (!ok && tries-- > 0 && draw_primes(k))
            ok = BN_cmp(k->p, k->q) != 0 && derive(k, ctx) && BN_num_bits(k->n) == NEW_KEY_BITS;
    }
    BN_CTX_free(ctx);
    return ok ? 0 : ETCP_ECRYPT;
}

int etcp_rsa_new_keys(etcp_buf *public_key, etcp_buf *private_key)
{
    size_t before = etcp_buf_len(public_key);
    etcp_rsa_key k;
    int rc;

    memset(&k, 0, sizeof k);
    rc = generate(&k);
    if (rc == 0)
        rc = etcp_rsa_key_write_public(&k, public_key);
    if (rc == 0)
        rc = etcp_rsa_key_write_private(&k, private_key);
    if (rc < 0)
        etcp_buf_truncate(public_key, before);
    etcp_rsa_key_deinit(&k);
    return rc;
}
