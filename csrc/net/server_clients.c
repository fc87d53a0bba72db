/* What a server does with single connections: watching, closing, forgetting. */
#include "server_private.h"

#include <errno.h>

#include "clock.h"

/* ---- the poller ------------------------------------------------------------------------------ */

static unsigned wanted(const etcp_conn *c)
{
    switch ((etcp_conn_state)c->state) {
    case ETCP_CONN_NEGOTIATING:
        /* A peer that does not read its commands is not read either: it cannot make us pile up
         * more. */
        return c->out.len ? ETCP_POLL_WRITE : ETCP_POLL_READ;
    case ETCP_CONN_OPEN:
        return (c->end_code ? 0u : (unsigned)ETCP_POLL_READ) |
               (c->blocked ? (unsigned)ETCP_POLL_WRITE : 0u);
    case ETCP_CONN_DELIVERING: return ETCP_POLL_WRITE;
    case ETCP_CONN_DISCARDING: return ETCP_POLL_READ;
    case ETCP_CONN_CLOSED: break;
    }
    return 0;
}

static int is_poller_usable(const etcp_server *s)
{
    return s->poller && !s->rebuild && s->generation == etcp_process_generation();
}

static void watch_for(etcp_conn *c, unsigned interest)
{
    etcp_server *s = c->server;

    if (interest == c->interest || !is_poller_usable(s))
        return;
    /* A number whose socket is gone may belong to another connection by now: hands off. */
    if (!etcp_conn_has_socket(c) ||
        s->poller->ops->set(s->poller, c->fd, c->interest, interest, c) < 0)
        s->rebuild = 1;
    else
        c->interest = (uint8_t)interest;
}

void etcp_server_watch(etcp_conn *c)
{
    watch_for(c, wanted(c));
}

void etcp_server_watch_listener(etcp_server *s, unsigned interest)
{
    if (interest == s->interest || !is_poller_usable(s))
        return;
    if (s->poller->ops->set(s->poller, s->fd, s->interest, interest, s) < 0)
        s->rebuild = 1;
    else
        s->interest = interest;
}

static void rewatch_list(etcp_deadline_list *l)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = l->head; d; d = next) {
        etcp_conn *c = etcp_conn_at(d);

        next = d->next;
        c->interest = 0;
        etcp_conn_check(c);
        if (!etcp_conn_is_open(c) && !etcp_conn_is_sole_owner(c) && c->mute) {
            etcp_server_finish_closing(c); /* the parent delivers what it had queued */
            continue;
        }
        etcp_server_watch(c);
        if (!c->server->rebuild)
            continue;
        /* This one cannot be watched: it ends, and the others go on. */
        c->server->rebuild = 0;
        (void)etcp_conn_set_errno(c, errno, "poller");
        (void)etcp_conn_end(c, ETCP_ESYSTEM);
        etcp_server_pend(c);
    }
}

int etcp_server_ensure_poller(etcp_server *s)
{
    if (is_poller_usable(s))
        return 0;
    if (s->poller && s->generation != etcp_process_generation())
        s->poller->ops->abandon(s->poller);
    else if (s->poller)
        s->poller->ops->destroy(s->poller);
    s->poller = etcp_poller_new();
    if (!s->poller)
        return -1;
    s->generation = etcp_process_generation();
    s->rebuild = 0;
    s->interest = 0;
    etcp_server_watch_listener(s, s->accept_resume_ms ? 0 : ETCP_POLL_READ);
    if (s->rebuild)
        return -1;
    rewatch_list(&s->half_open);
    rewatch_list(&s->clients);
    rewatch_list(&s->delivering);
    rewatch_list(&s->discarding);
    return 1;
}

/* ---- notes for the loop ---------------------------------------------------------------------- */

void etcp_server_pend(etcp_conn *c)
{
    etcp_server *s = c->server;

    if (!s || c->pending)
        return;
    c->pending = 1;
    c->next_pending = NULL;
    (void)etcp_conn_ref(c);
    if (s->last_pending)
        s->last_pending->next_pending = c;
    else
        s->pending = c;
    s->last_pending = c;
}

void etcp_server_flush(etcp_server *s)
{
    etcp_conn *c = s->unflushed;

    if (!c)
        return;
    s->unflushed = NULL;
    c->holding = 0;
    etcp_process_forget(&s->holder);
    (void)etcp_conn_flush(c); /* a failure is noted for the loop */
}

etcp_scratch *etcp_server_scratch(etcp_conn *c)
{
    etcp_scratch *scratch = c->server->scratch;
    etcp_conn *owner = scratch->owner;

    if (owner && owner != c) {
        (void)etcp_conn_keep_view(owner);
        if (etcp_conn_has_view(owner) || owner->end_code)
            etcp_server_pend(owner);
    }
    scratch->owner = c;
    return scratch;
}

void etcp_server_scratch_left(etcp_conn *c)
{
    if (c->server->scratch->owner == c)
        c->server->scratch->owner = NULL;
}

void etcp_server_touch(etcp_conn *c)
{
    etcp_server *s = c->server;

    if (s->clients.timeout_ms && c->place.list == &s->clients)
        etcp_deadline_start(&s->clients, &c->place, etcp_clock_ms());
}

void etcp_server_promote(etcp_conn *c)
{
    c->state = ETCP_CONN_OPEN;
    etcp_deadline_start(&c->server->clients, &c->place, etcp_clock_ms());
    etcp_server_watch(c);
    etcp_server_resume(c->server); /* a place among the half-open ones is free */
}

/* ---- closing --------------------------------------------------------------------------------- */

/* The loop stops working for c. */
static void leave_loop(etcp_conn *c)
{
    etcp_server *s = c->server;

    if (s->unflushed == c)
        etcp_server_flush(s);
    if (s->current == c)
        s->current = NULL;
    etcp_conn_drop_view(c);
}

void etcp_server_finish_closing(etcp_conn *c)
{
    etcp_server *s = c->server;

    leave_loop(c);
    watch_for(c, 0);
    etcp_deadline_start(&s->gone, &c->place, 0);
    etcp_conn_release_fd(c);
    etcp_server_resume(s); /* a descriptor is free */
}

/* A socket that is closed while input is unread, or that gets more input afterwards, is reset, and
 * a reset destroys what the peer's kernel has not acknowledged yet: the answer before the close. So
 * where that may happen only the sending side is shut down, and input is thrown away for a while.
 * Not when the peer has closed too, and never when another process or thread has the socket:
 * shutdown(2) would end its conversation. */
static int wants_discarding(const etcp_conn *c)
{
    if (c->end_code == ETCP_ECLOSED || c->end_code == ETCP_ESYSTEM || c->mute)
        return 0;
    if (!c->limits.linger_ms || !etcp_conn_is_sole_owner(c))
        return 0;
    return etcp_sys->unread(c->fd) > 0 || etcp_sys->unacked(c->fd) > 0;
}

static int wants_delivering(const etcp_conn *c)
{
    return c->out.len > 0 && !c->mute && c->limits.linger_ms;
}

/* The owner of the handle sees it closed now; delivery goes on with a duplicate. Returns 0 or -1.
 */
static int take_back_descriptor(etcp_conn *c)
{
    void (*on_close)(void *owner) = c->on_close;
    int fd;

    if (!on_close)
        return 0;
    fd = etcp_conn_has_socket(c) ? etcp_socket_dup(c->fd) : -1;
    if (fd < 0)
        return -1;
    watch_for(c, 0);
    c->fd = fd;
    c->on_close = NULL;
    on_close(c->on_close_owner);
    return 0;
}

static void start_discarding(etcp_conn *c)
{
    etcp_server *s = c->server;

    if (etcp_sys->shutdown(c->fd, SHUT_WR) < 0) {
        etcp_server_finish_closing(c);
        return;
    }
    c->state = ETCP_CONN_DISCARDING;
    etcp_deadline_start(&s->discarding, &c->place, etcp_clock_ms());
    etcp_server_watch(c);
}

static void start_delivering(etcp_conn *c)
{
    c->state = ETCP_CONN_DELIVERING;
    etcp_deadline_start(&c->server->delivering, &c->place, etcp_clock_ms());
    etcp_server_watch(c);
}

void etcp_server_close_client(etcp_conn *c)
{
    if (!etcp_conn_is_open(c))
        return;
    (void)etcp_conn_ref(c);
    leave_loop(c);
    (void)etcp_conn_flush(c);
    c->closing_since_ms = etcp_clock_ms();
    if (wants_delivering(c) && take_back_descriptor(c) == 0)
        start_delivering(c);
    else if (wants_discarding(c) && take_back_descriptor(c) == 0)
        start_discarding(c);
    else
        etcp_server_finish_closing(c);
    etcp_conn_unref(c);
}

void etcp_server_abandon_client(etcp_conn *c)
{
    etcp_output_clear(&c->out);
    etcp_server_finish_closing(c);
}

void etcp_server_go_on_closing(etcp_conn *c)
{
    if (c->state == ETCP_CONN_DISCARDING) {
        if (!etcp_conn_discard(c))
            etcp_server_finish_closing(c);
        return;
    }
    (void)etcp_conn_flush(c);
    if (c->out.len > 0)
        return;
    if (wants_discarding(c))
        start_discarding(c);
    else
        etcp_server_finish_closing(c);
}

void etcp_server_closing_expired(etcp_conn *c, uint64_t now_ms)
{
    int is_late = !etcp_clock_left(c->closing_since_ms, c->limits.linger_ms, now_ms);

    /* The peer neither closes nor sends. As long as its kernel has not got everything that may be
     * because it is slow. */
    if (c->state == ETCP_CONN_DISCARDING && !is_late && etcp_sys->unacked(c->fd) > 0)
        etcp_deadline_start(&c->server->discarding, &c->place, now_ms);
    else
        etcp_server_finish_closing(c);
}

/* ---- all of them ----------------------------------------------------------------------------- */

void etcp_server_each_client(etcp_server *s, void (*each)(etcp_conn *conn, void *arg), void *arg)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = s->clients.head; d; d = next) {
        next = d->next;
        each(etcp_conn_at(d), arg);
    }
}

enum { DRAIN_AT_ONCE = 64 };

/* Flushes every connection of l; notes up to DRAIN_AT_ONCE that are still behind. Returns how many
 * are noted in all. */
static nfds_t flush_list(etcp_deadline_list *l, struct pollfd *behind, nfds_t count)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = l->head; d; d = next) {
        etcp_conn *c = etcp_conn_at(d);

        next = d->next;
        etcp_conn_check(c);
        (void)etcp_conn_flush(c);
        if (c->out.len == 0 || count == DRAIN_AT_ONCE)
            continue;
        behind[count].fd = c->fd;
        behind[count].events = POLLOUT;
        behind[count++].revents = 0;
    }
    return count;
}

int etcp_server_drain(etcp_server *s, unsigned timeout_ms, uint64_t *waited_since)
{
    enum { LOOK_AGAIN_MS = 100 }; /* at those that were not noted */
    struct pollfd behind[DRAIN_AT_ONCE];

    etcp_server_flush(s);
    for (;;) {
        nfds_t count = flush_list(&s->clients, behind, 0);
        uint64_t now = etcp_clock_ms();
        uint64_t left;

        count = flush_list(&s->delivering, behind, count);
        if (count == 0)
            return 0;
        if (!*waited_since)
            *waited_since = now;
        left = etcp_clock_left(*waited_since, timeout_ms, now);
        if (left == 0)
            return ETCP_ETIMEOUT;
        if (count == DRAIN_AT_ONCE && left > LOOK_AGAIN_MS)
            left = LOOK_AGAIN_MS;
        if (etcp_sys->poll(behind, count, etcp_clock_as_timeout(left)) < 0 && errno == EINTR)
            return ETCP_EINTR;
    }
}
