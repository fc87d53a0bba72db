/* Every cipher's reader on any bytes, with a fixed key: the first byte chooses. */
#include "base/error.h"
#include "codec/cipher.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST";
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);
    const etcp_cipher *row;
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf out;

    if (size == 0)
        return 0;
    row = &rows[data[0] % count];
    if (!(row->flags & ETCP_CIPHER_SYMMETRIC))
        return 0;
    if (row->new_ctx(row, key, row->key_length, &ctx) < 0)
        abort();
    etcp_buf_init(&out);
    if (row->open(ctx, data + 1, size - 1, &out, NULL) < 0 && etcp_buf_len(&out) > 0)
        abort();
    if (etcp_buf_len(&out) > size)
        abort();
    etcp_buf_deinit(&out);
    row->free_ctx(ctx);
    return 0;
}
