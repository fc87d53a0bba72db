/* AES, DES and triple DES: OpenSSL has them, in its default provider. */
#include "block_cipher.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"

enum { KEY_MAX = 32, CHUNK = 1 << 30 /* OpenSSL counts in int */ };

typedef enum keyed_for { UNKEYED = 0, ENCRYPTION, DECRYPTION } keyed_for;

/* OpenSSL expands a key for one direction. Most contexts see only one, so it is done when the first
 * message shows which.
 *
 * Telling OpenSSL the vector of a message costs more than a short message. A second one with the same
 * key and direction is followed by many: from then on they are one long run to OpenSSL, whose next
 * block would be chained to the last one of the message before. A vector is reached by adding the
 * difference to the first block, before encrypting or after decrypting it. */
typedef struct evp_schedule {
    EVP_CIPHER_CTX *state;
    keyed_for keyed;
    int is_run;                  /* of messages, padding is off */
    uint8_t link[ETCP_BLOCK_MAX]; /* then: what OpenSSL adds to the next block */
    uint8_t key[KEY_MAX];
} evp_schedule;

/* The cipher is looked up once, which costs as much as three messages of AES. Padding stays on at
 * first although there is none of OpenSSL's: turning it off is repeated whenever OpenSSL is given a
 * vector, by name, and takes longer than a short message. While it is on, encrypting whole blocks
 * gives whole blocks; decrypting keeps the last one back, see push_out(). */
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

/* Gets ready for a message. Afterwards s->link is iv, or in a run what the message before has left. */
static int start(evp_schedule *s, keyed_for direction, const uint8_t *iv)
{
    const int is_second = s->keyed == direction;

    if (is_second && s->is_run)
        return 0;
    s->keyed = UNKEYED;
    if (is_second != s->is_run && EVP_CIPHER_CTX_set_padding(s->state, !is_second) != 1)
        return ETCP_ECRYPT;
    s->is_run = is_second;
    if (EVP_CipherInit_ex(s->state, NULL, NULL, is_second ? NULL : s->key, iv,
                          direction == ENCRYPTION) != 1)
        return ETCP_ECRYPT;
    memcpy(s->link, iv, (size_t)EVP_CIPHER_CTX_block_size(s->state));
    s->keyed = direction;
    return 0;
}

/* Adds to a block what makes its link the vector. */
static void relink(const evp_schedule *s, const uint8_t *iv, uint8_t *at, size_t block)
{
    for (size_t i = 0; i < block; i++)
        at[i] ^= (uint8_t)(iv[i] ^ s->link[i]);
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

/* After a failure nobody knows what OpenSSL would go on with. */
static int end_message(evp_schedule *s, int is_good)
{
    if (is_good)
        return 0;
    s->keyed = UNKEYED;
    return ETCP_ECRYPT;
}

static int encrypt(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len)
{
    evp_schedule *s = schedule;
    size_t block = (size_t)EVP_CIPHER_CTX_block_size(s->state);
    size_t apart = 0;
    size_t done = 0;
    int rc;

    if (len == 0)
        return 0;
    rc = start(s, ENCRYPTION, iv);
    if (rc < 0)
        return rc;
    if (s->is_run && in != out) {
        apart = block; /* the first block is changed, and in is the caller's */
        memcpy(out, in, block);
    }
    relink(s, iv, out, block);
    rc = apart ? update(s, out, out, apart, &done) : 0;
    if (rc == 0 && done == apart)
        rc = update(s, in + apart, out + apart, len - apart, &done);
    memcpy(s->link, out + len - block, block);
    return end_message(s, rc == 0 && done == len - apart);
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
    uint8_t last[ETCP_BLOCK_MAX];
    size_t done;
    int rc;

    if (len == 0)
        return 0;
    rc = start(s, DECRYPTION, iv);
    if (rc < 0)
        return rc;
    memcpy(last, in + len - block, block);
    rc = update(s, in, out, len, &done);
    if (!s->is_run)
        return end_message(s, rc == 0 && done == len - block && push_out(s, out + done, block) == 0);
    relink(s, iv, out, block);
    memcpy(s->link, last, block);
    return end_message(s, rc == 0 && done == len);
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
