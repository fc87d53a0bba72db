/* A server's life with its clients: what is given out, in which order, and what user code may do in
 * between. Runs on every poller. */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_world.h"
#include "tap.h"
#include "wire/capability_list.h"
#include "wire/parcel.h"

static void test_life(void)
{
    etcp_conn *c;
    char ip[64];
    world w;

    world_start(&w, NULL);
    w.on_event = world_echo;
    c = world_dial(&w);
    tap_ok(c != NULL, "a client connects: %s", world_error.text);
    tap_is_str(etcp_conn_remote_ip(c, ip, sizeof ip), "127.0.0.1", "to this address");
    tap_is_int(etcp_conn_remote_port(c), (long long)etcp_server_port(w.server), "and port");
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 ", "accepted, then connected");
    tap_is_int((long long)etcp_server_client_count(w.server), 1, "one client");
    tap_is_int((long long)etcp_server_half_open(w.server), 0, "nobody negotiates");
    tap_is_int(world_send(c, "one"), 0, "a message is sent");
    tap_is_str(world_receive(c), "one", "and comes back");
    tap_is_int(world_send(c, ""), 0, "an empty one, too");
    tap_is_str(world_receive(c), "", "comes back");
    etcp_conn_close(c);
    tap_is_int(etcp_conn_is_open(c), 0, "closed here");
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(one) M1() D1 F1 ", "disconnected, forgotten");
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "no client");
    tap_is_int(world_send(c, "x"), ETCP_ECLOSED, "sending on a closed connection fails softly");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* Many messages in one segment: each is given out once, in order, before the end of the stream. */
static void test_pipeline(int coalesce)
{
    etcp_server_options o = world_options();
    char expected[4096] = "";
    etcp_conn *c;
    world w;
    int i;

    o.coalesce = coalesce;
    world_start(&w, &o);
    w.on_event = world_echo;
    c = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    for (i = 0; i < 100; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "%d", i);
        (void)world_send(c, text);
        (void)snprintf(expected + strlen(expected), 32, "M1(%d) ", i);
    }
    (void)shutdown(etcp_conn_fd(c), SHUT_WR);
    world_pump(&w);
    (void)snprintf(expected + strlen(expected), 32, "D1 F1 ");
    tap_is_str(w.log, expected, "coalesce %d: all messages, then the end", coalesce);
    for (i = 0; i < 100; i++) {
        char text[16];
        const char *got = world_receive(c);

        (void)snprintf(text, sizeof text, "%d", i);
        if (!got || strcmp(got, text) != 0)
            break;
    }
    tap_is_int(i, 100, "coalesce %d: all replies arrive, in order", coalesce);
    tap_ok(world_receive(c) == NULL, "and nothing more");
    tap_is_int(etcp_conn_error(c)->code, ETCP_ECLOSED, "because the server closed");
    tap_is_str(etcp_conn_error(c)->text, "Socket closed when attempted reading", "in these words");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- closing at every event ------------------------------------------------------------------ */

static etcp_server_event_type close_at;
static etcp_conn *kept;

static void close_there(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_CONNECT)
        (void)etcp_conn_send(e->conn, 0, (const uint8_t *)"hi", 2, NULL, NULL);
    if (e->type == close_at) {
        kept = etcp_conn_ref(e->conn);
        etcp_conn_close(e->conn);
        tap_is_int(etcp_conn_is_open(e->conn), 0, "event %d: closed at once", (int)close_at);
        etcp_conn_close(e->conn);
    }
}

static void test_close_at(etcp_server_event_type type, const char *expected)
{
    etcp_conn *c;
    char ip[64];
    world w;

    world_start(&w, NULL);
    w.on_event = close_there;
    close_at = type;
    kept = NULL;
    c = world_dial(&w);
    tap_ok((c != NULL) == (type != ETCP_SERVER_ACCEPTED), "event %d: dialled or not", (int)type);
    if (c) {
        tap_is_str(world_receive(c), "hi", "what was sent before the close arrives");
        (void)world_send(c, "a");
        (void)world_send(c, "b");
        etcp_conn_unref(c);
    }
    world_pump(&w);
    tap_is_str(w.log, expected, "event %d: a close by the server is no disconnect", (int)type);
    tap_ok(kept && etcp_conn_fd(kept) == -1, "the structure lives as long as it is held");
    tap_is_str(etcp_conn_remote_ip(kept, ip, sizeof ip), "127.0.0.1", "and knows its peer");
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "the client is not counted");
    etcp_conn_unref(kept);
    world_stop(&w);
}

/* ---- leaving by a jump, nested loops --------------------------------------------------------- */

static jmp_buf out;

static void jump_out(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_MESSAGE || e->type == ETCP_SERVER_DISCONNECT)
        longjmp(out, 1);
}

/* As die in a callback: every event is given out once, nothing is lost. */
static void test_jumps(void)
{
    static world w;
    static etcp_conn *c;
    static volatile int jumps;

    jumps = 0;
    c = world_meet(&w, jump_out);
    (void)world_send(c, "a");
    (void)world_send(c, "b");
    (void)world_send(c, "c");
    etcp_conn_unref(c);
    if (setjmp(out) != 0)
        jumps++;
    world_pump(&w);
    tap_is_int(jumps, 4, "left three messages and a disconnect by jumping");
    tap_is_str(w.log, "A1 C1 M1(a) M1(b) M1(c) D1 F1 ", "each event came once");
    world_stop(&w);
}

static int depth;

static void nest(world *w, etcp_server_event *e)
{
    if (depth < 20 && (e->type == ETCP_SERVER_MESSAGE || e->type == ETCP_SERVER_CONNECT)) {
        depth++;
        (void)world_round(w);
        (void)world_round(w);
        depth--;
    }
}

static void test_nesting(void)
{
    etcp_conn *c[3];
    world w;
    int i;

    world_start(&w, NULL);
    w.on_event = nest;
    for (i = 0; i < 3; i++)
        c[i] = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    (void)world_send(c[0], "a");
    (void)world_send(c[0], "b");
    (void)world_send(c[0], "c");
    (void)world_send(c[1], "d");
    for (i = 0; i < 3; i++)
        etcp_conn_unref(c[i]);
    world_pump(&w);
    tap_ok(strstr(w.log, "M1(a) M1(b) M1(c)") != NULL, "nested loops keep the order: %s", w.log);
    tap_ok(strstr(w.log, "M2(d)") != NULL, "and reach the others");
    tap_is_int((long long)strlen(w.log),
               (long long)strlen("M1(a) M1(b) M1(c) M2(d) D1 F1 D2 F2 D3 F3 "), "nothing twice");
    world_stop(&w);
}

/* ---- a conversation within one event --------------------------------------------------------- */

static etcp_conn *other;
static char heard[256];

static void converse(world *w, etcp_server_event *e)
{
    const char *text;

    if (e->type == ETCP_SERVER_CONNECT && etcp_conn_serial(e->conn) == 2)
        other = e->conn;
    if (e->type != ETCP_SERVER_MESSAGE || e->message.len != 5)
        return;
    w->on_event = NULL;
    (void)snprintf(heard, sizeof heard, "%.5s", (const char *)e->message.data);
    while ((text = world_receive(e->conn)) != NULL && strcmp(text, "stop") != 0)
        (void)snprintf(heard + strlen(heard), sizeof heard - strlen(heard), ",%s", text);
    /* The scratch still holds the rest of this client's input: another one is read through it. */
    if (other && (text = world_receive(other)) != NULL)
        (void)snprintf(heard + strlen(heard), sizeof heard - strlen(heard), ";%s", text);
}

static void test_receive_inside(void)
{
    etcp_conn *a, *b;
    world w;

    world_start(&w, NULL);
    w.on_event = converse;
    other = NULL;
    a = world_dial(&w);
    b = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    (void)world_send(b, "from b");
    (void)world_send(b, "b again");
    (void)world_send(a, "start");
    (void)world_send(a, "1");
    (void)world_send(a, "2");
    (void)world_send(a, "stop");
    (void)world_send(a, "rest");
    /* b's messages may come first: then they are ordinary events. */
    world_pump(&w);
    tap_ok(strncmp(heard, "start,1,2", 9) == 0, "received inside the event: %s", heard);
    tap_ok(strstr(w.log, "M1(rest)") != NULL, "what follows comes through the loop: %s", w.log);
    tap_ok(strstr(heard, ";from b") || strstr(w.log, "M2(from b)"), "so does the other client's");
    tap_ok(strstr(w.log, "M2(b again)") != NULL, "and what it left unparsed is not forgotten");
    etcp_conn_unref(a);
    etcp_conn_unref(b);
    world_pump(&w);
    world_stop(&w);
}

/* Messages left in the connection by receive are noticed by the next poll, which does not wait. */
static void test_receive_outside(void)
{
    etcp_conn *c;
    etcp_conn *mine;
    uint64_t since = 0;
    etcp_event event;
    world w;

    world_start(&w, NULL);
    w.on_event = converse; /* notes the second client */
    other = NULL;
    c = world_dial(&w);
    etcp_conn_unref(c);
    c = world_dial(&w);
    world_pump(&w);
    mine = other;
    w.on_event = NULL;
    world_forget(&w);
    (void)world_send(c, "x");
    (void)world_send(c, "y");
    (void)world_send(c, "z");
    tap_is_int(etcp_conn_has_message(mine), 0, "nothing read yet");
    tap_is_int(etcp_conn_receive(mine, 0, &since, &event), 1, "read outside the loop");
    tap_is_int(etcp_conn_has_message(mine), 1, "more is there");
    tap_ok(etcp_server_poll(w.server, -1) > 0, "poll does not wait");
    world_pump(&w);
    tap_is_str(w.log, "M2(y) M2(z) ", "the loop goes on where receive stopped");
    tap_is_int(etcp_conn_receive(mine, 0, &since, &event), ETCP_ETIMEOUT, "nothing is left");
    world_forget(&w);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

/* A message that takes several steps to be decoded; whoever receives it gives up after the first. */

enum { SLOW = 4 << 20 };

static void give_up(world *w, etcp_server_event *e)
{
    int *rc = w->arg;
    uint64_t since = 0;
    etcp_event event;

    if (e->type == ETCP_SERVER_CONNECT)
        other = e->conn;
    if (e->type != ETCP_SERVER_MESSAGE || e->message.len != 5 || *rc)
        return;
    do {
        *rc = etcp_conn_receive(e->conn, 1000, &since, &event);
    } while (*rc == ETCP_EINTR && etcp_session_is_at_rest(etcp_conn_session(e->conn)));
}

static void test_given_up(int is_inside)
{
    uint8_t *slow = malloc(SLOW);
    char expected[64];
    etcp_event event;
    etcp_conn *c;
    uint64_t since = 0;
    int rc = is_inside ? 0 : 1;
    world w;

    for (size_t i = 0; i < SLOW; i++)
        slow[i] = (uint8_t)('a' + (i * i / 7 + i / 1000) % 19);
    (void)snprintf(expected, sizeof expected, "M1(start) M1(%.40s) ", (const char *)slow);
    world_start(&w, NULL);
    w.server_config->flags &= ~(unsigned)ETCP_DONOT_COMPRESS;
    w.client_config->flags &= ~(unsigned)ETCP_DONOT_COMPRESS;
    w.on_event = give_up;
    w.arg = &rc;
    c = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    (void)world_send(c, "start");
    if (!is_inside)
        world_pump(&w);
    (void)etcp_conn_send(c, 0, slow, SLOW, NULL, NULL);
    while (!is_inside && (rc = etcp_conn_receive(other, 1000, &since, &event)) == ETCP_EINTR &&
           etcp_session_is_at_rest(etcp_conn_session(other)))
        continue;
    world_pump(&w);
    tap_is_int(rc, ETCP_EINTR, "interrupted");
    tap_is_str(w.log, expected, "the loop goes on decoding");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
    free(slow);
}

/* ---- the server goes while its events are under way ------------------------------------------ */

static etcp_server_event_type free_at;

static void free_server(world *w, etcp_server_event *e)
{
    if (e->type != free_at)
        return;
    kept = etcp_conn_ref(e->conn);
    if (e->type == ETCP_SERVER_MESSAGE)
        (void)etcp_conn_send(e->conn, 0, (const uint8_t *)"bye", 3, NULL, NULL);
    etcp_server_free(w->server);
    w->server = NULL;
}

static void test_free_at(etcp_server_event_type type)
{
    etcp_conn *c;
    etcp_conn *second = NULL;
    world w;

    world_start(&w, NULL);
    free_at = type;
    kept = NULL;
    if (type > ETCP_SERVER_CONNECT)
        second = world_dial(&w);
    world_pump(&w);
    w.on_event = free_server;
    c = world_dial(&w);
    if (c) {
        (void)world_send(c, "one");
        (void)world_send(c, "two");
        if (type != ETCP_SERVER_MESSAGE) {
            etcp_conn_unref(c);
            c = NULL;
        }
    }
    world_pump(&w);
    tap_ok(w.server == NULL && kept != NULL, "event %d: the server is gone", (int)type);
    if (c)
        tap_is_str(world_receive(c), "bye", "what it said last arrives");
    tap_is_int(etcp_conn_is_open(kept), 0, "its connections are closed");
    tap_is_int(etcp_conn_send(kept, 0, (const uint8_t *)"x", 1, NULL, NULL), ETCP_ECLOSED,
               "and can still be held");
    etcp_conn_unref(kept);
    etcp_conn_unref(c);
    etcp_conn_unref(second);
    world_stop(&w);
}

/* ---- disconnecting --------------------------------------------------------------------------- */

static int at_disconnect;

static void look_at_disconnect(world *w, etcp_server_event *e)
{
    if (e->type != ETCP_SERVER_DISCONNECT)
        return;
    at_disconnect = etcp_conn_is_open(e->conn);
    tap_is_int((long long)etcp_server_client_count(w->server), 1, "still among the clients");
    tap_is_int(etcp_conn_send(e->conn, 0, (const uint8_t *)"farewell", 8, NULL, NULL), 0,
               "may be sent to");
}

static void test_disconnect(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = look_at_disconnect;
    at_disconnect = 0;
    c = world_dial(&w);
    (void)world_send(c, "last");
    (void)shutdown(etcp_conn_fd(c), SHUT_WR);
    world_pump(&w);
    tap_is_int(at_disconnect, 1, "open during the event");
    tap_is_str(w.log, "A1 C1 M1(last) D1 F1 ", "messages before the end are delivered first");
    tap_is_str(world_receive(c), "farewell", "a peer that only stopped sending hears us");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* A reset instead of an orderly end. */
static void test_reset(void)
{
    struct linger hard;
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    c = world_dial(&w);
    world_pump(&w);
    (void)world_send(c, "last");
    hard.l_onoff = 1;
    hard.l_linger = 0;
    (void)setsockopt(etcp_conn_fd(c), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    etcp_conn_unref(c);
    world_pump(&w);
    tap_ok(strstr(w.log, "D1 F1 ") != NULL, "a reset connection disconnects: %s", w.log);
    world_stop(&w);
}

/* What cannot be a packet ends the connection; before the end of negotiation nobody hears of it. */
static void test_garbage(void)
{
    etcp_conn *c;
    world w;
    int fd;

    world_start(&w, NULL);
    c = world_dial(&w);
    world_pump(&w);
    (void)!write(etcp_conn_fd(c), "\x05\x01\x01x\0\0\0\0", 8);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(x) D1 F1 ", "the message before the garbage is delivered");
    etcp_conn_unref(c);
    world_forget(&w);
    fd = world_connect_raw(&w);
    (void)!write(fd, "GET / HTTP/1.0\r\n\r\n", 18);
    world_pump(&w);
    tap_is_str(w.log, "A2 F2 ", "a stranger is only accepted and forgotten");
    (void)close(fd);
    fd = world_connect_raw(&w);
    world_pump(&w);
    tap_is_int((long long)etcp_server_half_open(w.server), 1, "one that says nothing");
    (void)close(fd);
    world_pump(&w);
    tap_is_str(w.log, "A2 F2 A3 F3 ", "and goes");
    tap_is_int((long long)etcp_server_half_open(w.server), 0, "is not counted any more");
    world_stop(&w);
}

/* The bridge could not decode a message. */
static void fail_there(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_MESSAGE)
        etcp_conn_fail(e->conn);
}

static void test_fail(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    w.on_event = fail_there;
    c = world_dial(&w);
    (void)world_send(c, "bad");
    (void)world_send(c, "unseen");
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(bad) D1 F1 ", "ended by its user: a disconnect, nothing after it");
    tap_ok(world_receive(c) == NULL, "the peer sees the end");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static void count_client(etcp_conn *c, void *arg)
{
    (void)c;
    ++*(int *)arg;
}

static void test_facts(void)
{
    etcp_server *copy;
    etcp_conn *a;
    int count = 0;
    int fd;
    world w;

    world_start(&w, NULL);
    a = world_dial(&w);
    fd = world_connect_raw(&w);
    world_pump(&w);
    etcp_server_each_client(w.server, count_client, &count);
    tap_is_int(count, 1, "only those past negotiation are listed");
    tap_ok(etcp_server_fd(w.server) >= 0, "there is a descriptor");
    tap_ok(etcp_server_config(w.server) == w.server_config, "and a configuration");
    copy = etcp_server_clone(w.server);
    tap_ok(copy != NULL, "a copy for a thread");
    tap_is_int((long long)etcp_server_client_count(copy), 0, "has no clients");
    tap_is_int(etcp_server_port(copy), (long long)etcp_server_port(w.server), "but the same port");
    tap_ok(etcp_server_config(copy) != w.server_config, "and a configuration of its own");
    etcp_server_free(copy);
    tap_is_int(world_send(a, "x"), 0, "whose end");
    world_pump(&w);
    tap_ok(strstr(w.log, "M1(x)") != NULL, "changes nothing here");
    (void)close(fd);
    etcp_conn_unref(a);
    world_stop(&w);
}

static void test_new_errors(void)
{
    etcp_server_options o = world_options();
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    etcp_server *s = NULL;
    etcp_error error;
    char port[8];
    world w;

    world_start(&w, NULL);
    memset(&error, 0, sizeof error);
    (void)snprintf(port, sizeof port, "%s", w.port);
    o.port = port;
    tap_is_int(etcp_server_new(&o, config, &s, &error), ETCP_ESYSTEM, "a port in use");
    tap_is_int(error.sys_errno, EADDRINUSE, "is told by errno");
    memset(&error, 0, sizeof error);
    o.port = "no-such-service";
    tap_is_int(etcp_server_new(&o, config, &s, &error), ETCP_EINVAL, "an unknown service");
    memset(&error, 0, sizeof error);
    o.port = "65536";
    tap_is_int(etcp_server_new(&o, config, &s, &error), ETCP_EINVAL, "not a port");
    world_stop(&w);
    memset(&error, 0, sizeof error);
    o.port = port;
    tap_is_int(etcp_server_new(&o, config, &s, &error), 0,
               "a dropped server frees its port at once");
    etcp_server_free(s);
    etcp_config_unref(config);
}

/* A broadcast goes to each in the best form that it can receive. */
static void test_broadcast_forms(void)
{
    enum { FORMS = 3, CLIENTS = 4 };
    static const unsigned needs[FORMS] = {ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS,
                                          ETCP_CAN_EXACT_NUMBERS, 0};
    static const unsigned can[CLIENTS] = {ETCP_CAN_EXACT_NUMBERS, 0,
                                          ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS,
                                          ETCP_CAN_BOOLEANS};
    static const char *const texts[FORMS] = {"all", "numbers", "old"};
    static const char *const wanted[CLIENTS] = {"numbers", "old", "all", "old"};
    etcp_parcel *parcels[FORMS];
    etcp_conn *clients[CLIENTS];
    world w;
    int i;

    world_start(&w, NULL);
    w.server_config->capabilities = ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS;
    for (i = 0; i < CLIENTS; i++) {
        w.client_config->capabilities = can[i];
        clients[i] = world_dial(&w);
    }
    world_pump(&w);
    for (i = 0; i < FORMS; i++) {
        parcels[i] = etcp_parcel_new(0, (const uint8_t *)texts[i], strlen(texts[i]), NULL, NULL);
        parcels[i]->needs = needs[i];
    }
    etcp_server_select_all(w.server, 1);
    tap_is_int((long long)etcp_server_broadcast(w.server, parcels, FORMS), CLIENTS, "to all");
    for (i = 0; i < CLIENTS; i++)
        tap_is_str(world_receive(clients[i]), wanted[i], "who can receive %u", can[i]);
    etcp_parcel_unref(parcels[1]);
    parcels[1] = NULL;
    etcp_server_select_all(w.server, 1);
    tap_is_int((long long)etcp_server_broadcast(w.server, parcels, 2), 1, "to those who can");
    tap_is_str(world_receive(clients[2]), "all", "the best form, which only one can receive");
    etcp_parcel_unref(parcels[0]);
    etcp_parcel_unref(parcels[2]);
    for (i = 0; i < CLIENTS; i++)
        etcp_conn_unref(clients[i]);
    world_stop(&w);
}

static void run(void)
{
    test_life();
    test_broadcast_forms();
    test_pipeline(0);
    test_pipeline(1);
    test_close_at(ETCP_SERVER_ACCEPTED, "A1 F1 ");
    test_close_at(ETCP_SERVER_CONNECT, "A1 C1 F1 ");
    test_close_at(ETCP_SERVER_MESSAGE, "A1 C1 M1(a) F1 ");
    test_close_at(ETCP_SERVER_DISCONNECT, "A1 C1 M1(a) M1(b) D1 F1 ");
    test_jumps();
    test_nesting();
    test_receive_inside();
    test_receive_outside();
    test_given_up(1);
    test_given_up(0);
    test_free_at(ETCP_SERVER_ACCEPTED);
    test_free_at(ETCP_SERVER_CONNECT);
    test_free_at(ETCP_SERVER_MESSAGE);
    test_free_at(ETCP_SERVER_DISCONNECT);
    test_free_at(ETCP_SERVER_FORGOTTEN);
    test_disconnect();
    test_reset();
    test_garbage();
    test_fail();
    test_facts();
    test_new_errors();
}

int main(void)
{
    world_with_each_poller(run);
    return tap_done();
}
