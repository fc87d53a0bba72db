/* Compress::LZF: Marc Lehmann's LZF stream behind a length in old-style UTF-8, or the plain bytes
 * behind a zero byte. Protocol.pod, "Compression". Written from the format, not from liblzf. */
#include "compressor_rows.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum {
    MATCH_MIN = 3,
    MATCH_MAX = 264,
    DISTANCE_MAX = 8192,
    LITERALS_MAX = 32,
    HEADER_MAX = 6,
    PLAIN_BELOW = 11,   /* newer releases never try shorter messages */
    TABLE_BITS_MIN = 8, /* entries of the hash table: enough for the message ... */
    TABLE_BITS_MAX = 14 /* ... and never more than fits a first-level cache */
};

/* ---- writing -------------------------------------------------------------------------------- */

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
        const size_t run = len < LITERALS_MAX ? len : LITERALS_MAX;

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
    size_t n = MATCH_MIN;

    if (max > MATCH_MAX)
        max = MATCH_MAX;
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

    while (at + MATCH_MIN <= len && !s->full) {
        uint32_t *slot = slot_of(table, bits, bytes + at);
        const size_t earlier = *slot;

        *slot = (uint32_t)at + 1;
        if (!earlier || at - (earlier - 1) > DISTANCE_MAX ||
            memcmp(bytes + earlier - 1, bytes + at, MATCH_MIN) != 0) {
            at++;
            continue;
        }
        const size_t n = match_length(bytes + earlier - 1, bytes + at, len - at);

        write_literals(s, bytes + literals, at - literals);
        write_match(s, at - (earlier - 1), n);
        at += n;
        literals = at;
        /* Of the bytes skipped, the last two positions are worth remembering. */
        for (size_t p = at - 2; p < at && p + MATCH_MIN <= len; p++)
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

/* Writes the compressed container of len bytes in pieces to out[0..room). No match begins in one piece
 * and ends in another. Returns its size; 0: does not fit or pay. */
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
    if (len > SIZE_MAX - HEADER_MAX)
        return ETCP_ETOOBIG;
    if (etcp_buf_reserve_exact(out, len + HEADER_MAX) != 0)
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

/* ---- reading -------------------------------------------------------------------------------- */

/* What is left to read, and how much must come out of it. */
typedef struct reader {
    const uint8_t *in;
    const uint8_t *end;
    size_t left; /* bytes the header promised and the stream has not yielded yet */
} reader;

/* Reads the length in front. Returns 0 or ETCP_EDECODE. Continuation bytes are not checked, as
 * originals do not: the stream must come out right anyway. */
static int read_length(reader *r)
{
    const uint8_t first = *r->in++;
    unsigned more = 0;

    while (first & 0x80u >> more)
        more++;
    if (more == 1 || more > HEADER_MAX)
        return ETCP_EDECODE; /* a continuation byte; fe or ff */
    if (more)
        more--; /* the leading ones count the first byte too */
    if ((size_t)(r->end - r->in) < more)
        return ETCP_EDECODE;
    r->left = more ? first & (0x3fu >> more) : first;
    while (more--)
        r->left = r->left << 6 | (*r->in++ & 0x3fu);
    return r->left ? 0 : ETCP_EDECODE;
}

/* Makes room for len bytes more. The promise of the header is not trusted beyond what is there. */
static int make_room(reader *r, etcp_buf *out, size_t len)
{
    if (len > r->left)
        return ETCP_EDECODE;
    r->left -= len;
    return etcp_buf_reserve(out, len);
}

static int read_literals(reader *r, size_t len, etcp_buf *out)
{
    if ((size_t)(r->end - r->in) < len)
        return ETCP_EDECODE;
    const int rc = make_room(r, out, len);

    if (rc != 0)
        return rc;
    memcpy(etcp_buf_tail(out), r->in, len);
    etcp_buf_commit(out, len);
    r->in += len;
    return 0;
}

/* Copies what a match names; produced is how far back it may reach. */
static int read_match(reader *r, uint8_t control, size_t produced, etcp_buf *out)
{
    size_t len = (size_t)(control >> 5) + 2;

    if ((size_t)(r->end - r->in) < (len == 9 ? 2u : 1u))
        return ETCP_EDECODE;
    if (len == 9)
        len += *r->in++;
    const size_t distance = ((size_t)(control & 0x1f) << 8 | *r->in++) + 1;

    if (distance > produced)
        return ETCP_EDECODE;
    const int rc = make_room(r, out, len);

    if (rc != 0)
        return rc;
    uint8_t *to = etcp_buf_tail(out);

    if (distance >= len)
        memcpy(to, to - distance, len);
    else
        for (size_t i = 0; i < len; i++)
            to[i] = (to - distance)[i];
    etcp_buf_commit(out, len);
    return 0;
}

static int read_stream(reader *r, etcp_buf *out)
{
    const size_t before = etcp_buf_len(out);
    const size_t guess = (size_t)(r->end - r->in) * 4;
    int rc = etcp_buf_reserve_exact(out, r->left < guess ? r->left : guess);

    while (r->in < r->end && rc == 0) {
        const uint8_t control = *r->in++;

        rc = control < LITERALS_MAX ? read_literals(r, control + 1u, out)
                                    : read_match(r, control, etcp_buf_len(out) - before, out);
    }
    if (rc == 0 && r->left)
        rc = ETCP_EDECODE;
    return rc;
}

int etcp_lzf_decompress(etcp_compressor_state **state, const uint8_t *bytes, size_t len, size_t max,
                        etcp_buf *out)
{
    const size_t before = etcp_buf_len(out);

    (void)state;
    if (len == 0)
        return 0;
    if (bytes[0] == 0)
        return len - 1 > max ? ETCP_ETOOBIG : etcp_buf_append(out, bytes + 1, len - 1);
    reader r = {bytes, bytes + len, 0};
    int rc = read_length(&r);

    if (rc == 0 && r.left > max)
        rc = ETCP_ETOOBIG;
    if (rc == 0)
        rc = read_stream(&r, out);
    if (rc != 0)
        etcp_buf_truncate(out, before);
    return rc;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Content that was not worth compressing. */
static int copy_step(etcp_unpack_run *run, const uint8_t *bytes, size_t len)
{
    size_t part = smaller(len - run->done, run->cap - run->len);

    memcpy(run->out + run->len, bytes + run->done, part);
    run->len += part;
    run->done += part;
    run->left = len - run->done;
    return run->left ? ETCP_AGAIN : 0;
}

/* As read_stream, as far as there surely is room. */
static int read_step(reader *r, etcp_buf *out)
{
    int rc = 0;

    while (r->in < r->end && rc == 0) {
        size_t room = out->cap - etcp_buf_len(out);

        if (room < MATCH_MAX && room < r->left)
            return ETCP_AGAIN;
        const uint8_t control = *r->in++;

        rc = control < LITERALS_MAX ? read_literals(r, control + 1u, out)
                                    : read_match(r, control, etcp_buf_len(out), out);
    }
    return rc == 0 && r->left ? ETCP_EDECODE : rc;
}

int etcp_lzf_decompress_step(etcp_unpack_run *run, const uint8_t *bytes, size_t len)
{
    reader r = {bytes + run->done, bytes + len, run->left};
    etcp_buf out;
    int rc = 0;

    if (len == 0)
        return 0;
    if (run->done == 0 && bytes[0] == 0)
        run->done = 1;
    if (bytes[0] == 0)
        return copy_step(run, bytes, len);
    if (run->done == 0)
        rc = read_length(&r);
    if (rc != 0)
        return rc;
    etcp_buf_init(&out); /* never grows: there is room for all that is read */
    out.data = run->out;
    out.end = run->len;
    out.cap = run->cap;
    rc = read_step(&r, &out);
    run->len = out.end;
    run->left = r.left;
    run->done = (size_t)(r.in - bytes);
    return rc;
}

void etcp_lzf_end_steps(etcp_unpack_run *run)
{
    (void)run; /* there is nothing to free */
}

void etcp_lzf_free_state(etcp_compressor_state *state)
{
    (void)state; /* there never is one */
}
