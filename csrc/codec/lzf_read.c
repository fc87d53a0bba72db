/* Compress::LZF: the reader. */
#include "compressor_rows.h"

#include <string.h>

#include "base/error.h"
#include "lzf_format.h"

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

        rc = control < ETCP_LZF_LITERALS_MAX
                 ? read_literals(r, control + 1u, out)
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

        if (room < ETCP_LZF_MATCH_MAX && room < r->left)
            return ETCP_AGAIN;
        const uint8_t control = *r->in++;

        rc = control < ETCP_LZF_LITERALS_MAX ? read_literals(r, control + 1u, out)
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
