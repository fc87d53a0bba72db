#include "compressor.h"

#include "compressor_rows.h"

/* In the order of the originals, who also took the first that both sides had. The versions are those
 * this code was compared with, byte by byte; peers only ever test them for equality with their own. */
static const etcp_compressor rows[] = {
    {'1', "Compress::Zlib", "2.106", etcp_zlib_compress, etcp_zlib_compress_pieces,
     etcp_zlib_decompress, etcp_zlib_decompress_step, etcp_zlib_end_steps, etcp_zlib_free_state},
    {'2', "Compress::LZF", "3.7", etcp_lzf_compress, etcp_lzf_compress_pieces,
     etcp_lzf_decompress, etcp_lzf_decompress_step, etcp_lzf_end_steps, etcp_lzf_free_state},
};

const etcp_compressor *etcp_compressors(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

const etcp_compressor *etcp_compressor_by_key(char key)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].key == key)
            return &rows[i];
    return NULL;
}
