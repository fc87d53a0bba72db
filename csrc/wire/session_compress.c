/* Whether a session's message is compressed, and how: wire/adapt decides, this asks and does. */
#include "codec/libdeflate.h"
#include "codec/noise.h"
#include "base/mem.h"
#include "session.h"
#include "state.h"
#include "transform.h"

enum {
    WORTH_A_LOOK_US = 200, /* the queue has changed while so much was worked */
    SPARE_MAX = 65536      /* room for the worst case that may stay behind what came out */
};

/* How the codecs of adapt.h are done. */
static const struct codec_row {
    char key;
    int level;
} codecs[ETCP_CODECS] = {
    [ETCP_CODEC_LZF] = {'2', 1},   [ETCP_CODEC_ZLIB1] = {'1', 1}, [ETCP_CODEC_ZLIB3] = {'1', 3},
    [ETCP_CODEC_ZLIB4] = {'1', 4}, [ETCP_CODEC_ZLIB6] = {'1', 6},
};

void etcp_session_set_path(etcp_session *s, etcp_path_fn fn, void *arg)
{
    s->ask_path = fn;
    s->ask_arg = arg;
}

static uint64_t now_us(const etcp_session *s)
{
    etcp_path path;

    s->ask_path(s->ask_arg, ETCP_PATH_TIME, &path);
    return path.now_us;
}

uint64_t etcp_session_start_timing(const etcp_session *s, size_t len)
{
    return s->adapt && len >= ETCP_ADAPT_LARGE ? now_us(s) : 0;
}

void etcp_session_end_timing(etcp_session *s, uint64_t since_us, size_t len)
{
    if (since_us)
        etcp_adapt_sealed(s->adapt, len, now_us(s) - since_us);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static unsigned codecs_of(char key)
{
    return key == '2' ? ETCP_CODECS_LZF : ETCP_CODECS_ZLIB;
}

/* The codecs that the peer takes: the agreed one, or what it has listed. */
static unsigned allowed_codecs(const etcp_session *s)
{
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);
    unsigned allowed = 0;

    if (!s->transform.is_mixed)
        return codecs_of(s->transform.compressor->key);
    for (size_t i = 0; i < count; i++)
        if (s->transform.peer_takes >> i & 1)
            allowed |= codecs_of(rows[i].key);
    return allowed;
}

static int begin_adapting(etcp_session *s)
{
    etcp_path path;

    s->adapt = etcp_malloc(sizeof *s->adapt);
    if (!s->adapt)
        return ETCP_ENOMEM;
    path.packed_us = 0;
    s->ask_path(s->ask_arg, ETCP_PATH_ALL, &path);
    etcp_adapt_init(s->adapt, path.now_us, path.same_host, s->transform.seal != NULL, &path.info);
    if (etcp_has_libdeflate())
        etcp_adapt_expect_fast_zlib(s->adapt);
    return 0;
}

static void look(etcp_session *s)
{
    etcp_adapt *a = s->adapt;
    etcp_path path;

    const int wants_all = etcp_adapt_wants_path(a);

    path.packed_us = a->packed_us;
    a->packed_us = 0;
    s->ask_path(s->ask_arg, wants_all ? ETCP_PATH_ALL : ETCP_PATH_QUEUE, &path);
    etcp_adapt_look(a, path.now_us, path.queued, path.own, path.was_blocked);
    a->price = etcp_adapt_own_price(a, path.price);
    if (wants_all)
        etcp_adapt_path(a, &path.info);
}

/* Returns a codec for len bytes that look like sample, or ETCP_ENOMEM. *content is what they look like;
 * ETCP_CONTENTS: that is to be found out. */
static int choose_adapting(etcp_session *s, const uint8_t *sample, size_t sample_len, size_t len,
                           etcp_content *content)
{
    int rc;

    if (!s->adapt && (rc = begin_adapting(s)) < 0)
        return rc;
    if (etcp_adapt_wants_look(s->adapt, len))
        look(s);
    if (*content == ETCP_CONTENTS)
        *content = etcp_adapt_content(sample, sample_len);
    return (int)etcp_adapt_choose(s->adapt, *content, len, allowed_codecs(s));
}

/* The same for any session; what is not measured has no content. */
static int choose(etcp_session *s, const uint8_t *sample, size_t sample_len, size_t len,
                  etcp_content *content)
{
    if (!s->transform.compressor || len < ETCP_ADAPT_MIN ||
        s->config->compress == ETCP_COMPRESS_NEVER)
        return ETCP_CODEC_NONE;
    if (s->config->compress == ETCP_COMPRESS_AUTO && s->ask_path)
        return choose_adapting(s, sample, sample_len, len, content);
    *content = ETCP_CONTENTS;
    return s->transform.compressor->key == '2' ? ETCP_CODEC_LZF : ETCP_CODEC_ZLIB6;
}

/* ---- compressing ----------------------------------------------------------------------------- */

/* What is compressed: pieces of len bytes in all, of which sample is a part. */
typedef struct matter {
    const etcp_piece *pieces;
    size_t count;
    size_t len;
    const etcp_piece *sample;
} matter;

/* Appends the compressed form, which a mixed connection marks with the compressor's letter. What was not
 * chosen is what originals make. Returns 1 if it is shorter than the message, 0 or an error. */
static int pack(etcp_session *s, int codec, int is_chosen, const matter *m, etcp_buf *out)
{
    const etcp_compressor *row = etcp_compressor_by_key(codecs[codec].key);
    etcp_compressor_state **state = etcp_compressor_state_of(s->config, row);
    const int level = is_chosen ? codecs[codec].level : ETCP_LEVEL_OF_ORIGINALS;
    const size_t before = etcp_buf_len(out);
    const uint8_t key = (uint8_t)row->key;
    int rc = s->transform.is_mixed ? etcp_buf_append(out, &key, 1) : 0;

    if (rc == 0 && m->count == 1)
        rc = row->compress(state, level, m->pieces->bytes, m->len, out);
    else if (rc == 0)
        rc = row->compress_pieces(state, level, m->pieces, m->count, m->len, out);
    if (rc < 0)
        return rc;
    etcp_buf_trim(out, SPARE_MAX); /* it may wait in a queue, which counts content */
    return etcp_buf_len(out) - before < m->len;
}

/* The same, measured if the content is known; and not tried at all with noise. */
static int pack_measured(etcp_session *s, int codec, etcp_content content, const matter *m,
                         etcp_buf *out)
{
    const int is_adapting = content != ETCP_CONTENTS;
    const size_t before = etcp_buf_len(out);

    if (etcp_is_noise(m->sample->bytes, m->sample->len))
        return 0;
    const uint64_t since = is_adapting && m->len >= ETCP_ADAPT_TIMED ? now_us(s) : 0;
    const int rc = pack(s, codec, is_adapting, m, out);
    const uint64_t work = since ? now_us(s) - since : 0;

    if (rc < 0 || !is_adapting)
        return rc;
    etcp_adapt_packed(s->adapt, (etcp_codec)codec, content, m->len, etcp_buf_len(out) - before, work);
    if (work > WORTH_A_LOOK_US)
        look(s);
    return rc;
}

/* Has bytes in one place packed by a codec that was chosen. */
static int pack_whole(etcp_session *s, int codec, etcp_content content, const uint8_t *payload,
                      size_t len, etcp_buf *out)
{
    const etcp_piece whole = {payload, len, NULL, NULL, 0};
    const matter m = {&whole, 1, len, &whole};

    return pack_measured(s, codec, content, &m, out);
}

int etcp_session_compress(etcp_session *s, const uint8_t *payload, size_t len, etcp_buf *out)
{
    etcp_content content = ETCP_CONTENTS;
    const int codec = choose(s, payload, len, len, &content);

    if (codec <= ETCP_CODEC_NONE)
        return codec;
    return pack_whole(s, codec, content, payload, len, out);
}

static const etcp_piece *longest_of(const etcp_piece *pieces, size_t count)
{
    const etcp_piece *longest = pieces;

    for (size_t i = 1; i < count; i++)
        if (pieces[i].len > longest->len)
            longest = &pieces[i];
    return longest;
}

int etcp_session_compress_pieces(etcp_session *s, const etcp_piece *pieces, size_t count,
                                 size_t len, etcp_buf *out)
{
    const matter m = {pieces, count, len, longest_of(pieces, count)};
    etcp_content content = ETCP_CONTENTS;
    const int codec = choose(s, m.sample->bytes, m.sample->len, len, &content);

    if (codec <= ETCP_CODEC_NONE)
        return codec;
    return pack_measured(s, codec, content, &m, out);
}

int etcp_session_form(etcp_session *s, etcp_parcel *p, const etcp_buf **out)
{
    etcp_content content = p->content;
    const int codec = choose(s, p->payload, p->len, p->len, &content);
    etcp_form *form;
    int rc;

    if (content != ETCP_CONTENTS)
        p->content = content;
    if (codec <= ETCP_CODEC_NONE)
        return codec;
    form = &p->forms[codec][s->transform.is_mixed];
    if (!form->is_made) {
        rc = pack_whole(s, codec, content, p->payload, p->len, &form->bytes);
        if (rc <= 0)
            etcp_buf_deinit(&form->bytes);
        if (rc < 0)
            return rc;
        form->is_made = 1;
    }
    *out = &form->bytes;
    return etcp_buf_len(&form->bytes) > 0;
}
