/* TLS under a connection: how it begins, and how cipher text that was read becomes clear text. */
#include "conn_private.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum { SPILL = 16384 };

static void flush_owner(void *owner)
{
    (void)etcp_conn_flush(owner);
}

static int has_output(const void *owner)
{
    return ((const etcp_conn *)owner)->out.len > 0;
}

/* ---- the switch ------------------------------------------------------------------------------ */

/* Nothing that was said in clear survives but its hash. */
static int replace_session(etcp_conn *c)
{
    etcp_inside_facts facts;
    etcp_session *inside;
    int rc = etcp_session_switch(c->session, &facts);

    if (rc == 0)
        rc = etcp_session_new_inside(etcp_session_config(c->session), &facts, &inside);
    if (rc < 0)
        return rc;
    etcp_conn_use_session(c, inside);
    return 0;
}

static int is_direct(const etcp_security *security)
{
    return security && etcp_tls_is_direct(security->tls);
}

/* The answer in clear is the first thing to be sent, with a client's first words of TLS behind it,
 * in one piece. */
static int begin(etcp_conn *c)
{
    etcp_buf *output = etcp_session_output(c->session);
    etcp_tunnel *t = c->tunnel;
    const uint8_t *at = c->view;
    int rc = etcp_buf_append(&t->cipher, etcp_buf_bytes(output), etcp_buf_len(output));

    if (rc == 0)
        rc = (int)etcp_channel_open(t->channel, &at, c->view_end, NULL, 0, &t->cipher);
    etcp_conn_drop_view(c);
    return rc < 0 || is_direct(c->security) ? rc : replace_session(c);
}

int etcp_conn_first_session(etcp_config *config, const etcp_security *security, etcp_session **out)
{
    etcp_inside_facts facts;
    int rc;

    if (!is_direct(security))
        return etcp_session_new(config, out);
    rc = etcp_session_direct(&facts);
    return rc < 0 ? rc : etcp_session_new_inside(config, &facts, out);
}

int etcp_conn_begin(etcp_conn *c)
{
    return is_direct(c->security) ? etcp_conn_switch(c) : 0;
}

int etcp_conn_switch(etcp_conn *c)
{
    int rc = c->security ? etcp_tunnel_new(c->security, c, flush_owner, has_output, &c->tunnel)
                         : ETCP_EPROTO;

    if (rc == 0)
        rc = begin(c);
    etcp_security_unref(c->security);
    c->security = NULL;
    if (rc < 0 && c->tunnel)
        return etcp_conn_tunnel_failed(c, rc);
    if (rc < 0) {
        (void)etcp_conn_set_error(c, rc, etcp_code_text(rc));
        return etcp_conn_end_input(c, rc);
    }
    return etcp_conn_push_tunnel(c);
}

/* ---- input ----------------------------------------------------------------------------------- */

/* Something else than the peer ends TLS: what follows is the negotiation of old, inside. */
static int go_on_tunnelled(etcp_conn *c)
{
    etcp_trust trust = etcp_channel_trust(c->tunnel->channel);
    int is_proved = trust == ETCP_TRUST_FINGERPRINT || trust == ETCP_TRUST_CA;
    etcp_session *session;
    int rc = etcp_session_new_tunnelled(etcp_session_config(c->session), is_proved, &session);

    if (rc < 0)
        return rc;
    etcp_conn_use_session(c, session);
    return etcp_conn_push_session(c); /* the server speaks first */
}

static int bind_when_established(etcp_conn *c)
{
    etcp_tunnel *t = c->tunnel;
    uint8_t binding[ETCP_BINDING];
    int rc;

    if (t->is_bound || !etcp_channel_is_established(t->channel))
        return 0;
    t->is_bound = 1;
    if (!etcp_channel_is_easytcp(t->channel))
        return go_on_tunnelled(c);
    rc = etcp_channel_binding(t->channel, binding);
    if (rc == 0)
        rc = etcp_session_bind(
            c->session, etcp_channel_was_asked(t->channel) ? ETCP_INSIDE_CERTIFICATE : 0u, binding);
    etcp_wipe(binding, sizeof binding);
    return rc;
}

/* Where clear text goes: the session's window, or a view in the caller's memory, or memory of our
 * own when that is full. */
typedef struct sink {
    uint8_t *bytes;
    size_t room;
    size_t done; /* in bytes, or in spill */
    etcp_buf spill;
    uint8_t *window; /* of the session, while it has one; NULL: none */
    int is_given;    /* clear text went into any of them */
} sink;

static int spill_over(sink *s)
{
    int rc = 0;

    if (!s->spill.data)
        rc = etcp_buf_append(&s->spill, s->bytes, s->done);
    return rc < 0 ? rc : etcp_buf_reserve(&s->spill, SPILL);
}

/* Finds room. Returns it, or 0: out of memory. */
static size_t next_room(etcp_conn *c, sink *s, uint8_t **where)
{
    size_t room = 0;

    s->window = NULL;
    if (s->done == 0 && c->tunnel->is_bound)
        room = etcp_session_window(c->session, &s->window);
    if (room) {
        *where = s->window;
        return room < ETCP_WINDOW_READ_MAX ? room : ETCP_WINDOW_READ_MAX;
    }
    s->window = NULL;
    if (!s->spill.data && s->done < s->room) {
        *where = s->bytes + s->done;
        return s->room - s->done;
    }
    if (spill_over(s) < 0)
        return 0;
    *where = etcp_buf_tail(&s->spill);
    return etcp_buf_room(&s->spill);
}

static void commit(etcp_conn *c, sink *s, size_t len)
{
    s->is_given |= len > 0;
    if (s->window) {
        etcp_session_commit(c->session, len);
        return;
    }
    if (s->spill.data)
        etcp_buf_commit(&s->spill, len);
    s->done += len;
}

/* Takes all cipher text from at on, and all clear text that it gives. Returns 0, or the code by
 * which the input ended; what came before it is in the sink. */
static int open_all(etcp_conn *c, const uint8_t *at, const uint8_t *end, sink *s)
{
    etcp_tunnel *t = c->tunnel;
    ptrdiff_t got;

    do {
        uint8_t *where;
        size_t room = next_room(c, s, &where);
        int rc;

        if (!room)
            return ETCP_ENOMEM;
        got = etcp_channel_open(t->channel, &at, end, where, room, &t->cipher);
        if (got < 0)
            return (int)got;
        rc = bind_when_established(c);
        if (rc < 0)
            return rc;
        commit(c, s, (size_t)got);
    } while (at < end || etcp_channel_has_more(t->channel));
    return 0;
}

/* Makes what the sink took the view. */
static void show(etcp_conn *c, sink *s)
{
    if (!s->done) {
        etcp_buf_deinit(&s->spill); /* it was for clear text that did not come */
        return;
    }
    if (s->spill.data) {
        c->kept = s->spill.data; /* nothing was taken from its front */
        c->view = c->kept;
    } else {
        c->view = s->bytes;
    }
    c->view_end = c->view + s->done;
}

static void after_opening(etcp_conn *c, int code)
{
    (void)etcp_conn_push_tunnel(c); /* an alert, too; a failure shows when the input ends */
    if (code == ETCP_ECLOSED)
        (void)etcp_conn_end_of_stream(c);
    else if (code < 0)
        (void)etcp_conn_tunnel_failed(c, code);
}

/* Where in the memory cipher text begins. In front is the clear text it becomes, which is shorter;
 * only what was waiting for the end of a record can make it longer. A large message that is under way
 * has memory of its own. */
static size_t place_for_cipher(etcp_conn *c, size_t size)
{
    uint8_t *where;

    return c->tunnel->is_bound && etcp_session_window(c->session, &where) >= size ? 0 : size / 2;
}

etcp_fill etcp_conn_fill_tunnel(etcp_conn *c, uint8_t *bytes, size_t size)
{
    size_t place = place_for_cipher(c, size);
    ssize_t n;
    sink s;
    int code;

    if (!etcp_conn_may_use_tunnel(c))
        return ETCP_FILL_ENDED;
    n = etcp_socket_read(c->entry.fd, bytes + place, size - place);
    if (n < 0)
        return etcp_conn_read_failed(c, errno);
    if (n == 0)
        etcp_channel_end_of_input(c->tunnel->channel);
    etcp_conn_count_in(c, (size_t)n);
    memset(&s, 0, sizeof s);
    s.bytes = bytes;
    s.room = place;
    code = open_all(c, bytes + place, bytes + place + n, &s);
    after_opening(c, code);
    show(c, &s);
    c->budget = c->budget > (size_t)n ? c->budget - (size_t)n : 0;
    if (code < 0)
        return s.is_given ? ETCP_FILL_SOME : ETCP_FILL_ENDED; /* what came before the end counts */
    return (size_t)n == size - place ? ETCP_FILL_MORE : ETCP_FILL_SOME;
}
