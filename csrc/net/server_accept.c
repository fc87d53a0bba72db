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

/* Whoever comes by a Unix-domain socket has no address of its own. */
static int is_counted(const etcp_server *s, const etcp_address *peer)
{
    return s->options.max_clients_per_ip && (peer->family == 4 || peer->family == 6);
}

static int has_too_many(const etcp_server *s, const etcp_address *peer)
{
    return is_counted(s, peer) &&
           etcp_address_count_of(&s->per_ip, peer) >= s->options.max_clients_per_ip;
}

/* Who is connected by a proxy is judged when that has told whom. */
static int is_proxy(const etcp_server *s, const etcp_address *peer)
{
    return etcp_address_list_has(&s->listener.proxies, peer);
}

static etcp_refused judge(const etcp_server *s, const etcp_address *peer)
{
    if (is_full(s))
        return ETCP_REFUSED_FULL;
    if (is_proxy(s, peer))
        return ETCP_NOT_REFUSED;
    if (!etcp_listener_allows(&s->listener, peer))
        return ETCP_REFUSED_ADDRESS;
    return has_too_many(s, peer) ? ETCP_REFUSED_PER_IP : ETCP_NOT_REFUSED;
}

/* Counts c with its address, if that is to be. Returns 0, or ETCP_ENOMEM. */
static int tally(etcp_server *s, etcp_conn *c)
{
    if (!is_counted(s, &c->peer))
        return 0;
    if (!etcp_address_count_add(&s->per_ip, &c->peer))
        return ETCP_ENOMEM;
    c->is_tallied = 1;
    return 0;
}

void etcp_server_discount(etcp_server *s, etcp_conn *c)
{
    if (c->is_tallied)
        etcp_address_count_remove(&s->per_ip, &c->peer);
    c->is_tallied = 0;
}

/* ---- pausing --------------------------------------------------------------------------------- */

static void watch_listener(etcp_server *s, unsigned wanted)
{
    etcp_entry *e = etcp_server_listener_entry(s);

    if (e)
        etcp_loop_watch(e, wanted);
}

static void pause_until(etcp_server *s, uint64_t until_ms)
{
    s->accept_left = 0;
    s->accept_resume_ms = until_ms;
    s->closed_at_pause = s->loop->closed;
    watch_listener(s, 0);
}

/* Accepts again, if that paused for want of something. */
static void resume(etcp_server *s)
{
    if (!s->accept_resume_ms)
        return;
    s->accept_resume_ms = 0;
    if (!s->look_at_ms)
        watch_listener(s, ETCP_POLL_READ);
}

/* A burst of honest clients is better off waiting in the kernel's backlog for the few milliseconds
 * a negotiation takes; somebody who only connects and says nothing would keep everyone out for the
 * whole negotiation timeout. So newcomers wait, but once the oldest negotiation has had its grace
 * it must make room. */
static int is_crowded(const etcp_server *s)
{
    return s->options.max_half_open && etcp_server_negotiating(s) >= s->options.max_half_open;
}

size_t etcp_server_negotiating(const etcp_server *s)
{
    size_t sum = count(s, ETCP_LIST_HALF_OPEN);
    unsigned i;

    for (i = 0; i < ETCP_GUESSES_STEPS; i++)
        sum += count(s, (etcp_list)(ETCP_LIST_WITHHELD + i));
    return sum;
}

/* NULL: all wait for an answer that is delayed, and are not to blame. */
static etcp_conn *oldest_half_open(const etcp_server *s)
{
    etcp_deadline *head = s->loop->lists[ETCP_LIST_HALF_OPEN].head;

    return head ? etcp_conn_of(etcp_entry_at(head)) : NULL;
}

static uint64_t oldest_grace_ends(const etcp_server *s)
{
    etcp_conn *oldest = oldest_half_open(s);

    return oldest ? oldest->entry.place.since_ms + ETCP_HALF_OPEN_GRACE_MS
                  : etcp_clock_ms() + ETCP_ACCEPT_PAUSE_MS;
}

/* ---- passwords ------------------------------------------------------------------------------- */

static int prove(etcp_conn *c)
{
    int rc = etcp_session_prove(c->session);

    if (rc == 0)
        return 0;
    (void)etcp_conn_set_error(c, rc, etcp_session_error(c->session)->text);
    return etcp_conn_end_input(c, rc);
}

/* The answer lets the client test one guess, even if it leaves without another word: it counts as a
 * failure until the client has proved that it was right. */
int etcp_server_answer_guess(etcp_server *s, etcp_conn *c)
{
    uint64_t now = etcp_clock_ms();
    unsigned step;

    if (c->is_withheld)
        return 0;
    c->has_guessed = 1;
    step = etcp_guesses_count(&s->guesses, &c->peer, now);
    if (!step)
        return prove(c);
    c->is_withheld = 1;
    etcp_loop_await(&c->entry, (etcp_list)(ETCP_LIST_WITHHELD + step - 1), now);
    etcp_conn_watch(c);
    return 0;
}

void etcp_server_answer_late(etcp_server *s, etcp_conn *c)
{
    c->is_withheld = 0;
    etcp_loop_await(&c->entry, ETCP_LIST_HALF_OPEN, etcp_clock_ms());
    (void)prove(c);
    (void)etcp_conn_push_session(c);
    etcp_conn_watch(c);
    etcp_server_start_turn(s, c, ETCP_READ_BUDGET);
}

/* ---- sharing a listener with other processes ------------------------------------------------- */

/* A connection wakes every process that waits for one, and whoever runs first gets it: left alone,
 * a process that is running already would get many more than the others. So each looks away for a
 * moment after it has accepted one, and the next is for the others. If the next look finds one
 * waiting nevertheless, all are busy, and it takes twice as many. */
static void end_look(etcp_server *s)
{
    int is_more = s->look_took == s->look_max;

    if (s->look_took && !s->accept_resume_ms) {
        s->look_at_ms = etcp_clock_ms() + ETCP_LOOK_AWAY_MS;
        watch_listener(s, 0);
    } else if (!s->accept_resume_ms) {
        watch_listener(s, ETCP_POLL_READ);
    }
    s->look_max = is_more ? 2 * s->look_max : 1;
    if (s->look_max > ETCP_SHARED_ACCEPT_MAX)
        s->look_max = ETCP_SHARED_ACCEPT_MAX;
    s->look_took = 0;
}

static void look(etcp_server *s)
{
    s->look_at_ms = 0;
    s->look_took = 0;
    s->accept_left = s->look_max;
}

void etcp_server_note_waiting(etcp_server *s)
{
    if (s->accept_resume_ms || s->look_at_ms)
        return;
    s->accept_left = ETCP_ACCEPT_MAX;
    if (!etcp_listener_is_shared(&s->listener))
        return;
    s->look_max = 1;
    look(s);
}

/* Accepts again when a descriptor is free or the pause is over. */
void etcp_server_end_pauses(etcp_server *s)
{
    uint64_t now = etcp_clock_ms();

    if (s->accept_resume_ms &&
        (s->loop->closed != s->closed_at_pause || now >= s->accept_resume_ms))
        resume(s);
    if (s->look_at_ms && now >= s->look_at_ms && !s->accept_resume_ms)
        look(s);
}

uint64_t etcp_server_pause_end(const etcp_server *s)
{
    if (s->accept_resume_ms)
        return s->accept_resume_ms;
    return s->look_at_ms ? s->look_at_ms : UINT64_MAX;
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

    if (etcp_conn_first_session(s->config, s->security, &session) < 0)
        return NULL;
    c = etcp_conn_create(fd, session, &s->options.limits, ETCP_CONN_NEGOTIATING);
    if (!c) {
        etcp_session_free(session);
        return NULL;
    }
    c->security = etcp_security_ref(s->security);
    c->traffic = &s->traffic;
    c->entry.loop = s->loop;
    etcp_conn_watch(c);
    if (c->entry.interest)
        return c;
    c->entry.loop = NULL;
    c->entry.fd = -1; /* still the caller's */
    etcp_conn_free(c);
    return NULL;
}

/* Has c wait for a header first. Returns 0, or ETCP_ENOMEM. */
static int await_header(etcp_conn *c)
{
    c->proxy = etcp_zalloc(sizeof *c->proxy);
    if (!c->proxy)
        return ETCP_ENOMEM;
    c->proxy->address = c->peer;
    c->proxy->header = etcp_zalloc(sizeof *c->proxy->header);
    return c->proxy->header ? 0 : ETCP_ENOMEM;
}

/* Makes a connection of fd, which negotiates. NULL: out of memory, and fd is still the caller's. */
static etcp_conn *take_in(etcp_server *s, int fd, const etcp_address *peer)
{
    etcp_conn *c = new_client(s, fd);

    if (!c)
        return NULL;
    c->peer = *peer;
    c->starting = 1;
    c->brakes = 1;
    if ((is_proxy(s, peer) ? await_header(c) : tally(s, c)) < 0) {
        etcp_conn_unwatch(c);
        c->entry.loop = NULL;
        c->entry.fd = -1;
        etcp_conn_free(c);
        return NULL;
    }
    if (is_crowded(s))
        etcp_conn_finish_closing(oldest_half_open(s));
    etcp_loop_await(&c->entry, ETCP_LIST_HALF_OPEN, etcp_clock_ms());
    return c;
}

/* *c stays NULL if there is nobody, or nobody who may come in. */
static void accept_one(etcp_server *s, etcp_conn **c)
{
    etcp_refused refused;
    etcp_address peer;
    int fd;

    if (is_crowded(s) && oldest_grace_ends(s) > etcp_clock_ms()) {
        pause_until(s, oldest_grace_ends(s));
        return;
    }
    fd = etcp_socket_accept(s->listener.entry.fd, &peer);
    if (fd < 0) {
        accept_failed(s, errno);
        return;
    }
    s->accept_left--;
    s->look_took++;
    s->accepted++;
    refused = judge(s, &peer);
    s->refused[refused]++;
    if (!refused) {
        *c = take_in(s, fd, &peer);
        if (*c)
            return;
        pause_until(s, etcp_clock_ms() + ETCP_ACCEPT_PAUSE_MS);
    }
    etcp_socket_close(fd);
}

int etcp_server_accept(etcp_server *s, etcp_server_event *event)
{
    etcp_conn *c = NULL;

    accept_one(s, &c);
    if (s->accept_left <= 0 && s->look_max)
        end_look(s);
    if (!c)
        return 0;
    (void)etcp_conn_begin(c); /* a failure shows in its turn */
    etcp_server_start_turn(s, c, 0);
    event->type = ETCP_SERVER_ACCEPTED;
    event->conn = c;
    return 1;
}

/* ---- adopting -------------------------------------------------------------------------------- */

static const char *const refusals[ETCP_REFUSALS] = {
    NULL, "there are maxclients clients", "its address may not connect",
    "there are maxclientsperip clients from its address"};

static const char *reason_to_refuse(etcp_server *s, const etcp_address *peer)
{
    etcp_refused refused = judge(s, peer);

    s->refused[refused]++;
    if (!refused && is_crowded(s) && oldest_grace_ends(s) > etcp_clock_ms())
        return "too many clients are negotiating";
    return refusals[refused];
}

int etcp_server_adopt(etcp_server *s, int fd, etcp_conn **conn, etcp_error *error)
{
    const char *reason;
    etcp_address peer;
    etcp_conn *c;
    int copy;

    if (s->finish_at_ms || s->is_finished)
        return etcp_error_set(error, ETCP_ECLOSED, "the server finishes");
    if (!etcp_socket_is_connected(fd))
        return etcp_error_set(error, ETCP_EINVAL, "handle is not a connected socket");
    etcp_socket_peer(fd, &peer);
    s->accepted++;
    reason = reason_to_refuse(s, &peer);
    if (reason)
        return etcp_error_set(error, ETCP_EFULL, "%s", reason);
    copy = etcp_socket_dup(fd);
    if (copy < 0)
        return etcp_error_set_errno(error, errno, "dup");
    c = take_in(s, copy, &peer);
    if (!c) {
        etcp_socket_close(copy);
        return etcp_error_set(error, ETCP_ENOMEM, "out of memory");
    }
    etcp_socket_no_delay(copy);
    (void)etcp_conn_begin(c); /* a failure shows in its turn */
    etcp_conn_pend(c);
    *conn = c;
    return 0;
}

/* ---- proxies --------------------------------------------------------------------------------- */

/* Whom the complete header tells. A proxy that speaks for itself, to see whether we live, counts
 * for no limit: it does so for all its clients. Returns whether it may come in. */
static int admit(etcp_server *s, etcp_conn *c)
{
    const etcp_proxy_header *h = c->proxy->header;

    if (h->family) {
        c->peer.family = h->family;
        c->peer.port = h->port;
        memcpy(c->peer.bytes, h->source, sizeof c->peer.bytes);
        etcp_address_unmap(&c->peer);
    }
    if (!etcp_listener_allows(&s->listener, &c->peer)) {
        s->refused[ETCP_REFUSED_ADDRESS]++;
        return 0;
    }
    if (h->family && has_too_many(s, &c->peer)) {
        s->refused[ETCP_REFUSED_PER_IP]++;
        return 0;
    }
    return !h->family || tally(s, c) == 0;
}

/* Takes from the socket what belongs to the header, and leaves what follows to those whom it is
 * for. Returns as etcp_proxy_header_feed, or ETCP_ECLOSED. */
static int read_header(etcp_conn *c)
{
    uint8_t bytes[ETCP_PROXY_TEXT_MAX];
    int rc;

    do {
        ssize_t n = etcp_socket_peek(c->entry.fd, bytes, sizeof bytes);
        size_t used;

        if (n < 0 && errno == EAGAIN)
            return ETCP_AGAIN;
        if (n <= 0)
            return ETCP_ECLOSED;
        rc = etcp_proxy_header_feed(c->proxy->header, bytes, (size_t)n, &used);
        if (used)
            (void)etcp_socket_read(c->entry.fd, bytes, used);
    } while (rc == ETCP_AGAIN);
    return rc;
}

int etcp_server_take_header(etcp_server *s, etcp_conn *c)
{
    int rc = read_header(c);
    int may_enter;

    if (rc == ETCP_AGAIN)
        return 0;
    if (rc == ETCP_EPROXY) {
        c->heard = 1; /* unlike those who only look whether we live */
        (void)etcp_conn_set_error(c, ETCP_EPROXY, etcp_code_text(ETCP_EPROXY));
    }
    may_enter = rc == 1 && admit(s, c);
    etcp_free(c->proxy->header);
    c->proxy->header = NULL;
    if (!may_enter)
        etcp_conn_finish_closing(c);
    return may_enter;
}

int etcp_server_promote(etcp_server *s, etcp_conn *c)
{
    if (is_full(s)) {
        s->refused[ETCP_REFUSED_FULL]++;
        etcp_conn_close(c);
        return 0;
    }
    if (c->has_guessed && etcp_session_is_authenticated(c->session))
        etcp_guesses_take_back(&s->guesses, &c->peer, etcp_clock_ms());
    etcp_security_unref(c->security);
    c->security = NULL;
    c->state = ETCP_CONN_OPEN;
    etcp_loop_await(&c->entry, ETCP_LIST_CLIENTS, etcp_clock_ms());
    etcp_conn_watch(c);
    resume(s); /* a place among the half-open ones is free */
    return 1;
}
