/* LZF at its limits: every length and distance, the ends of what is read and of the room, pieces.
 * What the reader makes of a stream is compared with what a reader that copies byte by byte makes
 * of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/compressor.h"
#include "recorded.h"
#include "tap.h"

enum { MATCH_MIN = 3, MATCH_MAX = 264, DISTANCE_MAX = 8192, LITERALS_MAX = 32, GUARD = 64 };

static const etcp_compressor *lzf;

static void *need(void *block)
{
    recorded_need(block != NULL, "out of memory");
    return block;
}

/* Bytes in a block of just their size, so that a sanitizer sees one byte too far. */
static uint8_t *exact(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = need(malloc(len ? len : 1));

    if (len)
        memcpy(copy, bytes, len);
    return copy;
}

static uint32_t seed;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* ---- a reader that is easy to believe ---------------------------------------------------------
 */

/* Appends what the container holds. Returns 0 or ETCP_EDECODE. */
static int believe(const uint8_t *in, size_t len, etcp_buf *out)
{
    const uint8_t *end = in + len;
    size_t left = *in++;

    if (left == 0)
        return etcp_buf_append(out, in, len - 1);
    if (left >= 0xc0) {
        const unsigned more = left < 0xe0 ? 1 : left < 0xf0 ? 2 : 3;

        recorded_need(left < 0xf8 && len > more, "a header that no test here makes");
        left &= 0x3fu >> more;
        for (unsigned i = 0; i < more; i++)
            left = left << 6 | (*in++ & 0x3fu);
    }
    while (in < end) {
        size_t n = *in >> 5, back = 0;

        if (n == 0) {
            n = *in++ + 1u;
        } else {
            back = (*in++ & 0x1fu) << 8;
            if (n == 7 && in < end)
                n += *in++;
            n += 2;
            if (in == end)
                return ETCP_EDECODE;
            back += *in++ + 1u;
        }
        if (n > left || back > etcp_buf_len(out))
            return ETCP_EDECODE;
        left -= n;
        while (n--) {
            if (!back && in == end)
                return ETCP_EDECODE;
            recorded_need(
                etcp_buf_append_byte(out, back ? etcp_buf_bytes(out)[etcp_buf_len(out) - back]
                                               : *in++) == 0,
                "out of memory");
        }
    }
    return left ? ETCP_EDECODE : 0;
}

/* ---- streams ----------------------------------------------------------------------------------
 */

/* A stream that grows, and how much comes out of it. */
typedef struct stream {
    etcp_buf bytes;
    size_t len;
} stream;

static void stream_init(stream *s)
{
    etcp_buf_init(&s->bytes);
    s->len = 0;
}

static void add_byte(stream *s, size_t byte)
{
    recorded_need(etcp_buf_append_byte(&s->bytes, (uint8_t)byte) == 0, "out of memory");
}

static void add_literals(stream *s, size_t len)
{
    s->len += len;
    while (len) {
        const size_t run = len < LITERALS_MAX ? len : LITERALS_MAX;

        add_byte(s, run - 1);
        for (size_t i = 0; i < run; i++)
            add_byte(s, any(256));
        len -= run;
    }
}

static void add_match(stream *s, size_t len, size_t distance)
{
    const size_t code = len - 2;

    s->len += len;
    add_byte(s, (code < 7 ? code : 7) << 5 | (distance - 1) >> 8);
    if (code >= 7)
        add_byte(s, code - 7);
    add_byte(s, (distance - 1) & 0xff);
}

/* The container of a stream, which promises so many bytes. */
static void put_container(etcp_buf *out, const stream *s, size_t promised)
{
    const uint8_t header[] = {
        (uint8_t)(0xf0 | promised >> 18), (uint8_t)(0x80 | (promised >> 12 & 0x3f)),
        (uint8_t)(0x80 | (promised >> 6 & 0x3f)), (uint8_t)(0x80 | (promised & 0x3f))};

    etcp_buf_clear(out);
    recorded_need(etcp_buf_append(out, header, sizeof header) == 0 &&
                      etcp_buf_append(out, etcp_buf_bytes(&s->bytes), etcp_buf_len(&s->bytes)) == 0,
                  "out of memory");
}

/* ---- the reader -------------------------------------------------------------------------------
 */

/* Whether decompressing gives rc and want, behind other content, which matches must not reach. */
static int reads_whole(const uint8_t *bytes, size_t len, int rc, const etcp_buf *want)
{
    uint8_t *in = exact(bytes, len);
    etcp_buf out;
    int ok;

    etcp_buf_init(&out);
    recorded_need(etcp_buf_append(&out, "before", 6) == 0, "out of memory");
    ok = lzf->decompress(NULL, in, len, SIZE_MAX, &out) == rc;
    ok = ok && memcmp(etcp_buf_bytes(&out), "before", 6) == 0;
    etcp_buf_consume(&out, 6);
    ok = ok && (rc == 0 ? recorded_is_content(&out, want) : etcp_buf_len(&out) == 0);
    etcp_buf_deinit(&out);
    free(in);
    return ok;
}

/* The same in steps, each with so much more room, behind which nothing must be written. */
static int reads_steps(const uint8_t *bytes, size_t len, size_t more, int rc, const etcp_buf *want)
{
    uint8_t *in = exact(bytes, len);
    etcp_unpack_run run = {0};
    int stepped, ok = 1;

    do {
        run.cap = run.len + more;
        run.out = need(realloc(run.out, run.cap + GUARD));
        memset(run.out + run.cap, 0xa5, GUARD);
        stepped = lzf->decompress_step(&run, in, len);
        ok = ok && run.len <= run.cap && run.len + run.left >= run.left;
        for (size_t i = 0; i < GUARD; i++)
            ok = ok && run.out[run.cap + i] == 0xa5;
    } while (ok && stepped == ETCP_AGAIN);
    lzf->end_steps(&run);
    ok = ok && stepped == rc;
    ok = ok && (rc != 0 || (run.len == etcp_buf_len(want) &&
                            memcmp(run.out, etcp_buf_bytes(want), run.len) == 0));
    free(run.out);
    free(in);
    return ok;
}

/* How many ways to read these bytes go wrong. */
static int misread(const uint8_t *bytes, size_t len)
{
    etcp_buf want;
    int wrong;

    etcp_buf_init(&want);
    const int rc = believe(bytes, len, &want);

    wrong = !reads_whole(bytes, len, rc, &want);
    wrong += !reads_steps(bytes, len, MATCH_MAX, rc, &want);
    wrong += !reads_steps(bytes, len, 1000, rc, &want);
    if (rc == 0)
        wrong += !reads_steps(bytes, len, etcp_buf_len(&want), rc, &want);
    etcp_buf_deinit(&want);
    return wrong;
}

static int misread_stream(const stream *s, size_t promised)
{
    etcp_buf packed;

    etcp_buf_init(&packed);
    put_container(&packed, s, promised);
    const int wrong = misread(etcp_buf_bytes(&packed), etcp_buf_len(&packed));

    etcp_buf_deinit(&packed);
    return wrong;
}

/* Literals, a match of that length and distance, and so many literals behind it. */
static int misread_match(size_t first, size_t len, size_t distance, size_t then)
{
    stream s;

    stream_init(&s);
    add_literals(&s, first);
    add_match(&s, len, distance);
    add_literals(&s, then);
    const int wrong = misread_stream(&s, s.len);

    etcp_buf_deinit(&s.bytes);
    return wrong;
}

static const size_t distances[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  11,  12,   13,
                                   14, 15, 16, 17, 18, 31, 32, 33, 255, 256, 257, 8191, 8192};

enum { DISTANCES = sizeof distances / sizeof distances[0] };

static void test_read_matches(void)
{
    int wrong = 0;

    for (size_t len = MATCH_MIN; len <= MATCH_MAX; len++)
        for (size_t d = 0; d < DISTANCES; d++)
            for (size_t then = 0; then <= 64; then += 32)
                if (distances[d] < 300 || len < 40 || len > 250)
                    wrong += misread_match(distances[d], len, distances[d], then);
    tap_is_int(wrong, 0, "matches of every length");
    wrong = 0;
    for (size_t d = 0; d < DISTANCES; d++)
        for (size_t then = 0; then <= 50; then++)
            wrong += misread_match(distances[d], 20, distances[d], then);
    tap_is_int(wrong, 0, "matches in front of every number of literals");
    wrong = 0;
    for (size_t d = 0; d < DISTANCES; d++)
        for (size_t then = 0; then <= 64; then += 32)
            wrong += misread_match(distances[d] - 1, 20, distances[d], then);
    tap_is_int(wrong, 0, "matches that reach before the start");
}

static void test_read_literals(void)
{
    int wrong = 0;

    for (size_t len = 1; len <= 200; len++) {
        stream s;

        stream_init(&s);
        add_literals(&s, len);
        for (size_t promised = len - 1; promised <= len + 1; promised++)
            wrong += promised && misread_stream(&s, promised);
        etcp_buf_deinit(&s.bytes);
    }
    tap_is_int(wrong, 0, "runs of literals, and such as are longer or shorter than was promised");
}

/* Literals and matches in any order, nothing wrong with them. */
static void make_stream(stream *s, size_t len)
{
    stream_init(s);
    add_literals(s, 1 + any(40));
    while (s->len < len) {
        size_t most = s->len < DISTANCE_MAX ? s->len : DISTANCE_MAX;

        if (any(4) == 0)
            add_literals(s, 1 + any(100));
        else if (any(8) == 0)
            add_match(s, MATCH_MIN + any(MATCH_MAX - MATCH_MIN + 1), 1 + any((uint32_t)most));
        else
            add_match(s, MATCH_MIN + any(12), 1 + any((uint32_t)(any(2) && most > 40 ? 40 : most)));
    }
}

static void test_read_any(void)
{
    int wrong = 0;

    seed = 1;
    for (int i = 0; i < 300; i++) {
        stream s;

        make_stream(&s, 1 + any(20000));
        for (size_t promised = s.len - 1; promised <= s.len + 1; promised++)
            wrong += misread_stream(&s, promised);
        etcp_buf_deinit(&s.bytes);
    }
    tap_is_int(wrong, 0, "streams of any runs and matches");
}

static void test_read_cut(void)
{
    int wrong = 0;
    etcp_buf packed;
    stream s;

    seed = 2;
    make_stream(&s, 5000);
    etcp_buf_init(&packed);
    put_container(&packed, &s, s.len);
    for (size_t len = 4; len < etcp_buf_len(&packed); len++) {
        put_container(&packed, &s, s.len);
        wrong += misread(etcp_buf_bytes(&packed), len);
        wrong += !reads_whole(etcp_buf_bytes(&packed), len, ETCP_EDECODE, NULL);
    }
    tap_is_int(wrong, 0, "a stream that is cut at each byte");
    etcp_buf_deinit(&packed);
    etcp_buf_deinit(&s.bytes);
}

static void test_read_damaged(void)
{
    int wrong = 0;

    seed = 3;
    for (int i = 0; i < 2000; i++) {
        etcp_buf packed;
        stream s;

        make_stream(&s, 1 + any(600));
        etcp_buf_init(&packed);
        put_container(&packed, &s, s.len);
        for (uint32_t n = 1 + any(3); n; n--)
            packed.data[4 + any((uint32_t)etcp_buf_len(&packed) - 4)] = (uint8_t)any(256);
        wrong += misread(etcp_buf_bytes(&packed), etcp_buf_len(&packed));
        etcp_buf_deinit(&packed);
        etcp_buf_deinit(&s.bytes);
    }
    tap_is_int(wrong, 0, "damaged streams");
}

/* ---- the writer -------------------------------------------------------------------------------
 */

/* Compresses what is in that many pieces of the sizes given, each in a block of its own. Returns
 * how large it is, or 0 if it does not come back or is written where it must not be. */
static size_t packed_pieces(const uint8_t *bytes, const size_t *sizes, size_t count)
{
    etcp_piece *pieces = need(calloc(count, sizeof *pieces));
    uint8_t **blocks = need(calloc(count, sizeof *blocks));
    size_t len = 0, packed;
    etcp_buf out, back;
    int ok;

    for (size_t i = 0; i < count; i++) {
        pieces[i].bytes = blocks[i] = exact(bytes + len, sizes[i]);
        pieces[i].len = sizes[i];
        len += sizes[i];
    }
    etcp_buf_init(&out);
    etcp_buf_init(&back);
    recorded_need(etcp_buf_reserve_exact(&out, len + 6 + GUARD) == 0, "out of memory");
    memset(out.data, 0xa5, out.cap);
    ok = lzf->compress_pieces(NULL, ETCP_LEVEL_OF_ORIGINALS, pieces, count, len, &out) == 0;
    packed = etcp_buf_len(&out);
    for (size_t i = 0; i < GUARD; i++)
        ok = ok && out.data[len + 6 + i] == 0xa5;
    ok = ok && packed <= len + 1 && (out.data[0] == 0 || packed <= len);
    ok = ok && believe(out.data, packed, &back) == 0 && etcp_buf_len(&back) == len &&
         memcmp(etcp_buf_bytes(&back), bytes, len) == 0;
    etcp_buf_deinit(&back);
    etcp_buf_deinit(&out);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    free(blocks);
    free(pieces);
    return ok ? packed : 0;
}

static size_t packed_size(const uint8_t *bytes, size_t len)
{
    return packed_pieces(bytes, &len, 1);
}

typedef enum kind {
    ZEROS,
    NOISE,
    LETTERS,
    TWO_LETTERS,
    PERIOD_3,
    PERIOD_17,
    WORDS,
    RUNS,
    KINDS
} kind;

static const char *const kind_names[KINDS] = {
    "zeros", "noise", "letters", "two letters", "a period of 3", "a period of 17", "words", "runs"};

static uint8_t byte_of(kind k, size_t i, uint8_t before)
{
    switch (k) {
    case ZEROS: return 0;
    case NOISE: return (uint8_t)any(256);
    case LETTERS: return (uint8_t)('a' + any(4));
    case TWO_LETTERS: return (uint8_t)('a' + any(2));
    case PERIOD_3: return (uint8_t)(i % 3);
    case PERIOD_17: return (uint8_t)(i % 17 * 15);
    case WORDS:
        return before == ' ' || !before ? (uint8_t)('a' + any(20))
                                        : (uint8_t)(before + 3 - any(40) / 13);
    case RUNS: return any(20) ? before : (uint8_t)any(256);
    case KINDS: break;
    }
    return 0;
}

static uint8_t *make_bytes(kind k, size_t len)
{
    uint8_t *bytes = need(malloc(len + 1));

    seed = 4;
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_of(k, i, i ? bytes[i - 1] : 0);
    return bytes;
}

static void test_write_sizes(void)
{
    enum { MOST = 2100 };

    for (kind k = 0; k < KINDS; k++) {
        uint8_t *bytes = make_bytes(k, MOST);
        int wrong = 0;

        for (size_t len = 1; len <= MOST; len++)
            wrong += !packed_size(bytes, len);
        tap_is_int(wrong, 0, "%s of every size", kind_names[k]);
        free(bytes);
    }
}

/* Noise, so much of its beginning again, and so much other noise: every length of matches and of
 * runs. */
static void test_write_matches(void)
{
    enum { NOISE_LEN = 400, OTHER = 40 };
    uint8_t *bytes = make_bytes(NOISE, 2 * NOISE_LEN + 2 * OTHER);
    uint8_t *other = make_bytes(NOISE, 10000);
    int wrong = 0, unused = 0;

    for (size_t len = 0; len <= NOISE_LEN; len++) {
        memcpy(bytes + NOISE_LEN, bytes, len);
        for (size_t then = 0; then <= OTHER; then += len % 8 ? OTHER : 1) {
            memcpy(bytes + NOISE_LEN + len, other + 9000, then);
            const size_t packed = packed_size(bytes, NOISE_LEN + len + then);

            wrong += !packed;
            unused += len > 30 && packed >= NOISE_LEN + then + 30;
        }
    }
    tap_is_int(wrong, 0, "matches of every length are written");
    tap_is_int(unused, 0, "each is used");
    free(bytes);
    free(other);
}

/* The size of so many zeros, LEN bytes of noise, and the same noise again a gap later. */
enum { LEN = 50 };

static size_t packed_copy(size_t start, size_t gap)
{
    const size_t len = start + gap + LEN;
    uint8_t *noise = make_bytes(NOISE, LEN);
    uint8_t *bytes = need(calloc(len, 1));

    memcpy(bytes + start, noise, LEN);
    memcpy(bytes + start + gap, noise, LEN);
    const size_t packed = packed_size(bytes, len);

    free(bytes);
    free(noise);
    return packed;
}

/* Positions are kept in 16 bits. */
static void test_write_distances(void)
{
    static const size_t starts[] = {0,     1,     2,     3,      5000,   65485, 65530,
                                    65535, 65536, 65537, 131071, 131072, 200000};
    static const size_t near[] = {LEN, 51, 100, 1000, 8000, 8190, 8191, 8192};
    static const size_t far[] = {8193, 8194, 16384, 16385, 65535, 65536, 65537, 131072};
    int wrong = 0;

    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        const size_t begun = starts[s] / MATCH_MAX * 3;

        for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
            const size_t packed = packed_copy(starts[s], near[i]);

            wrong += !packed || packed > begun + near[i] / MATCH_MAX * 3 + LEN + 30;
        }
        for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
            const size_t packed = packed_copy(starts[s], far[i]);

            wrong += packed < begun + far[i] / MATCH_MAX * 3 + 2 * LEN;
        }
    }
    tap_is_int(wrong, 0, "matches at the largest distance are used, and none beyond");
}

/* What the writer looks for beyond the first match there is. */
static void test_write_better(void)
{
    static const char later[] = "abcd#bcdefghijklmnopq@abcdefghijklmnopq";
    static const char end[] = "0123456789ABCDEFGHIJ@0123456789ABCDEFGHIJ$wxyz HIJ$wxyz";
    const size_t len = sizeof later - 1;
    uint8_t *noise = make_bytes(NOISE, 4000);
    uint8_t *bytes = need(malloc(4300));

    /* "a" is one more literal, and a match of 16 follows; not "abcd" and then one of 13. */
    tap_is_int((long long)packed_size((const uint8_t *)later, len), 1 + 1 + 23 + 3,
               "a longer match that begins one byte later is taken");
    tap_is_int((long long)packed_size((const uint8_t *)end, sizeof end - 1), 1 + 22 + 3 + 7 + 2,
               "what begins at the end of a match is found");
    /* By then, steps are several bytes long. */
    memset(bytes, 0, 300);
    memcpy(bytes + 300, noise, 3000);
    memset(bytes + 3300, 0, 300);
    memcpy(bytes + 3300, noise + 1000, 264);
    tap_ok(packed_size(bytes, 3600) < 3000 + 3000 / 32 + 30,
           "a match in noise is taken from its beginning");
    free(bytes);
    free(noise);
}

/* Messages that just fit into less than they are, and such as do not. */
static void test_write_room(void)
{
    uint8_t *bytes = make_bytes(NOISE, 500);
    size_t seen[3] = {0, 0, 0};
    int wrong = 0;

    for (size_t first = 3; first <= 300; first++)
        for (size_t copied = 0; copied <= 14 && copied <= first; copied++) {
            uint8_t *noise = make_bytes(NOISE, first);

            memcpy(noise + first - copied, bytes, copied);
            const size_t packed = packed_size(noise, first);

            wrong += !packed;
            for (size_t i = 0; i < 3; i++)
                seen[i] += packed + i == first + 1;
            free(noise);
        }
    tap_is_int(wrong, 0, "messages that nearly fit");
    tap_ok(seen[0] && seen[1] && seen[2], "some did just, some just did not");
    free(bytes);
}

static void test_write_pieces(void)
{
    enum { MOST = 600 };

    for (kind k = 0; k < KINDS; k++) {
        uint8_t *bytes = make_bytes(k, MOST);
        int wrong = 0;

        for (size_t at = 0; at <= MOST; at++) {
            const size_t sizes[] = {at, MOST - at};

            wrong += !packed_pieces(bytes, sizes, 2);
        }
        for (size_t size = 1; size < 20; size++) {
            size_t sizes[MOST];

            for (size_t i = 0; i < MOST / size; i++)
                sizes[i] = size;
            wrong += !packed_pieces(bytes, sizes, MOST / size);
        }
        tap_is_int(wrong, 0, "%s in pieces", kind_names[k]);
        free(bytes);
    }
}

int main(void)
{
    lzf = etcp_compressor_by_key('2');
    test_read_matches();
    test_read_literals();
    test_read_any();
    test_read_cut();
    test_read_damaged();
    test_write_sizes();
    test_write_matches();
    test_write_distances();
    test_write_better();
    test_write_room();
    test_write_pieces();
    return tap_done();
}
