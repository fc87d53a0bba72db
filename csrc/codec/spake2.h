/* SPAKE2 on P-256 with SHA-256, HKDF and HMAC (RFC 9382): two ends that know the same password get
 * the same key, and whoever listens or plays one end learns nothing but whether one guess was
 * right.
 */
#ifndef ETCP_CODEC_SPAKE2_H
#define ETCP_CODEC_SPAKE2_H

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

enum {
    ETCP_SPAKE2_SCALAR = 32,
    ETCP_SPAKE2_SHARE = 65, /* an uncompressed point: pA or pB */
    ETCP_SPAKE2_PROOF = 32  /* cA or cB */
};

typedef enum etcp_spake2_side { ETCP_SPAKE2_A, ETCP_SPAKE2_B } etcp_spake2_side;

/* What a password becomes: w, w*M and w*N. As secret as the password; made once and used for all
 * connections of one configuration, because it is half the work. Belongs to one thread at a time.
 */
typedef struct etcp_spake2_secret etcp_spake2_secret;

/* Who talks to whom, and what both must agree on besides the password (the RFC's AAD). */
typedef struct etcp_spake2_context {
    const char *name_a;
    const char *name_b;
    const uint8_t *aad;
    size_t aad_len;
} etcp_spake2_context;

/* What either end says to prove that it has the key. */
typedef struct etcp_spake2_proofs {
    uint8_t a[ETCP_SPAKE2_PROOF];
    uint8_t b[ETCP_SPAKE2_PROOF];
} etcp_spake2_proofs;

/* One end of one connection. */
typedef struct etcp_spake2 etcp_spake2;

/* w of a password: SHA-512 of a fixed text and all its bytes, modulo the order of the group.
 * Returns 0, ETCP_EINVAL (it comes out as 0), ETCP_ECRYPT (OpenSSL's policy refuses the
 * digest) or ETCP_ENOMEM. Protocol.pod, "The password". */
int etcp_spake2_scalar(const uint8_t *password, size_t len, uint8_t w[ETCP_SPAKE2_SCALAR]);

/* Makes the secret of w. Returns 0, ETCP_EINVAL (w is 0 or not below the order),
 * ETCP_ECRYPT (OpenSSL's policy refuses the random numbers that it hides secrets with) or
 * ETCP_ENOMEM. */
int etcp_spake2_secret_new(const uint8_t w[ETCP_SPAKE2_SCALAR], etcp_spake2_secret **out);

/* Wipes and frees. NULL does nothing. */
void etcp_spake2_secret_free(etcp_spake2_secret *secret);

/* Draws this end's scalar from random and makes share, which is for the peer. Returns 0,
 * ETCP_ENOMEM, ETCP_ECRYPT as above, or random's error. Free with etcp_spake2_free. */
int etcp_spake2_new(const etcp_spake2_secret *secret, etcp_spake2_side side, etcp_random_fn random,
                    void *random_arg, etcp_spake2 **out, uint8_t share[ETCP_SPAKE2_SHARE]);

/* Takes the peer's share, once; secret is the one the run was made with. Returns 0 (*proofs is
 * filled: compare the peer's in constant time), ETCP_EPROTO (not a point of the curve that could
 * come from an honest peer), ETCP_ECRYPT (as above) or ETCP_ENOMEM. */
int etcp_spake2_finish(etcp_spake2 *run, const etcp_spake2_secret *secret,
                       const etcp_spake2_context *context,
                       const uint8_t peer_share[ETCP_SPAKE2_SHARE], etcp_spake2_proofs *proofs);

/* Wipes and frees. NULL does nothing. */
void etcp_spake2_free(etcp_spake2 *run);

#endif
