/* A client's connection: dialling, receiving, sending, closing. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "net/clock.h"
#include "net/conn_private.h"
#include "net/dial.h"
#include "net_world.h"
#include "tap.h"

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

/* ---- dialling -------------------------------------------------------------------------------- */

static etcp_dial_phase phase;

static int dial(world *w, const char *host, const char *port, etcp_conn **out)
{
    etcp_conn_limits limits;
    etcp_dial *d;
    int rc;

    etcp_conn_limits_default(&limits);
    (void)etcp_dial_new(host, port, 30000, 90000, w->client_config, &limits, &d);
    do {
        rc = etcp_dial_step(d, out);
    } while (rc == ETCP_EINTR);
    world_error = *etcp_dial_error(d);
    phase = etcp_dial_phase_of(d);
    if (rc < 0)
        tap_is_int(etcp_dial_step(d, out), rc, "asking again gives the same error");
    etcp_dial_free(d);
    return rc;
}

static int resolve_nothing(const char *host, const char *port, const struct addrinfo *hints,
                           struct addrinfo **out)
{
    (void)host;
    (void)port;
    (void)hints;
    (void)out;
    return EAI_NONAME;
}

/* The list that the real resolver gives for two hosts, in this order. */
static int resolve_two(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **out)
{
    struct addrinfo *second = NULL;

    (void)host;
    if (getaddrinfo("127.0.0.2", port, hints, out) != 0 ||
        getaddrinfo("127.0.0.1", port, hints, &second) != 0)
        return EAI_FAIL;
    (*out)->ai_next = second;
    return 0;
}

static void test_dial_failures(void)
{
    etcp_conn *c = NULL;
    char port[8];
    world w;

    world_start(&w, NULL);
    (void)snprintf(port, sizeof port, "%s", w.port);
    world_calls.getaddrinfo = resolve_nothing;
    tap_is_int(dial(&w, "no.such.host", port, &c), ETCP_EINVAL, "an unknown host");
    tap_is_int(world_error.sys_errno, EINVAL, "is an invalid argument, as it always was");
    tap_is_int(phase, ETCP_DIAL_CONNECTING, "while connecting");
    world_calls.getaddrinfo = resolve_two;
    tap_is_int(dial(&w, "two.addresses", port, &c), 0, "the second address is tried: %s",
               world_error.text);
    etcp_conn_unref(c);
    world_calls.getaddrinfo = etcp_system_calls.getaddrinfo;
    tap_is_int(dial(&w, "127.0.0.1", "70000", &c), ETCP_EINVAL, "a port out of range");
    tap_is_int(world_error.sys_errno, EINVAL, "is an invalid argument, too");
    world_pump(&w);
    etcp_server_free(w.server);
    w.server = NULL;
    tap_is_int(dial(&w, "127.0.0.1", port, &c), ETCP_ESYSTEM, "nobody listens");
    tap_is_int(world_error.sys_errno, ECONNREFUSED, "refused");
    world_stop(&w);
}

static int never_ready(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    (void)fds;
    (void)count;
    world_pass((unsigned)timeout_ms);
    return 0;
}

static int connecting(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)fd;
    (void)address;
    (void)len;
    errno = EINPROGRESS;
    return -1;
}

static void test_connect_timeout(void)
{
    etcp_conn *c = NULL;
    world w;

    world_start(&w, NULL);
    world_calls.poll = never_ready;
    world_calls.connect = connecting;
    tap_is_int(dial(&w, "127.0.0.1", w.port, &c), ETCP_ESYSTEM, "a host that does not answer");
    tap_is_int(world_error.sys_errno, ETIMEDOUT, "times out");
    world_calls.getaddrinfo = resolve_two;
    tap_is_int(dial(&w, "two.addresses", w.port, &c), ETCP_ESYSTEM, "two that do not answer");
    tap_is_int(world_error.sys_errno, ETIMEDOUT, "time out, too");
    world_stop(&w);
}

static int waits; /* calls of poll that may wait */

static int count_waits(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    waits += timeout_ms != 0;
    return poll(fds, count, 0);
}

static etcp_dial *begin_dial(world *w)
{
    etcp_conn_limits limits;
    etcp_dial *d = NULL;

    etcp_conn_limits_default(&limits);
    (void)etcp_dial_new("127.0.0.1", w->port, 30000, 90000, w->client_config, &limits, &d);
    tap_is_int(etcp_dial_begin(d), 0, "an attempt begins");
    return d;
}

/* As a program does that has a loop. */
static void test_dial_without_waiting(void)
{
    etcp_dial_want want;
    etcp_conn *c = NULL;
    int rounds = 0;
    etcp_dial *d;
    world w;
    int rc;

    world_start(&w, NULL);
    world_calls.poll = count_waits;
    waits = 0;
    d = begin_dial(&w);
    while ((rc = etcp_dial_continue(d, &c)) == ETCP_AGAIN && rounds++ < 1000) {
        want = etcp_dial_wants(d);
        if (want.fd < 0 || !want.events || want.until_ms == UINT64_MAX)
            break;
        (void)world_round(&w);
    }
    tap_is_int(rc, 0, "it ends with a connection");
    tap_is_int(waits, 0, "and nothing waited");
    tap_is_int(etcp_dial_continue(d, &c), ETCP_EINVAL, "once");
    etcp_dial_free(d);
    tap_is_int(world_send(c, "hello"), 0, "the connection is ready");
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(hello) ", "and works");
    etcp_conn_unref(c);
    world_stop(&w);
}

static void test_dial_deadline(void)
{
    etcp_conn *c = NULL;
    etcp_dial_want want;
    etcp_dial *d;
    world w;
    int rc;

    world_start(&w, NULL);
    d = begin_dial(&w);
    while ((rc = etcp_dial_continue(d, &c)) == ETCP_AGAIN &&
           etcp_dial_phase_of(d) == ETCP_DIAL_CONNECTING)
        continue;
    tap_is_int(rc, ETCP_AGAIN, "nobody negotiates");
    want = etcp_dial_wants(d);
    tap_is_int((long long)(want.until_ms - etcp_clock_ms()), 90000, "it waits until its deadline");
    world_pass(89999);
    tap_is_int(etcp_dial_continue(d, &c), ETCP_AGAIN, "which is not over yet");
    world_pass(1);
    tap_is_int(etcp_dial_continue(d, &c), ETCP_ETIMEOUT, "and then is");
    etcp_dial_free(d);
    world_stop(&w);
}

/* A listener of our own, for servers without manners. */
static int listen_raw(char *port, size_t size)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 5) < 0 ||
        getsockname(fd, (struct sockaddr *)&in, &len) < 0)
        exit(1);
    (void)snprintf(port, size, "%u", (unsigned)ntohs(in.sin_port));
    return fd;
}

static int rude_listener;
static const char *rude_words;

/* A wait of the client: the rude server accepts, says its words, and closes. */
static int poll_with_rude_server(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int ready = poll(fds, count, 0);
    int fd;

    (void)timeout_ms;
    if (ready == 0 && rude_listener >= 0) {
        fd = accept(rude_listener, NULL, NULL);
        (void)!write(fd, rude_words, strlen(rude_words));
        (void)close(fd);
        rude_listener = -1;
        ready = poll(fds, count, 0);
    }
    return ready;
}

static void test_bad_servers(void)
{
    etcp_conn *c = NULL;
    char port[8];
    int fd;
    world w;

    world_start(&w, NULL);
    world_calls.poll = poll_with_rude_server;
    fd = rude_listener = listen_raw(port, sizeof port);
    rude_words = "";
    tap_is_int(dial(&w, "127.0.0.1", port, &c), ETCP_ECLOSED, "a server that hangs up");
    tap_is_str(world_error.text, "Socket closed when attempted reading", "in the old words");
    tap_is_int(phase, ETCP_DIAL_NEGOTIATING, "while negotiating");
    rude_listener = fd;
    rude_words = "220 mail.example.org ESMTP\r\n";
    tap_is_int(dial(&w, "127.0.0.1", port, &c), ETCP_EPROTO, "a server of another kind: %s",
               world_error.text);
    (void)close(fd);
    world_stop(&w);
}

static int connected_polls;

/* Lets the connect finish, then is silent. */
static int poll_silent_server(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (connected_polls++ == 0)
        return poll(fds, count, timeout_ms);
    return never_ready(fds, count, timeout_ms);
}

static void test_silent_server(void)
{
    etcp_conn *c = NULL;
    char port[8];
    int fd = listen_raw(port, sizeof port);
    world w;

    world_start(&w, NULL);
    connected_polls = 0;
    world_calls.poll = poll_silent_server;
    tap_is_int(dial(&w, "127.0.0.1", port, &c), ETCP_ETIMEOUT, "a server that says nothing");
    tap_is_str(world_error.text, "Timed out waiting to receive data", "in the old words");
    tap_is_int(phase, ETCP_DIAL_NEGOTIATING, "while negotiating");
    (void)close(fd);
    world_stop(&w);
}

static void test_password(void)
{
    etcp_conn *c = NULL;
    world w;

    world_start(&w, NULL);
    (void)etcp_config_set_password(w.server_config, bytes("secret"), 6);
    (void)etcp_config_set_password(w.client_config, bytes("wrong"), 5);
    tap_is_int(dial(&w, "127.0.0.1", w.port, &c), ETCP_EREJECTED, "the wrong password");
    tap_is_str(world_error.text, "Server rejected supplied password", "in the old words");
    world_pump(&w);
    tap_is_str(w.log, "A1 F1 ", "the server forgets the client");
    world_stop(&w);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void test_signals(void)
{
    int (*usual)(struct pollfd *, nfds_t, int);
    uint64_t since = 0;
    etcp_event event;
    etcp_conn *c;
    world w;
    int rc;
    int i;

    world_start(&w, NULL);
    w.on_event = world_echo;
    c = world_dial(&w);
    usual = world_calls.poll;
    world_calls.poll = world_poll_interrupted;
    for (i = 0; i < 2; i++)
        tap_is_int(etcp_conn_receive(c, 1000, &since, &event), ETCP_EINTR,
                   "a signal comes through");
    world_calls.poll = usual;
    (void)world_send(c, "x");
    rc = etcp_conn_receive(c, 1000, &since, &event);
    tap_is_int(rc, 1, "and nothing is lost by it");
    world_calls.poll = world_poll_interrupted;
    since = 0;
    world_interruptions = 0;
    while ((rc = etcp_conn_receive(c, 1000, &since, &event)) == ETCP_EINTR && world_interruptions < 100)
        ;
    tap_is_int(rc, ETCP_ETIMEOUT, "signals do not prolong the wait");
    tap_is_int(world_interruptions, 3, "of a second, with one every 0.4");
    world_calls.poll = usual;
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void test_timeouts(void)
{
    uint64_t since = 0;
    etcp_event event;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = world_echo;
    c = world_dial(&w);
    world_calls.poll = never_ready;
    tap_is_int(etcp_conn_receive(c, 0, &since, &event), ETCP_ETIMEOUT, "0 does not wait");
    tap_ok(since == 0, "and does not begin to");
    tap_is_int(etcp_conn_receive(c, 5000, &since, &event), ETCP_EINTR, "handlers get their turn");
    tap_is_int(world_wait(c, 5000, &event), ETCP_ETIMEOUT, "nothing comes");
    tap_is_int(etcp_conn_is_open(c), 1, "which ends nothing");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* Reads of at most read_max bytes. */
static size_t read_max;
static int reads;

static ssize_t short_recv(int fd, void *where, size_t len, int flags)
{
    reads++;
    return recv(fd, where, len < read_max ? len : read_max, flags);
}

static void test_cuts(void)
{
    static const size_t sizes[] = {1, 2, 3, 7, 16384, 65536};
    size_t i;

    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        etcp_conn *c;
        world w;
        int n;

        world_start(&w, NULL);
        w.on_event = world_echo;
        world_calls.recv = short_recv;
        read_max = sizes[i];
        c = world_dial(&w);
        tap_ok(c != NULL, "negotiated %lu bytes at a time", (unsigned long)read_max);
        for (n = 0; n < 10; n++)
            (void)world_send(c, n % 2 ? "a longer message, longer than seven" : "");
        for (n = 0; n < 10; n++) {
            const char *got = world_receive(c);

            if (!got || strcmp(got, n % 2 ? "a longer message, longer than seven" : "") != 0)
                break;
        }
        tap_is_int(n, 10, "every message, in order");
        etcp_conn_unref(c);
        world_pump(&w);
        world_stop(&w);
    }
}

/* A payload of the user: the handle stays where it is when the bytes move. */
typedef struct holder {
    uint8_t *data;
} holder;

static void *holder_create(void *arg, size_t cap, uint8_t **data)
{
    holder *h = malloc(sizeof *h);

    ++*(int *)arg;
    *data = h->data = malloc(cap ? cap : 1);
    return h;
}

static uint8_t *holder_grow(void *arg, void *handle, size_t cap)
{
    holder *h = handle;
    uint8_t *data = realloc(h->data, cap);

    (void)arg;
    if (data)
        h->data = data;
    return data;
}

static void holder_destroy(void *arg, void *handle)
{
    holder *h = handle;

    --*(int *)arg;
    free(h->data);
    free(h);
}

static void encrypt(world *w)
{
    w->server_config->flags &= ~(unsigned)ETCP_DONOT_ENCRYPT;
    w->client_config->flags &= ~(unsigned)ETCP_DONOT_ENCRYPT;
}

static void keep_large(world *w, etcp_server_event *e)
{
    etcp_event *m = &e->message;
    size_t i;

    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    for (i = 0; i < m->len && m->data[i] == (uint8_t)(i * 31 + i / 256); i++)
        ;
    tap_is_int((long long)i, (long long)m->len, "every byte of %lu is right",
               (unsigned long)m->len);
    tap_is_int(m->payload != NULL, m->len > 65536,
               "those that come in pieces are where the user wants them");
    if (m->payload)
        holder_destroy(w->arg, m->payload);
}

static void test_large(size_t len, int encrypted)
{
    static const etcp_payload_ops ops = {holder_create, holder_grow, holder_destroy};
    uint8_t *payload = malloc(len + 1);
    uint64_t since = 0;
    int live = 0;
    etcp_conn *c;
    size_t i;
    world w;

    for (i = 0; i < len; i++)
        payload[i] = (uint8_t)(i * 31 + i / 256);
    world_start(&w, NULL);
    if (encrypted)
        encrypt(&w);
    w.server_config->payload_ops = &ops;
    w.server_config->payload_arg = &live;
    w.server_config->payload_threshold = 20001;
    w.on_event = keep_large;
    w.arg = &live;
    c = world_dial(&w);
    read_max = 1 << 30;
    reads = 0;
    world_calls.recv = short_recv;
    tap_is_int(etcp_conn_send(c, 0, payload, len, NULL, NULL), 0, "%lu bytes", (unsigned long)len);
    tap_is_int(etcp_conn_drain(c, 0, &since), 0, "are with the kernel");
    world_pump(&w);
    tap_ok(reads < 20 + (int)(len / 4096), "read in large pieces: %d reads", reads);
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_int(live, 0, "nothing is left of it");
    /* A peer that goes in the middle leaves nothing behind either. */
    c = world_dial(&w);
    (void)!write(etcp_conn_fd(c), encrypted ? "\x0d\x04\x10\0\0\0abc" : "\x05\x04\x10\0\0\0abc", 9);
    world_pump(&w);
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_int(live, 0, "nor of half a message");
    world_stop(&w);
    free(payload);
}

/* ---- a handler that runs at once and throws an exception ----------------------------------------- */

static jmp_buf out_of_poll;

static int throw_from_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (timeout_ms == 0)
        return poll(fds, count, 0);
    world_calls.poll = poll;
    longjmp(out_of_poll, 1);
}

/* Nothing may follow half a message: the peer would take it for the rest. */
static void test_left_halfway(void)
{
    const size_t len = (size_t)16 << 20;
    uint8_t *large = calloc(1, len);
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    encrypt(&w);
    c = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    world_calls.poll = throw_from_poll;
    if (setjmp(out_of_poll) == 0)
        (void)etcp_conn_send(c, 0, large, len, NULL, NULL);
    tap_ok(world_calls.poll == poll, "a send is left while it waits");
    tap_ok(etcp_conn_queued(c) > 0, "with something queued");
    tap_is_int(etcp_conn_send(c, 0, bytes("next"), 4, NULL, NULL), ETCP_ECLOSED, "no other follows");
    tap_is_str(etcp_conn_error(c)->text, "A signal's handler left a message half sent",
               "and it is told why");
    tap_is_int(etcp_conn_send(c, 0, bytes("last"), 4, NULL, NULL), ETCP_ECLOSED, "again");
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_str(w.log, "D1 F1 ", "the peer gets no message");
    world_stop(&w);
    free(large);
}

static void say_goodbye(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type != ETCP_SERVER_CONNECT)
        return;
    (void)etcp_conn_send(e->conn, 0, bytes("one"), 3, NULL, NULL);
    (void)etcp_conn_send(e->conn, 0, bytes("two"), 3, NULL, NULL);
    etcp_conn_close(e->conn);
}

static void test_buffered_before_end(void)
{
    uint64_t since = 0;
    etcp_event event;
    etcp_conn *c;
    world w;

    c = world_meet(&w, say_goodbye);
    tap_is_str(world_receive(c), "one", "sent before the server closed");
    tap_is_int(etcp_conn_has_message(c), 1, "another one is here");
    tap_is_str(world_receive(c), "two", "handed out, too");
    tap_is_int(etcp_conn_has_message(c), 0, "nothing is here");
    tap_is_int(etcp_conn_receive(c, 1000, &since, &event), ETCP_ECLOSED, "then the end");
    tap_is_int(etcp_conn_receive(c, 0, &since, &event), ETCP_ECLOSED, "and again");
    tap_is_int(etcp_conn_is_open(c), 1, "the handle stays until the user closes");
    etcp_conn_close(c);
    tap_is_int(etcp_conn_receive(c, 1000, &since, &event), ETCP_ECLOSED, "closed");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- sending --------------------------------------------------------------------------------- */

static long takes[16]; /* by each sendmsg; negative: -errno; 0: everything */
static int take_steps, take_step;
static int writes;

static ssize_t full(int fd, const struct msghdr *m, int flags)
{
    (void)fd;
    (void)m;
    (void)flags;
    errno = EAGAIN;
    return -1;
}

static ssize_t scripted_sendmsg(int fd, const struct msghdr *m, int flags)
{
    long take = take_step < take_steps ? takes[take_step++] : 0;
    struct msghdr part = *m;
    struct iovec piece[64];
    size_t i;

    writes++;
    if (take < 0) {
        errno = (int)-take;
        return -1;
    }
    if (take == 0)
        return sendmsg(fd, m, flags);
    part.msg_iov = piece;
    for (i = 0; i < (size_t)m->msg_iovlen && take > 0; i++) {
        piece[i] = m->msg_iov[i];
        if (piece[i].iov_len > (size_t)take)
            piece[i].iov_len = (size_t)take;
        take -= (long)piece[i].iov_len;
    }
    part.msg_iovlen = (unsigned short)i;
    return sendmsg(fd, &part, flags);
}

static void script(int count, const long *results)
{
    memcpy(takes, results, (size_t)count * sizeof *results);
    take_steps = count;
    take_step = writes = 0;
}

static int released;

static void release(void *owner)
{
    released += *(int *)owner;
}

/* Every way a small packet can be cut by the kernel. */
static void test_short_writes(void)
{
    etcp_conn *c;
    world w;
    long cut;

    c = world_meet(&w, world_echo);
    world_calls.sendmsg = scripted_sendmsg;
    for (cut = 1; cut <= 8; cut++) {
        long results[3];

        results[0] = cut == 8 ? -EAGAIN : cut; /* a packet of 8 bytes: 05 01 05 hello */
        results[1] = -EAGAIN;
        results[2] = -EINTR;
        script(3, results);
        tap_is_int(etcp_conn_send(c, 0, bytes("hello"), 5, NULL, NULL), 0, "cut at %ld", cut);
        tap_is_int((long long)etcp_conn_queued(c), 8 - cut % 8, "the rest is queued");
        (void)etcp_conn_send(c, 0, bytes("!"), 1, NULL, NULL);
        {
            uint64_t since = 0;
            tap_is_int(etcp_conn_drain(c, 0, &since), 0, "until the kernel takes it");
        }
        tap_is_str(world_receive(c), "hello", "nothing lost");
        tap_is_str(world_receive(c), "!", "nothing mixed up");
    }
    script(0, takes);
    (void)etcp_conn_send(c, 0, bytes("hello"), 5, NULL, NULL);
    tap_is_int(writes, 1, "header and payload leave by one call");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_release(void)
{
    static uint8_t large[100000];
    long results[2] = {5000, -EAGAIN};
    uint64_t since = 0;
    int one = 1;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    c = world_dial(&w);
    world_pump(&w);
    world_calls.sendmsg = scripted_sendmsg;
    released = 0;
    script(0, results);
    (void)etcp_conn_send(c, 0, large, 10, release, &one);
    tap_is_int(released, 1, "written at once: released at once");
    script(2, results);
    (void)etcp_conn_send(c, 0, large, sizeof large, release, &one);
    tap_is_int(released, 1, "not written: kept");
    script(0, results);
    (void)etcp_conn_drain(c, 0, &since);
    tap_is_int(released, 2, "written: released");
    results[0] = -EAGAIN;
    script(2, results);
    (void)etcp_conn_send(c, 0, large, sizeof large, release, &one);
    (void)etcp_conn_send(c, 0, large, 10, release, &one);
    tap_is_int(released, 3, "a small rest is copied");
    results[0] = -EPIPE;
    script(1, results);
    tap_is_int(etcp_conn_drain(c, 0, &since), ETCP_ESYSTEM, "a broken pipe");
    tap_is_int(released, 4, "drops what was queued");
    tap_is_int(etcp_conn_error(c)->sys_errno, EPIPE, "its errno is kept");
    errno = 0;
    tap_is_int(etcp_conn_send(c, 0, large, 10, release, &one), ETCP_ESYSTEM, "no more sending");
    tap_is_int(errno, EPIPE, "for the same reason");
    tap_is_int(released, 5, "released on failure");
    etcp_conn_close(c);
    tap_is_int(etcp_conn_send(c, 0, large, 10, release, &one), ETCP_ECLOSED, "closed");
    tap_is_int(released, 6, "released then, too");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_drain_timeout(void)
{
    static const long nothing[3] = {-EAGAIN, -EAGAIN, -EAGAIN};
    static const long little[4] = {-EAGAIN, -EAGAIN, 2, -EAGAIN};
    uint64_t since = 0;
    size_t mark;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    c = world_dial(&w);
    world_pump(&w);
    world_calls.sendmsg = scripted_sendmsg;
    tap_is_int(etcp_conn_wants_drain(c, &mark), 0, "nothing queued");
    script(3, nothing);
    (void)etcp_conn_send(c, 0, bytes("hello"), 5, NULL, NULL);
    tap_is_int(etcp_conn_wants_drain(c, &mark), 1, "a client waits for everything");
    tap_is_int((long long)mark, 0, "down to nothing");
    world_calls.poll = world_poll_interrupted;
    tap_is_int(etcp_conn_drain(c, 0, &since), ETCP_EINTR, "a signal comes through");
    tap_ok(since != 0, "the wait has begun");
    script(4, little);
    (void)etcp_conn_drain(c, 0, &since);
    (void)etcp_conn_drain(c, 0, &since);
    world_pass(ETCP_SEND_TIMEOUT_MS - 1000);
    tap_is_int(etcp_conn_drain(c, 0, &since), ETCP_EINTR, "progress begins it anew");
    world_calls.poll = never_ready;
    world_calls.sendmsg = full;
    tap_is_int(world_drain(c, 0), ETCP_ETIMEOUT, "a peer that reads nothing");
    tap_is_int(etcp_conn_is_open(c), 0, "is given up");
    tap_is_int(etcp_conn_error(c)->code, ETCP_ETIMEOUT, "and the reason kept");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

/* ---- the gap after EN ------------------------------------------------------------------------ */

static int naps;
static int unacknowledged;

static int napping_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (count == 0) {
        naps++;
        world_pass((unsigned)timeout_ms);
        if (unacknowledged > 0)
            unacknowledged--;
        return 0;
    }
    return poll(fds, count, timeout_ms);
}

static int scripted_unacked(int fd)
{
    (void)fd;
    return unacknowledged;
}

static int naps_of_first_send(const char *version, int acknowledged_after, const char *greeting)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    (void)snprintf(w.server_config->version, sizeof w.server_config->version, "%s", version);
    if (greeting)
        w.on_event = say_goodbye;
    c = world_dial(&w);
    if (greeting)
        world_pump(&w);
    world_calls.poll = napping_poll;
    world_calls.unacked = scripted_unacked;
    unacknowledged = acknowledged_after;
    naps = 0;
    (void)etcp_conn_send(c, 0, bytes("x"), 1, NULL, NULL);
    {
        int first = naps;

        (void)etcp_conn_send(c, 0, bytes("y"), 1, NULL, NULL);
        tap_is_int(naps, first, "only the first message waits");
        world_pump(&w);
        etcp_conn_unref(c);
        world_pump(&w);
        world_stop(&w);
        return first;
    }
}

static void test_gap(void)
{
    tap_is_int(naps_of_first_send("1.00", 0, NULL), 0, "a new server needs no gap");
    tap_is_int(naps_of_first_send("0.26", 0, NULL), 5, "an old one gets a few milliseconds");
    tap_is_int(naps_of_first_send("0.26", 20, NULL), 20, "and must have acknowledged");
    tap_is_int(naps_of_first_send("0.26", 1000, NULL), 50, "within limits");
    tap_is_int(naps_of_first_send("0.26", 1000, "hi"), 0, "one that has spoken has read");
}

/* ---- copies, foreign sockets, other owners --------------------------------------------------- */

static void test_clone(void)
{
    etcp_conn *c;
    etcp_conn *copy;
    world w;

    c = world_meet(&w, say_goodbye);
    tap_is_str(world_receive(c), "one", "the original has read both");
    copy = etcp_conn_clone(c);
    tap_ok(copy && etcp_conn_fd(copy) != etcp_conn_fd(c), "a copy has its own descriptor");
    tap_is_str(world_receive(copy), "two", "and the unread input");
    tap_is_str(world_receive(c), "two", "as has the original");
    etcp_conn_unref(copy);
    tap_ok(etcp_conn_fd(c) >= 0, "whose end does not matter");
    etcp_conn_unref(c);
    world_stop(&w);
}

static void test_clone_keeps_connection(void)
{
    etcp_conn *c;
    etcp_conn *copy;
    world w;

    world_start(&w, NULL);
    w.on_event = world_echo;
    c = world_dial(&w);
    copy = etcp_conn_clone(c);
    tap_is_int(world_send(copy, "x"), 0, "a copy can send");
    tap_is_str(world_receive(copy), "x", "and receive");
    (void)world_send(copy, "unread");
    world_pump(&w);
    etcp_conn_close(copy);
    etcp_conn_unref(copy);
    tap_is_str(world_receive(c), "unread", "closing it throws nothing away");
    (void)world_send(c, "y");
    tap_is_str(world_receive(c), "y", "and does not end the connection");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_wrap(void)
{
    etcp_conn_limits limits;
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);
    etcp_conn *a = NULL, *b = NULL;
    int ends[2];

    etcp_conn_limits_default(&limits);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        exit(1);
    tap_is_int(etcp_conn_wrap(ends[0], config, &limits, &a), 0, "a socket of the caller");
    tap_is_int(etcp_conn_wrap(ends[1], config, &limits, &b), 0, "and its peer");
    tap_is_int(etcp_conn_send(a, 0, bytes("hello"), 5, NULL, NULL), 0, "talk");
    tap_is_str(world_receive(b), "hello", "without negotiation");
    etcp_conn_unref(a);
    tap_ok(world_receive(b) == NULL, "until one closes");
    etcp_conn_unref(b);
    tap_is_int(etcp_conn_wrap(-1, config, &limits, &a), ETCP_ESYSTEM, "no socket at all");
    tap_is_int(etcp_conn_wrap(ends[0], config, &limits, &a), ETCP_ESYSTEM, "a closed one");
    etcp_config_unref(config);
}

/* A Unix-domain peer that is slow to read, or reads nothing for a while, has everything: it is not
 * waited for. */
static void test_linger_on_unix(void)
{
    etcp_conn_limits limits;
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);
    etcp_conn *a = NULL, *b = NULL;
    int rounds = 0;
    int ends[2];

    etcp_conn_limits_default(&limits);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 ||
        etcp_conn_wrap(ends[0], config, &limits, &a) ||
        etcp_conn_wrap(ends[1], config, &limits, &b))
        exit(1);
    a->sharing = etcp_process_sharing(); /* as if it were its own */
    (void)etcp_conn_send(a, 0, bytes("first"), 5, NULL, NULL);
    (void)etcp_conn_send(b, 0, bytes("unread"), 6, NULL, NULL);
    while (etcp_conn_linger(a) == ETCP_EINTR && rounds < 3)
        rounds++;
    tap_ok(rounds < 3, "a Unix-domain peer is not waited for");
    etcp_conn_unref(a);
    tap_is_str(world_receive(b), "first", "who gets it nevertheless");
    tap_ok(world_receive(b) == NULL, "and then the end");
    etcp_conn_unref(b);
    etcp_config_unref(config);
}

static int handle;

static void close_handle(void *owner)
{
    ++*(int *)owner;
    if (handle >= 0)
        (void)close(handle);
    handle = -1;
}

static void test_hand_over(void)
{
    etcp_conn *c;
    int closed = 0;
    int reused;
    world w;

    world_start(&w, NULL);
    w.on_event = world_echo;
    c = world_dial(&w);
    handle = etcp_conn_fd(c);
    etcp_conn_hand_over_fd(c, close_handle, &closed);
    (void)world_send(c, "x");
    tap_is_str(world_receive(c), "x", "works as before");
    etcp_conn_close(c);
    tap_is_int(closed, 1, "closing is told to the owner");
    etcp_conn_close(c);
    etcp_conn_unref(c);
    tap_is_int(closed, 1, "once");

    /* The owner closes it behind our back, and the number goes to somebody else. */
    c = world_dial(&w);
    handle = etcp_conn_fd(c);
    etcp_conn_hand_over_fd(c, close_handle, &closed);
    (void)close(handle);
    reused = world_connect_raw(&w);
    tap_is_int(reused, handle, "the number is in use again");
    tap_is_int(world_send(c, "secret"), ETCP_ESYSTEM, "nothing is sent to the stranger");
    tap_ok(world_receive(c) == NULL, "nor read from it");
    handle = -1;
    etcp_conn_close(c);
    tap_is_int(closed, 2, "its owner is still told");
    tap_ok(etcp_socket_identity(reused) != 0, "and the stranger is left alone");
    (void)close(reused);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_abandon(void)
{
    static const long nothing[1] = {-EAGAIN};
    etcp_conn *c;
    int other;
    world w;

    c = world_meet(&w, world_echo);
    other = etcp_socket_dup(etcp_conn_fd(c));
    world_calls.sendmsg = scripted_sendmsg;
    script(1, nothing);
    (void)etcp_conn_send(c, 0, bytes("x"), 1, NULL, NULL);
    writes = 0;
    etcp_conn_abandon(c);
    tap_is_int(writes, 0, "an abandoned connection writes nothing");
    tap_is_int((long long)etcp_conn_queued(c), 0, "its queue is dropped");
    world_forget(&w);
    (void)!write(other, "\x05\x01\x01y", 4);
    world_pump(&w);
    tap_is_str(w.log, "M1(y) ", "the other owner goes on");
    etcp_conn_abandon(c);
    etcp_conn_unref(c);
    (void)close(other);
    world_pump(&w);
    world_stop(&w);
}

/* ---- allocation failures --------------------------------------------------------------------- */

/* One whole life of a connection while the n-th allocation fails. Returns whether none did. */
static int live_once(long n)
{
    world w;
    etcp_conn *c;
    etcp_conn *copy;
    long before;
    int tried;
    int i;

    alloc_fail_at(0);
    world_start(&w, NULL);
    w.on_event = world_echo;
    before = alloc_live();
    alloc_fail_at(n);
    c = world_dial(&w);
    if (c) {
        for (i = 0; i < 5; i++)
            (void)world_send(c, "pipelined");
        for (i = 0; i < 5 && world_receive(c); i++)
            ;
        copy = etcp_conn_clone(c);
        etcp_conn_unref(copy);
        etcp_conn_unref(c);
    }
    tried = alloc_count() < n;
    alloc_fail_at(0);
    world_pump(&w);
    world_pass(200); /* after a failed accept, accepting pauses */
    world_pump(&w);
    world_pump(&w);
    tap_is_int(alloc_live(), before, "allocation %ld: no block is left", n);
    /* The server has survived whatever it was. */
    c = world_dial(&w);
    tap_ok(c && world_send(c, "x") == 0 && world_receive(c), "and the server serves on");
    etcp_conn_unref(c);
    world_stop(&w);
    tap_is_int(alloc_live(), 0, "and ends clean");
    return tried;
}

static void test_out_of_memory(void)
{
    long n = 0;

    alloc_fail_at(0);
    do {
        n++;
    } while (!live_once(n) && n < 500);
    tap_ok(n > 20 && n < 500, "%ld failures were tried", n - 1);
    alloc_reset();
}

/* A write that takes what fits into a small window, and every third time nothing. */
static ssize_t sluggish(int fd, const struct msghdr *m, int flags)
{
    static long results[] = {50000, 70000, -EAGAIN};

    if (take_step == take_steps)
        script(3, results);
    return scripted_sendmsg(fd, m, flags);
}

static int send_whole(etcp_conn *c, const uint8_t *payload, size_t len)
{
    return etcp_conn_send(c, 0, payload, len, NULL, NULL);
}

/* In pieces, each of which is released once whatever happens. */
static int send_in_pieces(etcp_conn *c, const uint8_t *payload, size_t len)
{
    static int ones[4] = {1, 1, 1, 1};
    const size_t cuts[5] = {0, 30, len / 2, len / 2 + 5, len};
    etcp_piece pieces[4];

    for (int i = 0; i < 4; i++)
        pieces[i] = (etcp_piece){payload + cuts[i], cuts[i + 1] - cuts[i], release, &ones[i], 0};
    return etcp_conn_send_pieces(c, 0, pieces, 4, len);
}

typedef int send_large(etcp_conn *c, const uint8_t *payload, size_t len);

/* Sends a large message, and a small one behind it, while the n-th allocation of the large one
 * fails. Whatever becomes of it: the server gets whole messages or none. Returns whether none
 * failed. */
static int break_off_once(long n, send_large *how, int encrypted, const uint8_t *payload,
                          size_t len)
{
    char whole[48];
    uint64_t since = 0;
    etcp_conn *c;
    int sent;
    int tried;
    int then;
    world w;

    alloc_fail_at(0);
    world_start(&w, NULL);
    if (encrypted)
        encrypt(&w);
    c = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    world_calls.sendmsg = sluggish;
    script(0, takes);
    released = 0;
    alloc_fail_at(n);
    sent = how(c, payload, len);
    tried = alloc_count() < n;
    alloc_fail_at(0);
    then = etcp_conn_send(c, 0, bytes("after"), 5, NULL, NULL);
    (void)etcp_conn_drain(c, 0, &since);
    world_pump(&w);
    (void)snprintf(whole, sizeof whole, "%s%s", sent == 0 ? "M1(" : "",
                   sent == 0 ? (const char *)payload : "");
    tap_ok(strncmp(w.log, whole, strlen(whole)) == 0 &&
               (strstr(w.log, "M1(after)") != NULL) == (then == 0),
           "allocation %ld: sent %d, then %d: %s", n, sent, then, w.log);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
    tap_is_int(released, how == send_in_pieces ? 4 : 0, "each piece is released once");
    tap_is_int(alloc_live(), 0, "nothing is left");
    return tried;
}

static void test_broken_off(send_large *how, int encrypted, int least)
{
    enum { LEN = 1000000 };
    uint8_t *payload = malloc(LEN);
    long n = 0;

    memset(payload, 'x', LEN);
    payload[40] = '\0';
    do {
        n++;
    } while (!break_off_once(n, how, encrypted, payload, LEN) && n < 100);
    tap_ok(n > least && n < 100, "%ld failures in a large message were tried", n - 1);
    alloc_reset();
    free(payload);
}

/* ---- pauses in large messages ------------------------------------------------------------------ */

static etcp_conn *pausing;
static size_t most_queued;
static int polls;
static int (*usual_poll)(struct pollfd *, nfds_t, int);

/* Every second wait ends early, as all do that last for a second. */
static int short_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (etcp_conn_queued(pausing) > most_queued)
        most_queued = etcp_conn_queued(pausing);
    if (++polls % 2 == 0)
        return usual_poll(fds, count, timeout_ms);
    errno = EINTR;
    return -1;
}

static int nothing_to_do(void)
{
    return 0;
}

static int something_to_do(void)
{
    return 1;
}

static void test_pauses(int (*is_interrupted)(void), size_t least, size_t most)
{
    enum { LEN = 20000000 };
    uint8_t *payload = malloc(LEN);
    uint64_t since = 0;
    world w;

    memset(payload, 'x', LEN);
    payload[40] = '\0';
    world_start(&w, NULL);
    encrypt(&w);
    w.client_config->is_interrupted = is_interrupted;
    pausing = world_dial(&w);
    world_pump(&w);
    world_calls.sendmsg = sluggish;
    usual_poll = world_calls.poll;
    world_calls.poll = short_poll;
    script(0, takes);
    most_queued = 0;
    polls = 0;
    tap_is_int(etcp_conn_send(pausing, 0, payload, LEN, NULL, NULL), 0, "a large message is sent");
    if (etcp_conn_queued(pausing) > most_queued)
        most_queued = etcp_conn_queued(pausing);
    tap_ok(polls > 0 && most_queued > least && most_queued < most, "%lu bytes were queued at most",
           (unsigned long)most_queued);
    while (etcp_conn_drain(pausing, 0, &since) == ETCP_EINTR)
        ;
    world_forget(&w);
    world_pump(&w);
    tap_ok(strncmp(w.log, "M1(xxxx", 7) == 0, "and arrives");
    etcp_conn_unref(pausing);
    world_pump(&w);
    world_stop(&w);
    free(payload);
}

int main(void)
{
    test_dial_failures();
    test_connect_timeout();
    test_dial_without_waiting();
    test_dial_deadline();
    test_bad_servers();
    test_silent_server();
    test_password();
    test_signals();
    test_timeouts();
    test_cuts();
    test_large(19999, 0);
    test_large(20001, 0);
    test_large(300000, 0);
    test_large(3000000, 0);
    test_large(300000, 1);
    test_large(3000000, 1);
    test_left_halfway();
    test_buffered_before_end();
    test_short_writes();
    test_release();
    test_drain_timeout();
    test_gap();
    test_clone();
    test_clone_keeps_connection();
    test_wrap();
    test_linger_on_unix();
    test_hand_over();
    test_abandon();
    test_out_of_memory();
    test_broken_off(send_whole, 1, 4);
    test_broken_off(send_in_pieces, 0, 2);
    test_broken_off(send_in_pieces, 1, 2);
    test_pauses(nothing_to_do, 1 << 20, 5 << 20);
    test_pauses(something_to_do, 5 << 20, 20 << 20);
    test_pauses(NULL, 5 << 20, 20 << 20);
    return tap_done();
}
