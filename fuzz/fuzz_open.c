/* Every cipher's reader on any bytes, with a fixed key: the first byte chooses. */
#include "base/error.h"
#include "codec/cipher.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Opening in place must give what opening gave. */
static void check_in_place(const etcp_cipher *row, etcp_cipher_ctx *ctx, const uint8_t *bytes,
                           size_t len, const etcp_buf *opened, int rc)
{
    uint8_t *copy = malloc(len ? len : 1);
    etcp_open_run run = {0};
    int in_place;

    if (!copy)
        abort();
    if (len)
        memcpy(copy, bytes, len);
    do {
        in_place = row->open_step(ctx, &run, copy, len);
    } while (in_place == ETCP_AGAIN);
    if (in_place != rc)
        abort();
    if (rc == 0 && (run.len != etcp_buf_len(opened) ||
                    (run.len && memcmp(copy, etcp_buf_bytes(opened), run.len) != 0)))
        abort();
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST";
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);
    const etcp_cipher *row;
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf out;
    int rc;

    if (size == 0)
        return 0;
    row = &rows[data[0] % count];
    if (!(row->flags & ETCP_CIPHER_SYMMETRIC))
        return 0;
    if (row->new_ctx(row, key, row->key_length, &ctx) < 0)
        abort();
    etcp_buf_init(&out);
    rc = row->open(ctx, data + 1, size - 1, &out, NULL);
    if (rc < 0 && etcp_buf_len(&out) > 0)
        abort();
    if (etcp_buf_len(&out) > size)
        abort();
    check_in_place(row, ctx, data + 1, size - 1, &out, rc);
    etcp_buf_deinit(&out);
    row->free_ctx(ctx);
    return 0;
}
