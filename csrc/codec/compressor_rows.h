/* The functions of compressor.c's table, for that file alone: everyone else goes through a row,
 * where their contracts stand. */
#ifndef ETCP_CODEC_COMPRESSOR_ROWS_H
#define ETCP_CODEC_COMPRESSOR_ROWS_H

#include "compressor.h"

int etcp_zlib_compress(etcp_compressor_state **state, int level, const uint8_t *bytes, size_t len,
                       etcp_buf *out);
int etcp_zlib_compress_pieces(etcp_compressor_state **state, int level, const etcp_piece *pieces,
                              size_t count, size_t len, etcp_buf *out);
int etcp_zlib_decompress(etcp_compressor_state **state, const uint8_t *bytes, size_t len, size_t max,
                         etcp_buf *out);
int etcp_zlib_decompress_step(etcp_unpack_run *run, const uint8_t *bytes, size_t len);
void etcp_zlib_end_steps(etcp_unpack_run *run);
void etcp_zlib_free_state(etcp_compressor_state *state);

int etcp_lzf_compress(etcp_compressor_state **state, int level, const uint8_t *bytes, size_t len,
                      etcp_buf *out);
int etcp_lzf_compress_pieces(etcp_compressor_state **state, int level, const etcp_piece *pieces,
                             size_t count, size_t len, etcp_buf *out);
int etcp_lzf_decompress(etcp_compressor_state **state, const uint8_t *bytes, size_t len, size_t max,
                        etcp_buf *out);
int etcp_lzf_decompress_step(etcp_unpack_run *run, const uint8_t *bytes, size_t len);
void etcp_lzf_end_steps(etcp_unpack_run *run);
void etcp_lzf_free_state(etcp_compressor_state *state);

#endif
