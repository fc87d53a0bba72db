/* Compress::LZF: the writer. */
#include "compressor_rows.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "lzf_format.h"

enum {
    PLAIN_BELOW = 11,   /* newer releases never try shorter messages */
    TABLE_BITS_MIN = 8, /* entries of the hash table: enough for the message ... */
    TABLE_BITS_MAX = 14 /* ... and never more than fits a first-level cache */
};

/* A stream being written; full is set when it would not fit, and everything after is void. */
typedef struct stream {
    uint8_t *out;
    size_t room;
    size_t at;
    int full;
} stream;

static int has_room(stream *s, size_t len)
{
    if (s->full || s->room - s->at < len)
        s->full = 1;
    return !s->full;
}

static void write_literals(stream *s, const uint8_t *bytes, size_t len)
{
    while (len) {
        const size_t run = len < ETCP_LZF_LITERALS_MAX ? len : ETCP_LZF_LITERALS_MAX;

        if (!has_room(s, run + 1))
            return;
        s->out[s->at] = (uint8_t)(run - 1);
        memcpy(s->out + s->at + 1, bytes, run);
        s->at += run + 1;
        bytes += run;
        len -= run;
    }
}

static void write_match(stream *s, size_t distance, size_t len)
{
    const size_t offset = distance - 1;
    const size_t code = len - 2;

    if (!has_room(s, 3))
        return;
    s->out[s->at++] = (uint8_t)((code < 7 ? code : 7) << 5 | offset >> 8);
    if (code >= 7)
        s->out[s->at++] = (uint8_t)(code - 7);
    s->out[s->at++] = (uint8_t)(offset & 0xff);
}

static size_t match_length(const uint8_t *earlier, const uint8_t *here, size_t max)
{
    size_t n = ETCP_LZF_MATCH_MIN;

    if (max > ETCP_LZF_MATCH_MAX)
        max = ETCP_LZF_MATCH_MAX;
    while (n < max && earlier[n] == here[n])
        n++;
    return n;
}

/* Where the three bytes at p were last seen: positions + 1, so that 0 is "never". */
static uint32_t *slot_of(uint32_t *table, unsigned bits, const uint8_t *p)
{
    const uint32_t three = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

    return &table[(uint32_t)(three * 2654435761u) >> (32 - bits)];
}

static void write_stream(stream *s, const uint8_t *bytes, size_t len, uint32_t *table,
                         unsigned bits)
{
    size_t literals = 0; /* bytes[literals..at) are not written yet */
    size_t at = 0;

    while (at + ETCP_LZF_MATCH_MIN <= len && !s->full) {
        uint32_t *slot = slot_of(table, bits, bytes + at);
        const size_t earlier = *slot;

        *slot = (uint32_t)at + 1;
        if (!earlier || at - (earlier - 1) > ETCP_LZF_DISTANCE_MAX ||
            memcmp(bytes + earlier - 1, bytes + at, ETCP_LZF_MATCH_MIN) != 0) {
            at++;
            continue;
        }
        const size_t n = match_length(bytes + earlier - 1, bytes + at, len - at);

        write_literals(s, bytes + literals, at - literals);
        write_match(s, at - (earlier - 1), n);
        at += n;
        literals = at;
        /* Of the bytes skipped, the last two positions are worth remembering. */
        for (size_t p = at - 2; p < at && p + ETCP_LZF_MATCH_MIN <= len; p++)
            *slot_of(table, bits, bytes + p) = (uint32_t)p + 1;
    }
    write_literals(s, bytes + literals, len - literals);
}

/* Writes the length as a character number in UTF-8 as it was before RFC 3629, up to six bytes.
 * Returns the bytes written. */
static size_t write_length(uint8_t *out, size_t len)
{
    static const size_t limits[] = {0x7f, 0x7ff, 0xffff, 0x1fffff, 0x3ffffff, 0x7fffffff};
    size_t more = 0;

    while (len > limits[more])
        more++;
    for (size_t i = more; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (len & 0x3f));
        len >>= 6;
    }
    /* more + 1 leading ones, then a zero, then what is left of the length. */
    out[0] = (uint8_t)(more ? (0xff00u >> (more + 1) & 0xff) | len : len);
    return more + 1;
}

static unsigned table_bits(size_t len)
{
    unsigned bits = TABLE_BITS_MIN;

    while (bits < TABLE_BITS_MAX && len >> bits)
        bits++;
    return bits;
}

/* Writes the compressed container of len bytes in pieces to out[0..room). No match begins in one
 * piece and ends in another. Returns its size; 0: does not fit or pay. */
static size_t write_container(uint8_t *out, size_t room, const etcp_piece *pieces, size_t count,
                              size_t len, uint32_t *table)
{
    stream s = {NULL, 0, 0, 0};
    const size_t header = write_length(out, len);

    s.out = out + header;
    s.room = room - header;
    for (size_t i = 0; i < count; i++) {
        const unsigned bits = table_bits(pieces[i].len);

        memset(table, 0, sizeof *table << bits);
        write_stream(&s, pieces[i].bytes, pieces[i].len, table, bits);
    }
    return s.full ? 0 : header + s.at;
}

static void write_plain(uint8_t *out, const etcp_piece *pieces, size_t count)
{
    *out++ = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(out, pieces[i].bytes, pieces[i].len);
        out += pieces[i].len;
    }
}

int etcp_lzf_compress_pieces(etcp_compressor_state **state, int level, const etcp_piece *pieces,
                             size_t count, size_t len, etcp_buf *out)
{
    size_t packed = 0;

    (void)state; /* each message stands alone */
    (void)level; /* there is one */
    if (len == 0)
        return 0;
    if (len > SIZE_MAX - ETCP_LZF_HEADER_MAX)
        return ETCP_ETOOBIG;
    if (etcp_buf_reserve_exact(out, len + ETCP_LZF_HEADER_MAX) != 0)
        return ETCP_ENOMEM;
    if (len >= PLAIN_BELOW && len <= 0x7fffffff) {
        uint32_t *table = etcp_malloc(sizeof *table << table_bits(len));

        if (!table)
            return ETCP_ENOMEM;
        packed = write_container(etcp_buf_tail(out), len, pieces, count, len, table);
        etcp_free(table);
    }
    if (!packed) {
        write_plain(etcp_buf_tail(out), pieces, count);
        packed = len + 1;
    }
    etcp_buf_commit(out, packed);
    return 0;
}

int etcp_lzf_compress(etcp_compressor_state **state, int level, const uint8_t *bytes, size_t len,
                      etcp_buf *out)
{
    const etcp_piece whole = {bytes, len, NULL, NULL, 0};

    return etcp_lzf_compress_pieces(state, level, &whole, 1, len, out);
}
