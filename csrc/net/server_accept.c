/* How connections come in, and which. */
#include "server_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "clock.h"

/* ---- who may connect ------------------------------------------------------------------------- */

static size_t find_allowed(const etcp_server *s, const char *ip)
{
    size_t i;

    for (i = 0; i < s->allowed_count && strcmp(s->allowed[i], ip) != 0; i++)
        ;
    return i;
}

int etcp_server_allow(etcp_server *s, const char *ip)
{
    char **grown;
    char *copy;

    if (find_allowed(s, ip) < s->allowed_count)
        return 0;
    grown = etcp_realloc(s->allowed, (s->allowed_count + 1) * sizeof *grown);
    if (!grown)
        return ETCP_ENOMEM;
    s->allowed = grown;
    copy = etcp_memdup(ip, strlen(ip));
    if (!copy)
        return ETCP_ENOMEM;
    s->allowed[s->allowed_count++] = copy;
    return 0;
}

void etcp_server_disallow(etcp_server *s, const char *ip)
{
    size_t i = find_allowed(s, ip);

    if (i == s->allowed_count)
        return;
    etcp_free(s->allowed[i]);
    s->allowed[i] = s->allowed[--s->allowed_count];
}

static int is_welcome(const etcp_server *s, const etcp_address *peer)
{
    size_t connected =
        s->half_open.count + s->clients.count + s->delivering.count + s->discarding.count;
    char text[64];

    if (s->options.max_clients && connected >= s->options.max_clients)
        return 0;
    return s->allowed_count == 0 ||
           find_allowed(s, etcp_address_text(peer, text, sizeof text)) < s->allowed_count;
}

/* ---- pausing --------------------------------------------------------------------------------- */

static void pause_until(etcp_server *s, uint64_t until_ms)
{
    s->accept_left = 0;
    s->accept_resume_ms = until_ms;
    etcp_server_watch_listener(s, 0);
}

void etcp_server_resume(etcp_server *s)
{
    if (!s->accept_resume_ms)
        return;
    s->accept_resume_ms = 0;
    etcp_server_watch_listener(s, ETCP_POLL_READ);
}

/* A burst of honest clients is better off waiting in the kernel's backlog for the few milliseconds
 * a negotiation takes; somebody who only connects and says nothing would keep everyone out for the
 * whole negotiation timeout. So newcomers wait, but once the oldest negotiation has had its grace
 * it must make room. */
static int is_crowded(const etcp_server *s)
{
    return s->options.max_half_open && s->half_open.count >= s->options.max_half_open;
}

static uint64_t oldest_grace_ends(const etcp_server *s)
{
    return s->half_open.head->since_ms + ETCP_HALF_OPEN_GRACE_MS;
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
    c->server = s;
    etcp_server_watch(c);
    if (c->interest)
        return c;
    c->server = NULL;
    c->fd = -1; /* still the caller's */
    etcp_conn_unref(c);
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
    fd = etcp_socket_accept(s->fd, &peer);
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
        etcp_server_finish_closing(etcp_conn_at(s->half_open.head));
    c->peer = peer;
    c->starting = 1;
    etcp_deadline_start(&s->half_open, &c->place, etcp_clock_ms());
    s->current = c;
    event->type = ETCP_SERVER_ACCEPTED;
    event->conn = c;
    return 1;
}
