/* The receiving side of a connection. */
#include "conn_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/rare.h"
#include "clock.h"

static const uint8_t nothing[1];

/* Bytes came: the time until the peer counts as idle begins anew. */
static void touch(etcp_conn *c)
{
    etcp_loop *l = c->entry.loop;

    if (l && l->lists[ETCP_LIST_CLIENTS].timeout_ms &&
        c->entry.place.list == &l->lists[ETCP_LIST_CLIENTS])
        etcp_loop_await(&c->entry, ETCP_LIST_CLIENTS, etcp_clock_ms());
}

/* Keeps the session's own words about a failure. */
static int end_by_session(etcp_conn *c, int code)
{
    const etcp_error *why = etcp_session_error(c->session);

    (void)etcp_conn_set_error(c, code, why && why->code ? why->text : etcp_code_text(code));
    return etcp_conn_end_input(c, code);
}

/* Counts an event that the session gave. Returns 1. */
static inline int note_event(etcp_conn *c, const etcp_event *event)
{
    if (c->traffic && event->type == ETCP_EVENT_MESSAGE) {
        c->traffic->messages_in++;
        c->traffic->payload_in += event->len;
    }
    /* It may point into what the view is in: nothing is freed yet. */
    if (c->held)
        etcp_conn_note_held(c, etcp_conn_held(c));
    return 1;
}

static ETCP_RARE int parse_any(etcp_conn *c, etcp_event *event)
{
    int rc;

    do {
        rc = etcp_session_next(c->session, &c->view, c->view_end, event);
    } while (rc > 0 && event->type == ETCP_EVENT_SETTLED && c->state != ETCP_CONN_NEGOTIATING);
    if (rc > 0 && event->type == ETCP_EVENT_TLS)
        return etcp_conn_switch(c);
    if (rc > 0)
        return note_event(c, event);
    if (rc == ETCP_AGAIN)
        touch(c);
    else
        etcp_conn_drop_view(c);
    if (rc < 0 && rc != ETCP_AGAIN)
        return end_by_session(c, rc);
    if (c->held || !etcp_session_is_at_rest(c->session))
        etcp_conn_count(c);
    return rc;
}

int etcp_conn_parse(etcp_conn *c, etcp_event *event)
{
    if (etcp_session_next_usual(c->session, &c->view, c->view_end, event))
        return note_event(c, event);
    return parse_any(c, event);
}

static etcp_fill fill_plain(etcp_conn *c, uint8_t *bytes, size_t size)
{
    uint8_t *where = NULL;
    size_t window = etcp_session_window(c->session, &where);
    size_t room = window ? window : size;
    ssize_t n;

    if (room > ETCP_WINDOW_READ_MAX)
        room = ETCP_WINDOW_READ_MAX;
    n = etcp_socket_read(c->entry.fd, window ? where : bytes, room);
    if (n == 0)
        return etcp_conn_end_of_stream(c);
    if (n < 0)
        return etcp_conn_read_failed(c, errno);
    etcp_conn_count_in(c, (size_t)n);
    if (window) {
        etcp_session_commit(c->session, (size_t)n);
    } else {
        c->view = bytes;
        c->view_end = bytes + n;
    }
    c->gap_since_ms = 0;
    c->budget = c->budget > (size_t)n ? c->budget - (size_t)n : 0;
    return (size_t)n == room ? ETCP_FILL_MORE : ETCP_FILL_SOME;
}

etcp_fill etcp_conn_fill(etcp_conn *c, uint8_t *bytes, size_t size)
{
    etcp_fill filled;

    assert(!etcp_conn_has_view(c));
    filled = c->tunnel ? etcp_conn_fill_tunnel(c, bytes, size) : fill_plain(c, bytes, size);
    if (filled == ETCP_FILL_MORE || filled == ETCP_FILL_SOME) {
        c->heard = 1;
        touch(c);
    }
    return filled;
}

/* Copies from..view_end, which includes the view, and moves the view there. */
static int keep_from(etcp_conn *c, const uint8_t *from)
{
    size_t len = (size_t)(c->view_end - from);
    size_t skip = (size_t)(c->view - from);
    uint8_t *copy = etcp_memdup(from, len);

    etcp_conn_drop_view(c);
    if (!copy) {
        (void)etcp_conn_set_error(c, ETCP_ENOMEM, etcp_code_text(ETCP_ENOMEM));
        return etcp_conn_end_input(c, ETCP_ENOMEM);
    }
    c->kept = copy;
    c->view = copy + skip;
    c->view_end = copy + len;
    return 0;
}

int etcp_conn_keep_view(etcp_conn *c)
{
    return etcp_conn_has_view(c) && !c->kept ? keep_from(c, c->view) : 0;
}

/* bytes[0..size) is about to vanish: copies what is still needed of it, the event's message and the
 * view, which always follows the message. Returns 1 or ETCP_ENOMEM; when only what follows is lost,
 * the next call tells. */
static int keep_event(etcp_conn *c, etcp_event *event, const uint8_t *bytes, size_t size)
{
    int is_inside = event->len && event->data >= bytes && event->data < bytes + size;

    if (!event->len)
        event->data = nothing;
    if (!is_inside) {
        (void)etcp_conn_keep_view(c);
        return 1;
    }
    if (keep_from(c, event->data) < 0)
        return ETCP_ENOMEM;
    event->data = c->kept;
    return 1;
}

/* What another connection has not used up of it is copied. */
static ETCP_RARE void free_scratch(etcp_scratch *scratch)
{
    etcp_conn *owner = etcp_conn_of(scratch->owner);

    (void)etcp_conn_keep_view(owner);
    if (etcp_conn_has_view(owner) || owner->end_code)
        etcp_conn_pend(owner);
}

etcp_scratch *etcp_conn_scratch(etcp_conn *c)
{
    etcp_scratch *scratch = c->entry.loop->scratch;

    if (scratch->owner && scratch->owner != &c->entry)
        free_scratch(scratch);
    scratch->owner = &c->entry;
    return scratch;
}

int etcp_conn_discard(etcp_conn *c)
{
    uint8_t bytes[ETCP_CLIENT_SCRATCH_SIZE];
    size_t left = ETCP_READ_BUDGET;

    while (left >= sizeof bytes) {
        ssize_t n = etcp_socket_read(c->entry.fd, bytes, sizeof bytes);

        if (n == 0 || (n < 0 && errno != EAGAIN))
            return 0;
        if (n < (ssize_t)sizeof bytes)
            return 1;
        left -= sizeof bytes;
    }
    return 1;
}

/* ---- receive --------------------------------------------------------------------------------- */

/* Waits for input, writing queued output meanwhile: the peer may be waiting for it. Returns 0, or
 * ETCP_EINTR, ETCP_ETIMEOUT, ETCP_ESYSTEM. */
static int wait_for_input(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since)
{
    uint64_t now = etcp_clock_ms();
    uint64_t left;
    short events = (short)(POLLIN | (c->out.len ? POLLOUT : 0));
    int ready;

    if (!*waited_since)
        *waited_since = now;
    left = etcp_clock_left(*waited_since, timeout_ms, now);
    if (left == 0)
        return ETCP_ETIMEOUT;
    ready = etcp_socket_wait(c->entry.fd, events, etcp_clock_as_timeout(left));
    if (ready < 0 && errno == EINTR)
        return ETCP_EINTR;
    if (ready < 0) {
        (void)etcp_conn_set_errno(c, errno, "poll");
        return etcp_conn_end_input(c, ETCP_ESYSTEM);
    }
    if (ready == 0)
        return ETCP_ETIMEOUT;
    if (c->out.len)
        (void)etcp_conn_flush(c); /* a failure shows when the input ends */
    return 0;
}

/* As etcp_conn_parse, but lets signal handlers run while a large message is being decoded. */
static int parse_or_rest(etcp_conn *c, etcp_event *event)
{
    int rc = etcp_conn_parse(c, event);

    return rc == ETCP_AGAIN ? ETCP_EINTR : rc;
}

/* One attempt to get an event: parses, then reads once. Returns 1, 0 (bytes arrived: go on), or
 * ETCP_AGAIN, ETCP_EINTR, or the code by which the input ended. */
static int receive_once(etcp_conn *c, etcp_event *event, uint8_t *bytes, size_t size)
{
    int rc = parse_or_rest(c, event);

    if (rc != 0)
        return rc;
    if (c->end_code)
        return c->end_code;
    switch (etcp_conn_fill(c, bytes, size)) {
    case ETCP_FILL_MORE:
    case ETCP_FILL_SOME: return 0;
    case ETCP_FILL_NONE: return ETCP_AGAIN;
    case ETCP_FILL_ENDED: break;
    }
    return c->end_code;
}

static int receive_into(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since,
                        etcp_event *event, uint8_t *bytes, size_t size)
{
    int rc = parse_or_rest(c, event);

    if (rc != 0)
        return rc;
    /* A caller who is ready to wait usually has to: asking first saves a read in vain. */
    if (timeout_ms && !c->end_code && (rc = wait_for_input(c, timeout_ms, waited_since)) < 0)
        return rc;
    for (;;) {
        rc = receive_once(c, event, bytes, size);
        if (rc == 0) {
            *waited_since = etcp_clock_ms();
            continue;
        }
        if (rc != ETCP_AGAIN)
            return rc;
        if (timeout_ms == 0)
            return ETCP_ETIMEOUT;
        rc = wait_for_input(c, timeout_ms, waited_since);
        if (rc < 0)
            return rc;
    }
}

/* Kept out of its caller, so that only a receive without a loop needs the stack. */
static int receive_alone(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since,
                         etcp_event *event)
{
    uint8_t bytes[ETCP_CLIENT_SCRATCH_SIZE];
    int rc = receive_into(c, timeout_ms, waited_since, event, bytes, sizeof bytes);

    if (rc == ETCP_EINTR)
        (void)etcp_conn_keep_view(c); /* if that fails, the next call tells */
    return rc == 1 ? keep_event(c, event, bytes, sizeof bytes) : rc;
}

/* What the loop must still do for this connection is noted: parse the rest, which may be a message that
 * is decoded in part, tell that it ended. */
static int receive_in_loop(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since,
                           etcp_event *event)
{
    etcp_scratch *scratch;
    int rc;

    if (timeout_ms)
        etcp_conn_flush_gathered(
            c->entry.loop); /* whoever waits for these replies must not wait with us */
    scratch = etcp_conn_scratch(c);
    rc = receive_into(c, timeout_ms, waited_since, event, scratch->bytes, sizeof scratch->bytes);
    if (etcp_conn_has_view(c) && !c->kept)
        scratch->owner = &c->entry; /* nobody's since the view before was used up */
    if (c->end_code || (rc != ETCP_ETIMEOUT && !etcp_conn_is_at_rest(c)))
        etcp_conn_pend(c);
    return rc;
}

int etcp_conn_receive(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since, etcp_event *event)
{
    etcp_conn_check(c);
    if (c->state == ETCP_CONN_NEGOTIATING)
        return ETCP_EINVAL;
    if (c->state != ETCP_CONN_OPEN)
        return ETCP_ECLOSED;
    return c->entry.loop ? receive_in_loop(c, timeout_ms, waited_since, event)
                         : receive_alone(c, timeout_ms, waited_since, event);
}

/* Reads until the answer is here that a client did not wait for, and no further. */
static int settle_into(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since, uint8_t *bytes,
                       size_t size)
{
    etcp_event event;
    int rc = 0;

    while (rc == 0 && etcp_session_is_early(c->session) && !c->end_code) {
        rc = etcp_session_next(c->session, &c->view, c->view_end, &event);
        if (rc != 0)
            break; /* settled; anything else is an error, which the next receive tells */
        etcp_conn_drop_view(c);
        rc = timeout_ms ? wait_for_input(c, timeout_ms, waited_since) : 0;
        if (rc == 0 && etcp_conn_fill(c, bytes, size) == ETCP_FILL_NONE && !timeout_ms)
            rc = ETCP_ETIMEOUT;
    }
    (void)etcp_conn_keep_view(c);
    return rc < 0 ? rc : 0;
}

static int settle_alone(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since)
{
    uint8_t bytes[ETCP_CLIENT_SCRATCH_SIZE];
    int rc;

    etcp_conn_check(c);
    if (c->gave_up_settling)
        timeout_ms = 0;
    rc = settle_into(c, timeout_ms, waited_since, bytes, sizeof bytes);
    if (timeout_ms && rc == ETCP_ETIMEOUT)
        c->gave_up_settling = 1; /* or a hung server would have every large message wait */
    return rc;
}

int etcp_conn_is_settled(const etcp_conn *c)
{
    return c->state != ETCP_CONN_OPEN || c->entry.loop || !etcp_session_is_early(c->session);
}

/* Asked for before every message: most connections have settled long ago. */
int etcp_conn_settle(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since)
{
    return etcp_conn_is_settled(c) ? 0 : settle_alone(c, timeout_ms, waited_since);
}

int etcp_conn_settle_now(etcp_conn *c)
{
    return etcp_conn_settle(c, 0, NULL);
}

int etcp_conn_has_message(const etcp_conn *c)
{
    return c->state == ETCP_CONN_OPEN && etcp_session_has_packet(c->session, c->view, c->view_end);
}
