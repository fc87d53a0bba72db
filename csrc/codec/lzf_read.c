/* Compress::LZF: the reader. */
#include "compressor_rows.h"

#include <string.h>

#include "base/error.h"
#include "lzf_format.h"

enum {
    CODE_MAX = 3, /* bytes of a match in the stream */
    CHUNK = 16    /* bytes of a match that are copied at once */
};

/* What is left to read, and how much must come out of it. */
typedef struct reader {
    const uint8_t *in;
    const uint8_t *end;
    size_t left; /* bytes the header promised and the stream has not yielded yet */
} reader;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reads the length in front. Returns 0 or ETCP_EDECODE. Continuation bytes are not checked, as
 * originals do not: the stream must come out right anyway. */
static int read_length(reader *r)
{
    const uint8_t first = *r->in++;
    unsigned more = 0;

    while (first & 0x80u >> more)
        more++;
    if (more == 1 || more > ETCP_LZF_HEADER_MAX)
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

/* Copies len bytes from distance back, of which those beyond distance are copies themselves. Writes
 * up to CHUNK - 1 bytes more. */
static inline void copy_match(uint8_t *to, size_t distance, size_t len)
{
    size_t done = 0;

    if (distance < CHUNK) {
        /* So many times the distance that a chunk does not reach into itself. */
        const size_t apart = (CHUNK + distance - 1) / distance * distance;

        for (; done < len && done < apart - distance; done++)
            to[done] = (to - distance)[done];
        distance = apart;
    }
    for (; done < len; done += CHUNK)
        memcpy(to + done, to + done - distance, CHUNK);
}

/* Reads what is behind the control byte of a match, which must be there. Returns where it ends. */
static inline const uint8_t *read_code(const uint8_t *in, unsigned control, size_t *len,
                                       size_t *distance)
{
    *len = (control >> 5) + 2;
    if (*len > ETCP_LZF_MATCH_SHORT)
        *len += *in++;
    *distance = ((size_t)(control & 0x1f) << 8 | *in++) + 1;
    return in;
}

/* Copies what a match names; produced is how far back it may reach. */
static int read_match(reader *r, unsigned control, size_t produced, etcp_buf *out)
{
    size_t len, distance;

    if (r->end - r->in < (control >> 5 == 7 ? 2 : 1))
        return ETCP_EDECODE;
    r->in = read_code(r->in, control, &len, &distance);
    if (distance > produced)
        return ETCP_EDECODE;
    const int rc = make_room(r, out, len);

    if (rc != 0)
        return rc;
    uint8_t *to = etcp_buf_tail(out);

    for (size_t i = 0; i < len; i++)
        to[i] = (to - distance)[i];
    etcp_buf_commit(out, len);
    return 0;
}

/* Reads literals and matches as long as what it copies, which may be more than what they have, is
 * there and has room. Stops in front of the first that does not, or that is wrong: read_one looks
 * at it. from is where the message begins in out. */
static void read_most(reader *r, size_t from, etcp_buf *out)
{
    const uint8_t *in = r->in;
    uint8_t *const begin = etcp_buf_tail(out);
    uint8_t *to = begin;
    size_t produced = etcp_buf_len(out) - from;
    size_t room = smaller(etcp_buf_room(out), r->left);

    while (r->end - in >= CODE_MAX) {
        const uint8_t *next = in;
        const unsigned control = *next++;
        size_t len = control + 1;

        if (control < ETCP_LZF_LITERALS_MAX) {
            if (room < ETCP_LZF_LITERALS_MAX || r->end - next < ETCP_LZF_LITERALS_MAX)
                break;
            memcpy(to, next, ETCP_LZF_LITERALS_MAX);
            next += len;
        } else {
            size_t distance;

            next = read_code(next, control, &len, &distance);
            if (distance > produced || room < len + CHUNK - 1)
                break;
            copy_match(to, distance, len);
        }
        in = next;
        to += len;
        produced += len;
        room -= len;
    }
    r->in = in;
    r->left -= (size_t)(to - begin);
    etcp_buf_commit(out, (size_t)(to - begin));
}

/* Reads a run of literals or a match. */
static int read_one(reader *r, size_t from, etcp_buf *out)
{
    const unsigned control = *r->in++;

    if (control < ETCP_LZF_LITERALS_MAX)
        return read_literals(r, control + 1, out);
    return read_match(r, control, etcp_buf_len(out) - from, out);
}

static int read_stream(reader *r, etcp_buf *out)
{
    const size_t before = etcp_buf_len(out);
    const size_t guess = (size_t)(r->end - r->in) * 4;
    int rc = etcp_buf_reserve_exact(out, r->left < guess ? r->left : guess);

    while (r->in < r->end && rc == 0) {
        read_most(r, before, out);
        if (r->in < r->end)
            rc = read_one(r, before, out);
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
        read_most(r, 0, out);
        if (etcp_buf_room(out) < smaller(ETCP_LZF_MATCH_MAX, r->left))
            return ETCP_AGAIN;
        if (r->in < r->end)
            rc = read_one(r, 0, out);
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
