/* A server under pressure: deadlines, exhausted resources, slow and flooding peers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/conn_private.h"
#include "net/poller.h"
#include "slow_reader.h"
#include "tap.h"

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
    tap_ok(world_sees_end(early), "its peer sees it");
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
    tap_ok(world_sees_end(fd), "but closed");
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
    tap_ok(world_sees_end(fd[0]), "its peer sees it");
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
    tap_ok(world_sees_end(fd), "and are turned away");
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
    tap_ok(world_sees_end(fd[1]), "which is turned away");
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

    c = world_meet(&w, world_echo);
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
    world_echo(w, e);
    world_pass(callback_ms);
}

static void test_coalescing(void)
{
    etcp_server_options o = world_options();
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = world_echo;
    c = dial_and_pipeline(&w, 100);
    world_pump(&w);
    /* The kernel may hand the burst out in several reads. */
    tap_ok(sends >= 1 && sends < 10, "replies to a burst of 100 leave together: %d writes", sends);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);

    o.coalesce = 0;
    world_start(&w, &o);
    w.on_event = world_echo;
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
    w.on_event = world_echo;
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
    world_echo(w, e);
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

static void test_slow_reader(void)
{
    etcp_conn *slow;
    etcp_conn *quick;
    size_t mark;
    world w;

    slow = slow_start(&w, NULL);
    tap_is_int(slow_send(slow_server_side), 0, "3 MB to one who does not read");
    tap_ok(etcp_conn_queued(slow_server_side) > 1000000, "wait in the queue");
    tap_is_int(etcp_conn_wants_drain(slow_server_side, &mark), 0, "below the high-water mark");
    w.on_event = world_echo;
    quick = world_dial(&w);
    (void)world_send(quick, "x");
    tap_is_str(world_receive(quick), "x", "the others do not notice");
    world_pump(&w);
    {
        int before = w.rounds;

        world_pump(&w);
        tap_ok(w.rounds - before < 4, "nor does the loop spin");
    }
    tap_is_int(slow_read(&w, slow), SLOW_COUNT, "once it reads, it gets everything");
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
    slow = slow_start(&w, &o);
    (void)slow_send(slow_server_side);
    tap_is_int(etcp_conn_wants_drain(slow_server_side, &mark), 1,
               "past the mark a sender must wait");
    tap_ok(mark < 100000, "until there is some room: %lu", (unsigned long)mark);
    tap_is_int(world_drain(slow_server_side, mark), ETCP_ETIMEOUT, "this one never reads");
    world_forget(&w);
    world_pump(&w);
    tap_is_str(w.log, "D1 F1 ", "so it is disconnected");
    etcp_conn_unref(slow);
    world_stop(&w);
}

static etcp_conn *reading;
static size_t received, most_queued;
static int pauses;

static void receive_some(void)
{
    uint64_t since = 0;
    etcp_event event;
    int rc;

    do {
        rc = etcp_conn_receive(reading, 0, &since, &event);
        if (rc == 1 && event.type == ETCP_EVENT_MESSAGE)
            received += event.len;
    } while (rc == 1 || rc == ETCP_EINTR);
}

/* While the server waits for its client, the client reads. */
static int read_meanwhile(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    pauses++;
    if (etcp_conn_queued(slow_server_side) > most_queued)
        most_queued = etcp_conn_queued(slow_server_side);
    receive_some();
    return poll(fds, count, timeout_ms);
}

/* A sender that would wait in the end does so before all of a large message is sealed; one that sends to
 * many waits for none. */
static void test_large_above_high_water(void)
{
    enum { LEN = 8000000, HIGH = 1000000 };
    static uint8_t payload[LEN];
    etcp_server_options o = world_options();
    etcp_parcel *parcel = etcp_parcel_new(0, payload, LEN, NULL, NULL);
    world w;

    o.limits.high_water = HIGH;
    world_start(&w, &o);
    w.server_config->flags &= ~(unsigned)ETCP_DONOT_ENCRYPT;
    w.client_config->flags &= ~(unsigned)ETCP_DONOT_ENCRYPT;
    w.on_event = slow_note;
    reading = world_dial(&w);
    slow_small_buffers(etcp_conn_fd(reading));
    world_pump(&w);
    received = most_queued = 0;
    pauses = 0;
    world_calls.poll = read_meanwhile;
    tap_is_int(etcp_conn_send(slow_server_side, 0, payload, LEN, NULL, NULL), 0, "a large message");
    tap_ok(pauses > 0 && most_queued < HIGH + HIGH / 2, "%lu bytes were queued at most",
           (unsigned long)most_queued);
    pauses = 0;
    tap_is_int(etcp_conn_send_parcel(slow_server_side, parcel), 0, "and one for many");
    tap_ok(!pauses && etcp_conn_queued(slow_server_side) > 2 * HIGH, "is queued as a whole");
    while (received < 2 * LEN && etcp_conn_flush(slow_server_side) == 0)
        receive_some();
    tap_is_int((long long)received, 2 * LEN, "both arrive");
    etcp_parcel_unref(parcel);
    etcp_conn_unref(reading);
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
    slow_small_buffers(fd);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    for (i = 0; i + 5 <= sizeof junk; i += 5)
        memcpy(junk + i, "\x01\x01\x02NO", 5);
    while (n++ < 200 && write(fd, junk, i) > 0)
        (void)world_round(&w);
    world_pump(&w);
    tap_is_int((long long)etcp_server_half_open(w.server), 0, "is not negotiated with any longer");
    (void)close(fd);
    world_pump(&w);
    tap_is_str(w.log, "A1 F1 ", "and forgotten in the end");
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
    test_large_above_high_water();
    test_flood();
    test_unread_negotiation();
}

int main(void)
{
    world_with_each_poller(run);
    test_sleep();
    return tap_done();
}
