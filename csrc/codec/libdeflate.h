/* zlib streams of messages that lie in one place, made by libdeflate, where it was found when this was
 * built: in a third to a half of zlib's time, and a little smaller. What comes in many pieces, and what
 * must be the very bytes that originals send, is zlib's: zlib.c decides. */
#ifndef ETCP_CODEC_LIBDEFLATE_H
#define ETCP_CODEC_LIBDEFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Whether this was built with it. */
int etcp_has_libdeflate(void);

/* Appends a zlib stream (RFC 1950) of bytes[0..len) to out. level is 1 (fast) to 9 (small), as zlib
 * counts; each is smaller than zlib's. bytes must not lie in out. Threads may call this at the same
 * time. Returns 0, ETCP_ENOMEM, or ETCP_EINVAL where it is not here; out is unchanged on failure. */
int etcp_libdeflate_compress(int level, const uint8_t *bytes, size_t len, etcp_buf *out);

#endif
