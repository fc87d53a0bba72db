/* Crypt::CBC's messages: a passphrase, a header that tells how key and initialisation vector come
 * of it, PKCS #7 padding. Protocol.pod, "Crypt::CBC containers". The block ciphers inside are
 * block_cipher.h's. */
#ifndef ETCP_CODEC_CBC_H
#define ETCP_CODEC_CBC_H

#include "cipher.h"

/* The functions of the rows with a block cipher; see cipher.h for what each does. The key is the
 * passphrase, of any length; ETCP_STYLE_NONE writes "Salted__". */
int etcp_cbc_new_ctx(const etcp_cipher *row, const uint8_t *key, size_t len, etcp_cipher_ctx **out);
void etcp_cbc_free_ctx(etcp_cipher_ctx *ctx);
int etcp_cbc_seal(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                  void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out);
int etcp_cbc_open(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                  etcp_cipher_style *style);
int etcp_cbc_open_step(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len);
extern const etcp_large_ops etcp_cbc_large;

#endif
