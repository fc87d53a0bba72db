/* A server under pressure: deadlines, exhausted resources, slow and flooding peers, forks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/poller.h"
#include "net_world.h"
#include "tap.h"

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

static void echo(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_MESSAGE)
        (void)etcp_conn_send(e->conn, 0, e->message.data, e->message.len, NULL, NULL);
}

/* Whether the peer sees the end of the stream, or a reset. */
static int sees_end(int fd)
{
    char byte;
    ssize_t n;

    do {
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
    } while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void test_negotiation_timeout(void)
{
    int early, late;
    world w;

    world_start(&w, NULL);
    early = world_connect_raw(&w);
    world_pump(&w);
    world_pass(30000);
    late = world_connect_raw(&w);
    world_pump(&w);
    (void)!write(early, "\x01", 1); /* a drip prolongs nothing */
    world_pass(14999);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 ", "45 seconds are not over");
    world_pass(1);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 F1 ", "now the first one is dropped, without a disconnect");
    tap_ok(sees_end(early), "its peer sees it");
    world_pass(30000);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 F1 F2 ", "then the second");
    tap_is_int((long long)etcp_server_half_open(w.server), 0, "nobody is left");
    (void)close(early);
    (void)close(late);
    world_stop(&w);
}

static void test_idle_timeout(void)
{
    etcp_server_options o = world_options();
    etcp_conn *a, *b;
    world w;

    o.idle_timeout_ms = 10000;
    world_start(&w, &o);
    a = world_dial(&w);
    b = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    world_pass(9000);
    (void)world_send(a, "here");
    world_pump(&w);
    world_pass(1000);
    world_pump(&w);
    tap_is_str(w.log, "M1(here) D2 F2 ", "the silent one is disconnected");
    world_pass(9000);
    world_pump(&w);
    tap_is_str(w.log, "M1(here) D2 F2 D1 F1 ", "and the other one later");
    etcp_conn_unref(a);
    etcp_conn_unref(b);
    world_stop(&w);
}

static int shortest_wait;

static int noting_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int ready = poll(fds, count, 0);

    if (timeout_ms < 0)
        shortest_wait = -1;
    else if (ready == 0) {
        shortest_wait = timeout_ms;
        world_pass((unsigned)timeout_ms);
    }
    return ready;
}

/* poll sleeps exactly until the next deadline, or as long as it was told. */
static void test_sleep(void)
{
    int fd;
    world w;

    (void)etcp_poller_choose("poll");
    world_start(&w, NULL);
    world_calls.poll = noting_poll;
    tap_is_int(etcp_server_poll(w.server, 10), 0, "nothing happens");
    tap_is_int(shortest_wait, 10, "for as long as was asked");
    shortest_wait = -1;
    tap_is_int(etcp_server_poll(w.server, -1), ETCP_EINTR, "an endless wait lets signals in");
    tap_is_int(shortest_wait, 5000, "every five seconds");
    fd = world_connect_raw(&w);
    world_pump(&w);
    tap_is_int(etcp_server_poll(w.server, 10), 0, "nothing happens");
    world_pass(ETCP_NEGOTIATION_TIMEOUT_MS - 10 - 250);
    tap_ok(etcp_server_poll(w.server, -1) > 0, "a deadline ends an endless wait");
    tap_ok(shortest_wait <= 250 && shortest_wait > 200, "when it is due: %d", shortest_wait);
    world_forget(&w);
    world_pump(&w);
    tap_is_str(w.log, "F1 ", "and then it is handled");
    (void)close(fd);
    world_stop(&w);
    (void)etcp_poller_choose(NULL);
}

/* ---- running out ----------------------------------------------------------------------------- */

static int accept_error;
static int accepts;

static int failing_accept(int fd, struct sockaddr *address, socklen_t *len)
{
    accepts++;
    if (accept_error) {
        errno = accept_error;
        return -1;
    }
    return etcp_system_calls.accept(fd, address, len);
}

static void test_no_descriptors(int error)
{
    etcp_conn *a;
    int fd;
    world w;

    world_start(&w, NULL);
    a = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    world_calls.accept = failing_accept;
    accept_error = error;
    accepts = 0;
    fd = world_connect_raw(&w);
    world_pump(&w);
    world_pump(&w);
    world_pump(&w);
    tap_is_int(accepts, 1, "errno %d: asked once, no spinning", error);
    (void)world_send(a, "x");
    world_pump(&w);
    tap_is_str(w.log, "M1(x) ", "the others are served");
    world_pass(100);
    world_pump(&w);
    tap_is_int(accepts, 2, "asked again after a while");
    accept_error = 0;
    etcp_conn_unref(a);
    world_pump(&w);
    tap_is_str(w.log, "M1(x) D1 F1 A2 ", "and at once when a client has gone");
    (void)close(fd);
    world_pump(&w);
    world_stop(&w);
}

static void test_aborted_accept(void)
{
    int fd;
    world w;

    world_start(&w, NULL);
    world_calls.accept = failing_accept;
    accept_error = ECONNABORTED;
    accepts = 0;
    fd = world_connect_raw(&w);
    (void)world_round(&w);
    tap_ok(accepts > 0 && accepts <= 64, "an aborted connection is skipped");
    accept_error = 0;
    world_pump(&w);
    tap_is_str(w.log, "A1 ", "the next one is accepted");
    (void)close(fd);
    world_stop(&w);
}

static void test_max_clients(void)
{
    etcp_server_options o = world_options();
    etcp_conn *a;
    int fd;
    world w;

    o.max_clients = 1;
    world_start(&w, &o);
    a = world_dial(&w);
    world_pump(&w);
    fd = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 ", "one too many is not announced");
    tap_ok(sees_end(fd), "but closed");
    (void)close(fd);
    etcp_conn_unref(a);
    world_pump(&w);
    a = world_dial(&w);
    tap_ok(a != NULL, "when the first has gone there is room");
    etcp_conn_unref(a);
    world_pump(&w);
    world_stop(&w);
}

static void test_max_half_open(void)
{
    etcp_server_options o = world_options();
    etcp_conn *c;
    int fd[4];
    world w;

    o.max_half_open = 2;
    world_start(&w, &o);
    fd[0] = world_connect_raw(&w);
    fd[1] = world_connect_raw(&w);
    fd[2] = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 ", "newcomers wait while others negotiate");
    (void)close(fd[1]);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 F2 A3 ", "until one is done");
    fd[3] = world_connect_raw(&w);
    world_pump(&w);
    world_pass(4999);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 F2 A3 ", "each has a few seconds");
    world_pass(1);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 F2 A3 A4 F1 ", "then the oldest must go");
    tap_ok(sees_end(fd[0]), "its peer sees it");
    world_pass(5000);
    c = world_dial(&w);
    tap_ok(c != NULL, "honest clients get in however many are silent");
    etcp_conn_unref(c);
    (void)close(fd[0]);
    (void)close(fd[2]);
    (void)close(fd[3]);
    world_pump(&w);
    world_stop(&w);
}

static void test_allowed(void)
{
    etcp_conn *c;
    int fd;
    world w;

    world_start(&w, NULL);
    tap_is_int(etcp_server_allow(w.server, "127.0.0.9"), 0, "another host is allowed");
    (void)etcp_server_allow(w.server, "127.0.0.9");
    fd = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "", "we are not");
    tap_ok(sees_end(fd), "and are turned away");
    (void)etcp_server_allow(w.server, "127.0.0.1");
    c = world_dial(&w);
    tap_ok(c != NULL, "now we are");
    (void)etcp_server_disallow(w.server, "127.0.0.1");
    tap_is_int(world_send(c, "x"), 0, "those inside");
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(x) ", "stay");
    (void)etcp_server_disallow(w.server, "127.0.0.9");
    (void)etcp_server_disallow(w.server, "127.0.0.9");
    etcp_conn_unref(c);
    c = world_dial(&w);
    tap_ok(c != NULL, "an empty list allows everybody");
    etcp_conn_unref(c);
    (void)close(fd);
    world_pump(&w);
    world_stop(&w);
}

/* Those that negotiate count, too, and an end makes room. */
static void test_per_address(void)
{
    etcp_server_options o = world_options();
    etcp_conn *c;
    int fd[3];
    world w;

    o.max_clients_per_ip = 2;
    world_start(&w, &o);
    c = world_dial(&w);
    world_pump(&w);
    fd[0] = world_connect_raw(&w);
    fd[1] = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 A2 ", "two of one address, and no third");
    tap_ok(sees_end(fd[1]), "which is turned away");
    (void)close(fd[0]);
    world_pump(&w);
    fd[2] = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 A2 F2 A3 ", "one that left makes room");
    etcp_conn_unref(c);
    (void)close(fd[1]);
    (void)close(fd[2]);
    world_pump(&w);
    c = world_dial(&w);
    tap_ok(c != NULL, "so do clients");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

/* ---- system calls of the usual case ---------------------------------------------------------- */

static int recvs, sends;
static size_t sent_most;

static ssize_t counting_recv(int fd, void *where, size_t len, int flags)
{
    recvs++;
    return recv(fd, where, len, flags);
}

static ssize_t counting_sendmsg(int fd, const struct msghdr *m, int flags)
{
    ssize_t n = sendmsg(fd, m, flags);

    sends++;
    if (n > 0 && (size_t)n > sent_most)
        sent_most = (size_t)n;
    return n;
}

static void test_hot_path(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = echo;
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "question");
    world_calls.recv = counting_recv;
    world_calls.sendmsg = counting_sendmsg;
    recvs = sends = 0;
    tap_is_int(world_round(&w), 1, "one thing is ready");
    tap_is_int(recvs, 1, "one read");
    tap_is_int(sends, 1, "and one write answer a question");
    tap_is_str(world_receive(c), "question", "it was answered");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

/* ---- coalescing ------------------------------------------------------------------------------ */

static etcp_conn *dial_and_pipeline(world *w, int messages)
{
    etcp_conn *c = world_dial(w);
    int i;

    world_pump(w);
    for (i = 0; i < messages; i++)
        (void)world_send(c, "message");
    world_calls.sendmsg = counting_sendmsg;
    sends = 0;
    sent_most = 0;
    return c;
}

static unsigned callback_ms;

static void slow_echo(world *w, etcp_server_event *e)
{
    echo(w, e);
    world_pass(callback_ms);
}

static void test_coalescing(void)
{
    etcp_server_options o = world_options();
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = echo;
    c = dial_and_pipeline(&w, 100);
    world_pump(&w);
    /* The kernel may hand the burst out in several reads. */
    tap_ok(sends >= 1 && sends < 10, "replies to a burst of 100 leave together: %d writes", sends);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);

    o.coalesce = 0;
    world_start(&w, &o);
    w.on_event = echo;
    c = dial_and_pipeline(&w, 100);
    world_pump(&w);
    tap_is_int(sends, 100, "without coalescing each leaves alone");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);

    world_start(&w, NULL);
    w.on_event = slow_echo;
    callback_ms = 1;
    c = dial_and_pipeline(&w, 100);
    world_pump(&w);
    tap_is_int(sends, 100, "with slow callbacks, too");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);

    world_start(&w, NULL);
    (void)snprintf(w.client_config->version, sizeof w.client_config->version, "0.25");
    w.on_event = echo;
    c = dial_and_pipeline(&w, 10);
    world_pump(&w);
    tap_is_int(sends, 10, "and for peers that might miss the second of two");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static int seen;
static const char *held_action;
static etcp_conn *first_conn;
static uint8_t big[40000];

/* At the fifth message of a batch three replies are held back. */
static void act_while_holding(world *w, etcp_server_event *e)
{
    uint64_t since = 0;
    etcp_event event;
    int before;

    if (e->type == ETCP_SERVER_CONNECT && !first_conn)
        first_conn = e->conn;
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    echo(w, e);
    if (++seen != 5)
        return;
    before = sends;
    tap_is_int(before, 1, "%s: replies are held back", held_action);
    if (strcmp(held_action, "flush") == 0)
        etcp_server_flush(w->server);
    else if (strcmp(held_action, "poll") == 0)
        (void)etcp_server_poll(w->server, 0);
    else if (strcmp(held_action, "receive") == 0) {
        world_calls.poll = etcp_system_calls.poll; /* nothing comes: a millisecond */
        (void)etcp_conn_receive(first_conn, 1, &since, &event);
    } else if (strcmp(held_action, "drain") == 0)
        (void)etcp_conn_drain(first_conn, 0, &since);
    else if (strcmp(held_action, "close") == 0)
        etcp_conn_close(e->conn);
    else if (strcmp(held_action, "free") == 0) {
        etcp_server_free(w->server);
        w->server = NULL;
    } else if (strcmp(held_action, "fork") == 0) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        (void)waitpid(child, NULL, 0);
    } else if (strcmp(held_action, "big") == 0) {
        (void)etcp_conn_send(e->conn, 0, big, sizeof big, NULL, NULL);
        (void)etcp_conn_send(e->conn, 0, big, sizeof big, NULL, NULL);
    }
    tap_is_int(sends, before + 1, "%s: they leave first, together", held_action);
}

static void test_holding(const char *action)
{
    etcp_conn *c;
    etcp_conn *first;
    int i;
    world w;

    world_start(&w, NULL);
    w.on_event = act_while_holding;
    held_action = action;
    first_conn = NULL;
    seen = 0;
    first = world_dial(&w);
    world_pump(&w);
    c = dial_and_pipeline(&w, 8);
    world_pump(&w);
    for (i = 0; i < 5; i++)
        if (!world_receive(c))
            break;
    tap_is_int(i, 5, "%s: none is lost", action);
    etcp_conn_unref(c);
    etcp_conn_unref(first);
    if (w.server)
        world_pump(&w);
    world_stop(&w);
}

/* ---- slow readers and floods ----------------------------------------------------------------- */

static void small_buffers(int fd)
{
    int size = 262144;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static etcp_conn *server_side;

static void note_conn(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_CONNECT) {
        server_side = e->conn;
        small_buffers(etcp_conn_fd(e->conn));
    }
}

enum { SLOW_COUNT = 300 };

/* Reads what the server queued. Returns how many messages of 10000 bytes came. */
static int read_all(world *w, etcp_conn *c)
{
    uint64_t since;
    etcp_event event;
    int count = 0;

    for (;;) {
        since = 0;
        if (etcp_conn_receive(c, 1000, &since, &event) != 1)
            return count;
        if (event.len != 10000 || event.data[0] != (uint8_t)count)
            return -1;
        count++;
        if (w->server)
            (void)world_round(w);
    }
}

static int send_many(etcp_conn *to)
{
    static uint8_t block[10000];
    int rc = 0;
    int i;

    for (i = 0; i < SLOW_COUNT && rc == 0; i++) {
        block[0] = (uint8_t)i;
        rc = etcp_conn_send(to, 0, block, sizeof block, NULL, NULL);
    }
    return rc;
}

static void test_slow_reader(void)
{
    etcp_conn *slow;
    etcp_conn *quick;
    size_t mark;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    slow = world_dial(&w);
    world_pump(&w);
    tap_is_int(send_many(server_side), 0, "3 MB to one who does not read");
    tap_ok(etcp_conn_queued(server_side) > 1000000, "wait in the queue");
    tap_is_int(etcp_conn_wants_drain(server_side, &mark), 0, "below the high-water mark");
    w.on_event = echo;
    quick = world_dial(&w);
    (void)world_send(quick, "x");
    tap_is_str(world_receive(quick), "x", "the others do not notice");
    world_pump(&w);
    {
        int before = w.rounds;

        world_pump(&w);
        tap_ok(w.rounds - before < 4, "nor does the loop spin");
    }
    tap_is_int(read_all(&w, slow), SLOW_COUNT, "once it reads, it gets everything");
    etcp_conn_unref(slow);
    etcp_conn_unref(quick);
    world_pump(&w);
    world_stop(&w);
}

static void test_high_water(void)
{
    etcp_server_options o = world_options();
    etcp_conn *slow;
    size_t mark = 0;
    world w;

    o.limits.high_water = 100000;
    o.limits.send_timeout_ms = 5000;
    world_start(&w, &o);
    w.on_event = note_conn;
    slow = world_dial(&w);
    world_pump(&w);
    (void)send_many(server_side);
    tap_is_int(etcp_conn_wants_drain(server_side, &mark), 1, "past the mark a sender must wait");
    tap_ok(mark < 100000, "until there is some room: %lu", (unsigned long)mark);
    tap_is_int(world_drain(server_side, mark), ETCP_ETIMEOUT, "this one never reads");
    world_forget(&w);
    world_pump(&w);
    tap_is_str(w.log, "D1 F1 ", "so it is disconnected");
    etcp_conn_unref(slow);
    world_stop(&w);
}

static void test_flood(void)
{
    enum { FLOOD = 2000000 };
    static uint8_t flood[FLOOD];
    etcp_conn *loud;
    etcp_conn *quiet;
    size_t done = 0;
    int rounds = 0;
    world w;

    world_start(&w, NULL);
    loud = world_dial(&w);
    quiet = world_dial(&w);
    world_pump(&w);
    for (done = 0; done + 3 <= FLOOD; done += 3)
        memcpy(flood + done, "\x05\x01\x00", 3);
    /* As much as the kernel takes; what was cut is finished below. */
    {
        ssize_t n = send(etcp_conn_fd(loud), flood, done, MSG_DONTWAIT);

        tap_ok(n > 262144 * 2, "a flood of %ld bytes", (long)n);
    }
    (void)world_send(quiet, "hello?");
    world_forget(&w);
    while (!strstr(w.log, "M2(hello?)") && rounds++ < 5) {
        world_forget(&w);
        w.on_event = NULL;
        (void)etcp_server_poll(w.server, 0);
        {
            etcp_server_event e;

            while (etcp_server_next(w.server, &e) > 0)
                if (e.type == ETCP_SERVER_MESSAGE && e.message.len == 6)
                    (void)snprintf(w.log, sizeof w.log, "M2(hello?)");
        }
    }
    tap_ok(rounds <= 1, "somebody else is heard in the first round");
    etcp_conn_unref(loud);
    etcp_conn_unref(quiet);
    world_stop(&w);
}

/* A half-open peer that asks and asks and reads nothing cannot make us pile up answers. */
static void test_unread_negotiation(void)
{
    static char junk[4096];
    size_t i;
    int fd;
    int n = 0;
    world w;

    world_start(&w, NULL);
    fd = world_connect_raw(&w);
    small_buffers(fd);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    for (i = 0; i + 5 <= sizeof junk; i += 5)
        memcpy(junk + i, "\x01\x01\x02NO", 5);
    while (n++ < 200 && write(fd, junk, i) > 0)
        (void)world_round(&w);
    world_pump(&w);
    tap_ok(n < 10000, "survived %d writes", n);
    (void)close(fd);
    world_pump(&w);
    tap_ok(strstr(w.log, "F1") != NULL, "forgotten in the end");
    world_stop(&w);
}

/* ---- closing --------------------------------------------------------------------------------- */

static void send_and_close(world *w, etcp_server_event *e)
{
    note_conn(w, e);
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    (void)send_many(e->conn);
    etcp_conn_close(e->conn);
}

/* 3 MB, then close: with input unread, and more of it arriving afterwards. */
static void test_close_delivers(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = send_and_close;
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "go");
    (void)world_send(c, "unread");
    world_pump(&w);
    (void)world_send(c, "too late");
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "closed at once for the program");
    tap_is_int(read_all(&w, c), SLOW_COUNT, "and still everything arrives");
    tap_is_int(etcp_conn_error(c)->code, ETCP_ECLOSED, "followed by an orderly end");
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(go) F1 ", "forgotten when it was done");
    world_stop(&w);
}

/* A peer that sends and does not read before it has sent everything: its input makes room. */
static void test_close_takes_input(void)
{
    enum { OFTEN = 3000 };
    etcp_conn *c;
    world w;
    int i;

    world_start(&w, NULL);
    w.on_event = send_and_close;
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "go");
    world_pump(&w);
    for (i = 0; i < OFTEN; i++) {
        char text[2000];

        memset(text, 'x', sizeof text);
        (void)etcp_conn_send(c, 0, bytes(text), sizeof text, NULL, NULL);
        world_pump(&w);
    }
    tap_is_int((long long)etcp_conn_queued(c), 0, "6 MB are taken before the first byte is read");
    tap_is_int(read_all(&w, c), SLOW_COUNT, "which does not harm what is delivered");
    etcp_conn_unref(c);
    world_pump(&w);
    tap_ok(strstr(w.log, "F1") != NULL, "forgotten when it was done");
    world_stop(&w);
}

static void test_linger_ends(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = send_and_close;
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "go");
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(go) ", "a peer that reads nothing");
    world_pass(ETCP_LINGER_MS);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(go) F1 ", "is given up after the linger time");
    etcp_conn_unref(c);
    world_stop(&w);
}

static void close_now(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_MESSAGE) {
        (void)etcp_conn_send(e->conn, 0, bytes("answer"), 6, NULL, NULL);
        etcp_conn_close(e->conn);
    }
}

/* The peer neither closes nor sends: a closed connection does not stay for ever. */
static void test_discard_ends(void)
{
    etcp_conn *c;
    world w;
    int i;

    world_start(&w, NULL);
    w.on_event = close_now;
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "go");
    (void)world_send(c, "unread");
    world_pump(&w);
    tap_is_str(world_receive(c), "answer", "the answer arrives");
    tap_ok(world_receive(c) == NULL && etcp_conn_error(c)->code == ETCP_ECLOSED, "then the end");
    for (i = 0; i < 60 && !strstr(w.log, "F1"); i++) {
        world_pass(1001);
        world_pump(&w);
    }
    tap_ok(strstr(w.log, "F1") != NULL, "and the server lets go, peer or not");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* As the bridge does: calls again until it is over, or for rounds rounds. Returns the last answer.
 */
static int end_server(world *w, uint64_t *since, int rounds)
{
    int rc;

    do {
        rc = etcp_server_linger(w->server, since);
    } while (rc == ETCP_EINTR && --rounds > 0);
    return rc;
}

/* Waits in vain. */
static int poll_in_vain(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    (void)fds, (void)count;
    world_pass((unsigned)timeout_ms);
    return 0;
}

static int never_acked(int fd)
{
    (void)fd;
    return 1;
}

static ssize_t never_ends(int fd, void *to, size_t len, int flags)
{
    (void)fd, (void)to, (void)len, (void)flags;
    errno = EAGAIN;
    return -1;
}

static void test_server_linger(void)
{
    uint64_t since = 0;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    (void)send_many(server_side);
    tap_is_int(end_server(&w, &since, 5), ETCP_EINTR, "nobody reads");
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "though all are closed");
    tap_is_int(read_all(&w, c), SLOW_COUNT, "now somebody does");
    tap_is_int(end_server(&w, &since, 100), 0, "delivered");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    (void)send_many(server_side);
    since = 0;
    world_calls.poll = poll_in_vain;
    tap_is_int(end_server(&w, &since, 2000), 0,
               "a deaf client is waited for as long as closing may take");
    tap_ok(etcp_clock_ms() - since >= ETCP_LINGER_MS, "and no shorter");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* Clients that the program holds go on alone: their queue is waited for, and they stay open. */
static void test_server_linger_outlived(void)
{
    uint64_t since = 0;
    etcp_conn *c, *held;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    held = etcp_conn_ref(server_side);
    etcp_conn_outlive_server(held);
    (void)send_many(held);
    tap_is_int(end_server(&w, &since, 5), ETCP_EINTR,
               "a client that outlives the server is waited for");
    tap_is_int(read_all(&w, c), SLOW_COUNT, "until it has read");
    tap_is_int(end_server(&w, &since, 100), 0, "then it is over");
    tap_is_int(etcp_conn_is_open(held), 1, "and the connection open");
    etcp_conn_unref(c);
    etcp_conn_unref(held);
    world_stop(&w);
}

/* What is dropped at once is written first, and input that nobody took does not destroy it. */
static void test_server_linger_unread(void)
{
    uint64_t since = 0;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    (void)etcp_conn_send(server_side, 0, bytes("answer"), 6, NULL, NULL);
    (void)world_send(c, "unread");
    tap_is_int(end_server(&w, &since, 100), 0, "a server with unread input goes");
    etcp_server_free(w.server);
    w.server = NULL;
    tap_is_str(world_receive(c), "answer", "what it had sent arrives");
    tap_ok(world_receive(c) == NULL && etcp_conn_error(c)->code == ETCP_ECLOSED, "and no reset");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- a connection without a loop closes ------------------------------------------------------ */

/* As the bridge closes: a round of the server's loop in each wait. Returns the rounds it took. */
static int close_patiently(etcp_conn *c)
{
    int rounds = 0;

    while (etcp_conn_linger(c) == ETCP_EINTR)
        rounds++;
    etcp_conn_close(c);
    return rounds;
}

enum { CHATTER = 300 };

static void answer_each(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_MESSAGE)
        (void)etcp_conn_send(e->conn, 0, e->message.data, e->message.len, NULL, NULL);
}

/* The client reads no answer, and closes: what it sent is served all the same. */
static void test_client_closes_unread(void)
{
    char last[32];
    etcp_conn *c;
    world w;
    int i;

    (void)snprintf(last, sizeof last, "M1(%d) ", CHATTER);
    world_start(&w, NULL);
    w.on_event = answer_each;
    c = world_dial(&w);
    world_pump(&w);
    for (i = 1; i <= CHATTER; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "%d", i);
        (void)etcp_conn_send(c, 0, bytes(text), strlen(text), NULL, NULL);
        if (i == CHATTER / 2)
            world_pump(&w); /* answers that will be unread */
    }
    (void)close_patiently(c);
    world_pump(&w);
    tap_ok(strstr(w.log, last) != NULL, "all %d messages before a close are served", CHATTER);
    tap_is_int(etcp_conn_is_open(c), 0, "closed");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* From the first moment it is closed for its user. */
static void test_closing_is_closed(void)
{
    etcp_event event;
    uint64_t since = 0;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    (void)etcp_conn_send(server_side, 0, bytes("unread"), 6, NULL, NULL);
    world_calls.unacked = never_acked;
    tap_is_int(etcp_conn_linger(c), ETCP_EINTR, "the peer's kernel has not got everything");
    tap_is_int(etcp_conn_is_open(c), 0, "not open any more");
    tap_is_int(etcp_conn_fd(c), -1, "no descriptor to be had");
    tap_is_int(etcp_conn_send(c, 0, bytes("x"), 1, NULL, NULL), ETCP_ECLOSED, "nothing to be sent");
    tap_is_int(etcp_conn_receive(c, 10, &since, &event), ETCP_ECLOSED, "nothing to be received");
    tap_ok(close_patiently(c) > 0, "it waits");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_client_linger_ends(void)
{
    etcp_conn *c;
    uint64_t began;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    w.on_event = NULL;
    world_calls.unacked = never_acked;
    (void)etcp_conn_send(server_side, 0, bytes("unread"), 6, NULL, NULL);
    began = etcp_clock_ms();
    world_calls.recv = never_ends;
    world_calls.poll = poll_in_vain;
    (void)close_patiently(c);
    tap_ok(etcp_clock_ms() - began >= ETCP_LINGER_MS, "waits no longer than the linger time");
    tap_is_int(etcp_conn_linger(c), 0, "a closed one waits for nothing");
    etcp_conn_unref(c);
    world_calls.recv = etcp_system_calls.recv;
    world_pump(&w);
    world_stop(&w);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static int run_child(world *w, int (*in_child)(world *w, etcp_conn *c), etcp_conn *c)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(in_child(w, c));
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int child_frees(world *w, etcp_conn *c)
{
    (void)c;
    etcp_server_free(w->server);
    return 0;
}

static int child_closes(world *w, etcp_conn *c)
{
    etcp_conn_close(c);
    (void)world_round(w);
    return 0;
}

static int child_serves(world *w, etcp_conn *c)
{
    world_pump(w); /* rebuilds its poller */
    etcp_conn_close(c);
    world_pump(w);
    return 0;
}

/* What was queued is the parent's to deliver; in between nothing can be sent. */
static int child_of_behind(world *w, etcp_conn *c)
{
    int rc;

    (void)w;
    if (etcp_conn_queued(c) != 0)
        return 1;
    rc = etcp_conn_send(c, 0, bytes("x"), 1, NULL, NULL);
    etcp_conn_close(c);
    return rc == ETCP_ECLOSED ? 0 : 2;
}

static int child_sends(world *w, etcp_conn *c)
{
    (void)w;
    if (etcp_conn_send(c, 0, bytes("from the child"), 14, NULL, NULL) != 0)
        return 1;
    etcp_conn_close(c);
    return 0;
}

static void test_fork(int (*in_child)(world *w, etcp_conn *c), const char *what)
{
    etcp_conn *c;
    etcp_conn *d;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    w.on_event = echo;
    tap_is_int(run_child(&w, in_child, server_side), 0, "a child %s", what);
    (void)world_send(c, "still there?");
    tap_is_str(world_receive(c), "still there?", "the parent serves its client");
    d = world_dial(&w);
    tap_ok(d && world_send(d, "x") == 0 && world_receive(d), "and new ones");
    etcp_conn_unref(c);
    etcp_conn_unref(d);
    world_pump(&w);
    tap_ok(strstr(w.log, "D1 F1 ") != NULL, "and hears when they go");
    world_stop(&w);
}

static void test_fork_behind(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    (void)send_many(server_side);
    tap_is_int(run_child(&w, child_of_behind, server_side), 0, "a child leaves the queue alone");
    tap_is_int(read_all(&w, c), SLOW_COUNT, "which the parent delivers, once");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_fork_sends(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    tap_is_int(run_child(&w, child_sends, server_side), 0, "a child answers in the parent's place");
    tap_is_str(world_receive(c), "from the child", "and is heard");
    (void)world_send(c, "unread");
    etcp_conn_close(server_side);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "the parent closes its copy");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* The parent closes its copy while the child goes on talking: no shutdown. */
static void test_parent_closes(void)
{
    int go[2];
    etcp_conn *c;
    pid_t child;
    char byte = 0;
    world w;

    if (pipe(go) < 0)
        exit(1);
    world_start(&w, NULL);
    w.on_event = note_conn;
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "unread by the parent");
    child = fork();
    if (child == 0) {
        (void)!read(go[0], &byte, 1);
        _exit(child_sends(&w, server_side));
    }
    etcp_conn_close(server_side);
    world_pump(&w);
    (void)!write(go[1], "x", 1);
    (void)waitpid(child, NULL, 0);
    tap_is_str(world_receive(c), "from the child", "the child's connection was not shut down");
    tap_ok(strstr(w.log, "F1") != NULL, "though the parent has forgotten it");
    etcp_conn_unref(c);
    (void)close(go[0]);
    (void)close(go[1]);
    world_stop(&w);
}

/* A handle that its Perl owner closed: the number may belong to another client by now. */
static void forget_handle(void *owner)
{
    ++*(int *)owner;
}

static void test_closed_handle(void)
{
    int closed = 0;
    etcp_conn *a, *b;
    world w;

    world_start(&w, NULL);
    w.on_event = note_conn;
    a = world_dial(&w);
    world_pump(&w);
    etcp_conn_hand_over_fd(server_side, forget_handle, &closed);
    (void)close(etcp_conn_fd(server_side));
    w.on_event = echo;
    b = world_dial(&w);
    tap_ok(b && world_send(b, "x") == 0 && world_receive(b), "the next client gets its number");
    etcp_conn_close(server_side);
    world_pump(&w);
    tap_is_int(closed, 1, "the owner is told");
    tap_ok(strstr(w.log, "F1") != NULL, "forgotten");
    (void)world_send(b, "y");
    tap_is_str(world_receive(b), "y", "and the other client is still served");
    etcp_conn_unref(a);
    etcp_conn_unref(b);
    world_pump(&w);
    world_stop(&w);
}

static void run(void)
{
    static const char *const actions[] = {"flush", "poll", "receive", "drain",
                                          "close", "free", "fork",    "big"};
    size_t i;

    test_negotiation_timeout();
    test_idle_timeout();
    test_no_descriptors(EMFILE);
    test_no_descriptors(ENFILE);
    test_no_descriptors(ENOBUFS);
    test_aborted_accept();
    test_max_clients();
    test_max_half_open();
    test_allowed();
    test_per_address();
    test_hot_path();
    test_coalescing();
    for (i = 0; i < sizeof actions / sizeof *actions; i++)
        test_holding(actions[i]);
    test_slow_reader();
    test_high_water();
    test_flood();
    test_unread_negotiation();
    test_close_delivers();
    test_close_takes_input();
    test_linger_ends();
    test_discard_ends();
    test_server_linger();
    test_server_linger_outlived();
    test_server_linger_unread();
    test_client_closes_unread();
    test_closing_is_closed();
    test_client_linger_ends();
    test_fork(child_frees, "drops the server");
    test_fork(child_closes, "closes its copy");
    test_fork(child_serves, "runs the loop itself");
    test_fork_behind();
    test_fork_sends();
    test_parent_closes();
    test_closed_handle();
}

int main(void)
{
    size_t i;

    for (i = 0; etcp_pollers[i]; i++) {
        tap_note("%s", etcp_pollers[i]->name);
        (void)etcp_poller_choose(etcp_pollers[i]->name);
        run();
    }
    test_sleep();
    return tap_done();
}
