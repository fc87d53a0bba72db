/* Nobody waits for long behind a client that sends much, or that reads nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/dial.h"
#include "net_world.h"
#include "tap.h"

enum { FLOOD = 1000 };

static etcp_conn *loud;  /* the first client */
static etcp_conn *quiet; /* the second */

static struct {
    unsigned loud; /* messages */
    unsigned quiet;
    unsigned loud_before; /* messages of the loud one that came before the first of the quiet one */
    unsigned accepted;
    unsigned forgotten;
    unsigned before_forgotten;
} seen;

static unsigned callback_ms;

static void count(world *w, etcp_server_event *e)
{
    (void)w;
    switch (e->type) {
    case ETCP_SERVER_ACCEPTED: seen.accepted++; break;
    case ETCP_SERVER_MESSAGE:
        if (etcp_conn_serial(e->conn) == 1)
            seen.loud++;
        else if (seen.quiet++ == 0)
            seen.loud_before = seen.loud;
        world_pass(callback_ms);
        break;
    case ETCP_SERVER_FORGOTTEN:
        if (seen.forgotten++ == 0)
            seen.before_forgotten = seen.loud;
        break;
    case ETCP_SERVER_CONNECT:
    case ETCP_SERVER_DRAINED:
    case ETCP_SERVER_DIALED:
    case ETCP_SERVER_DIAL_FAILED:
    case ETCP_SERVER_WOKEN:
    case ETCP_SERVER_WATCHED:
    case ETCP_SERVER_DISCONNECT:
    case ETCP_SERVER_FINISHED: break;
    }
}

/* Both clients are connected; what happens from now on is counted. */
static void start(world *w, unsigned ms)
{
    world_start(w, NULL);
    loud = world_dial(w);
    quiet = world_dial(w);
    world_pump(w);
    memset(&seen, 0, sizeof seen);
    callback_ms = ms;
    w->on_event = count;
}

static void stop(world *w)
{
    etcp_conn_unref(loud);
    etcp_conn_unref(quiet);
    world_stop(w);
}

/* FLOOD empty messages in as few segments as possible. */
static void flood(void)
{
    static uint8_t packets[2 * FLOOD];
    size_t i;

    for (i = 0; i < sizeof packets; i += 2)
        memcpy(packets + i, "\x05\x00", 2);
    tap_is_int(send(etcp_conn_fd(loud), packets, sizeof packets, 0), (long long)sizeof packets,
               "%d empty messages at once", FLOOD);
}

static void test_turn_of_messages(void)
{
    world w;

    start(&w, 0);
    flood();
    (void)world_send(quiet, "me too");
    (void)world_round(&w);
    tap_ok(seen.quiet == 1 && seen.loud_before <= 64, "another client waits for %u messages",
           seen.loud_before);
    world_pump(&w);
    tap_is_int(seen.loud, FLOOD, "all of them come");
    stop(&w);
}

static void test_turn_of_time(void)
{
    world w;

    start(&w, 3);
    flood();
    (void)world_send(quiet, "me too");
    (void)world_round(&w);
    (void)world_round(&w);
    tap_ok(seen.quiet == 1 && seen.loud_before <= 8, "with slow callbacks for %u messages",
           seen.loud_before);
    stop(&w);
}

/* A round ends, so that the caller can look after other things, and the next one asks the kernel
 * for news, whatever is left to do. */
static void test_round(void)
{
    unsigned before;
    int fd;
    world w;

    start(&w, 1);
    flood();
    (void)world_round(&w);
    before = seen.loud;
    tap_ok(before <= 30, "a round ends after %u slow callbacks", before);
    fd = world_connect_raw(&w);
    (void)world_round(&w);
    (void)world_round(&w);
    tap_is_int(seen.accepted, 1, "somebody new is accepted behind a flood");
    tap_ok(seen.loud <= before + 60, "after %u more", seen.loud - before);
    (void)close(fd);
    world_pump(&w);
    tap_is_int(seen.loud, FLOOD, "nothing is lost");
    stop(&w);
}

static void test_deadline_behind_flood(void)
{
    int fd;
    world w;

    start(&w, 1);
    fd = world_connect_raw(&w);
    world_pump(&w);
    world_pass(ETCP_NEGOTIATION_TIMEOUT_MS - 5);
    flood();
    (void)world_round(&w);
    (void)world_round(&w);
    (void)world_round(&w);
    tap_ok(seen.forgotten == 1 && seen.before_forgotten <= 90,
           "a deadline is met behind a flood, after %u messages", seen.before_forgotten);
    (void)close(fd);
    stop(&w);
}

/* A turn that ends early leaves input that was read: another client's reading must not lose it, nor
 * may the end of the connection. */
static void test_end_behind_flood(void)
{
    world w;

    start(&w, 0);
    flood();
    (void)shutdown(etcp_conn_fd(loud), SHUT_WR);
    (void)world_send(quiet, "me too");
    world_pump(&w);
    tap_is_int(seen.loud, FLOOD, "all messages of one that closes behind them");
    tap_ok(seen.quiet == 1 && seen.forgotten == 1, "and its end");
    stop(&w);
}

/* ---- who does not read ----------------------------------------------------------------------- */

enum { HIGH_WATER = 200000, ANSWER = 10000, ASKED = 400 };

static uint8_t answer[ANSWER];
static unsigned asked;
static int no_high_water;
static etcp_conn *asking; /* the server's end of the loud one */
static int refused;       /* what the last sending that failed said */
static size_t longest;    /* the longest queue seen */

static void answer_all(world *w, etcp_server_event *e)
{
    int rc;

    count(w, e);
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    asked++;
    rc = etcp_conn_send(e->conn, 0, answer, sizeof answer, NULL, NULL);
    if (rc < 0)
        refused = rc;
    if (etcp_conn_queued(e->conn) > longest)
        longest = etcp_conn_queued(e->conn);
}

static void find_asking(etcp_conn *c, void *arg)
{
    (void)arg;
    if (etcp_conn_serial(c) == 1)
        asking = c;
}

/* The loud client asks much more than it reads, and the kernel takes little for it. */
static void start_asking(world *w, etcp_server_options *o)
{
    static uint8_t packets[4 * ASKED];
    int small = 16384;
    size_t i;

    o->limits.high_water = no_high_water ? 0 : HIGH_WATER;
    world_start(w, o);
    loud = world_dial(w);
    quiet = world_dial(w);
    world_pump(w);
    etcp_server_each_client(w->server, find_asking, NULL);
    (void)setsockopt(etcp_conn_fd(loud), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    (void)setsockopt(etcp_conn_fd(asking), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    memset(&seen, 0, sizeof seen);
    asked = 0;
    refused = 0;
    longest = 0;
    callback_ms = 0;
    w->on_event = answer_all;
    for (i = 0; i < sizeof packets; i += 4)
        memcpy(packets + i, "\x05\x01\x01g", 4);
    (void)send(etcp_conn_fd(loud), packets, sizeof packets, 0);
}

static void settle(world *w)
{
    int i;

    for (i = 0; i < 20; i++)
        (void)world_round(w);
}

static void test_brake(void)
{
    etcp_server_options o = world_options();
    etcp_event event;
    unsigned answers = 0;
    world w;

    start_asking(&w, &o);
    settle(&w);
    tap_ok(longest > HIGH_WATER / 2 && longest <= HIGH_WATER / 2 + ANSWER + 8,
           "who does not read is not read: %lu bytes are queued", (unsigned long)longest);
    tap_ok(asked < ASKED, "after %u messages", asked);
    (void)world_send(quiet, "and I?");
    settle(&w);
    tap_is_int(seen.quiet, 1, "somebody else is");
    while (answers < ASKED && world_wait(loud, 1000, &event) == 1)
        answers++;
    tap_is_int(answers, ASKED, "when it reads, all is answered");
    tap_is_int(asked, ASKED + 1, "once");
    tap_is_int(seen.forgotten, 0, "and nobody was disconnected");
    stop(&w);
}

static void test_no_brake(void)
{
    etcp_server_options o = world_options();
    world w;

    no_high_water = 1;
    start_asking(&w, &o);
    no_high_water = 0;
    settle(&w);
    tap_is_int(asked, ASKED, "nothing brakes without a high-water mark");
    stop(&w);
}

static void test_stall(void)
{
    etcp_server_options o = world_options();
    world w;

    o.limits.send_timeout_ms = 10000;
    start_asking(&w, &o);
    settle(&w);
    world_forget(&w);
    world_pass(9999);
    settle(&w);
    tap_is_str(w.log, "", "a queue that does not shrink is kept");
    world_pass(1);
    settle(&w);
    tap_ok(strstr(w.log, "D1 F1 ") != NULL, "for as long as a sender waits");
    tap_ok(seen.loud == asked, "braked or not");
    stop(&w);
}

static void test_when_full(etcp_when_full when_full, const char *ends)
{
    etcp_server_options o = world_options();
    int waits = 0;
    size_t mark;
    int i;
    world w;

    o.limits.when_full = when_full;
    start_asking(&w, &o);
    settle(&w);
    /* Nothing brakes who sends without being asked. */
    for (i = 0; i < 100 && refused == 0; i++) {
        refused = etcp_conn_send(asking, 0, answer, sizeof answer, NULL, NULL);
        waits += etcp_conn_wants_drain(asking, &mark);
    }
    tap_is_int(waits, 0, "no sender has to wait");
    world_forget(&w);
    settle(&w);
    tap_is_int(refused, ETCP_EFULL, "too much is queued");
    tap_ok(*ends ? strstr(w.log, ends) != NULL : !*w.log, "and the connection %s",
           *ends ? "ends" : "goes on");
    stop(&w);
}

static int drips;

/* A peer that reads a little each tenth of a second. */
static int drip(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    uint8_t bytes[3000];

    (void)timeout_ms;
    (void)recv(etcp_conn_fd(loud), bytes, sizeof bytes, MSG_DONTWAIT);
    world_pass(100);
    drips++;
    (void)poll(fds, n, 0);
    return 1; /* as if there was room for more */
}

/* Reading by drops does not make a sender in a loop wait for longer. */
static void test_drip(void)
{
    etcp_server_options o = world_options();
    uint64_t since = 0;
    int i;
    world w;

    o.limits.send_timeout_ms = 2000;
    start_asking(&w, &o);
    settle(&w);
    for (i = 0; i < 20; i++)
        (void)etcp_conn_send(asking, 0, answer, sizeof answer, NULL, NULL);
    world_calls.poll = drip;
    drips = 0;
    tap_is_int(etcp_conn_drain(asking, HIGH_WATER / 2, &since), ETCP_ETIMEOUT,
               "one sending waits for sendtimeout in all");
    tap_ok(drips <= 21, "%d looks of a tenth of a second", drips);
    world_calls.poll = etcp_system_calls.poll;
    settle(&w);
    stop(&w);
}

/* ---- who counts ------------------------------------------------------------------------------ */

static etcp_dial *begin(world *w)
{
    etcp_conn_limits limits;
    etcp_conn *c = NULL;
    etcp_dial *d = NULL;

    etcp_conn_limits_default(&limits);
    (void)etcp_dial_new("127.0.0.1", w->port, 30000, 90000, w->client_config, &limits, &d);
    (void)etcp_dial_begin(d);
    (void)etcp_dial_continue(d, &c);
    return d;
}

/* Goes on until the connection is ready or the server has nothing more to say. */
static etcp_conn *finish(world *w, etcp_dial *d)
{
    etcp_conn *c = NULL;
    int tries;

    for (tries = 0; tries < 100 && etcp_dial_continue(d, &c) == ETCP_AGAIN; tries++)
        (void)world_round(w);
    etcp_dial_free(d);
    world_pump(w);
    return c;
}

static void test_strangers_do_not_count(void)
{
    etcp_server_options o = world_options();
    etcp_conn *a;
    int fds[5];
    size_t i;
    world w;

    o.max_clients = 1;
    world_start(&w, &o);
    for (i = 0; i < 5; i++)
        fds[i] = world_connect_raw(&w);
    world_pump(&w);
    a = world_dial(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 A3 A4 A5 A6 C6 ", "a client behind five that say nothing");
    etcp_conn_unref(a);
    for (i = 0; i < 5; i++)
        (void)close(fds[i]);
    world_stop(&w);
}

static void test_last_to_finish(void)
{
    etcp_server_options o = world_options();
    etcp_conn *first;
    etcp_conn *second;
    etcp_dial *d[2];
    etcp_event event;
    world w;

    o.max_clients = 1;
    world_start(&w, &o);
    d[0] = begin(&w);
    d[1] = begin(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 ", "two negotiate at the same time");
    first = finish(&w, d[0]);
    second = finish(&w, d[1]);
    tap_is_str(w.log, "A1 A2 C1 F2 ", "who finishes second is closed");
    tap_is_int(world_send(first, "here"), 0, "the first goes on");
    world_pump(&w);
    tap_is_str(w.log, "A1 A2 C1 F2 M1(here) ", "undisturbed");
    if (second)
        tap_is_int(world_wait(second, 1000, &event), ETCP_ECLOSED, "the second sees its end");
    etcp_conn_unref(first);
    etcp_conn_unref(second);
    world_stop(&w);
}

int main(void)
{
    test_turn_of_messages();
    test_turn_of_time();
    test_round();
    test_deadline_behind_flood();
    test_end_behind_flood();
    test_brake();
    test_no_brake();
    test_stall();
    test_when_full(ETCP_FULL_FAIL, "");
    test_when_full(ETCP_FULL_CLOSE, "D1 F1 ");
    test_drip();
    test_strangers_do_not_count();
    test_last_to_finish();
    return tap_done();
}
