#include "net_world.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/dial.h"
#include "net/poller.h"
#include "net/server_private.h"
#include "tap.h"

etcp_syscalls world_calls;
etcp_error world_error;

static world *running; /* whose loop runs while a client waits */
static uint64_t now_us;

static uint64_t world_clock(void)
{
    return now_us;
}

static void bail_out(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

void world_pass(unsigned ms)
{
    now_us += (uint64_t)ms * 1000u;
}

/* Whether the server still has output that the kernel did not take. */
static int is_behind(world *w)
{
    int list;

    for (list = ETCP_LIST_CLIENTS; w->server && list <= ETCP_LIST_DELIVERING; list++) {
        etcp_deadline *d;

        for (d = w->server->loop->lists[list].head; d; d = d->next)
            if (etcp_conn_queued(etcp_conn_of(etcp_entry_at(d))))
                return 1;
    }
    return 0;
}

/* Whether the server lets somebody wait for an answer. */
static int delays_answers(world *w)
{
    return w->server &&
           etcp_server_half_open(w->server) > w->server->loop->lists[ETCP_LIST_HALF_OPEN].count;
}

/* A wait of a client. Whatever can happen has happened after some rounds of the loop: a wait that
 * is still not over then would last until its timeout. Only a queue that is moving along needs the
 * kernel's own time. */
static int poll_in_world(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int idle = 0;
    int tries;

    for (tries = 0; tries < 10000; tries++) {
        int ready = poll(fds, count, idle < 10 ? 0 : 1);

        if (ready != 0)
            return ready;
        if (timeout_ms == 0)
            return 0;
        if (running && idle > 10 && timeout_ms > 100 && delays_answers(running)) {
            world_pass(100);
            timeout_ms -= 100;
            idle = 0;
        }
        if (!running || !running->server || idle > 500 || (idle > 10 && !is_behind(running)))
            break;
        idle = world_round(running) > 0 ? 0 : idle + 1;
    }
    if (timeout_ms < 0)
        bail_out("waiting for ever");
    world_pass((unsigned)timeout_ms);
    return poll(fds, count, 0);
}

etcp_server_options world_options(void)
{
    etcp_server_options o;

    etcp_server_options_default(&o);
    o.address = "127.0.0.1";
    o.port = "0";
    return o;
}

/* So that a test that changes sendmsg sees all that is written. */
static ssize_t send_by_sendmsg(int fd, const void *bytes, size_t len, int flags)
{
    struct msghdr message;
    struct iovec piece;
    union {
        const void *in;
        void *out;
    } all;

    all.in = bytes;
    piece.iov_base = all.out;
    piece.iov_len = len;
    memset(&message, 0, sizeof message);
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    return world_calls.sendmsg(fd, &message, flags);
}

void world_start(world *w, const etcp_server_options *options)
{
    etcp_server_options defaults = world_options();
    etcp_error error;

    memset(w, 0, sizeof *w);
    memset(&error, 0, sizeof error);
    now_us = 1000000;
    etcp_clock_replace(world_clock);
    world_calls = etcp_system_calls;
    world_calls.send = send_by_sendmsg;
    world_calls.poll = poll_in_world;
    etcp_sys = &world_calls;
    w->server_config = etcp_config_new(ETCP_ROLE_SERVER);
    w->client_config = etcp_config_new(ETCP_ROLE_CLIENT);
    if (!w->server_config || !w->client_config)
        bail_out("no configuration");
    w->server_config->flags |= ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS;
    w->client_config->flags |= ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS;
    if (etcp_server_new(options ? options : &defaults, w->server_config, &w->server, &error) < 0)
        bail_out(error.text);
    (void)snprintf(w->port, sizeof w->port, "%u", etcp_server_port(w->server) & 65535u);
    running = w;
}

void world_stop(world *w)
{
    etcp_server_free(w->server);
    w->server = NULL;
    etcp_config_unref(w->server_config);
    etcp_config_unref(w->client_config);
    running = NULL;
    etcp_sys = &etcp_system_calls;
    etcp_clock_replace(NULL);
}

void world_forget(world *w)
{
    w->log[0] = '\0';
}

static void log_event(world *w, const etcp_server_event *event)
{
    static const char letters[] = "?ACMDFE";
    size_t used = strlen(w->log);
    size_t room = sizeof w->log - used;
    const etcp_event *m = &event->message;

    if (event->type == ETCP_SERVER_ACCEPTED)
        etcp_conn_set_serial(event->conn, ++w->serials);
    if (room < 128)
        return;
    if (event->type == ETCP_SERVER_MESSAGE)
        (void)snprintf(w->log + used, room, "M%ld(%.*s) ", etcp_conn_serial(event->conn),
                       m->len > 40 ? 40 : (int)m->len, (const char *)m->data);
    else
        (void)snprintf(w->log + used, room, "%c%ld ", letters[event->type],
                       event->conn ? etcp_conn_serial(event->conn) : 0);
}

int world_round(world *w)
{
    etcp_server_event event;
    int ready;

    w->rounds++;
    ready = w->turn_between ? w->turn_between(w) : 0;
    ready += etcp_server_poll(w->server, 0);
    while (w->server && etcp_server_next(w->server, &event) > 0) {
        log_event(w, &event);
        if (w->on_event)
            w->on_event(w, &event);
    }
    return ready;
}

int world_interruptions;

int world_poll_interrupted(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    (void)fds;
    (void)count;
    (void)timeout_ms;
    world_interruptions++;
    world_pass(400);
    errno = EINTR;
    return -1;
}

void world_pump(world *w)
{
    int idle = 0;
    int rounds;

    /* Loopback delivers at once, unless the system is busy. */
    for (rounds = 0; w->server && idle < 2 && rounds < 10000; rounds++) {
        if (idle)
            (void)poll(NULL, 0, 1);
        idle = world_round(w) == 0 ? idle + 1 : 0;
    }
}

etcp_conn *world_dial(world *w)
{
    etcp_conn_limits limits;
    etcp_conn *c = NULL;
    etcp_dial *d;
    int rc;

    etcp_conn_limits_default(&limits);
    memset(&world_error, 0, sizeof world_error);
    rc = etcp_dial_new("127.0.0.1", w->port, 30000, 90000, w->client_config, &limits, &d);
    if (rc < 0) {
        world_error.code = rc;
        return NULL;
    }
    if (w->client_tls)
        (void)etcp_dial_secure(d, w->client_tls, NULL);
    do {
        rc = etcp_dial_step(d, &c);
    } while (rc == ETCP_EINTR);
    if (rc < 0)
        world_error = *etcp_dial_error(d);
    etcp_dial_free(d);
    w->dialled = rc == 0 ? c : NULL;
    return w->dialled;
}

etcp_conn *world_meet(world *w, void (*on_event)(world *w, etcp_server_event *event))
{
    etcp_conn *c;

    world_start(w, NULL);
    w->on_event = on_event;
    c = world_dial(w);
    world_pump(w);
    return c;
}

int world_drain(etcp_conn *c, size_t mark)
{
    uint64_t since = 0;
    int rc;

    do {
        rc = etcp_conn_drain(c, mark, &since);
    } while (rc == ETCP_EINTR);
    return rc;
}

int world_send(etcp_conn *c, const char *text)
{
    size_t mark;
    int rc = etcp_conn_send(c, 0, (const uint8_t *)text, strlen(text), NULL, NULL);

    while (rc == 0 && etcp_conn_wants_drain(c, &mark))
        rc = world_drain(c, mark);
    return rc;
}

int world_wait(etcp_conn *c, unsigned timeout_ms, etcp_event *event)
{
    uint64_t since = 0;
    int rc;

    do {
        rc = etcp_conn_receive(c, timeout_ms, &since, event);
    } while (rc == ETCP_EINTR);
    return rc;
}

const char *world_receive(etcp_conn *c)
{
    static char text[256];
    etcp_event event;

    if (world_wait(c, 1000, &event) != 1)
        return NULL;
    (void)snprintf(text, sizeof text, "%.*s", event.len > 200 ? 200 : (int)event.len,
                   (const char *)event.data);
    return text;
}

int world_connect_raw(world *w)
{
    struct sockaddr_in in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_port = htons((uint16_t)atoi(w->port));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof in) < 0)
        bail_out("connect");
    etcp_socket_no_delay(fd); /* what is written arrives, whatever was written before */
    return fd;
}

int world_sees_end(int fd)
{
    char byte;
    ssize_t n;

    do {
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
    } while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

void world_echo(world *w, etcp_server_event *event)
{
    (void)w;
    if (event->type == ETCP_SERVER_MESSAGE)
        (void)etcp_conn_send(event->conn, 0, event->message.data, event->message.len, NULL, NULL);
}

void world_with_each_poller(void (*run)(void))
{
    size_t i;

    for (i = 0; etcp_pollers[i]; i++) {
        tap_note("%s", etcp_pollers[i]->name);
        (void)etcp_poller_choose(etcp_pollers[i]->name);
        run();
    }
}
