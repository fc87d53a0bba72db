/* The OAEP of Crypt::RSA: as RSAES-OAEP with SHA-1 and an empty label (RFC 8017, 7.1), but for the
 * counter of the mask generator, which goes 0, 20, 40 instead of 0, 1, 2, and for the encoded message,
 * which is one byte shorter than the modulus instead of beginning with a zero byte. */
#ifndef ETCP_CODEC_RSA_OAEP_H
#define ETCP_CODEC_RSA_OAEP_H

#include <stddef.h>
#include <stdint.h>

enum {
    ETCP_OAEP_HASH = 20,                                /* of SHA-1, and of the seed */
    ETCP_OAEP_OVERHEAD = 2 * ETCP_OAEP_HASH + 1         /* an encoded message beyond its piece */
};

/* Encodes piece[0..len) into em[0..em_len); len + ETCP_OAEP_OVERHEAD is at most em_len. Returns 0, or
 * ETCP_ECRYPT when SHA-1 is not to be had. */
int etcp_oaep_encode(uint8_t *em, size_t em_len, const uint8_t seed[ETCP_OAEP_HASH],
                     const uint8_t *piece, size_t len);

/* Decodes em[0..em_len) in place; *piece points into it then. bad is or-ed into the verdict, so that
 * the caller's own checks show no difference in time. Returns 0 or ETCP_ECRYPT, for any damage. */
int etcp_oaep_decode(uint8_t *em, size_t em_len, unsigned bad, const uint8_t **piece, size_t *len);

#endif
