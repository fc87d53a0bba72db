#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "clock.h"
#include "conn_private.h"
#include "spoken.h"
#include "local_socket.h"

typedef enum dial_step {
    STEP_BEGIN,
    STEP_GIVEN, /* a connected socket */
    STEP_CONNECT,
    STEP_AWAIT,
    STEP_NEGOTIATE,
    STEP_OVER
} dial_step;

struct etcp_dial {
    dial_step step;
    char *host; /* NULL: port is the path of a Unix-domain socket */
    char *port;
    unsigned connect_timeout_ms;
    unsigned negotiation_timeout_ms;
    etcp_config *config;
    etcp_conn_limits limits;
    etcp_tls *tls;  /* NULL: none */
    char *tls_name; /* NULL: host */
    int waits_for_answer;
    int has_retried;

    struct addrinfo *addresses;
    const struct addrinfo *address; /* tried now, or next */
    struct addrinfo local_info;     /* what address points to, if it is a path */
    struct sockaddr_un local;
    int fd;
    uint64_t started_ms; /* connecting */
    uint64_t until_ms;   /* for this address, later for the negotiation; UINT64_MAX: for ever */
    int last_errno;      /* of the last address that failed */

    etcp_conn *conn; /* NULL until it negotiates */
    etcp_error error;
};

static etcp_dial *create(const char *host, const char *port, unsigned negotiation_timeout_ms,
                         etcp_config *config, const etcp_conn_limits *limits)
{
    etcp_dial *d = etcp_zalloc(sizeof *d);

    if (!d)
        return NULL;
    d->fd = -1;
    d->host = host ? etcp_memdup(host, strlen(host)) : NULL;
    d->port = etcp_memdup(port, strlen(port));
    if ((host && !d->host) || !d->port) {
        etcp_dial_free(d);
        return NULL;
    }
    d->negotiation_timeout_ms = negotiation_timeout_ms;
    d->config = etcp_config_ref(config);
    d->limits = *limits;
    return d;
}

int etcp_dial_new(const char *host, const char *port, unsigned connect_timeout_ms,
                  unsigned negotiation_timeout_ms, etcp_config *config,
                  const etcp_conn_limits *limits, etcp_dial **out)
{
    etcp_dial *d = create(host, port, negotiation_timeout_ms, config, limits);

    if (!d)
        return ETCP_ENOMEM;
    d->connect_timeout_ms = connect_timeout_ms;
    *out = d;
    return 0;
}

int etcp_dial_new_on(int fd, unsigned negotiation_timeout_ms, etcp_config *config,
                     const etcp_conn_limits *limits, etcp_dial **out)
{
    etcp_address peer;
    char host[64];
    etcp_dial *d;

    if (!etcp_socket_is_connected(fd))
        return ETCP_EINVAL;
    etcp_socket_peer(fd, &peer);
    d = create(etcp_address_text(&peer, host, sizeof host), "", negotiation_timeout_ms, config,
               limits);
    if (!d)
        return ETCP_ENOMEM;
    d->fd = etcp_socket_dup(fd);
    if (d->fd < 0) {
        etcp_dial_free(d);
        return ETCP_ESYSTEM;
    }
    etcp_socket_no_delay(d->fd);
    *out = d;
    return 0;
}

int etcp_dial_secure(etcp_dial *d, etcp_tls *tls, const char *name)
{
    d->tls_name = name ? etcp_memdup(name, strlen(name)) : NULL;
    d->tls = etcp_tls_ref(tls);
    return name && !d->tls_name ? ETCP_ENOMEM : 0;
}

void etcp_dial_wait_for_answer(etcp_dial *d)
{
    d->waits_for_answer = 1;
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
    etcp_tls_unref(d->tls);
    etcp_free(d->tls_name);
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
    d->until_ms = d->connect_timeout_ms ? now + share_of_time(d, now) : UINT64_MAX;
    rc = etcp_sys->connect(d->fd, d->address->ai_addr, d->address->ai_addrlen);
    /* Interrupted or not, the kernel goes on connecting: only waiting tells how it ended. */
    if (rc < 0 && errno != EINPROGRESS && errno != EINTR)
        return try_next_address(d, errno);
    d->step = STEP_AWAIT;
    return 0;
}

/* Under which a server's key is noted: lower case, the port as a number, brackets around IPv6; or
 * the path as it is. */
static void make_endpoint(const etcp_dial *d, unsigned port, char *text, size_t size)
{
    int is_ipv6 = d->host && strchr(d->host, ':') != NULL;
    char *at;

    if (!d->host) {
        (void)snprintf(text, size, "unix:%s", d->port);
        return;
    }
    (void)snprintf(text, size, is_ipv6 ? "[%s]:%u" : "%s:%u", d->host, port);
    for (at = text; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
}

/* A Unix-domain socket that was given has no name that tells its server from others. */
static int is_nameless(const etcp_dial *d, const etcp_address *peer)
{
    return d->host && peer->family == ETCP_FAMILY_UNIX;
}

/* What the connection will know of TLS. Whom this process spoke TLS with lately must go on so. */
static int make_security(etcp_dial *d, const etcp_address *peer, etcp_security **out)
{
    const char *name = d->host ? d->host : "localhost";
    char endpoint[320];

    *out = NULL;
    if (!d->tls)
        return 0;
    make_endpoint(d, peer->port, endpoint, sizeof endpoint);
    d->config->flags &= ~(unsigned)ETCP_SPOKE_TLS; /* of an earlier attempt, which may be long ago */
    if (!is_nameless(d, peer) && etcp_spoken_lately(endpoint, etcp_clock_ms()))
        d->config->flags |= ETCP_SPOKE_TLS;
    *out = etcp_security_new(d->tls, d->tls_name ? d->tls_name : name, endpoint);
    return *out ? 0 : ETCP_ENOMEM;
}

/* Makes the connection, which takes over the descriptor. */
static int make_conn(etcp_dial *d)
{
    etcp_security *security;
    etcp_session *session;
    etcp_address peer;
    int rc;

    etcp_socket_peer(d->fd, &peer);
    rc = make_security(d, &peer, &security);
    if (rc == 0)
        rc = etcp_conn_first_session(d->config, security, &session);
    if (rc < 0) {
        etcp_security_unref(security);
        return rc;
    }
    d->conn = etcp_conn_create(d->fd, session, &d->limits, ETCP_CONN_NEGOTIATING);
    if (!d->conn) {
        etcp_session_free(session);
        etcp_security_unref(security);
        return ETCP_ENOMEM;
    }
    etcp_conn_count_alone(d->conn);
    d->conn->peer = peer;
    d->conn->security = security;
    d->conn->waits_for_answer = d->waits_for_answer != 0;
    d->fd = -1;
    rc = etcp_conn_begin(d->conn);
    if (rc < 0)
        d->error = *etcp_conn_error(d->conn);
    return rc;
}

static int start_negotiation(etcp_dial *d)
{
    int rc;

    if (d->step != STEP_GIVEN)
        etcp_socket_blocking(d->fd); /* as users of the handle expect; we never rely on the mode */
    rc = make_conn(d);
    if (rc < 0)
        return d->error.code ? rc : etcp_error_set(&d->error, rc, "%s", etcp_code_text(rc));
    d->until_ms = UINT64_MAX;
    if (d->negotiation_timeout_ms)
        d->until_ms = etcp_clock_ms() + d->negotiation_timeout_ms;
    d->step = STEP_NEGOTIATE;
    return 0;
}

static int is_late(const etcp_dial *d)
{
    return d->until_ms != UINT64_MAX && etcp_clock_ms() >= d->until_ms;
}

/* Looks how the attempt to connect goes. */
static int check_connect(etcp_dial *d)
{
    int ready = etcp_socket_wait(d->fd, POLLOUT, 0);
    int error;

    if (ready < 0 && errno != EINTR)
        return try_next_address(d, errno);
    if (ready <= 0)
        return is_late(d) ? try_next_address(d, ETIMEDOUT) : ETCP_AGAIN;
    error = etcp_socket_pending_error(d->fd);
    return error ? try_next_address(d, error) : start_negotiation(d);
}

/* ---- negotiating ----------------------------------------------------------------------------- */

/* Returns 1 (ready), ETCP_AGAIN, or an error. */
static int negotiate(etcp_dial *d)
{
    int rc = etcp_conn_negotiate(d->conn);

    if (rc == ETCP_AGAIN && is_late(d))
        return etcp_error_set(&d->error, ETCP_ETIMEOUT, "Timed out waiting to receive data");
    if (rc == ETCP_AGAIN || rc > 0)
        return rc;
    d->error = *etcp_conn_error(d->conn);
    return d->error.code ? d->error.code : etcp_error_set(&d->error, rc, "%s", etcp_code_text(rc));
}

/* ---- the whole way --------------------------------------------------------------------------- */

/* errno is EINVAL for names that do not exist, as it always was; the text says what is wrong. */
static int not_resolved(etcp_dial *d, int code)
{
    d->step = STEP_OVER;
    if (code == EAI_SYSTEM)
        return etcp_error_set_errno(&d->error, errno, "getaddrinfo");
    (void)etcp_error_set(&d->error, ETCP_EINVAL, "%s", gai_strerror(code));
    d->error.sys_errno = EINVAL;
    return ETCP_EINVAL;
}

static const struct addrinfo *first_address(const etcp_dial *d)
{
    return d->local_info.ai_addrlen ? &d->local_info : d->addresses;
}

static int find_path(etcp_dial *d)
{
    d->local_info.ai_family = AF_UNIX;
    d->local_info.ai_addrlen = etcp_local_socket_address(d->port, &d->local);
    d->local_info.ai_addr = (struct sockaddr *)(void *)&d->local;
    d->address = first_address(d);
    if (d->local_info.ai_addrlen)
        return 0;
    d->step = STEP_OVER;
    return etcp_error_set_errno(&d->error, errno, "connect");
}

static int find_host(etcp_dial *d)
{
    int code = etcp_socket_resolve(d->host, d->port, AF_UNSPEC, &d->addresses);

    if (code != 0)
        return not_resolved(d, code);
    d->address = first_address(d);
    return 0;
}

int etcp_dial_begin(etcp_dial *d)
{
    int rc;

    if (d->fd >= 0) {
        d->step = STEP_GIVEN;
        return 0;
    }
    rc = d->host ? find_host(d) : find_path(d);
    if (rc < 0)
        return rc;
    d->started_ms = etcp_clock_ms();
    d->step = STEP_CONNECT;
    return 0;
}

int etcp_dial_continue(etcp_dial *d, etcp_conn **out)
{
    int rc = 0;

    while (rc == 0) {
        switch (d->step) {
        case STEP_GIVEN: rc = start_negotiation(d); break;
        case STEP_CONNECT: rc = start_connect(d); break;
        case STEP_AWAIT: rc = check_connect(d); break;
        case STEP_NEGOTIATE: rc = negotiate(d); break;
        case STEP_BEGIN:
        case STEP_OVER: return d->error.code ? d->error.code : ETCP_EINVAL;
        }
    }
    if (rc == ETCP_AGAIN)
        return rc;
    d->step = STEP_OVER;
    if (rc < 0)
        return rc;
    *out = d->conn;
    d->conn = NULL;
    return 0;
}

int etcp_dial_give_up(etcp_dial *d, int error)
{
    d->step = STEP_OVER;
    return etcp_error_set_errno(&d->error, error, "poll");
}

void etcp_dial_close(etcp_dial *d)
{
    drop_socket(d);
    if (d->conn)
        etcp_conn_abandon(d->conn); /* which never waits */
}

void etcp_dial_again(etcp_dial *d)
{
    etcp_dial_close(d);
    etcp_conn_unref(d->conn);
    d->conn = NULL;
    memset(&d->error, 0, sizeof d->error);
    d->last_errno = 0;
    d->address = first_address(d);
    d->started_ms = etcp_clock_ms();
    d->step = d->address ? STEP_CONNECT : STEP_OVER;
}

int etcp_dial_retry(etcp_dial *d)
{
    if (d->has_retried || !d->conn || !first_address(d) ||
        !etcp_session_was_chance(etcp_conn_session(d->conn)))
        return 0;
    d->has_retried = 1;
    etcp_dial_again(d);
    return 1;
}

etcp_dial_want etcp_dial_wants(const etcp_dial *d)
{
    etcp_dial_want want;

    want.fd = d->conn ? d->conn->entry.fd : d->fd;
    want.events = d->conn ? etcp_conn_negotiation_wants(d->conn) : (unsigned)ETCP_POLL_WRITE;
    want.until_ms = d->until_ms;
    return want;
}

/* Waits for what the attempt wants. Returns 0, ETCP_EINTR or an error. */
static int await(etcp_dial *d)
{
    etcp_dial_want want = etcp_dial_wants(d);
    short events = (short)((want.events & ETCP_POLL_READ ? POLLIN : 0) |
                           (want.events & ETCP_POLL_WRITE ? POLLOUT : 0));
    int timeout = -1;

    if (want.until_ms != UINT64_MAX) {
        uint64_t now = etcp_clock_ms();
        timeout = want.until_ms > now ? etcp_clock_as_timeout(want.until_ms - now) : 0;
    }
    if (etcp_socket_wait(want.fd, events, timeout) >= 0)
        return 0;
    return errno == EINTR ? ETCP_EINTR : etcp_dial_give_up(d, errno);
}

int etcp_dial_step(etcp_dial *d, etcp_conn **out)
{
    int rc = d->step == STEP_BEGIN ? etcp_dial_begin(d) : 0;

    while (rc == 0) {
        rc = etcp_dial_continue(d, out);
        if (rc == ETCP_AGAIN)
            rc = await(d);
        else if (rc == 0 || !etcp_dial_retry(d))
            return rc;
        else
            rc = 0;
    }
    return rc;
}
