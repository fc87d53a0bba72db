/* What happens to payloads on their way to and from the wire: the agreed compressor and cipher, and
 * the keyed contexts of both directions. Policy (what to send plain, what to refuse) is not here.
 */
#ifndef ETCP_WIRE_TRANSFORM_H
#define ETCP_WIRE_TRANSFORM_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "codec/cipher.h"
#include "codec/compressor.h"
#include "wire/config.h"

/* Packets to the peer are sealed with its public key, packets from it are opened with our private
 * one; for symmetric modules both are key strings. An all-zero structure transforms nothing. */
typedef struct etcp_transform {
    const etcp_cipher *cipher; /* agreed; not owned */
    etcp_cipher_ctx *seal;     /* NULL until we know the peer's key */
    etcp_cipher_ctx *open;     /* NULL until we made our key */
    uint8_t *keys;             /* the peer's key, then ours: for merging and for copies */
    uint32_t peer_key_len;
    uint32_t own_key_len;
    etcp_cipher_style style; /* of what the peer sealed last; ETCP_STYLE_NONE: nothing seen yet */
    const etcp_compressor *compressor; /* agreed; not owned */
    uint8_t is_mixed;   /* compressed messages begin with the letter of their compressor */
    uint8_t takes;      /* then: which we take (bit i: row i of etcp_compressors()), */
    uint8_t peer_takes; /* and the peer */
} etcp_transform;

/* Forgets and wipes the keys and contexts; the structure is all zero afterwards. */
void etcp_transform_deinit(etcp_transform *t);

/* The same for cipher and keys only: what is compressed stays compressed. */
void etcp_transform_drop_cipher(etcp_transform *t);

/* Makes the context that opens, or seals, with a copy of this key. The agreed cipher must be set.
 * Return 0, ETCP_EINVAL (the key is malformed), ETCP_ECRYPT or ETCP_ENOMEM; unchanged on failure.
 */
int etcp_transform_set_own_key(etcp_transform *t, const uint8_t *key, size_t len);
int etcp_transform_set_peer_key(etcp_transform *t, const uint8_t *key, size_t len);

/* Replaces both keys by their merger with the password. Both must be set, and the cipher symmetric.
 * Returns as above; after a failure the transform must not be used any more. */
int etcp_transform_merge(etcp_transform *t, const uint8_t *password, size_t len);

/* Makes *copy, which must be all zero, an independent copy of t. Returns 0, ETCP_ECRYPT or
 * ETCP_ENOMEM (*copy is all zero then). */
int etcp_transform_clone(const etcp_transform *t, etcp_transform *copy);

/* Appends the sealed form of bytes[0..len) to out, in the peer's style or, when that is not known
 * yet, "Salted__". Returns 0, ETCP_ECRYPT, ETCP_ETOOBIG or ETCP_ENOMEM; out unchanged on failure.
 */
int etcp_transform_seal(etcp_transform *t, const etcp_config *config, const uint8_t *bytes,
                        size_t len, etcp_buf *out);

/* The same for a part of a large message, of the ciphers that can; see etcp_large_ops. */
int etcp_transform_seal_part(etcp_transform *t, const etcp_config *config, etcp_seal_run *run,
                             const uint8_t *bytes, size_t len, int is_last, etcp_buf *out);

/* Appends what the message bytes[0..len) holds to out and notes its style. Returns 0, ETCP_ECRYPT
 * or ETCP_ENOMEM; out unchanged on failure. */
int etcp_transform_open(etcp_transform *t, const uint8_t *bytes, size_t len, etcp_buf *out);

/* The same where the message is, in steps: see open_step of etcp_cipher. */
int etcp_transform_open_step(etcp_transform *t, etcp_open_run *run, uint8_t *bytes, size_t len);

/* Appends what the compressed message bytes[0..len) holds, at most max bytes, to out. Returns as
 * the compressor's own function. */
int etcp_transform_decompress(etcp_transform *t, etcp_config *config, const uint8_t *bytes,
                              size_t len, size_t max, etcp_buf *out);

/* The compressor of the message *bytes[0..*len), and what it compressed; NULL: it is none that was
 * agreed. */
const etcp_compressor *etcp_transform_compressor_of(const etcp_transform *t, const uint8_t **bytes,
                                                    size_t *len);

/* The working memory that config keeps for a compressor, as its functions want it. */
etcp_compressor_state **etcp_compressor_state_of(etcp_config *config, const etcp_compressor *row);

#endif
