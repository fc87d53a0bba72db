/* The life of a connection, and facts about it. */
#include "conn_private.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "clock.h"
#include "process.h"

static const uint8_t nothing[1];

void etcp_conn_limits_default(etcp_conn_limits *limits)
{
    limits->high_water = ETCP_HIGH_WATER;
    limits->when_full = ETCP_FULL_WAIT;
    limits->send_timeout_ms = ETCP_SEND_TIMEOUT_MS;
    limits->keep_alive_s = 0;
    limits->linger_ms = ETCP_LINGER_MS;
}

/* ---- the link, for choosing what to compress --------------------------------------------------
 */

static void ask_kernel(const etcp_conn *c, etcp_path *out)
{
    etcp_tcp_info info;

    memset(&info, 0, sizeof info);
    memset(&out->info, 0, sizeof out->info);
    out->same_host = etcp_socket_is_local(c->entry.fd);
    if (etcp_sys->path(c->entry.fd, &info) < 0)
        return;
    out->info.delivery_rate = info.delivery_rate;
    out->info.min_rtt_us = info.min_rtt_us;
    out->info.busy_us = info.busy_us;
    out->info.limited_us = info.limited_us;
}

static void ask_queue(etcp_conn *c, etcp_path *out)
{
    out->own = c->out.len;
    out->queued = ETCP_QUEUED_UNKNOWN;
    if (etcp_socket_counts_unacked())
        out->queued = out->own + (uint64_t)etcp_sys->unacked(c->entry.fd);
    out->was_blocked = c->was_blocked;
    out->price = c->entry.loop ? etcp_loop_price(c->entry.loop, out->now_us, out->packed_us)
                               : ETCP_ADAPT_PRICE_MIN;
    c->was_blocked = c->blocked;
}

/* An etcp_path_fn: what the session, which knows no link, is told of it. */
static void tell_path(void *arg, etcp_path_question question, etcp_path *out)
{
    etcp_conn *c = arg;

    out->now_us = etcp_clock_us();
    if (question != ETCP_PATH_TIME)
        ask_queue(c, out);
    if (question == ETCP_PATH_ALL)
        ask_kernel(c, out);
}

/* ---- life ------------------------------------------------------------------------------------ */

etcp_conn *etcp_conn_create(int fd, etcp_session *session, const etcp_conn_limits *limits,
                            etcp_conn_state state)
{
    etcp_conn *c = etcp_zalloc(sizeof *c);

    if (!c)
        return NULL;
    etcp_process_watch();
    c->entry.references = 1;
    c->entry.fd = fd;
    c->session = session;
    etcp_session_set_path(session, tell_path, c);
    c->limits = *limits;
    c->state = (uint8_t)state;
    c->generation = etcp_process_generation();
    c->sharing = etcp_process_connected();
    c->is_counted = 1;
    etcp_output_init(&c->out);
    etcp_conn_drop_view(c);
    if (limits->keep_alive_s)
        etcp_socket_keep_alive(fd, limits->keep_alive_s);
    return c;
}

void etcp_conn_use_session(etcp_conn *c, etcp_session *session)
{
    etcp_session_free(c->session);
    c->session = session;
    etcp_session_set_path(session, tell_path, c);
}

etcp_conn *etcp_conn_ref(etcp_conn *c)
{
    c->entry.references++;
    return c;
}

void etcp_conn_free(etcp_conn *c)
{
    etcp_conn_release_fd(c);
    etcp_session_free(c->session);
    etcp_tunnel_free(c->tunnel);
    etcp_security_unref(c->security);
    if (c->proxy)
        etcp_free(c->proxy->header);
    etcp_free(c->proxy);
    if (c->owns_traffic)
        etcp_free(c->traffic);
    etcp_free(c->error);
    etcp_free(c);
}

void etcp_conn_count_alone(etcp_conn *c)
{
    c->traffic = etcp_zalloc(sizeof *c->traffic);
    c->owns_traffic = c->traffic != NULL;
}

const etcp_traffic *etcp_conn_traffic(const etcp_conn *c)
{
    return c->owns_traffic ? c->traffic : NULL;
}

int etcp_conn_wrap(int fd, etcp_config *config, const etcp_conn_limits *limits, etcp_conn **out)
{
    etcp_session *session;
    etcp_conn *c;
    int rc;

    if (fd < 0 || !etcp_socket_identity(fd)) {
        errno = EBADF;
        return ETCP_ESYSTEM;
    }
    rc = etcp_session_new_ready(config, &session);
    if (rc < 0)
        return rc;
    c = etcp_conn_create(fd, session, limits, ETCP_CONN_OPEN);
    if (!c) {
        etcp_session_free(session);
        return ETCP_ENOMEM;
    }
    c->sharing = 0; /* nobody knows who else has this socket */
    etcp_conn_count_alone(c);
    etcp_socket_no_delay(fd);
    etcp_socket_peer(fd, &c->peer);
    *out = c;
    return 0;
}

/* Input that was read but not parsed belongs to both copies; output only to the one that queued it.
 */
static int copy_state(const etcp_conn *from, etcp_conn *to)
{
    size_t len = (size_t)(from->view_end - from->view);

    to->peer = from->peer;
    if (from->owns_traffic)
        etcp_conn_count_alone(to);
    to->serial = from->serial;
    to->sharing = 0;
    to->output_ended = from->output_ended || from->out.len > 0;
    to->end_code = from->end_code;
    if (len == 0)
        return 0;
    to->kept = etcp_memdup(from->view, len);
    if (!to->kept)
        return ETCP_ENOMEM;
    to->view = to->kept;
    to->view_end = to->kept + len;
    return 0;
}

etcp_conn *etcp_conn_clone(const etcp_conn *c)
{
    etcp_session *session = NULL;
    etcp_conn *copy = NULL;
    int fd;

    if (c->state != ETCP_CONN_OPEN || c->tunnel)
        return NULL; /* two ends with the same keys would undo the encryption of both */
    fd = etcp_socket_dup(c->entry.fd);
    if (fd < 0)
        return NULL;
    if (etcp_session_clone(c->session, &session) == 0)
        copy = etcp_conn_create(fd, session, &c->limits, ETCP_CONN_OPEN);
    if (!copy) {
        etcp_session_free(session);
        etcp_socket_close(fd);
        return NULL;
    }
    etcp_process_share();
    if (copy_state(c, copy) < 0) {
        etcp_conn_free(copy);
        return NULL;
    }
    return copy;
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* Few connections ever fail: the structure is only made for those. */
static etcp_error *first_error(etcp_conn *c)
{
    if (c->error || c->error_lost)
        return NULL;
    c->error = etcp_zalloc(sizeof *c->error);
    c->error_lost = !c->error;
    return c->error;
}

int etcp_conn_set_error(etcp_conn *c, int code, const char *text)
{
    etcp_error *e = first_error(c);

    if (e)
        (void)etcp_error_set(e, code, "%s", text);
    return code;
}

int etcp_conn_set_errno(etcp_conn *c, int saved_errno, const char *what)
{
    etcp_error *e = first_error(c);

    if (e)
        (void)etcp_error_set_errno(e, saved_errno, what);
    return ETCP_ESYSTEM;
}

const etcp_error *etcp_conn_error(const etcp_conn *c)
{
    static const etcp_error none;
    static const etcp_error lost = {ETCP_ENOMEM, ENOMEM, "out of memory"};

    if (c->error)
        return c->error;
    return c->error_lost ? &lost : &none;
}

int etcp_conn_is_unproven(const etcp_conn *c)
{
    return c->is_unproven;
}

int etcp_conn_end_input(etcp_conn *c, int code)
{
    if (!c->end_code)
        c->end_code = (int8_t)code;
    return code;
}

void etcp_conn_fail(etcp_conn *c)
{
    etcp_conn_fail_with(c, ETCP_EDECODE, etcp_code_text(ETCP_EDECODE));
}

void etcp_conn_fail_with(etcp_conn *c, int code, const char *text)
{
    if (c->state != ETCP_CONN_OPEN)
        return;
    (void)etcp_conn_set_error(c, code, text);
    (void)etcp_conn_end_input(c, code);
    etcp_conn_drop_view(c);
    etcp_conn_watch(c);
    etcp_conn_pend(c);
}

etcp_fill etcp_conn_end_of_stream(etcp_conn *c)
{
    etcp_session_end_of_input(c->session);
    (void)etcp_conn_set_error(c, ETCP_ECLOSED, "Socket closed when attempted reading");
    (void)etcp_conn_end_input(c, ETCP_ECLOSED);
    return ETCP_FILL_ENDED;
}

etcp_fill etcp_conn_read_failed(etcp_conn *c, int error)
{
    /* When writing failed before, the same cause is told as the end of the stream by most systems,
     * but nothing promises it: a connection whose output has ended and that has nothing to read is
     * over. */
    if (error == EAGAIN && !c->output_ended)
        return ETCP_FILL_NONE;
    (void)etcp_conn_set_errno(c, error, "Failed to read from socket");
    (void)etcp_conn_end_input(c, ETCP_ESYSTEM);
    return ETCP_FILL_ENDED;
}

int etcp_conn_tunnel_failed(etcp_conn *c, int code)
{
    const etcp_error *why = etcp_channel_error(c->tunnel->channel);

    (void)etcp_conn_set_error(c, code, why->code ? why->text : etcp_code_text(code));
    return etcp_conn_end_input(c, code);
}

int etcp_conn_may_use_tunnel(etcp_conn *c)
{
    if (etcp_claim_take(&c->tunnel->claim))
        return 1;
    (void)etcp_conn_set_error(c, ETCP_ECLOSED, "The TLS connection belongs to another process");
    (void)etcp_conn_end_input(c, ETCP_ECLOSED);
    etcp_conn_end_output(c);
    etcp_conn_watch(c);
    etcp_conn_pend(c);
    return 0;
}

/* ---- input and output ------------------------------------------------------------------------ */

void etcp_conn_drop_view(etcp_conn *c)
{
    etcp_loop *l = c->entry.loop;

    c->view = c->view_end = nothing;
    etcp_free(c->kept);
    c->kept = NULL;
    if (l && l->scratch->owner == &c->entry)
        l->scratch->owner = NULL;
}

void etcp_conn_end_output(etcp_conn *c)
{
    c->output_ended = 1;
    c->blocked = 0;
    if (c->tunnel)
        etcp_buf_wipe(&c->tunnel->gathered);
    etcp_output_drop(&c->out);
    etcp_deadline_stop(&c->entry.stall);
}

int etcp_conn_discards(const etcp_conn *c)
{
    return !c->end_code && etcp_conn_is_sole_owner(c);
}

static unsigned wanted(const etcp_conn *c)
{
    switch ((etcp_conn_state)c->state) {
    case ETCP_CONN_NEGOTIATING:
        if (c->is_withheld)
            return 0;
        /* A peer that does not read its commands is not read either: it cannot make us pile up
         * more. */
        return c->out.len ? ETCP_POLL_WRITE : ETCP_POLL_READ;
    case ETCP_CONN_OPEN:
        return (c->end_code || etcp_conn_is_braked(c) ? 0u : (unsigned)ETCP_POLL_READ) |
               (c->blocked ? (unsigned)ETCP_POLL_WRITE : 0u);
    case ETCP_CONN_DELIVERING:
        return ETCP_POLL_WRITE | (etcp_conn_discards(c) ? (unsigned)ETCP_POLL_READ : 0u);
    case ETCP_CONN_DISCARDING: return ETCP_POLL_READ;
    case ETCP_CONN_CLOSED: break;
    }
    return 0;
}

void etcp_conn_watch(etcp_conn *c)
{
    unsigned now;

    if (!c->entry.loop)
        return;
    now = wanted(c);
    /* A number whose socket is gone may belong to another connection by now: hands off. */
    if (now != c->entry.interest && !etcp_conn_has_socket(c))
        etcp_loop_mistrust(c->entry.loop);
    etcp_loop_watch(&c->entry, now);
}

void etcp_conn_unwatch(etcp_conn *c)
{
    if (c->entry.interest && !etcp_conn_has_socket(c))
        etcp_loop_mistrust(c->entry.loop);
    etcp_loop_watch(&c->entry, 0);
}

/* ---- what happens outside: forks, and owners of the handle ----------------------------------- */

int etcp_conn_has_socket(const etcp_conn *c)
{
    return c->entry.fd >= 0 && (!c->on_close || etcp_socket_identity(c->entry.fd) == c->identity);
}

int etcp_conn_is_sole_owner(const etcp_conn *c)
{
    return c->sharing && etcp_process_is_sole(c->sharing);
}

/* The parent delivers what it had queued. Bytes of ours would end up in the middle of that, so a
 * connection that was behind at the time of the fork can only be read here. */
static void adopt(etcp_conn *c)
{
    c->generation = etcp_process_generation();
    c->gap_since_ms = 0;
    if (c->out.len == 0)
        return;
    (void)etcp_conn_set_error(c, ETCP_ECLOSED,
                              "the parent process was still sending when this one was forked");
    etcp_conn_end_output(c);
}

static void lose_socket(etcp_conn *c)
{
    if (c->output_ended && c->end_code)
        return;
    (void)etcp_conn_set_errno(c, EBADF, "handle");
    (void)etcp_conn_end_input(c, ETCP_ECLOSED);
    etcp_conn_end_output(c);
    etcp_conn_pend(c);
}

void etcp_conn_check_closely(etcp_conn *c)
{
    if (c->generation != etcp_process_generation())
        adopt(c);
    if (c->on_close && c->entry.fd >= 0 && !etcp_conn_has_socket(c))
        lose_socket(c);
}

/* ---- the descriptor -------------------------------------------------------------------------- */

void etcp_conn_release_fd(etcp_conn *c)
{
    void (*on_close)(void *owner) = c->on_close;
    int fd = c->entry.fd;

    etcp_conn_drop_view(c);
    if (c->held)
        etcp_conn_note_held(c, 0);
    c->state = ETCP_CONN_CLOSED;
    c->entry.fd = -1;
    c->on_close = NULL;
    if (c->tunnel)
        etcp_buf_wipe(&c->tunnel->gathered);
    etcp_output_drop(&c->out);
    etcp_deadline_stop(&c->entry.stall);
    etcp_output_release(&c->out);
    if (on_close)
        on_close(c->on_close_owner);
    else if (fd >= 0)
        etcp_socket_close(fd);
    if (c->is_counted)
        etcp_process_disconnected();
    c->is_counted = 0;
}

void etcp_conn_outlive_server(etcp_conn *c)
{
    c->outlives = 1;
}

void etcp_conn_hand_over_fd(etcp_conn *c, void (*on_close)(void *owner), void *owner)
{
    if (c->entry.fd < 0)
        return;
    c->on_close = on_close;
    c->on_close_owner = owner;
    c->identity = etcp_socket_identity(c->entry.fd);
}

/* ---- facts ----------------------------------------------------------------------------------- */

int etcp_conn_is_open(const etcp_conn *c)
{
    return c->state == ETCP_CONN_NEGOTIATING || c->state == ETCP_CONN_OPEN;
}

int etcp_conn_tls(const etcp_conn *c, etcp_trust *trust, char text[ETCP_FINGERPRINT_TEXT])
{
    if (!c->tunnel)
        return 0;
    *trust = etcp_channel_trust(c->tunnel->channel);
    etcp_channel_peer_fingerprint(c->tunnel->channel, text);
    return 1;
}

int etcp_conn_is_tls(const etcp_conn *c)
{
    return c->tunnel != NULL;
}

int etcp_conn_is_live(const etcp_conn *c)
{
    return c->state == ETCP_CONN_OPEN && !c->end_code && !c->output_ended;
}

int etcp_conn_fd(const etcp_conn *c)
{
    return etcp_conn_is_open(c) ? c->entry.fd : -1;
}

size_t etcp_conn_queued(const etcp_conn *c)
{
    return c->generation == etcp_process_generation() ? etcp_conn_unsent(c) : 0;
}

etcp_session *etcp_conn_session(etcp_conn *c)
{
    return c->session;
}

int etcp_conn_has_heard(const etcp_conn *c)
{
    return c->heard;
}

int etcp_conn_is_dialed(const etcp_conn *c)
{
    return c->is_dialed;
}

const char *etcp_conn_remote_ip(const etcp_conn *c, char *text, size_t size)
{
    return etcp_address_text(&c->peer, text, size);
}

const char *etcp_conn_proxy_ip(const etcp_conn *c, char *text, size_t size)
{
    return c->proxy ? etcp_address_text(&c->proxy->address, text, size) : NULL;
}

unsigned etcp_conn_remote_port(const etcp_conn *c)
{
    return c->peer.port;
}

void etcp_conn_set_user(etcp_conn *c, void *user)
{
    c->user = user;
}

void *etcp_conn_user(const etcp_conn *c)
{
    return c->user;
}

void etcp_conn_set_serial(etcp_conn *c, long serial)
{
    c->serial = serial;
}

long etcp_conn_serial(const etcp_conn *c)
{
    return c->serial;
}
