/* The block ciphers of the Crypt::CBC family: one table of functions each, in a file each. They know
 * keys and chained blocks, nothing of passphrases, containers and padding: that is cbc.h. */
#ifndef ETCP_CODEC_BLOCK_CIPHER_H
#define ETCP_CODEC_BLOCK_CIPHER_H

#include <stddef.h>
#include <stdint.h>

enum {
    ETCP_BLOCK_MAX = 16,    /* bytes of the largest block */
    ETCP_BLOCK_KEY_MAX = 56 /* bytes of the longest key: Blowfish */
};

typedef struct etcp_block_cipher {
    size_t key_size;
    size_t block_size;
    size_t schedule_size;

    /* Expands key[0..key_size) into the schedule: schedule_size bytes, aligned as by malloc, all zero
     * before the first call. May be called again at any time.
     * Returns 0, ETCP_ECRYPT or ETCP_ENOMEM. */
    int (*set_key)(void *schedule, const uint8_t *key);

    /* Encrypt and decrypt in CBC mode (SP 800-38A, 6.2) from in to out, which are equal or do not
     * overlap. len is a multiple of block_size, iv one block. set_key must have succeeded.
     * Return 0, ETCP_ECRYPT or ETCP_ENOMEM. */
    int (*encrypt)(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len);
    int (*decrypt)(void *schedule, const uint8_t *iv, const uint8_t *in, uint8_t *out, size_t len);

    /* Frees what the schedule owns besides its own bytes, which the caller wipes and frees. NULL:
     * nothing. */
    void (*release)(void *schedule);
} etcp_block_cipher;

extern const etcp_block_cipher etcp_aes_256;     /* FIPS 197 */
extern const etcp_block_cipher etcp_des;         /* FIPS 46-3 */
extern const etcp_block_cipher etcp_des_ede3;    /* SP 800-67, three keys */
extern const etcp_block_cipher etcp_blowfish;    /* key of 56 bytes */
extern const etcp_block_cipher etcp_rc6;         /* RC6-32/20/32 */
extern const etcp_block_cipher etcp_twofish_256;
extern const etcp_block_cipher etcp_twofish_128;
extern const etcp_block_cipher etcp_xtea;        /* words little-endian */

#endif
