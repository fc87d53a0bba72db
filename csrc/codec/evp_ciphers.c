/* AES, DES and triple DES: OpenSSL has them, in its default provider. */
#include "block_cipher.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"

enum { KEY_MAX = 32, CHUNK = 1 << 30 /* OpenSSL counts in int */ };

typedef enum keyed_for { UNKEYED = 0, ENCRYPTION, DECRYPTION } keyed_for;

/* OpenSSL expands a key for one direction. Most contexts see only one, so it is done when the first
 * message shows which. */
typedef struct evp_schedule {
    EVP_CIPHER_CTX *state;
    keyed_for keyed;
    uint8_t key[KEY_MAX];
} evp_schedule;

/* The cipher is looked up once, which costs as much as three messages of AES. Padding stays on
 * although there is none of OpenSSL's: turning it off is repeated at every start of a message, by
 * name, and takes longer than a short message. While it is on, encrypting whole blocks gives whole
 * blocks; decrypting keeps the last one back, see decrypt(). */
static int prepare(evp_schedule *s, etcp_algorithm algorithm)
{
    const EVP_CIPHER *cipher = etcp_provider_cipher(algorithm);

    s->keyed = UNKEYED;
    if (s->state)
        return 0;
    if (!cipher)
        return ETCP_ECRYPT;
    s->state = EVP_CIPHER_CTX_new();
    if (!s->state)
        return ETCP_ENOMEM;
    if (EVP_CipherInit_ex(s->state, cipher, NULL, NULL, NULL, 1) == 1)
        return 0;
    EVP_CIPHER_CTX_free(s->state);
    s->state = NULL;
    return ETCP_ECRYPT;
}

static int set_aes_key(void *schedule, const uint8_t *key)
{
    evp_schedule *s = schedule;

    memcpy(s->key, key, 32);
    return prepare(s, ETCP_ALGORITHM_AES_256_CBC);
}

static int set_des_ede3_key(void *schedule, const uint8_t *key)
{
    evp_schedule *s = schedule;

    memcpy(s->key, key, 24);
    return prepare(s, ETCP_ALGORITHM_DES_EDE3_CBC);
}

/* DES itself has moved to OpenSSL's legacy provider, which may be missing. Triple DES with one key
 * three times is DES: E(D(E(x))) = E(x). */
static int set_des_key(void *schedule, const uint8_t *key)
{
    evp_schedule *s = schedule;

    memcpy(s->key, key, 8);
    memcpy(s->key + 8, key, 8);
    memcpy(s->key + 16, key, 8);
    return prepare(s, ETCP_ALGORITHM_DES_EDE3_CBC);
}

static int start(evp_schedule *s, keyed_for direction, const uint8_t *iv)
{
    const uint8_t *key = s->keyed == direction ? NULL : s->key;

    s->keyed = UNKEYED;
    if (EVP_CipherInit_ex(s->state, NULL, NULL, key, iv, direction == ENCRYPTION) != 1)
        return ETCP_ECRYPT;
    s->keyed = direction;
    return 0;
}

/* Puts bytes through the cipher, and stores how many came out of it in *done. */
static int update(evp_schedule *s, const uint8_t *in, uint8_t *out, size_t len, size_t *done)
{
    for (*done = 0; len > 0;) {
        int take = len < CHUNK ? (int)len : CHUNK;
        int got;

        if (EVP_CipherUpdate(s->state, out + *done, &got, in, take) != 1)
            return ETCP_ECRYPT;
        *done += (size_t)got;
        in += take;
        len -= (size_t)take;
    }
    return 0;
}

static int encrypt(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
    evp_schedule *s = schedule;
    size_t done;
    int rc = start(s, ENCRYPTION, iv);

    if (rc == 0)
        rc = update(s, in, out, len, &done);
    return rc < 0 || done == len ? rc : ETCP_ECRYPT;
}

/* One more block makes OpenSSL give the last one. Up to 1.1 it decrypts that block at once, behind
 * the other. */
static int push_out(evp_schedule *s, uint8_t *last, size_t block)
{
    static const uint8_t more[ETCP_BLOCK_MAX];
    uint8_t given[2 * ETCP_BLOCK_MAX];
    int got;

    if (EVP_CipherUpdate(s->state, given, &got, more, (int)block) != 1 || got != (int)block)
        return ETCP_ECRYPT;
    memcpy(last, given, block);
    etcp_wipe(given, sizeof given);
    return 0;
}

static int decrypt(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
    evp_schedule *s = schedule;
    size_t block = (size_t)EVP_CIPHER_CTX_block_size(s->state);
    size_t done;
    int rc;

    if (len == 0)
        return 0;
    rc = start(s, DECRYPTION, iv);
    if (rc == 0)
        rc = update(s, in, out, len, &done);
    if (rc < 0)
        return rc;
    return done == len - block ? push_out(s, out + done, block) : ETCP_ECRYPT;
}

static void release(void *schedule)
{
    evp_schedule *s = schedule;

    EVP_CIPHER_CTX_free(s->state);
    s->state = NULL;
}

const etcp_block_cipher etcp_aes_256 = {32,          16,      sizeof(evp_schedule),
                                        set_aes_key, encrypt, decrypt, release};

const etcp_block_cipher etcp_des = {8,           8,       sizeof(evp_schedule),
                                    set_des_key, encrypt, decrypt, release};

const etcp_block_cipher etcp_des_ede3 = {24,               8,       sizeof(evp_schedule),
                                         set_des_ede3_key, encrypt, decrypt, release};
