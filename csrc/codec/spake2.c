/* RFC 9382. Names as there: w the password, x or y this end's scalar, pA = x*G + w*M and
 * pB = y*G + w*N the shares, K the point that only both ends can compute, TT the transcript. */
#include "spake2.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"

/* Section 6 of the RFC, compressed. */
static const uint8_t point_m[33] = {0x02, 0x88, 0x6e, 0x2f, 0x97, 0xac, 0xe4, 0x6e, 0x55,
                                    0xba, 0x9d, 0xd7, 0x24, 0x25, 0x79, 0xf2, 0x99, 0x3b,
                                    0x64, 0xe1, 0x6e, 0xf3, 0xdc, 0xab, 0x95, 0xaf, 0xd4,
                                    0x97, 0x33, 0x3d, 0x8f, 0xa1, 0x2f};
static const uint8_t point_n[33] = {0x03, 0xd8, 0xbb, 0xd6, 0xc6, 0x39, 0xc6, 0x29, 0x37,
                                    0xb0, 0x4d, 0x99, 0x7f, 0x38, 0xc3, 0x77, 0x07, 0x19,
                                    0xc6, 0x29, 0xd7, 0x01, 0x4d, 0x49, 0xa2, 0x4b, 0x4f,
                                    0x98, 0xba, 0xa1, 0x29, 0x2b, 0x49};

enum { HASH = 32, HALF = 16, POINT_UNCOMPRESSED = 4 };

struct etcp_spake2_secret {
    EC_GROUP *group;
    EC_POINT *mask[2];       /* by side: w*M for A, w*N for B */
    EC_POINT *minus_mask[2]; /* their negatives */
    uint8_t w[ETCP_SPAKE2_SCALAR];
};

struct etcp_spake2 {
    etcp_spake2_side side;
    BIGNUM *scalar; /* x or y; NULL once used */
    uint8_t share[ETCP_SPAKE2_SHARE];
};

/* ---- the password ---------------------------------------------------------------------------- */

static EC_GROUP *new_group(void)
{
    return EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
}

static int hash_password(const uint8_t *password, size_t len, uint8_t digest[64])
{
    static const char prefix[] = "Net::EasyTCP SPAKE2 P-256 w"; /* with its NUL */
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    int ok;

    if (!md)
        return ETCP_ENOMEM;
    ERR_set_mark();
    ok = EVP_DigestInit_ex(md, EVP_sha512(), NULL) == 1 &&
         EVP_DigestUpdate(md, prefix, sizeof prefix) == 1 &&
         (len == 0 || EVP_DigestUpdate(md, password, len) == 1) &&
         EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    return etcp_provider_code(ok);
}

int etcp_spake2_scalar(const uint8_t *password, size_t len, uint8_t w[ETCP_SPAKE2_SCALAR])
{
    uint8_t digest[64];
    EC_GROUP *group = new_group();
    BN_CTX *work = BN_CTX_secure_new();
    BIGNUM *number = BN_secure_new();
    int rc = group && work && number ? hash_password(password, len, digest) : ETCP_ENOMEM;

    if (rc == 0 && (!BN_bin2bn(digest, sizeof digest, number) ||
                    !BN_mod(number, number, EC_GROUP_get0_order(group), work) ||
                    BN_bn2binpad(number, w, ETCP_SPAKE2_SCALAR) < 0))
        rc = ETCP_ENOMEM;
    if (rc == 0 && BN_is_zero(number))
        rc = ETCP_EINVAL;
    etcp_wipe(digest, sizeof digest);
    BN_clear_free(number);
    BN_CTX_free(work);
    EC_GROUP_free(group);
    return rc;
}

static BIGNUM *secret_number(const uint8_t *bytes)
{
    BIGNUM *number = BN_secure_new();

    if (number && !BN_bin2bn(bytes, ETCP_SPAKE2_SCALAR, number)) {
        BN_clear_free(number);
        return NULL;
    }
    if (number)
        BN_set_flags(number, BN_FLG_CONSTTIME);
    return number;
}

static int is_scalar(const EC_GROUP *group, const BIGNUM *number)
{
    return !BN_is_zero(number) && BN_cmp(number, EC_GROUP_get0_order(group)) < 0;
}

/* The code of what was done with points since ERR_set_mark(), and takes the mark away. Besides
 * memory that needs random numbers wherever OpenSSL has no P-256 of its own for the processor: it
 * hides secrets by them. */
static int points_code(int went_well)
{
    uint8_t byte;
    int rc = 0;

    if (!went_well)
        rc = etcp_provider_random(&byte, 1) < 0 ? ETCP_ECRYPT : ETCP_ENOMEM;
    ERR_pop_to_mark();
    return rc;
}

/* Fills in *mask = w * point, and *minus its negative. Returns whether that went well. */
static int make_mask(const EC_GROUP *group, const BIGNUM *w, const uint8_t point[33],
                     EC_POINT **mask, EC_POINT **minus, BN_CTX *work)
{
    *mask = EC_POINT_new(group);
    if (!*mask || !EC_POINT_oct2point(group, *mask, point, 33, work) ||
        !EC_POINT_mul(group, *mask, NULL, *mask, w, work))
        return 0;
    *minus = EC_POINT_dup(*mask, group);
    return *minus && EC_POINT_invert(group, *minus, work);
}

static int fill_secret(etcp_spake2_secret *secret, const BIGNUM *w, BN_CTX *work)
{
    if (!is_scalar(secret->group, w))
        return ETCP_EINVAL;
    ERR_set_mark();
    return points_code(make_mask(secret->group, w, point_m, &secret->mask[ETCP_SPAKE2_A],
                                 &secret->minus_mask[ETCP_SPAKE2_A], work) &&
                       make_mask(secret->group, w, point_n, &secret->mask[ETCP_SPAKE2_B],
                                 &secret->minus_mask[ETCP_SPAKE2_B], work));
}

int etcp_spake2_secret_new(const uint8_t w[ETCP_SPAKE2_SCALAR], etcp_spake2_secret **out)
{
    etcp_spake2_secret *secret = etcp_zalloc(sizeof *secret);
    BN_CTX *work;
    BIGNUM *number;
    int rc = ETCP_ENOMEM;

    if (!secret)
        return ETCP_ENOMEM;
    work = etcp_provider_work();
    number = secret_number(w);
    secret->group = new_group();
    if (work && number && secret->group)
        rc = fill_secret(secret, number, work);
    BN_clear_free(number);
    BN_CTX_free(work);
    if (rc < 0) {
        etcp_spake2_secret_free(secret);
        return rc;
    }
    memcpy(secret->w, w, sizeof secret->w);
    *out = secret;
    return 0;
}

void etcp_spake2_secret_free(etcp_spake2_secret *secret)
{
    unsigned side;

    if (!secret)
        return;
    for (side = 0; side < 2; side++) {
        EC_POINT_clear_free(secret->mask[side]);
        EC_POINT_clear_free(secret->minus_mask[side]);
    }
    EC_GROUP_free(secret->group);
    etcp_wipe(secret, sizeof *secret);
    etcp_free(secret);
}

/* ---- the shares ------------------------------------------------------------------------------ */

/* A uniform scalar from 1 to the order less 1, by rejection: all but one in 2^32 draws are taken.
 */
static int draw_scalar(const EC_GROUP *group, etcp_random_fn random, void *random_arg, BIGNUM **out)
{
    uint8_t bytes[ETCP_SPAKE2_SCALAR];
    BIGNUM *number = NULL;
    int rc;

    do {
        BN_clear_free(number);
        number = NULL;
        rc = random(random_arg, bytes, sizeof bytes);
        if (rc == 0 && !(number = secret_number(bytes)))
            rc = ETCP_ENOMEM;
    } while (rc == 0 && !is_scalar(group, number));
    etcp_wipe(bytes, sizeof bytes);
    *out = number;
    return rc;
}

static int make_share(const etcp_spake2_secret *secret, etcp_spake2 *run)
{
    BN_CTX *work = etcp_provider_work();
    EC_POINT *point = EC_POINT_new(secret->group);
    int ok;

    ERR_set_mark();
    ok = work && point && EC_POINT_mul(secret->group, point, run->scalar, NULL, NULL, work) &&
         EC_POINT_add(secret->group, point, point, secret->mask[run->side], work) &&
         EC_POINT_point2oct(secret->group, point, POINT_CONVERSION_UNCOMPRESSED, run->share,
                            sizeof run->share, work) == sizeof run->share;

    EC_POINT_clear_free(point);
    BN_CTX_free(work);
    return points_code(ok);
}

int etcp_spake2_new(const etcp_spake2_secret *secret, etcp_spake2_side side, etcp_random_fn random,
                    void *random_arg, etcp_spake2 **out, uint8_t share[ETCP_SPAKE2_SHARE])
{
    etcp_spake2 *run = etcp_zalloc(sizeof *run);
    int rc;

    if (!run)
        return ETCP_ENOMEM;
    run->side = side;
    rc = draw_scalar(secret->group, random, random_arg, &run->scalar);
    if (rc == 0)
        rc = make_share(secret, run);
    if (rc < 0) {
        etcp_spake2_free(run);
        return rc;
    }
    memcpy(share, run->share, ETCP_SPAKE2_SHARE);
    *out = run;
    return 0;
}

void etcp_spake2_free(etcp_spake2 *run)
{
    if (!run)
        return;
    BN_clear_free(run->scalar);
    etcp_wipe(run, sizeof *run);
    etcp_free(run);
}

/* ---- the key --------------------------------------------------------------------------------- */

/* Makes point of the peer's share, less its mask. Returns whether it has the whole
 * order: the group has no small subgroup, so all points do but infinity. */
static int unmask(const etcp_spake2 *run, const etcp_spake2_secret *secret,
                  const uint8_t *peer_share, EC_POINT *point, BN_CTX *work)
{
    const EC_GROUP *group = secret->group;

    return peer_share[0] == POINT_UNCOMPRESSED &&
           EC_POINT_oct2point(group, point, peer_share, ETCP_SPAKE2_SHARE, work) &&
           !EC_POINT_is_at_infinity(group, point) &&
           EC_POINT_add(group, point, point, secret->minus_mask[!run->side], work) &&
           !EC_POINT_is_at_infinity(group, point);
}

/* K = x*(pB - w*N), or y*(pA - w*M). */
static int make_key(const etcp_spake2 *run, const etcp_spake2_secret *secret,
                    const uint8_t *peer_share, uint8_t key[ETCP_SPAKE2_SHARE])
{
    const EC_GROUP *group = secret->group;
    BN_CTX *work = etcp_provider_work();
    EC_POINT *point = EC_POINT_new(group);
    int rc = ETCP_EPROTO;

    ERR_set_mark();
    if (!work || !point || unmask(run, secret, peer_share, point, work))
        rc = points_code(work && point &&
                         EC_POINT_mul(group, point, NULL, point, run->scalar, work) &&
                         EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, key,
                                            ETCP_SPAKE2_SHARE, work) == ETCP_SPAKE2_SHARE);
    else
        ERR_pop_to_mark();
    EC_POINT_clear_free(point);
    BN_CTX_free(work);
    return rc;
}

/* A length in 8 bytes, least significant first, and the bytes. */
static int add_part(etcp_buf *transcript, const void *bytes, size_t len)
{
    uint8_t length[8];
    unsigned i;
    int rc;

    for (i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)((uint64_t)len >> (8 * i));
    rc = etcp_buf_append(transcript, length, sizeof length);
    return rc < 0 ? rc : etcp_buf_append(transcript, bytes, len);
}

static int make_transcript(const etcp_spake2 *run, const etcp_spake2_secret *secret,
                           const etcp_spake2_context *context, const uint8_t *peer_share,
                           const uint8_t *key, etcp_buf *transcript)
{
    const uint8_t *share_a = run->side == ETCP_SPAKE2_A ? run->share : peer_share;
    const uint8_t *share_b = run->side == ETCP_SPAKE2_A ? peer_share : run->share;
    int rc = add_part(transcript, context->name_a, strlen(context->name_a));

    if (rc == 0)
        rc = add_part(transcript, context->name_b, strlen(context->name_b));
    if (rc == 0)
        rc = add_part(transcript, share_a, ETCP_SPAKE2_SHARE);
    if (rc == 0)
        rc = add_part(transcript, share_b, ETCP_SPAKE2_SHARE);
    if (rc == 0)
        rc = add_part(transcript, key, ETCP_SPAKE2_SHARE);
    return rc < 0 ? rc : add_part(transcript, secret->w, sizeof secret->w);
}

static int hmac(const uint8_t *key, size_t key_len, const void *bytes, size_t len,
                uint8_t out[HASH])
{
    unsigned out_len = HASH;

    ERR_set_mark();
    return etcp_provider_code(
        HMAC(EVP_sha256(), key, (int)key_len, bytes, len, out, &out_len) && out_len == HASH);
}

/* HKDF of RFC 5869 without salt, for one block of output: two HMACs, so that no release's own
 * interface for it matters. */
static int confirmation_keys(const uint8_t ka[HALF], const etcp_spake2_context *context,
                             uint8_t keys[HASH])
{
    static const uint8_t no_salt[HASH];
    static const char label[] = "ConfirmationKeys";
    uint8_t extracted[HASH];
    etcp_buf info;
    int rc;

    etcp_buf_init(&info);
    rc = etcp_buf_append(&info, label, sizeof label - 1);
    if (rc == 0)
        rc = etcp_buf_append(&info, context->aad, context->aad_len);
    if (rc == 0)
        rc = etcp_buf_append_byte(&info, 1);
    if (rc == 0)
        rc = hmac(no_salt, sizeof no_salt, ka, HALF, extracted);
    if (rc == 0)
        rc = hmac(extracted, sizeof extracted, etcp_buf_bytes(&info), etcp_buf_len(&info), keys);
    etcp_wipe(extracted, sizeof extracted);
    etcp_buf_wipe(&info);
    return rc;
}

static int make_proofs(const etcp_buf *transcript, const etcp_spake2_context *context,
                       etcp_spake2_proofs *proofs)
{
    const uint8_t *bytes = etcp_buf_bytes(transcript);
    size_t len = etcp_buf_len(transcript);
    uint8_t digest[HASH]; /* Ke || Ka */
    uint8_t keys[HASH];   /* KcA || KcB */
    int rc = etcp_provider_sha256(bytes, len, digest);

    if (rc == 0)
        rc = confirmation_keys(digest + HALF, context, keys);
    if (rc == 0)
        rc = hmac(keys, HALF, bytes, len, proofs->a);
    if (rc == 0)
        rc = hmac(keys + HALF, HALF, bytes, len, proofs->b);
    etcp_wipe(digest, sizeof digest);
    etcp_wipe(keys, sizeof keys);
    return rc;
}

int etcp_spake2_finish(etcp_spake2 *run, const etcp_spake2_secret *secret,
                       const etcp_spake2_context *context,
                       const uint8_t peer_share[ETCP_SPAKE2_SHARE], etcp_spake2_proofs *proofs)
{
    uint8_t key[ETCP_SPAKE2_SHARE];
    etcp_buf transcript;
    int rc;

    if (!run->scalar)
        return ETCP_EPROTO;
    etcp_buf_init(&transcript);
    rc = make_key(run, secret, peer_share, key);
    BN_clear_free(run->scalar);
    run->scalar = NULL;
    if (rc == 0)
        rc = etcp_buf_reserve(&transcript, 512); /* at once: growing would leave copies behind */
    if (rc == 0)
        rc = make_transcript(run, secret, context, peer_share, key, &transcript);
    if (rc == 0)
        rc = make_proofs(&transcript, context, proofs);
    etcp_wipe(key, sizeof key);
    etcp_buf_wipe(&transcript);
    return rc;
}
