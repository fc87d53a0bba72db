/* The parsers of Crypt::RSA keys on any bytes; a key that passes is used once. */
#include "codec/cipher.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t block[64] = {1, 2, 3};
    const etcp_cipher *row = etcp_cipher_by_key('B');
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf out;

    if (!row || row->new_ctx(row, data, size, &ctx) < 0)
        return 0;
    etcp_buf_init(&out);
    (void)row->open(ctx, block, sizeof block, &out, NULL);
    (void)row->seal(ctx, ETCP_STYLE_NONE, etcp_random_bytes, NULL, block, 3, &out);
    etcp_buf_deinit(&out);
    row->free_ctx(ctx);
    return 0;
}
