/* How connections come in, and which. */
#include "server_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clock.h"

static size_t count(const etcp_server *s, etcp_list list)
{
    return s->loop->lists[list].count;
}

/* Only those count that have finished the negotiation: strangers must not be able to lock others
 * out.
 */
static int is_full(const etcp_server *s)
{
    size_t clients = count(s, ETCP_LIST_CLIENTS) + count(s, ETCP_LIST_DELIVERING);

    return s->options.max_clients && clients >= s->options.max_clients;
}

static int is_welcome(const etcp_server *s, const etcp_address *peer)
{
    return !is_full(s) && etcp_listener_allows(&s->listener, peer);
}

/* ---- pausing --------------------------------------------------------------------------------- */

static void pause_until(etcp_server *s, uint64_t until_ms)
{
    s->accept_left = 0;
    s->accept_resume_ms = until_ms;
    s->closed_at_pause = s->loop->closed;
    etcp_loop_watch(&s->listener.entry, 0);
}

void etcp_server_resume(etcp_server *s)
{
    if (!s->accept_resume_ms)
        return;
    s->accept_resume_ms = 0;
    etcp_loop_watch(&s->listener.entry, ETCP_POLL_READ);
}

/* A burst of honest clients is better off waiting in the kernel's backlog for the few milliseconds
 * a negotiation takes; somebody who only connects and says nothing would keep everyone out for the
 * whole negotiation timeout. So newcomers wait, but once the oldest negotiation has had its grace
 * it must make room. */
static int is_crowded(const etcp_server *s)
{
    return s->options.max_half_open && count(s, ETCP_LIST_HALF_OPEN) >= s->options.max_half_open;
}

static etcp_conn *oldest_half_open(const etcp_server *s)
{
    return etcp_conn_of(etcp_entry_at(s->loop->lists[ETCP_LIST_HALF_OPEN].head));
}

static uint64_t oldest_grace_ends(const etcp_server *s)
{
    return oldest_half_open(s)->entry.place.since_ms + ETCP_HALF_OPEN_GRACE_MS;
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* Linux hands out what already went wrong with a new connection as errors of accept. */
static void accept_failed(etcp_server *s, int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT:
    case EPERM: /* a firewall's */
#ifdef EPROTO
    case EPROTO:
#endif
#ifdef EHOSTDOWN
    case EHOSTDOWN:
#endif
#ifdef ENONET
    case ENONET:
#endif
        s->accept_left--; /* that peer went away; there may be others */
        break;
    case EAGAIN: s->accept_left = 0; break;
    default:
        /* Out of descriptors or memory. Level-triggered readiness would spin until that changes. */
        pause_until(s, etcp_clock_ms() + ETCP_ACCEPT_PAUSE_MS);
        break;
    }
}

static etcp_conn *new_client(etcp_server *s, int fd)
{
    etcp_session *session;
    etcp_conn *c;

    if (etcp_session_new(s->config, &session) < 0)
        return NULL;
    c = etcp_conn_create(fd, session, &s->options.limits, ETCP_CONN_NEGOTIATING);
    if (!c) {
        etcp_session_free(session);
        return NULL;
    }
    c->security = etcp_security_ref(s->security);
    c->entry.loop = s->loop;
    etcp_conn_watch(c);
    if (c->entry.interest)
        return c;
    c->entry.loop = NULL;
    c->entry.fd = -1; /* still the caller's */
    etcp_conn_free(c);
    return NULL;
}

int etcp_server_accept(etcp_server *s, etcp_server_event *event)
{
    etcp_address peer;
    etcp_conn *c;
    int fd;

    if (is_crowded(s) && oldest_grace_ends(s) > etcp_clock_ms()) {
        pause_until(s, oldest_grace_ends(s));
        return 0;
    }
    fd = etcp_socket_accept(s->listener.entry.fd, &peer);
    if (fd < 0) {
        accept_failed(s, errno);
        return 0;
    }
    s->accept_left--;
    if (!is_welcome(s, &peer)) {
        etcp_socket_close(fd);
        return 0;
    }
    c = new_client(s, fd);
    if (!c) {
        etcp_socket_close(fd);
        pause_until(s, etcp_clock_ms() + ETCP_ACCEPT_PAUSE_MS);
        return 0;
    }
    if (is_crowded(s))
        etcp_conn_finish_closing(oldest_half_open(s));
    c->peer = peer;
    c->starting = 1;
    c->brakes = 1;
    etcp_loop_await(&c->entry, ETCP_LIST_HALF_OPEN, etcp_clock_ms());
    etcp_server_start_turn(s, c, 0);
    event->type = ETCP_SERVER_ACCEPTED;
    event->conn = c;
    return 1;
}

int etcp_server_promote(etcp_server *s, etcp_conn *c)
{
    if (is_full(s)) {
        etcp_conn_close(c);
        return 0;
    }
    etcp_security_unref(c->security);
    c->security = NULL;
    c->state = ETCP_CONN_OPEN;
    etcp_loop_await(&c->entry, ETCP_LIST_CLIENTS, etcp_clock_ms());
    etcp_conn_watch(c);
    etcp_server_resume(s); /* a place among the half-open ones is free */
    return 1;
}
