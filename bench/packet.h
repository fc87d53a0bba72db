/* The packets of the protocol, as far as the programs for measuring need them.
 * Protocol.pod, "Packets". */
#ifndef BENCH_PACKET_H
#define BENCH_PACKET_H

#include <stddef.h>
#include <stdint.h>

enum { PACKET_INTERNAL = 0x01, PACKET_DATA = 0x05, PACKET_STRUCTURE = 0x07 };
enum { PACKET_HEADER_MAX = 6 };

/* Writes the header of a payload of len bytes to out and returns its size. */
static inline size_t packet_header(uint8_t *out, unsigned flags, size_t len)
{
    size_t count = 0, i;

    for (i = len; i; i >>= 8)
        count++;
    out[0] = (uint8_t)flags;
    out[1] = (uint8_t)count;
    for (i = count; i; i--, len >>= 8)
        out[1 + i] = (uint8_t)len;
    return 2 + count;
}

/* Finds the first packet in bytes[0..len). Returns its whole size, which may be more than len; 0 if
 * not even its header is complete, or it is no packet. *header gets the size of the header. */
static inline size_t packet_size(const uint8_t *bytes, size_t len, size_t *header)
{
    size_t payload = 0, i;

    if (len < 2 || bytes[1] > 4 || len < 2u + bytes[1])
        return 0;
    for (i = 0; i < bytes[1]; i++)
        payload = payload << 8 | bytes[2 + i];
    *header = 2u + bytes[1];
    return *header + payload;
}

#endif
