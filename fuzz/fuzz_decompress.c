/* Every decompressor on any bytes: the first byte chooses. */
#include "base/error.h"
#include "codec/compressor.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decompressing in steps must give what decompressing at once gave. */
static void check_steps(const etcp_compressor *row, const uint8_t *bytes, size_t len,
                        const etcp_buf *whole, int rc)
{
    etcp_unpack_run run = {0};
    int stepped;

    do {
        run.cap = run.len + 300 + run.len / 2;
        run.out = realloc(run.out, run.cap);
        if (!run.out)
            abort();
        stepped = row->decompress_step(&run, bytes, len);
        if (run.len > run.cap)
            abort();
    } while (stepped == ETCP_AGAIN);
    row->end_steps(&run);
    if (stepped != rc || (rc == 0 && run.len != etcp_buf_len(whole)))
        abort();
    if (rc == 0 && run.len && memcmp(run.out, etcp_buf_bytes(whole), run.len) != 0)
        abort();
    free(run.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t max = 1 << 20;
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);
    const etcp_compressor *row;
    etcp_compressor_state *state = NULL;
    etcp_buf out;
    int rc;

    if (size == 0)
        return 0;
    row = &rows[data[0] % count];
    etcp_buf_init(&out);
    rc = row->decompress(&state, data + 1, size - 1, max, &out);
    if (etcp_buf_len(&out) > max || (rc < 0 && etcp_buf_len(&out) > 0))
        abort();
    if (rc != ETCP_ETOOBIG)
        check_steps(row, data + 1, size - 1, &out, rc);
    etcp_buf_deinit(&out);
    row->free_state(state);
    return 0;
}
