/* Closing: what was sent arrives, and nobody is waited for without end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/clock.h"
#include "slow_reader.h"
#include "tap.h"

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

/* ---- a server closes ------------------------------------------------------------------------- */

static void send_and_close(world *w, etcp_server_event *e)
{
    slow_note(w, e);
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    (void)slow_send(e->conn);
    etcp_conn_close(e->conn);
}

/* 3 MB, then close: with input unread, and more of it arriving afterwards. */
static void test_close_delivers(void)
{
    etcp_conn *c;
    world w;

    c = world_meet(&w, send_and_close);
    (void)world_send(c, "go");
    (void)world_send(c, "unread");
    world_pump(&w);
    (void)world_send(c, "too late");
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "closed at once for the program");
    tap_is_int(slow_read(&w, c), SLOW_COUNT, "and still everything arrives");
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

    c = world_meet(&w, send_and_close);
    (void)world_send(c, "go");
    world_pump(&w);
    for (i = 0; i < OFTEN; i++) {
        char text[2000];

        memset(text, 'x', sizeof text);
        (void)etcp_conn_send(c, 0, bytes(text), sizeof text, NULL, NULL);
        world_pump(&w);
    }
    tap_is_int((long long)etcp_conn_queued(c), 0, "6 MB are taken before the first byte is read");
    tap_is_int(slow_read(&w, c), SLOW_COUNT, "which does not harm what is delivered");
    etcp_conn_unref(c);
    world_pump(&w);
    tap_ok(strstr(w.log, "F1") != NULL, "forgotten when it was done");
    world_stop(&w);
}

static void test_linger_ends(void)
{
    etcp_conn *c;
    world w;

    c = world_meet(&w, send_and_close);
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

    c = world_meet(&w, close_now);
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

    c = slow_start(&w, NULL);
    (void)slow_send(slow_server_side);
    tap_is_int(end_server(&w, &since, 5), ETCP_EINTR, "nobody reads");
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "though all are closed");
    tap_is_int(slow_read(&w, c), SLOW_COUNT, "now somebody does");
    tap_is_int(end_server(&w, &since, 100), 0, "delivered");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);

    c = slow_start(&w, NULL);
    (void)slow_send(slow_server_side);
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

    c = slow_start(&w, NULL);
    held = etcp_conn_ref(slow_server_side);
    etcp_conn_outlive_server(held);
    (void)slow_send(held);
    tap_is_int(end_server(&w, &since, 5), ETCP_EINTR,
               "a client that outlives the server is waited for");
    tap_is_int(slow_read(&w, c), SLOW_COUNT, "until it has read");
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

    c = slow_start(&w, NULL);
    (void)etcp_conn_send(slow_server_side, 0, bytes("answer"), 6, NULL, NULL);
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

/* The client reads no answer, and closes: what it sent is served all the same. */
static void test_client_closes_unread(void)
{
    char last[32];
    etcp_conn *c;
    world w;
    int i;

    (void)snprintf(last, sizeof last, "M1(%d) ", CHATTER);
    c = world_meet(&w, world_echo);
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

    c = slow_start(&w, NULL);
    (void)etcp_conn_send(slow_server_side, 0, bytes("unread"), 6, NULL, NULL);
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

    c = slow_start(&w, NULL);
    w.on_event = NULL;
    world_calls.unacked = never_acked;
    (void)etcp_conn_send(slow_server_side, 0, bytes("unread"), 6, NULL, NULL);
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

static void run(void)
{
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
}

int main(void)
{
    world_with_each_poller(run);
    return tap_done();
}
