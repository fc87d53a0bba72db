/* Connections that a loop makes by itself, and makes again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "net/clock.h"
#include "net/dial.h"
#include "net/dialer.h"
#include "net_world.h"
#include "tap.h"

enum { ROUNDS = 20000, RETRY_MIN_MS = 100, RETRY_MAX_MS = 1000 };

static etcp_server *loop; /* of the clients; the world's is the server's */
static char told[4096];   /* "C M(text) D F E(code) ": what happened to them */
static etcp_conn *conn;   /* the last one that was made; counted */

static void note(const char *what, const char *text, size_t len)
{
    size_t used = strlen(told);

    (void)snprintf(told + used, sizeof told - used, text ? "%s(%.*s) " : "%s ", what, (int)len, text);
}

static void take(const etcp_server_event *e)
{
    char number[16];

    switch (e->type) {
    case ETCP_SERVER_DIALED:
        note("C", NULL, 0);
        etcp_conn_unref(conn);
        conn = etcp_conn_ref(e->conn);
        break;
    case ETCP_SERVER_MESSAGE: note("M", (const char *)e->message.data, e->message.len); break;
    case ETCP_SERVER_DISCONNECT: note("D", NULL, 0); break;
    case ETCP_SERVER_FORGOTTEN: note("F", NULL, 0); break;
    case ETCP_SERVER_DRAINED: note("W", NULL, 0); break;
    case ETCP_SERVER_WOKEN: note("T", NULL, 0); break;
    case ETCP_SERVER_DIAL_FAILED:
        (void)snprintf(number, sizeof number, "%d", etcp_dialer_code(e->dialer));
        note("E", number, strlen(number));
        break;
    case ETCP_SERVER_FINISHED:
    case ETCP_SERVER_WATCHED:
    case ETCP_SERVER_ACCEPTED:
    case ETCP_SERVER_CONNECT: note("?", NULL, 0); break;
    }
}

static int client_round(void)
{
    etcp_server_event e;
    int rc = etcp_server_poll(loop, 0);

    while (etcp_server_next(loop, &e) > 0)
        take(&e);
    return rc;
}

/* Lets both sides work until this was told. */
static int until(world *w, const char *what)
{
    int round;

    for (round = 0; round < ROUNDS && !strstr(told, what); round++) {
        (void)client_round();
        if (w->server)
            (void)world_round(w);
        if (round > 100)
            (void)usleep(100);
    }
    return strstr(told, what) != NULL;
}

static etcp_dialer *dialer_for(world *w, const char *port, unsigned retry_max_ms)
{
    etcp_conn_limits limits;
    etcp_dialer *d = NULL;
    etcp_dial *dial = NULL;

    etcp_conn_limits_default(&limits);
    if (etcp_dial_new("127.0.0.1", port, 20000, 20000, w->client_config, &limits, &dial) == 0 &&
        etcp_dial_begin(dial) == 0)
        d = etcp_dialer_new(dial, RETRY_MIN_MS, retry_max_ms);
    if (!d)
        etcp_dial_free(dial);
    return d;
}

static void start(world *w)
{
    etcp_server_options options = world_options();
    etcp_error error;

    memset(&error, 0, sizeof error);
    world_start(w, NULL);
    told[0] = '\0';
    conn = NULL;
    options.port = NULL;
    if (etcp_server_new(&options, w->client_config, &loop, &error) < 0)
        exit(99);
}

static void stop(world *w, etcp_dialer *d)
{
    etcp_conn_unref(conn);
    etcp_dialer_unref(d);
    etcp_server_free(loop);
    world_stop(w);
}

static void test_conversation(void)
{
    etcp_dialer *d;
    world w;

    start(&w);
    w.on_event = world_echo;
    d = dialer_for(&w, w.port, 0);
    tap_ok(etcp_dialer_has_future(d), "there will be a connection");
    etcp_server_dial(loop, d);
    tap_ok(until(&w, "C "), "connected");
    tap_ok(!etcp_dialer_has_future(d), "and there will be no other");
    tap_ok(etcp_server_client_count(loop) == 0, "it is no client of the loop");
    tap_ok(etcp_conn_send(conn, 0, (const uint8_t *)"text", 4, NULL, NULL) == 0, "sends");
    tap_ok(until(&w, "M(text) "), "and gets the answer");
    etcp_conn_close(conn);
    tap_ok(until(&w, "F "), "a connection that we close is forgotten");
    tap_is_str(told, "C M(text) F ", "without another word");
    stop(&w, d);
}

static void test_again(void)
{
    etcp_dialer *d;
    world w;
    int64_t due;

    start(&w);
    d = dialer_for(&w, w.port, RETRY_MAX_MS);
    etcp_server_dial(loop, d);
    tap_ok(until(&w, "C "), "connected");
    etcp_server_free(w.server);
    w.server = NULL;
    tap_ok(until(&w, "D F "), "the server is gone");
    tap_ok(etcp_dialer_has_future(d), "there will be another connection");
    (void)client_round();
    due = etcp_server_due_in(loop);
    tap_ok(due >= RETRY_MIN_MS / 2 && due <= RETRY_MIN_MS * 3 / 2, "soon, but not at once");
    world_pass(RETRY_MIN_MS * 3 / 2);
    tap_ok(until(&w, "E("), "nobody listens there");
    due = etcp_server_due_in(loop);
    tap_ok(due >= RETRY_MIN_MS && due <= RETRY_MIN_MS * 3, "it waits twice as long");
    etcp_server_stop_dialing(d);
    tap_ok(!etcp_dialer_has_future(d), "until it is stopped");
    tap_ok(etcp_server_due_in(loop) < 0, "then it waits for nothing");
    stop(&w, d);
}

/* The time between attempts does not grow for ever. */
static void test_refused(void)
{
    char port[8];
    etcp_dialer *d;
    int64_t due = 0;
    int round;
    world w;

    start(&w);
    memcpy(port, w.port, sizeof port);
    etcp_server_free(w.server);
    w.server = NULL;
    d = dialer_for(&w, port, RETRY_MAX_MS);
    etcp_server_dial(loop, d);
    for (round = 0; round < 10; round++) {
        told[0] = '\0';
        if (!until(&w, "E("))
            break;
        due = etcp_server_due_in(loop);
        world_pass(RETRY_MAX_MS * 3 / 2);
    }
    tap_ok(round == 10, "ten attempts are refused");
    tap_ok(due >= RETRY_MAX_MS / 2 && due <= RETRY_MAX_MS * 3 / 2, "the last pause is the longest");
    stop(&w, d);
}

/* Whoever drops a dialer hears nothing more of it, whatever it was doing. */
static void test_dropped(void)
{
    int rounds;

    for (rounds = 0; rounds < 12; rounds++) {
        etcp_dialer *d;
        world w;
        int i;

        start(&w);
        d = dialer_for(&w, w.port, RETRY_MAX_MS);
        etcp_server_dial(loop, d);
        for (i = 0; i < rounds; i++) {
            (void)client_round();
            (void)world_round(&w);
        }
        (void)etcp_server_poll(loop, 0);
        etcp_server_undial(loop, d);
        etcp_dialer_unref(d);
        told[0] = '\0';
        for (i = 0; i < 5; i++)
            (void)client_round();
        if (told[0])
            break;
        stop(&w, NULL);
    }
    tap_ok(rounds == 12, "a dropped dialer is silent");
}

/* A loop that is freed takes its dialers along. */
static void test_freed(void)
{
    etcp_dialer *d;
    world w;

    start(&w);
    d = dialer_for(&w, w.port, RETRY_MAX_MS);
    etcp_server_dial(loop, d);
    (void)client_round();
    etcp_server_free(loop);
    loop = NULL;
    tap_ok(!etcp_dialer_has_future(d), "without a loop there is no future");
    etcp_server_stop_dialing(d);
    stop(&w, d);
}

/* The user of a dialer is woken once, at the earliest of the moments that it asked for. */
static void test_woken(void)
{
    uint64_t now;
    etcp_dialer *d;
    world w;

    start(&w);
    d = dialer_for(&w, w.port, 0);
    etcp_server_dial(loop, d);
    tap_ok(until(&w, "C "), "connected");
    now = etcp_clock_ms();
    etcp_server_wake(loop, d, now + 2000);
    etcp_server_wake(loop, d, now + 1000);
    etcp_server_wake(loop, d, now + 3000);
    tap_is_int((long long)etcp_server_due_in(loop), 1000, "the earliest moment counts");
    world_pass(999);
    (void)client_round();
    tap_is_str(told, "C ", "not too early");
    world_pass(1);
    tap_ok(until(&w, "T "), "woken");
    world_pass(5000);
    (void)client_round();
    (void)client_round();
    tap_is_str(told, "C T ", "and once only");
    stop(&w, d);
}

int main(void)
{
    test_woken();
    test_conversation();
    test_again();
    test_refused();
    test_dropped();
    test_freed();
    tap_done();
    return 0;
}
