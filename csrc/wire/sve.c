#include "sve.h"

#include <string.h>

#include "base/error.h"

/* Storable's opcodes, as far as R(s) needs them. */
enum {
    SX_LSCALAR = 0x01,
    SX_ARRAY = 0x02,
    SX_HASH = 0x03,
    SX_REF = 0x04,
    SX_SCALAR = 0x0a,
    SX_UTF8STR = 0x17,
    SX_LUTF8STR = 0x18
};

enum { NETWORK_ORDER_MAJOR_2 = 0x05, SHORT_SCALAR_MAX = 255, SCALAR_MAX = 65535 };

/* The image behind its two header bytes is these parts, in this order: fixed bytes, and after each
 * but the last the scalar as an item ('s') or as a hash key ('k'). */
static const struct part {
    uint8_t fixed[6];
    uint8_t fixed_len;
    char scalar;
} parts[] = {
    {{SX_ARRAY, 0, 0, 0, 3}, 5, 's'},
    {{SX_REF, SX_HASH, 0, 0, 0, 1}, 6, 's'},
    {{0}, 0, 'k'},
    {{SX_REF, SX_ARRAY, 0, 0, 0, 3}, 6, 's'},
    {{SX_REF, SX_HASH, 0, 0, 0, 1}, 6, 's'},
    {{0}, 0, 'k'},
    {{0}, 0, 's'},
};

enum { PARTS = sizeof parts / sizeof parts[0], PART_OVERHEAD = 6 + 5 };

static uint8_t *put_bytes(uint8_t *to, const uint8_t *bytes, size_t len)
{
    if (len)
        memcpy(to, bytes, len);
    return to + len;
}

static uint8_t *put_u32(uint8_t *to, size_t value)
{
    *to++ = (uint8_t)(value >> 24);
    *to++ = (uint8_t)(value >> 16);
    *to++ = (uint8_t)(value >> 8);
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_length(uint8_t *to, char kind, size_t len)
{
    if (kind == 's' && len <= SHORT_SCALAR_MAX) {
        *to++ = SX_SCALAR;
        *to++ = (uint8_t)len;
        return to;
    }
    if (kind == 's')
        *to++ = SX_LSCALAR;
    return put_u32(to, len);
}

int etcp_sve_write(etcp_buf *out, uint8_t minor, const uint8_t *scalar, size_t len)
{
    uint8_t *to;
    size_t i;

    if (len > SCALAR_MAX)
        return ETCP_ETOOBIG;
    if (etcp_buf_reserve(out, 2 + PARTS * (PART_OVERHEAD + len)) < 0)
        return ETCP_ENOMEM;
    to = etcp_buf_tail(out);
    *to++ = NETWORK_ORDER_MAJOR_2;
    *to++ = minor;
    for (i = 0; i < PARTS; i++) {
        to = put_bytes(to, parts[i].fixed, parts[i].fixed_len);
        to = put_length(to, parts[i].scalar, len);
        to = put_bytes(to, scalar, len);
    }
    etcp_buf_commit(out, (size_t)(to - etcp_buf_tail(out)));
    return 0;
}

/* What is left of the image. */
typedef struct reader {
    const uint8_t *at;
    size_t left;
} reader;

static int take_bytes(reader *r, const uint8_t *bytes, size_t len)
{
    if (r->left < len || (len && memcmp(r->at, bytes, len) != 0))
        return 0;
    r->at += len;
    r->left -= len;
    return 1;
}

static int take_u32(reader *r, size_t value)
{
    uint8_t bytes[4];

    put_u32(bytes, value);
    return take_bytes(r, bytes, sizeof bytes);
}

static int take_length(reader *r, char kind, size_t len)
{
    uint8_t opcode;

    if (kind == 'k')
        return take_u32(r, len);
    if (r->left == 0)
        return 0;
    opcode = *r->at++;
    r->left--;
    if (opcode == SX_LSCALAR || opcode == SX_LUTF8STR)
        return take_u32(r, len);
    if ((opcode != SX_SCALAR && opcode != SX_UTF8STR) || r->left == 0 || *r->at != len)
        return 0;
    r->at++;
    r->left--;
    return 1;
}

int etcp_sve_matches(const uint8_t *image, size_t image_len, const uint8_t *scalar, size_t len)
{
    reader r = {image, image_len};
    size_t i;

    if (image_len < 2 || image[0] != NETWORK_ORDER_MAJOR_2 || len > 0xffffffffu)
        return 0;
    r.at += 2;
    r.left -= 2;
    for (i = 0; i < PARTS; i++) {
        if (!take_bytes(&r, parts[i].fixed, parts[i].fixed_len) ||
            !take_length(&r, parts[i].scalar, len) || !take_bytes(&r, scalar, len))
            return 0;
    }
    return r.left == 0;
}
