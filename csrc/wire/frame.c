#include "frame.h"

#include <string.h>

#include "base/error.h"

enum { LENGTH_BYTES_MAX = 4 };

int etcp_frame_parse_any(const uint8_t *bytes, size_t len, etcp_frame *frame)
{
    uint32_t value = 0;
    unsigned i;

    if (len == 0)
        return ETCP_AGAIN;
    if (!(bytes[0] & ETCP_FLAG_ALWAYS_ON))
        return ETCP_EPROTO;
    if (len == 1)
        return ETCP_AGAIN;
    if (bytes[1] > LENGTH_BYTES_MAX)
        return ETCP_EPROTO;
    if (len < 2u + bytes[1])
        return ETCP_AGAIN;
    for (i = 0; i < bytes[1]; i++)
        value = value << 8 | bytes[2 + i];
    frame->flags = bytes[0] & (unsigned)ETCP_FLAGS_KNOWN;
    frame->header_len = 2u + bytes[1];
    frame->len = value;
    return 0;
}

/* The number of bytes that a length needs: none for an empty payload. */
static unsigned length_bytes(size_t len)
{
    unsigned n = 0;

    if (len < 256)
        return len != 0;
    while (len) {
        len >>= 8;
        n++;
    }
    return n;
}

static void put_header(uint8_t *out, unsigned flags, unsigned count, size_t len)
{
    out[0] = (uint8_t)(flags | ETCP_FLAG_ALWAYS_ON);
    out[1] = (uint8_t)count;
    while (count > 0) {
        out[1 + count--] = (uint8_t)len;
        len >>= 8;
    }
}

size_t etcp_frame_encode_any(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags, size_t len)
{
    unsigned count = length_bytes(len);

    put_header(out, flags, count, len);
    return 2u + count;
}

size_t etcp_frame_encode_uneven_any(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags, size_t len)
{
    unsigned count = length_bytes(len);

    if ((2u + count + len) % ETCP_FRAME_READ_UNIT != 0)
        return etcp_frame_encode(out, flags, len);
    if (count < LENGTH_BYTES_MAX) {
        put_header(out, flags, count + 1, len);
        return 3u + count;
    }
    etcp_frame_encode_long(out, 3u + count, flags, len);
    return 3u + count;
}

void etcp_frame_encode_long(uint8_t *out, size_t header_len, unsigned flags, size_t len)
{
    memset(out, 0, header_len);
    put_header(out, flags, LENGTH_BYTES_MAX, len);
    out[1] = (uint8_t)(header_len - 2);
}
