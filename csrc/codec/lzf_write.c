/* Compress::LZF: the writer. */
#include "compressor_rows.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rare.h"
#include "lzf_format.h"
#include "words.h"

enum {
    PLAIN_BELOW = 11,     /* newer releases never try shorter messages */
    TABLE_BITS_MIN = 8,   /* entries of the hash table: enough for the message ... */
    TABLE_BITS_MAX = 14,  /* ... and never more than fits a first-level cache */
    SHORT_BELOW = 2048,   /* so short, pieces have more matches of three bytes than of four */
    LONG_ENOUGH = 32,     /* a match that is not worth a look for a longer one */
    MISSES_PER_STEP = 64, /* after so many places without a match, steps are a byte longer */
    HASHED = 4            /* bytes that are read for a hash */
};

/* ---- matches -------------------------------------------------------------------------------- */

/* Finds where bytes of a piece were before. For each hash, the table has the low 16 bits of the
 * last position with it; at first that is position 0 for all. Of the positions these bits may stand
 * for, one is within reach: if the bytes there are the same it is a match, whichever was meant. */
typedef struct finder {
    const uint8_t *bytes;
    size_t len;
    uint16_t *table;
    unsigned shift;
    uint32_t factor; /* for the hash of the bytes that the mask has */
    uint32_t mask;   /* of three bytes or four: what must be equal */
} finder;

typedef struct match {
    size_t at;
    size_t len;
    size_t distance;
} match;

static unsigned table_bits(size_t len)
{
    unsigned bits = TABLE_BITS_MIN;

    while (bits < TABLE_BITS_MAX && len >> bits)
        bits++;
    return bits;
}

static void finder_init(finder *f, const etcp_piece *piece, uint16_t *table)
{
    const int is_short = piece->len < SHORT_BELOW;
    const unsigned bits = table_bits(piece->len);

    f->bytes = piece->bytes;
    f->len = piece->len;
    f->table = table;
    f->shift = 32 - bits;
    /* The golden ratio, in 32 bits or 24. */
    f->factor = is_short ? UINT32_C(0x9e377900) : UINT32_C(0x9e3779b1);
    f->mask = is_short ? UINT32_C(0xffffff) : UINT32_C(0xffffffff);
    memset(table, 0, sizeof *table << bits);
}

static inline uint16_t *slot_of(const finder *f, size_t at)
{
    return &f->table[(uint32_t)(etcp_load_le32(f->bytes + at) * f->factor) >> f->shift];
}

static inline void remember(const finder *f, size_t at)
{
    *slot_of(f, at) = (uint16_t)at;
}

/* How far back from at, which is not 0, there may be the same bytes. Remembers at. */
static inline size_t look_up(const finder *f, size_t at)
{
    uint16_t *slot = slot_of(f, at);
    const size_t distance = ETCP_LZF_DISTANCE_MAX - ((*slot - at) & (ETCP_LZF_DISTANCE_MAX - 1));

    *slot = (uint16_t)at;
    return distance;
}

static inline uint64_t load_le64(const uint8_t *bytes)
{
    return etcp_load_le32(bytes) | (uint64_t)etcp_load_le32(bytes + 4) << 32;
}

/* How many bytes are equal in front of the first that differs, in the order of load_le64. */
static inline size_t equal_bytes(uint64_t differences)
{
#if defined(__GNUC__)
    return (size_t)__builtin_ctzll(differences) / 8;
#else
    size_t n = 0;

    while (!(differences >> 8 * n & 0xff))
        n++;
    return n;
#endif
}

/* How long a match is of which len bytes are known. */
static inline size_t match_length(const finder *f, size_t at, size_t distance, size_t len)
{
    const uint8_t *here = f->bytes + at;
    const uint8_t *earlier = here - distance;
    const size_t most = f->len - at < ETCP_LZF_MATCH_MAX ? f->len - at : ETCP_LZF_MATCH_MAX;

    for (; len + 8 <= most; len += 8) {
        const uint64_t differences = load_le64(earlier + len) ^ load_le64(here + len);

        if (differences)
            return len + equal_bytes(differences);
    }
    while (len < most && earlier[len] == here[len])
        len++;
    return len;
}

/* Finds the next match, not before m->at. Returns whether there is one. */
static inline int find_match(const finder *f, match *m)
{
    size_t step = MISSES_PER_STEP;

    for (; m->at + HASHED <= f->len; m->at += step++ / MISSES_PER_STEP) {
        const uint8_t *here = f->bytes + m->at;

        m->distance = look_up(f, m->at);
        if (((etcp_load_le32(here) ^ etcp_load_le32(here - m->distance)) & f->mask) == 0) {
            m->len = match_length(f, m->at, m->distance, ETCP_LZF_MATCH_MIN);
            return 1;
        }
    }
    return 0;
}

/* Takes the match that begins a byte later instead, if it pays for the additional literal. Most
 * that are no longer differ in their last four bytes. */
static inline void try_later(const finder *f, match *m, size_t literals)
{
    const size_t at = m->at + 1;

    if (m->len >= LONG_ENOUGH || at + m->len >= f->len)
        return;
    const size_t distance = look_up(f, at);
    const uint8_t *last = f->bytes + at + m->len - 3;

    if (etcp_load_le32(last) != etcp_load_le32(last - distance))
        return;
    const size_t len = match_length(f, at, distance, 0);

    /* The first literal of a run takes two bytes. */
    if (len < m->len + (m->at == literals ? 2 : 1))
        return;
    m->at = at;
    m->len = len;
    m->distance = distance;
}

/* What lies within matches was not remembered: perhaps this one begins earlier than was found. */
static inline void extend_back(const finder *f, match *m, size_t literals)
{
    while (m->at > literals && m->at > m->distance && m->len < ETCP_LZF_MATCH_MAX &&
           f->bytes[m->at - 1] == f->bytes[m->at - 1 - m->distance]) {
        m->at--;
        m->len++;
    }
}

/* Of the positions in a match that ends at at, the last two are worth remembering: what is earlier
 * lies within the match, and so was seen before. */
static inline void remember_end(const finder *f, size_t at)
{
    if (at + HASHED - 1 > f->len)
        return;
    remember(f, at - 2);
    remember(f, at - 1);
}

/* ---- the stream ----------------------------------------------------------------------------- */

/* Each of these writes at out, not beyond end, and returns where it has stopped; NULL: there is not
 * enough room. */

static ETCP_RARE uint8_t *write_literals(uint8_t *out, const uint8_t *end, const uint8_t *bytes,
                                         size_t len)
{
    while (len) {
        const size_t run = len < ETCP_LZF_LITERALS_MAX ? len : ETCP_LZF_LITERALS_MAX;

        if ((size_t)(end - out) < run + 1)
            return NULL;
        *out++ = (uint8_t)(run - 1);
        memcpy(out, bytes, run);
        out += run;
        bytes += run;
        len -= run;
    }
    return out;
}

/* The same for what is in front of a match. Copies as many bytes as there may be in a run if there
 * are so many and room for them: a constant number is faster. */
static inline uint8_t *write_run(uint8_t *out, const uint8_t *end, const finder *f, size_t literals,
                                 size_t len)
{
    const uint8_t *bytes = f->bytes + literals;

    if (len > ETCP_LZF_LITERALS_MAX || f->len - literals < ETCP_LZF_LITERALS_MAX ||
        end - out <= ETCP_LZF_LITERALS_MAX)
        return write_literals(out, end, bytes, len);
    *out = (uint8_t)(len - 1);
    memcpy(out + 1, bytes, ETCP_LZF_LITERALS_MAX);
    return out + (len ? len + 1 : 0);
}

static inline uint8_t *write_match(uint8_t *out, const uint8_t *end, const match *m)
{
    const size_t offset = m->distance - 1;
    const size_t code = m->len - 2;
    const size_t more = m->len > ETCP_LZF_MATCH_SHORT;

    if (end - out < 3)
        return NULL;
    out[0] = (uint8_t)((more ? 7 : code) << 5 | offset >> 8);
    out[1] = (uint8_t)(code - 7); /* written over if there is no more */
    out[1 + more] = (uint8_t)offset;
    return out + 2 + more;
}

static uint8_t *write_piece(uint8_t *out, const uint8_t *end, const finder *f)
{
    size_t literals = 0; /* bytes[literals..m.at) are not written yet */
    match m = {1, 0, 0};

    while (find_match(f, &m)) {
        try_later(f, &m, literals);
        extend_back(f, &m, literals);
        out = write_run(out, end, f, literals, m.at - literals);
        if (out)
            out = write_match(out, end, &m);
        if (!out)
            return NULL;
        m.at += m.len;
        literals = m.at;
        remember_end(f, m.at);
    }
    return write_literals(out, end, f->bytes + literals, f->len - literals);
}

/* ---- the container -------------------------------------------------------------------------- */

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

/* Writes the compressed container of len bytes in pieces to out[0..room). No match begins in one
 * piece and ends in another. Returns its size; 0: does not fit or pay. */
static size_t write_container(uint8_t *out, size_t room, const etcp_piece *pieces, size_t count,
                              size_t len, uint16_t *table)
{
    uint8_t *at = out + write_length(out, len);

    for (size_t i = 0; at && i < count; i++) {
        finder f;

        finder_init(&f, &pieces[i], table);
        at = write_piece(at, out + room, &f);
    }
    return at ? (size_t)(at - out) : 0;
}

static void write_plain(uint8_t *out, const etcp_piece *pieces, size_t count)
{
    *out++ = 0;
    etcp_pieces_copy(out, pieces, count);
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
        uint16_t *table = etcp_malloc(sizeof *table << table_bits(len));

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
