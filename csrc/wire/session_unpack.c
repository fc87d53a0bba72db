/* Messages that take long to decrypt or decompress: step by step, so that whoever calls can look after
 * others in between. */
#include "session.h"

#include <string.h>

#include "base/mem.h"
#include "frame.h"
#include "state.h"
#include "transform.h"

enum {
    ROOM_MIN = 4096,        /* for a step of decompression */
    FORGOTTEN_MIN = 1 << 18 /* compressed bytes whose memory is worth giving back before all are used */
};

static int fail(etcp_session *s, int code)
{
    return etcp_error_set(&s->error, code, "A packet could not be decoded: %s", etcp_code_text(code));
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void etcp_session_drop_incoming(etcp_session *s)
{
    if (!s->incoming)
        return;
    if (s->incoming->handle)
        s->config->payload_ops->destroy(s->config->payload_arg, s->incoming->handle);
    etcp_free(s->incoming);
    s->incoming = NULL;
}

void etcp_session_drop_unpacking(etcp_session *s)
{
    etcp_unpacking *u = s->unpacking;

    if (!u)
        return;
    if (u->row)
        u->row->end_steps(&u->run);
    if (u->handle)
        s->config->payload_ops->destroy(s->config->payload_arg, u->handle);
    etcp_free(u);
    s->unpacking = NULL;
}

int etcp_session_unpack_later(etcp_session *s, unsigned flags, uint8_t *bytes, size_t len)
{
    etcp_unpacking *u = etcp_zalloc(sizeof *u);

    if (!u)
        return fail(s, ETCP_ENOMEM);
    u->flags = flags;
    u->bytes = bytes;
    u->len = len;
    s->unpacking = u;
    return 0;
}

/* ---- decompressing --------------------------------------------------------------------------- */

/* Memory for what comes out, of at least size bytes. Returns it, or NULL. */
static uint8_t *allot(etcp_session *s, etcp_unpacking *u, size_t size)
{
    const etcp_config *config = s->config;
    uint8_t *data = NULL;

    if (!config->payload_ops)
        return etcp_buf_reserve_exact(&s->decoded, size) < 0 ? NULL : s->decoded.data;
    if (u->handle)
        return config->payload_ops->grow(config->payload_arg, u->handle, size);
    u->handle = config->payload_ops->create(config->payload_arg, size, &data);
    return u->handle ? data : NULL;
}

/* Makes room for the next step: twice what really came out, and never past the byte over the limit
 * that tells a message of its size from a longer one. */
static int make_room(etcp_session *s, etcp_unpacking *u)
{
    size_t most = s->config->message_max + 1;
    uint8_t *out;

    if (u->room < most && u->room - u->run.len < ROOM_MIN) {
        u->room = smaller(most, u->room ? 2 * u->room : ETCP_UNPACK_STEP);
        out = allot(s, u, u->room);
        if (!out)
            return ETCP_ENOMEM;
        u->run.out = out;
    }
    u->run.cap = smaller(u->room, u->run.len + ETCP_UNPACK_STEP);
    return 0;
}

/* Finds out what decompresses the message. */
static int begin_decompressing(etcp_session *s, etcp_unpacking *u)
{
    const uint8_t *bytes = u->bytes;
    const size_t len = u->len;

    u->row = etcp_transform_compressor_of(&s->transform, &bytes, &u->len);
    u->bytes += len - u->len;
    u->forgotten = 1;
    return u->row ? 0 : ETCP_EDECODE;
}

/* What comes out takes the place of what it came of. */
static void forget_used(etcp_unpacking *u)
{
    if (u->run.done - u->forgotten < FORGOTTEN_MIN)
        return;
    etcp_forget(u->bytes + u->forgotten, u->run.done - u->forgotten);
    u->forgotten = u->run.done;
}

static int decompress_some(etcp_session *s, etcp_unpacking *u)
{
    int rc = u->row ? 0 : begin_decompressing(s, u);

    if (rc == 0)
        rc = make_room(s, u);
    if (rc == 0)
        rc = u->row->decompress_step(&u->run, u->bytes, u->len);
    if (rc == ETCP_AGAIN)
        forget_used(u);
    if ((rc == 0 || rc == ETCP_AGAIN) &&
        (u->run.len > s->config->message_max || u->run.left > s->config->message_max - u->run.len))
        return ETCP_ETOOBIG;
    return rc;
}

/* ---- one step -------------------------------------------------------------------------------- */

/* What is left to do, for some milliseconds. */
static int work(etcp_session *s, etcp_unpacking *u)
{
    int rc = 0;

    if (u->flags & ETCP_FLAG_ENCRYPTED) {
        rc = etcp_transform_open_step(&s->transform, &u->open, u->bytes, u->len);
        if (rc != 0)
            return rc;
        u->len = u->open.len;
        u->flags &= ~(unsigned)ETCP_FLAG_ENCRYPTED;
        if (u->flags & ETCP_FLAG_COMPRESSED)
            return ETCP_AGAIN;
        return u->len > s->config->message_max ? ETCP_ETOOBIG : 0;
    }
    return decompress_some(s, u);
}

/* Hands out the message, with the memory that it is in; frees what it was decompressed from. */
static void finish(etcp_session *s, etcp_unpacking *u, etcp_event *event)
{
    event->type = ETCP_EVENT_MESSAGE;
    event->flags = u->flags & ETCP_FLAG_COMPLEX ? ETCP_MESSAGE_COMPLEX : 0;
    event->data = u->bytes;
    event->len = u->len;
    event->payload = NULL;
    if (u->row) {
        event->data = u->run.out;
        event->len = u->run.len;
        event->payload = u->handle;
        u->handle = NULL;
        etcp_buf_deinit(&s->input);
        s->spent = 0;
    } else if (s->incoming) {
        event->payload = s->incoming->handle;
        s->incoming->handle = NULL;
    }
    etcp_session_drop_incoming(s);
    etcp_session_drop_unpacking(s);
}

int etcp_session_unpack(etcp_session *s, etcp_event *event)
{
    int rc = work(s, s->unpacking);

    if (rc == ETCP_AGAIN)
        return rc;
    if (rc < 0) {
        etcp_session_drop_unpacking(s);
        return fail(s, rc);
    }
    finish(s, s->unpacking, event);
    return 1;
}
