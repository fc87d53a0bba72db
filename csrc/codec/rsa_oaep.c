#include "rsa_oaep.h"

#include <string.h>

#include "base/error.h"
#include "base/provider.h"

/* SHA-1 of the empty label. */
static const uint8_t label_hash[ETCP_OAEP_HASH] = {0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b,
                                                   0x0d, 0x32, 0x55, 0xbf, 0xef, 0x95, 0x60,
                                                   0x18, 0x90, 0xaf, 0xd8, 0x07, 0x09};

/* One block of the mask: SHA-1(data || counter). */
static int mask_block(EVP_MD_CTX *md, const uint8_t *data, size_t len, size_t counter,
                      uint8_t block[ETCP_OAEP_HASH])
{
    uint8_t number[4];

    number[0] = (uint8_t)(counter >> 24);
    number[1] = (uint8_t)(counter >> 16);
    number[2] = (uint8_t)(counter >> 8);
    number[3] = (uint8_t)counter;
    return EVP_DigestInit_ex(md, etcp_provider_digest(ETCP_ALGORITHM_SHA1), NULL) &&
           EVP_DigestUpdate(md, data, len) && EVP_DigestUpdate(md, number, sizeof number) &&
           EVP_DigestFinal_ex(md, block, NULL);
}

/* target ^= mask generated from data. The two do not overlap. */
static int apply_mask(uint8_t *target, size_t target_len, const uint8_t *data, size_t len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t block[ETCP_OAEP_HASH];
    size_t done = 0;
    int ok = md != NULL;

    while (ok && done < target_len) {
        size_t i;

        ok = mask_block(md, data, len, done, block);
        for (i = 0; i < sizeof block && done < target_len; i++)
            target[done++] ^= block[i];
    }
    EVP_MD_CTX_free(md);
    return ok ? 0 : ETCP_ECRYPT;
}

int etcp_oaep_encode(uint8_t *em, size_t em_len, const uint8_t seed[ETCP_OAEP_HASH],
                     const uint8_t *piece, size_t len)
{
    uint8_t *db = em + ETCP_OAEP_HASH;
    size_t db_len = em_len - ETCP_OAEP_HASH;
    int rc;

    memcpy(em, seed, ETCP_OAEP_HASH);
    memset(db, 0, db_len);
    memcpy(db, label_hash, ETCP_OAEP_HASH);
    db[db_len - len - 1] = 1;
    memcpy(db + db_len - len, piece, len);
    rc = apply_mask(db, db_len, em, ETCP_OAEP_HASH);
    return rc < 0 ? rc : apply_mask(em, ETCP_OAEP_HASH, db, db_len);
}

/* All ones if a is zero, else zero. */
static unsigned zero_mask(unsigned a)
{
    return (unsigned)0 - (1u & ((~a & (a - 1)) >> (sizeof(unsigned) * 8 - 1)));
}

int etcp_oaep_decode(uint8_t *em, size_t em_len, unsigned bad, const uint8_t **piece, size_t *len)
{
    uint8_t *db = em + ETCP_OAEP_HASH;
    size_t db_len = em_len - ETCP_OAEP_HASH;
    unsigned found = 0; /* all ones once the 01 was passed */
    unsigned at = 0;
    size_t i;

    if (apply_mask(em, ETCP_OAEP_HASH, db, db_len) < 0 ||
        apply_mask(db, db_len, em, ETCP_OAEP_HASH) < 0)
        return ETCP_ECRYPT;
    for (i = 0; i < ETCP_OAEP_HASH; i++)
        bad |= (unsigned)(db[i] ^ label_hash[i]);
    for (i = ETCP_OAEP_HASH; i < db_len; i++) {
        unsigned is_zero = zero_mask(db[i]);
        unsigned is_one = zero_mask(db[i] ^ 1u);

        at |= ~found & is_one & (unsigned)(i + 1);
        bad |= ~found & ~is_zero & ~is_one;
        found |= is_one;
    }
    bad |= ~found;
    if (bad)
        return ETCP_ECRYPT;
    *piece = db + at;
    *len = db_len - at;
    return 0;
}
