/* The header of a packet: flag byte, number of length bytes, length. Protocol.pod, "Packets". */
#ifndef ETCP_WIRE_FRAME_H
#define ETCP_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* The flag byte. Bits 5 to 7 are sent 0 and ignored on receipt, as originals do. */
enum {
    ETCP_FLAG_ALWAYS_ON = 0x01,
    ETCP_FLAG_COMPLEX = 0x02, /* the payload is a Storable image */
    ETCP_FLAG_REAL = 0x04,    /* real data; clear: internal data, a negotiation packet */
    ETCP_FLAG_ENCRYPTED = 0x08,
    ETCP_FLAG_COMPRESSED = 0x10, /* before it was encrypted */
    ETCP_FLAGS_KNOWN = 0x1f
};

enum {
    ETCP_FRAME_HEADER_MAX = 7, /* longest header that etcp_frame_encode writes */
    ETCP_FRAME_LONG_HEADER_MIN = 6,
    ETCP_FRAME_LONG_HEADER_MAX = 257,
    ETCP_FRAME_READ_UNIT = 4096 /* what originals from 0.07 on read at a time */
};

typedef struct etcp_frame {
    unsigned flags; /* ETCP_FLAG_..., reserved bits removed */
    size_t header_len;
    size_t len; /* of the payload */
} etcp_frame;

/* Reads the header that begins bytes[0..len), of which any part may still be missing. Never looks
 * at more than 6 bytes. Returns 0, ETCP_AGAIN (more bytes needed), or ETCP_EPROTO (always-on bit
 * clear, or more than four length bytes: no sender of any release produces either). */
static inline int etcp_frame_parse(const uint8_t *bytes, size_t len, etcp_frame *frame);

/* Writes the shortest header for a payload of len bytes, at most 2^32 - 1. Returns its size. */
static inline size_t etcp_frame_encode(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags,
                                       size_t len);

/* As etcp_frame_encode, but the header is one byte longer where the whole packet would otherwise be
 * a multiple of 4096 bytes: a client of 0.26 would wait for more after such a packet, for minutes.
 */
static inline size_t etcp_frame_encode_uneven(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags,
                                              size_t len);

/* Writes a header of exactly header_len bytes, ETCP_FRAME_LONG_HEADER_MIN..MAX. Originals take the
 * first four length bytes and skip the rest; our own parser refuses that. Only for old peers. */
void etcp_frame_encode_long(uint8_t *out, size_t header_len, unsigned flags, size_t len);

/* ---- most packets have one length byte -------------------------------------------------------- */

int etcp_frame_parse_any(const uint8_t *bytes, size_t len, etcp_frame *frame);
size_t etcp_frame_encode_any(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags, size_t len);
size_t etcp_frame_encode_uneven_any(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags, size_t len);

static inline int etcp_frame_parse(const uint8_t *bytes, size_t len, etcp_frame *frame)
{
    if (len < 3 || !(bytes[0] & ETCP_FLAG_ALWAYS_ON) || bytes[1] != 1)
        return etcp_frame_parse_any(bytes, len, frame);
    frame->flags = bytes[0] & (unsigned)ETCP_FLAGS_KNOWN;
    frame->header_len = 3;
    frame->len = bytes[2];
    return 0;
}

static inline size_t etcp_frame_encode(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags,
                                       size_t len)
{
    if (len == 0 || len > 255)
        return etcp_frame_encode_any(out, flags, len);
    out[0] = (uint8_t)(flags | ETCP_FLAG_ALWAYS_ON);
    out[1] = 1;
    out[2] = (uint8_t)len;
    return 3;
}

static inline size_t etcp_frame_encode_uneven(uint8_t out[ETCP_FRAME_HEADER_MAX], unsigned flags,
                                              size_t len)
{
    if (len > 255)
        return etcp_frame_encode_uneven_any(out, flags, len);
    return etcp_frame_encode(out, flags, len);
}

#endif
