/* Crypt::RSA's messages and keys: raw RSA on OpenSSL's numbers, an OAEP of its own, keys as text.
 * Source: Protocol.pod, "Crypt::RSA". 512-bit keys are what old peers use: they protect little. */
#ifndef ETCP_CODEC_RSA_H
#define ETCP_CODEC_RSA_H

#include "cipher.h"

/* The functions of the Crypt::RSA row; see cipher.h for what each does. A context made from a public
 * key seals only, one from a private key does both. Messages "" and "0" cannot be sealed: the original
 * module fails on them (ETCP_ECRYPT). */
int etcp_rsa_new_ctx(const etcp_cipher *row, const uint8_t *key, size_t len, etcp_cipher_ctx **out);
void etcp_rsa_free_ctx(etcp_cipher_ctx *ctx);
int etcp_rsa_seal(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                  void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out);
int etcp_rsa_open(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                  etcp_cipher_style *style);
int etcp_rsa_open_step(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len);

/* Makes a 512-bit pair and appends both halves in the form they travel in, not armoured. The primes
 * come from OpenSSL's own generator. Returns 0, ETCP_ECRYPT or ETCP_ENOMEM. */
int etcp_rsa_new_keys(etcp_buf *public_key, etcp_buf *private_key);

#endif
