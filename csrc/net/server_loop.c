/* The loop: poll notes what is ready, next does one thing at a time and gives out what happened. */
#include "server_private.h"

#include <errno.h>

#include "clock.h"

/* Clients before 0.26 hand out one message for each read: of two that arrive together, the second
 * waits for more traffic (Protocol.pod, "Old peers"). Replies to them leave one by one. */
static const uint32_t first_coalescing_version = ETCP_VERSION(0, 26);

enum { FAST_CALLBACK_US = 100 };

/* ---- between two events ---------------------------------------------------------------------- */

/* Held back output never waits for more than one slow callback, nor for long behind many quick
 * ones. Reading the precise clock costs as much as the rest of a message's way through the core, so
 * that only the first callback of a gathering is timed by it; the cheap clock watches over the
 * others. */
static void note_callback_time(etcp_server *s)
{
    if (s->given_us) {
        s->now_us = etcp_clock_us();
        s->fast = s->now_us - s->given_us < FAST_CALLBACK_US;
        s->given_us = 0;
    }
    if (s->unflushed && s->unflushed->holding &&
        (!s->fast || etcp_clock_cheap_ms() != s->held_since_ms))
        etcp_server_flush(s);
}

static void let_go(etcp_server *s)
{
    etcp_conn *c;

    if ((c = s->ending) != NULL) {
        s->ending = NULL;
        if (c->server == s)
            etcp_conn_close(c);
        etcp_conn_unref(c);
    }
    if ((c = s->forgotten) != NULL) {
        s->forgotten = NULL;
        etcp_session_free(c->session);
        c->session = NULL;
        etcp_conn_unref(c);
    }
}

/* What the event given out last left to be done, now that its receiver has had his turn. */
static void finish_event(etcp_server *s)
{
    s->now_us = 0;
    if (s->given_us || s->unflushed)
        note_callback_time(s);
    if (s->ending || s->forgotten)
        let_go(s);
}

static int give(etcp_server_event *event, etcp_server_event_type type, etcp_conn *c)
{
    event->type = type;
    event->conn = c;
    return 1;
}

static int give_forgotten(etcp_server *s, etcp_server_event *event)
{
    etcp_conn *c;

    if (!s->gone.head)
        return 0;
    c = etcp_conn_at(s->gone.head);
    etcp_deadline_stop(&c->place);
    c->server = NULL;
    s->forgotten = c; /* with the table's reference */
    return give(event, ETCP_SERVER_FORGOTTEN, c);
}

/* ---- one connection's turn ------------------------------------------------------------------- */

static void hold(etcp_server *s, etcp_conn *c)
{
    if (!s->unflushed) {
        s->held_since_ms = etcp_clock_cheap_ms();
        etcp_process_hold(&s->holder);
    }
    s->unflushed = c;
    c->holding = 1;
}

static int give_message(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    int more = etcp_conn_has_view(c) && etcp_conn_has_message(c);

    c->holding = 0;
    if (more && s->options.coalesce) {
        if (!s->unflushed)
            s->given_us = s->now_us ? s->now_us : etcp_clock_us();
        if (s->fast && etcp_session_peer_version(c->session) >= first_coalescing_version)
            hold(s, c);
    }
    return give(event, ETCP_SERVER_MESSAGE, c);
}

static int give_event(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    if (event->message.type == ETCP_EVENT_MESSAGE)
        return give_message(s, c, event);
    etcp_server_promote(c);
    return give(event, ETCP_SERVER_CONNECT, c);
}

/* No more input will come from c. */
static int end_client(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    if (c->state == ETCP_CONN_NEGOTIATING) {
        /* A stranger's rejection was written as far as he reads; nobody waits for him. */
        etcp_output_clear(&c->out);
        etcp_conn_close(c);
        return 0;
    }
    if (c->state != ETCP_CONN_OPEN || c->announced)
        return 0;
    c->announced = 1;
    s->ending = etcp_conn_ref(c);
    return give(event, ETCP_SERVER_DISCONNECT, c);
}

static int may_read(const etcp_conn *c)
{
    return c->budget > 0 && (c->state == ETCP_CONN_OPEN || c->out.len == 0);
}

static void read_some(etcp_conn *c)
{
    etcp_scratch *scratch = etcp_server_scratch(c);

    switch (etcp_conn_fill(c, scratch->bytes, sizeof scratch->bytes)) {
    case ETCP_FILL_MORE: break;
    case ETCP_FILL_SOME:
    case ETCP_FILL_NONE:
    case ETCP_FILL_ENDED: c->budget = 0; break;
    }
}

/* Parses what there is and sends what the session answers. Returns as etcp_conn_parse. */
static int advance(etcp_conn *c, etcp_event *event)
{
    int rc = 0;
    int sent;

    if (!c->end_code || etcp_conn_has_view(c))
        rc = etcp_conn_parse(c, event);
    if (rc > 0 && event->type == ETCP_EVENT_MESSAGE)
        return rc; /* the session spoke last when it became ready */
    sent = etcp_conn_push_session(c);
    if (sent < 0)
        (void)etcp_conn_end(c, sent);
    return rc;
}

/* Most looks at a connection only find that its last message was the last. */
static int is_at_rest(const etcp_conn *c)
{
    return !etcp_conn_has_view(c) && !c->held && etcp_session_is_at_rest(c->session);
}

/* Works for c until it has an event. Returns 1 (*event), or 0: its turn is over. */
static int step(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    etcp_conn_check(c);
    for (;;) {
        if (!is_at_rest(c) && advance(c, &event->message) > 0)
            return give_event(s, c, event);
        if (c->end_code)
            return end_client(s, c, event);
        if (!may_read(c))
            return 0;
        read_some(c);
    }
}

static void end_turn(etcp_server *s)
{
    s->current = NULL;
    if (s->unflushed)
        etcp_server_flush(s);
}

/* ---- choosing whose turn it is --------------------------------------------------------------- */

static void start_turn(etcp_server *s, etcp_conn *c, size_t budget)
{
    s->current = c;
    c->budget = budget;
}

static int next_pending(etcp_server *s)
{
    etcp_conn *c = s->pending;

    if (!c)
        return 0;
    s->pending = c->next_pending;
    if (!s->pending)
        s->last_pending = NULL;
    c->pending = 0;
    if (c->server == s && etcp_conn_is_open(c))
        start_turn(s, c, c->mute ? ETCP_READ_BUDGET : 0);
    else if (c->server == s && c->state != ETCP_CONN_CLOSED)
        etcp_server_go_on_closing(c);
    etcp_conn_unref(c);
    return 1;
}

static void handle_ready(etcp_server *s, etcp_conn *c, unsigned events)
{
    if (c->server != s || c->state == ETCP_CONN_CLOSED)
        return;
    etcp_conn_check(c);
    if (!etcp_conn_is_open(c)) {
        etcp_server_go_on_closing(c);
        return;
    }
    if (events & ETCP_POLL_WRITE)
        (void)etcp_conn_flush(c);
    if (events & ETCP_POLL_READ)
        start_turn(s, c, ETCP_READ_BUDGET);
}

static int next_ready(etcp_server *s)
{
    etcp_ready now;

    if (s->ready_next == s->ready_count)
        return 0;
    now = s->ready[s->ready_next++];
    if (now.tag == s) {
        s->accept_left = s->accept_resume_ms ? 0 : ETCP_ACCEPT_MAX;
        return 1;
    }
    handle_ready(s, now.tag, now.events);
    etcp_conn_unref(now.tag);
    return 1;
}

static void expire_idle(etcp_server *s, etcp_conn *c, uint64_t now_ms)
{
    etcp_deadline_start(&s->clients, &c->place, now_ms);
    (void)etcp_conn_set_error(c, ETCP_ETIMEOUT, "idle for too long");
    (void)etcp_conn_end(c, ETCP_ETIMEOUT);
    start_turn(s, c, 0);
}

static void expire_half_open(etcp_conn *c)
{
    (void)etcp_conn_set_error(c, ETCP_ETIMEOUT, "negotiation took too long");
    etcp_output_clear(&c->out);
    etcp_server_finish_closing(c);
}

static int next_deadline(etcp_server *s)
{
    uint64_t now;
    etcp_deadline *d;

    if (!s->deadlines_due)
        return 0;
    now = etcp_clock_ms();
    if ((d = etcp_deadline_list_expired(&s->half_open, now)) != NULL)
        expire_half_open(etcp_conn_at(d));
    else if ((d = etcp_deadline_list_expired(&s->clients, now)) != NULL)
        expire_idle(s, etcp_conn_at(d), now);
    else if ((d = etcp_deadline_list_expired(&s->delivering, now)) != NULL ||
             (d = etcp_deadline_list_expired(&s->discarding, now)) != NULL)
        etcp_server_closing_expired(etcp_conn_at(d), now);
    else
        s->deadlines_due = 0;
    return 1;
}

int etcp_server_next(etcp_server *s, etcp_server_event *event)
{
    finish_event(s);
    for (;;) {
        if (give_forgotten(s, event))
            return 1;
        if (s->current) {
            if (step(s, s->current, event))
                return 1;
            end_turn(s);
        } else if (s->accept_left > 0) {
            if (etcp_server_accept(s, event))
                return 1;
        } else if (!next_pending(s) && !next_ready(s) && !next_deadline(s)) {
            return 0;
        }
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int noted_work(const etcp_server *s)
{
    return (s->ready_count - s->ready_next) + (s->gone.head != NULL) + (s->current != NULL) +
           (s->pending != NULL) + (s->accept_left > 0) + s->deadlines_due;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_deadline_at(const etcp_server *s)
{
    uint64_t at = etcp_deadline_list_next(&s->half_open);

    at = earlier(at, etcp_deadline_list_next(&s->clients));
    at = earlier(at, etcp_deadline_list_next(&s->delivering));
    return earlier(at, etcp_deadline_list_next(&s->discarding));
}

/* A server that waits for nothing but its peers never asks what time it is. */
static int is_past(uint64_t at)
{
    return at != UINT64_MAX && at <= etcp_clock_ms();
}

static int timeout_until(uint64_t at)
{
    uint64_t now;

    if (at == UINT64_MAX)
        return -1;
    now = etcp_clock_ms();
    return at > now ? etcp_clock_as_timeout(at - now) : 0;
}

/* Notes what the poller says. Returns the number of things to do, or a negative code. */
static int wait_once(etcp_server *s, uint64_t until)
{
    uint64_t deadline = next_deadline_at(s);
    uint64_t wake = earlier(until, deadline);
    int timeout_ms;
    int is_slice;
    int count;
    int i;

    if (s->accept_resume_ms && is_past(s->accept_resume_ms))
        etcp_server_resume(s);
    if (s->accept_resume_ms)
        wake = earlier(wake, s->accept_resume_ms);
    timeout_ms = timeout_until(wake);
    is_slice = timeout_ms < 0 || timeout_ms > ETCP_SLICE_MS;
    count = s->poller->ops->wait(s->poller, is_slice ? ETCP_SLICE_MS : timeout_ms, s->ready,
                                 ETCP_READY_MAX);
    if (count == 0 && is_slice)
        return ETCP_EINTR;
    if (count < 0)
        return errno == EINTR ? ETCP_EINTR : ETCP_ESYSTEM;
    s->ready_next = 0;
    s->ready_count = count;
    for (i = 0; i < count; i++)
        if (s->ready[i].tag != s)
            (void)etcp_conn_ref(s->ready[i].tag);
    s->deadlines_due = is_past(deadline);
    return count + s->deadlines_due;
}

int etcp_server_poll(etcp_server *s, int timeout_ms)
{
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : etcp_clock_ms() + (uint64_t)timeout_ms;
    int rc;

    finish_event(s);
    if (s->unflushed)
        etcp_server_flush(s);
    do {
        rc = noted_work(s);
        if (rc > 0)
            return rc;
        rc = etcp_server_ensure_poller(s);
        if (rc < 0)
            return ETCP_ESYSTEM;
        if (rc > 0 && (rc = noted_work(s)) > 0)
            return rc; /* not every connection could be watched */
        rc = wait_once(s, until);
    } while (rc == 0 && etcp_clock_ms() < until);
    return rc;
}
