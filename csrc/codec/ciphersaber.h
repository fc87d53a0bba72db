/* Crypt::CipherSaber's messages: CipherSaber-1, which is RC4 keyed with the secret and ten random
 * bytes that lead the message. Protocol.pod, "CipherSaber". Nothing detects a wrong key. */
#ifndef ETCP_CODEC_CIPHERSABER_H
#define ETCP_CODEC_CIPHERSABER_H

#include "cipher.h"

/* The functions of the CipherSaber row; see cipher.h for what each does. */
int etcp_ciphersaber_new_ctx(const etcp_cipher *row, const uint8_t *key, size_t len,
                             etcp_cipher_ctx **out);
void etcp_ciphersaber_free_ctx(etcp_cipher_ctx *ctx);
int etcp_ciphersaber_seal(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                          void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out);
int etcp_ciphersaber_open(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                          etcp_cipher_style *style);
int etcp_ciphersaber_open_step(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len);
extern const etcp_large_ops etcp_ciphersaber_large;

#endif
