#include "cipher.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"
#include "block_cipher.h"
#include "cbc.h"
#include "ciphersaber.h"
#include "rsa.h"

enum { CBC_FLAGS = ETCP_CIPHER_SYMMETRIC | ETCP_CIPHER_MERGES | ETCP_CIPHER_CBC };

/* All derive their keys by MD5. */
#define CBC_ROW(key, name, version, rank, key_length, needs, block)                                \
    {                                                                                              \
        key, name, version, CBC_FLAGS, rank, key_length, ETCP_ALGORITHM_MD5 | (needs), block,      \
            etcp_cbc_new_ctx, etcp_cbc_free_ctx, etcp_cbc_seal, etcp_cbc_open, etcp_cbc_open_step, \
            &etcp_cbc_large                                                                        \
    }

/* Rows stand in the order of the original manual, which is that of their offers to old peers. The
 * versions are those this code was compared with, byte by byte; peers only ever test them for
 * equality with their own. Ranks go by what is known of the ciphers first, and by speed next; DES
 * comes last, because its keys can be tried through. */
static const etcp_cipher rows[] = {
    {'B', "Crypt::RSA", "1.99", ETCP_CIPHER_ARMOURED, 0, 0, ETCP_ALGORITHM_SHA1, NULL,
     etcp_rsa_new_ctx, etcp_rsa_free_ctx, etcp_rsa_seal, etcp_rsa_open,
     etcp_rsa_open_step, NULL},
    CBC_ROW('A', "Crypt::Rijndael", "1.16", 1, 32, ETCP_ALGORITHM_AES_256_CBC, &etcp_aes_256),
    CBC_ROW('9', "Crypt::RC6", "1.0", 3, 32, 0, &etcp_rc6),
    CBC_ROW('4', "Crypt::Blowfish", "2.14", 5, 56, 0, &etcp_blowfish),
    CBC_ROW('6', "Crypt::DES_EDE3", "0.01", 6, 24, ETCP_ALGORITHM_DES_EDE3_CBC, &etcp_des_ede3),
    CBC_ROW('5', "Crypt::DES", "2.07", 9, 8, ETCP_ALGORITHM_DES_EDE3_CBC, &etcp_des),
    CBC_ROW('C', "Crypt::Twofish2", "1.02", 2, 32, 0, &etcp_twofish_256),
    CBC_ROW('D', "Crypt::Twofish", "2.18", 4, 32, 0, &etcp_twofish_128),
    CBC_ROW('E', "Crypt::TEA", "1.25", 7, 16, 0, &etcp_xtea),
    {'2', "Crypt::CipherSaber", "1.01", ETCP_CIPHER_SYMMETRIC | ETCP_CIPHER_MERGES, 8, 32, 0, NULL,
     etcp_ciphersaber_new_ctx, etcp_ciphersaber_free_ctx, etcp_ciphersaber_seal,
     etcp_ciphersaber_open, etcp_ciphersaber_open_step, &etcp_ciphersaber_large},
};

const etcp_cipher *etcp_ciphers(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

uint32_t etcp_ciphers_at_hand(void)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (etcp_provider_has(rows[i].needs))
            bits |= 1u << i;
    return bits;
}

const etcp_cipher *etcp_cipher_by_key(char key)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].key == key)
            return &rows[i];
    return NULL;
}

static int new_key_string(size_t len, etcp_random_fn source, void *source_arg, etcp_buf *public_key,
                          etcp_buf *private_key)
{
    int rc;

    if (etcp_buf_reserve(public_key, len) < 0 || etcp_buf_reserve(private_key, len) < 0)
        return ETCP_ENOMEM;
    rc = etcp_random_key(source, source_arg, etcp_buf_tail(public_key), len);
    if (rc < 0)
        return rc;
    (void)etcp_buf_append(private_key, etcp_buf_tail(public_key), len); /* has the room */
    etcp_buf_commit(public_key, len);
    return 0;
}

etcp_cipher_style etcp_cipher_least_style(const etcp_cipher *row)
{
    if (!row->block)
        return ETCP_STYLE_NONE;
    return row->block->block_size < 16 ? ETCP_STYLE_SALTED : ETCP_STYLE_RANDOMIV;
}

int etcp_cipher_new_keys(const etcp_cipher *row, etcp_random_fn source, void *source_arg,
                         etcp_buf *public_key, etcp_buf *private_key)
{
    if (row->flags & ETCP_CIPHER_SYMMETRIC)
        return new_key_string(row->key_length, source, source_arg, public_key, private_key);
    return etcp_rsa_new_keys(public_key, private_key);
}
