/* The numbers of a Crypt::RSA key, and their two text forms. */
#ifndef ETCP_CODEC_RSA_KEY_H
#define ETCP_CODEC_RSA_KEY_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/bn.h>

#include "base/buf.h"

/* Sizes of moduli that are accepted, in bits: the least that can carry a byte (0.22 used 338), and
 * twice what any release makes. In a compatibility test a stranger chooses both the private key and
 * how much is opened with it: the longest packet took 70 ms at this size, and 870 ms at 4096 bits. */
enum { ETCP_RSA_BITS_MIN = 344, ETCP_RSA_BITS_MAX = 1024 };

/* All numbers are owned. d, p, q, dp, dq, u are NULL in a public key. */
typedef struct etcp_rsa_key {
    BIGNUM *n, *e;
    BIGNUM *d, *p, *q;
    BIGNUM *dp, *dq; /* d mod p-1, d mod q-1 */
    BIGNUM *u;       /* the inverse of p modulo q: not PKCS #1's, which is the other way round */
    BIGNUM *phi;     /* (p-1)(q-1) */
} etcp_rsa_key;

/* Clears and frees the numbers. */
void etcp_rsa_key_deinit(etcp_rsa_key *key);

/* Reads a frozen Crypt::RSA::Key::Public: a Storable image in network order of exactly that class and
 * shape, its entries in any order. Returns 0, ETCP_EINVAL (anything else) or ETCP_ENOMEM; *key is
 * untouched on failure. */
int etcp_rsa_key_read_public(const uint8_t *image, size_t len, etcp_rsa_key *key);

/* Reads the text of a Crypt::RSA::Key::Private by looking for its numbers; the text is never evaluated.
 * The numbers must fit together. Returns as etcp_rsa_key_read_public. */
int etcp_rsa_key_read_private(const uint8_t *text, size_t len, etcp_rsa_key *key);

/* Append those forms to out. Return 0 or ETCP_ENOMEM (out unchanged). */
int etcp_rsa_key_write_public(const etcp_rsa_key *key, etcp_buf *out);
int etcp_rsa_key_write_private(const etcp_rsa_key *key, etcp_buf *out);

#endif
