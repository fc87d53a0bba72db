/* Making a client's connection: resolve, connect, negotiate. */
#include "conn_private.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "clock.h"

typedef enum dial_step {
    STEP_RESOLVE,
    STEP_CONNECT,
    STEP_AWAIT,
    STEP_NEGOTIATE,
    STEP_OVER
} dial_step;

struct etcp_dial {
    dial_step step;
    char *host;
    char *port;
    unsigned connect_timeout_ms;
    unsigned negotiation_timeout_ms;
    etcp_config *config;
    etcp_conn_limits limits;

    struct addrinfo *addresses;
    const struct addrinfo *address; /* tried now, or next */
    int fd;
    uint64_t started_ms; /* connecting, later negotiating */
    uint64_t give_up_ms; /* on this address */
    int last_errno;      /* of the last address that failed */

    etcp_conn *conn;
    int is_ready;
    etcp_error error;
};

int etcp_dial_new(const char *host, const char *port, unsigned connect_timeout_ms,
                  unsigned negotiation_timeout_ms, etcp_config *config,
                  const etcp_conn_limits *limits, etcp_dial **out)
{
    etcp_dial *d = etcp_zalloc(sizeof *d);

    if (!d)
        return ETCP_ENOMEM;
    d->fd = -1;
    d->host = etcp_memdup(host, strlen(host));
    d->port = etcp_memdup(port, strlen(port));
    if (!d->host || !d->port) {
        etcp_dial_free(d);
        return ETCP_ENOMEM;
    }
    d->connect_timeout_ms = connect_timeout_ms;
    d->negotiation_timeout_ms = negotiation_timeout_ms;
    d->config = etcp_config_ref(config);
    d->limits = *limits;
    *out = d;
    return 0;
}

static void drop_socket(etcp_dial *d)
{
    if (d->fd >= 0)
        etcp_socket_close(d->fd);
    d->fd = -1;
}

void etcp_dial_free(etcp_dial *d)
{
    if (!d)
        return;
    drop_socket(d);
    etcp_conn_unref(d->conn);
    if (d->addresses)
        freeaddrinfo(d->addresses);
    etcp_config_unref(d->config);
    etcp_free(d->host);
    etcp_free(d->port);
    etcp_free(d);
}

etcp_dial_phase etcp_dial_phase_of(const etcp_dial *d)
{
    return d->conn ? ETCP_DIAL_NEGOTIATING : ETCP_DIAL_CONNECTING;
}

const etcp_error *etcp_dial_error(const etcp_dial *d)
{
    return &d->error;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Users have always seen "Invalid argument" for names that do not exist. */
static int resolve(etcp_dial *d)
{
    if (etcp_socket_resolve(d->host, d->port, AF_UNSPEC, &d->addresses) < 0)
        return etcp_error_set_errno(&d->error, EINVAL, "resolve");
    d->address = d->addresses;
    d->started_ms = etcp_clock_ms();
    d->step = STEP_CONNECT;
    return 0;
}

/* Each address gets an equal share of the time that is left: one that never answers must not use up
 * that of the next. */
static uint64_t share_of_time(const etcp_dial *d, uint64_t now)
{
    uint64_t left = etcp_clock_left(d->started_ms, d->connect_timeout_ms, now);
    const struct addrinfo *a;
    uint64_t count = 0;

    for (a = d->address; a; a = a->ai_next)
        count++;
    return count ? left / count : left;
}

static int try_next_address(etcp_dial *d, int error)
{
    drop_socket(d);
    d->last_errno = error;
    d->address = d->address->ai_next;
    d->step = STEP_CONNECT;
    return 0;
}

static int start_connect(etcp_dial *d)
{
    uint64_t now = etcp_clock_ms();
    int rc;

    if (!d->address)
        return etcp_error_set_errno(&d->error, d->last_errno, "connect");
    if (d->connect_timeout_ms && !etcp_clock_left(d->started_ms, d->connect_timeout_ms, now))
        return etcp_error_set_errno(&d->error, ETIMEDOUT, "connect");
    d->fd = etcp_socket_new(d->address->ai_family);
    if (d->fd < 0)
        return try_next_address(d, errno);
    etcp_socket_no_delay(d->fd);
    d->give_up_ms = now + share_of_time(d, now);
    rc = etcp_sys->connect(d->fd, d->address->ai_addr, d->address->ai_addrlen);
    /* Interrupted or not, the kernel goes on connecting: only waiting tells how it ended. */
    if (rc < 0 && errno != EINPROGRESS && errno != EINTR)
        return try_next_address(d, errno);
    d->step = STEP_AWAIT;
    return 0;
}

static int start_negotiation(etcp_dial *d)
{
    etcp_session *session;
    int rc = etcp_session_new(d->config, &session);

    if (rc < 0)
        return etcp_error_set(&d->error, rc, "%s", etcp_code_text(rc));
    etcp_socket_blocking(d->fd); /* as users of the handle expect; we never rely on the mode */
    d->conn = etcp_conn_create(d->fd, session, &d->limits, ETCP_CONN_NEGOTIATING);
    if (!d->conn) {
        etcp_session_free(session);
        return etcp_error_set(&d->error, ETCP_ENOMEM, "%s", etcp_code_text(ETCP_ENOMEM));
    }
    etcp_socket_peer(d->fd, &d->conn->peer);
    d->fd = -1;
    d->started_ms = etcp_clock_ms();
    d->step = STEP_NEGOTIATE;
    return 0;
}

static int await_connect(etcp_dial *d)
{
    int timeout = -1;
    int ready;
    int error;

    if (d->connect_timeout_ms) {
        uint64_t now = etcp_clock_ms();
        timeout = d->give_up_ms > now ? etcp_clock_as_timeout(d->give_up_ms - now) : 0;
    }
    ready = etcp_socket_wait(d->fd, POLLOUT, timeout);
    if (ready < 0 && errno == EINTR)
        return ETCP_EINTR;
    if (ready < 0)
        return try_next_address(d, errno);
    if (ready == 0)
        return try_next_address(d, ETIMEDOUT);
    error = etcp_socket_pending_error(d->fd);
    return error ? try_next_address(d, error) : start_negotiation(d);
}

/* ---- negotiating ----------------------------------------------------------------------------- */

static int fail_with_conn_error(etcp_dial *d, int code)
{
    d->error = *etcp_conn_error(d->conn);
    return d->error.code ? d->error.code
                         : etcp_error_set(&d->error, code, "%s", etcp_code_text(code));
}

static int timed_out(etcp_dial *d)
{
    return etcp_error_set(&d->error, ETCP_ETIMEOUT, "Timed out waiting to receive data");
}

/* Waits until the server says something or reads what we say. Returns 0, ETCP_EINTR, or an error.
 */
static int await_server(etcp_dial *d)
{
    etcp_conn *c = d->conn;
    short events = (short)((c->out.len ? POLLOUT : 0) | (d->is_ready ? 0 : POLLIN));
    int timeout = -1;
    int ready;

    if (d->negotiation_timeout_ms) {
        uint64_t left = etcp_clock_left(d->started_ms, d->negotiation_timeout_ms, etcp_clock_ms());

        if (left == 0)
            return timed_out(d);
        timeout = etcp_clock_as_timeout(left);
    }
    ready = etcp_socket_wait(c->entry.fd, events, timeout);
    if (ready < 0 && errno == EINTR)
        return ETCP_EINTR;
    if (ready < 0)
        return etcp_error_set_errno(&d->error, errno, "poll");
    return ready == 0 ? timed_out(d) : 0;
}

/* Parses everything that has arrived up to READY, answering. Returns 0 or an error. */
static int parse_and_answer(etcp_dial *d)
{
    etcp_conn *c = d->conn;
    etcp_event event;
    int rc = etcp_conn_parse(c, &event);
    int gap = etcp_session_wants_gap(c->session);
    int sent = etcp_conn_push_session(c); /* a rejection the server should hear, too */

    if (rc < 0)
        return fail_with_conn_error(d, rc);
    if (sent < 0)
        return fail_with_conn_error(d, sent);
    if (rc > 0 && event.type == ETCP_EVENT_READY) {
        d->is_ready = 1;
        c->gap_since_ms = gap ? etcp_clock_ms() : 0;
    }
    return 0;
}

/* Reads once and works on it; what follows READY in the same read is kept. */
static int read_and_answer(etcp_dial *d)
{
    uint8_t bytes[ETCP_CLIENT_SCRATCH_SIZE];
    etcp_conn *c = d->conn;
    int rc;

    if (etcp_conn_fill(c, bytes, sizeof bytes) == ETCP_FILL_ENDED)
        return fail_with_conn_error(d, c->end_code);
    rc = parse_and_answer(d);
    if (rc < 0)
        return rc;
    return etcp_conn_keep_view(c) < 0 ? fail_with_conn_error(d, ETCP_ENOMEM) : 0;
}

static int finish(etcp_dial *d, etcp_conn **out)
{
    etcp_conn *c = d->conn;

    c->state = ETCP_CONN_OPEN;
    if (c->gap_since_ms)
        c->gap_since_ms = etcp_clock_ms(); /* EN has left only now */
    d->conn = NULL;
    d->step = STEP_OVER;
    *out = c;
    return 0;
}

static int negotiate(etcp_dial *d)
{
    int rc = 0;

    if (d->conn->out.len)
        (void)etcp_conn_flush(d->conn);
    else if (!d->is_ready)
        rc = read_and_answer(d);
    if (rc < 0)
        return rc;
    if (d->conn->output_ended)
        return fail_with_conn_error(d, ETCP_ESYSTEM);
    return d->is_ready && d->conn->out.len == 0 ? 0 : await_server(d);
}

int etcp_dial_step(etcp_dial *d, etcp_conn **out)
{
    int rc = 0;

    while (rc == 0) {
        switch (d->step) {
        case STEP_RESOLVE: rc = resolve(d); break;
        case STEP_CONNECT: rc = start_connect(d); break;
        case STEP_AWAIT: rc = await_connect(d); break;
        case STEP_NEGOTIATE:
            rc = negotiate(d);
            if (rc == 0 && d->is_ready && d->conn->out.len == 0)
                return finish(d, out);
            break;
        case STEP_OVER: return d->error.code ? d->error.code : ETCP_EINVAL;
        }
    }
    if (rc != ETCP_EINTR)
        d->step = STEP_OVER;
    return rc;
}
