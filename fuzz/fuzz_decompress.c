/* Every decompressor on any bytes: the first byte chooses. */
#include "base/error.h"
#include "codec/compressor.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    etcp_buf_deinit(&out);
    row->free_state(state);
    return 0;
}
