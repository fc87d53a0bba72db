#include "compressor_rows.h"

#include <limits.h>

#include <zlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "libdeflate.h"

/* Compress::Zlib::compress() is not zlib's compress(): the latter's memory level is 8, and on
 * larger messages gives other bytes. Receivers do not care; recorded connections do. */
enum { WINDOW_BITS = 15, MEMORY_LEVEL = 9 };

/* Resetting a stream clears 128 KiB of hash table at that level, which takes longer than all else
 * that is done to a short message. A lower level needs 8 KiB, and still gives the same bytes for
 * messages that fit into one of its blocks. */
enum { SHORT_MESSAGE = 2000, SHORT_MEMORY_LEVEL = 5 };

/* Pieces of no more than this are put together for libdeflate. */
enum { GATHERED_MAX = 1 << 20 };

/* One message of room at first, so that most messages need one call and one block of memory. */
enum { SMALL_MESSAGE = 16384, LEAST_ROOM = 512 };

/* Resetting a stream costs a tenth of making one, so each is made once and kept. */
struct etcp_compressor_state {
    z_stream deflater[2]; /* for messages of any length, for short ones */
    z_stream inflater;
    int has_deflater[2];
    int has_inflater;
};

static voidpf core_alloc(voidpf opaque, uInt items, uInt size)
{
    (void)opaque;
    if (size && items > SIZE_MAX / size)
        return Z_NULL;
    return etcp_malloc((size_t)items * size);
}

static void core_free(voidpf opaque, voidpf block)
{
    (void)opaque;
    etcp_free(block);
}

static void prepare(z_stream *z)
{
    z->zalloc = core_alloc;
    z->zfree = core_free;
}

static etcp_compressor_state *get_state(etcp_compressor_state **state)
{
    if (*state)
        return *state;
    *state = etcp_zalloc(sizeof **state);
    if (*state) {
        prepare(&(*state)->deflater[0]);
        prepare(&(*state)->deflater[1]);
        prepare(&(*state)->inflater);
    }
    return *state;
}

/* A stream that was reset takes another level without a flush, since nothing went through it; but zlib
 * 1.2.11 remembers what went through before, and writes the header. So it has a place for that, and is
 * reset again, which leaves the level as it is. */
static z_stream *begin_again(z_stream *z, int level)
{
    uint8_t place[64];

    if (deflateReset(z) != Z_OK)
        return NULL;
    z->next_in = NULL;
    z->avail_in = 0;
    z->next_out = place;
    z->avail_out = sizeof place;
    if (deflateParams(z, level, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    if (z->avail_out < sizeof place && deflateReset(z) != Z_OK)
        return NULL;
    z->next_out = NULL;
    return z;
}

static z_stream *get_deflater(etcp_compressor_state **state, int level, size_t len)
{
    etcp_compressor_state *s = get_state(state);
    const int is_short = len <= SHORT_MESSAGE;
    z_stream *z;

    if (!s)
        return NULL;
    if (level == ETCP_LEVEL_OF_ORIGINALS)
        level = Z_DEFAULT_COMPRESSION;
    z = &s->deflater[is_short];
    if (s->has_deflater[is_short])
        return begin_again(z, level);
    if (deflateInit2(z, level, Z_DEFLATED, WINDOW_BITS,
                     is_short ? SHORT_MEMORY_LEVEL : MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    s->has_deflater[is_short] = 1;
    return z;
}

static z_stream *get_inflater(etcp_compressor_state **state)
{
    etcp_compressor_state *s = get_state(state);

    if (!s)
        return NULL;
    if (s->has_inflater)
        return inflateReset(&s->inflater) == Z_OK ? &s->inflater : NULL;
    if (inflateInit2(&s->inflater, WINDOW_BITS) != Z_OK)
        return NULL;
    s->has_inflater = 1;
    return &s->inflater;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* zlib counts in unsigned int, we in size_t: gives it what is left, as much as it can count. */
static void offer_input(z_stream *z, const uint8_t *bytes, size_t left)
{
    /* zlib does not write to its input; only old headers lack the const. */
    z->next_in = (Bytef *)(uintptr_t)bytes;
    z->avail_in = (uInt)smaller(left, UINT_MAX);
}

static void offer_room(z_stream *z, etcp_buf *out, size_t room)
{
    z->next_out = etcp_buf_tail(out);
    z->avail_out = (uInt)smaller(room, UINT_MAX);
}

/* A large message is taken to shrink; if it does not, the buffer grows below. */
static size_t first_room(z_stream *z, size_t len)
{
    return len <= SMALL_MESSAGE ? (size_t)deflateBound(z, (uLong)len) : len / 4;
}

/* Deflates all of bytes[0..len), and ends the message if these are the last ones. */
static int deflate_bytes(z_stream *z, const uint8_t *bytes, size_t len, int is_last, size_t room,
                         etcp_buf *out)
{
    size_t done = 0;
    int rc;

    do {
        if (etcp_buf_reserve(out, room) != 0)
            return ETCP_ENOMEM;
        offer_input(z, bytes + done, len - done);
        offer_room(z, out, etcp_buf_room(out));
        const uInt in_offered = z->avail_in;
        const uInt out_offered = z->avail_out;
        rc = deflate(z, is_last && in_offered == len - done ? Z_FINISH : Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return ETCP_ENOMEM; /* nothing else is left that could go wrong */
        done += in_offered - z->avail_in;
        etcp_buf_commit(out, out_offered - z->avail_out);
        room = LEAST_ROOM;
    } while (is_last ? rc != Z_STREAM_END : done < len);
    return 0;
}

static int is_for_libdeflate(int level)
{
    return etcp_has_libdeflate() && level != ETCP_LEVEL_OF_ORIGINALS;
}

int etcp_zlib_compress(etcp_compressor_state **state, int level, const uint8_t *bytes, size_t len,
                       etcp_buf *out)
{
    if (is_for_libdeflate(level))
        return etcp_libdeflate_compress(level, bytes, len, out);

    const size_t before = etcp_buf_len(out);
    z_stream *z = get_deflater(state, level, len);
    const int rc = z ? deflate_bytes(z, bytes, len, 1, first_room(z, len), out) : ETCP_ENOMEM;

    if (rc != 0)
        etcp_buf_truncate(out, before);
    return rc;
}

static int compress_gathered(int level, const etcp_piece *pieces, size_t count, size_t len,
                             etcp_buf *out)
{
    etcp_buf whole;
    int rc;

    etcp_buf_init(&whole);
    rc = etcp_buf_reserve_exact(&whole, len);
    if (rc == 0) {
        etcp_pieces_copy(etcp_buf_tail(&whole), pieces, count);
        etcp_buf_commit(&whole, len);
        rc = etcp_libdeflate_compress(level, etcp_buf_bytes(&whole), len, out);
    }
    etcp_buf_deinit(&whole);
    return rc;
}

int etcp_zlib_compress_pieces(etcp_compressor_state **state, int level, const etcp_piece *pieces,
                              size_t count, size_t len, etcp_buf *out)
{
    if (len <= GATHERED_MAX && is_for_libdeflate(level))
        return compress_gathered(level, pieces, count, len, out);

    const size_t before = etcp_buf_len(out);
    z_stream *z = get_deflater(state, level, len);
    size_t room = z ? first_room(z, len) : 0;
    int rc = z ? 0 : ETCP_ENOMEM;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = deflate_bytes(z, pieces[i].bytes, pieces[i].len, i == count - 1, room, out);
        room = LEAST_ROOM;
    }
    if (rc != 0)
        etcp_buf_truncate(out, before);
    return rc;
}

/* The room for the next piece: as much as was produced so far, and never past the one byte over max
 * that tells a message of max bytes from a longer one. */
static size_t next_room(size_t produced, size_t len, size_t max)
{
    size_t room = produced ? produced : LEAST_ROOM;

    if (!produced && len < SIZE_MAX / 4 && len * 4 > room)
        room = len * 4;
    return max - produced < room ? max - produced + 1 : room;
}

/* Inflates as far as there is room, from at most most bytes of what is left of the input. Returns as
 * decompress_step. */
static int inflate_some(z_stream *z, etcp_unpack_run *run, const uint8_t *bytes, size_t len, size_t most)
{
    const size_t until = most < len - run->done ? run->done + most : len;
    int rc;

    do {
        offer_input(z, bytes + run->done, until - run->done);
        z->next_out = run->out + run->len;
        z->avail_out = (uInt)smaller(run->cap - run->len, UINT_MAX);
        const uInt in_offered = z->avail_in;
        const uInt out_offered = z->avail_out;
        rc = inflate(z, Z_NO_FLUSH);
        if (rc == Z_MEM_ERROR)
            return ETCP_ENOMEM;
        /* Z_BUF_ERROR: no progress although there is room, so the input is cut short. */
        if (rc != Z_OK && rc != Z_STREAM_END)
            return ETCP_EDECODE;
        run->done += in_offered - z->avail_in;
        run->len += out_offered - z->avail_out;
        /* Bytes behind the stream are ignored, as originals do. */
        if (rc == Z_STREAM_END)
            return 0;
    } while (run->len < run->cap && (run->done < until || until == len));
    return ETCP_AGAIN;
}

static int inflate_message(z_stream *z, const uint8_t *bytes, size_t len, size_t max, etcp_buf *out)
{
    etcp_unpack_run run = {0};
    int rc;

    do {
        const size_t room = next_room(run.len, len, max);
        const size_t before = run.len;

        if (etcp_buf_reserve_exact(out, room) != 0)
            return ETCP_ENOMEM;
        run.out = etcp_buf_tail(out) - run.len;
        run.cap = run.len + room;
        rc = inflate_some(z, &run, bytes, len, len);
        etcp_buf_commit(out, run.len - before);
    } while (rc == ETCP_AGAIN && run.len <= max);
    return run.len > max ? ETCP_ETOOBIG : rc;
}

int etcp_zlib_decompress(etcp_compressor_state **state, const uint8_t *bytes, size_t len,
                         size_t max, etcp_buf *out)
{
    const size_t before = etcp_buf_len(out);
    z_stream *z = get_inflater(state);
    const int rc = z ? inflate_message(z, bytes, len, max, out) : ETCP_ENOMEM;

    if (rc != 0)
        etcp_buf_truncate(out, before);
    return rc;
}

/* A message that takes several steps needs a stream of its own, as others come in between. */
static z_stream *stream_of(etcp_unpack_run *run)
{
    z_stream *z = run->state;

    if (z)
        return z;
    z = etcp_zalloc(sizeof *z);
    if (!z)
        return NULL;
    prepare(z);
    if (inflateInit2(z, WINDOW_BITS) != Z_OK) {
        etcp_free(z);
        return NULL;
    }
    run->state = z;
    return z;
}

int etcp_zlib_decompress_step(etcp_unpack_run *run, const uint8_t *bytes, size_t len)
{
    z_stream *z = stream_of(run);

    return z ? inflate_some(z, run, bytes, len, ETCP_STEP_INPUT) : ETCP_ENOMEM;
}

void etcp_zlib_end_steps(etcp_unpack_run *run)
{
    if (!run->state)
        return;
    inflateEnd((z_stream *)run->state);
    etcp_free(run->state);
    run->state = NULL;
}

void etcp_zlib_free_state(etcp_compressor_state *state)
{
    if (!state)
        return;
    if (state->has_deflater[0])
        deflateEnd(&state->deflater[0]);
    if (state->has_deflater[1])
        deflateEnd(&state->deflater[1]);
    if (state->has_inflater)
        inflateEnd(&state->inflater);
    etcp_free(state);
}
