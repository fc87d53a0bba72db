/* Clients that do not read, over TLS and without: what holds for the one holds for the other. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "net/conn_private.h"
#include "net_world.h"
#include "policy.h"
#include "slow_reader.h"
#include "tap.h"
#include "tls/tls_private.h"
#include "tls_make.h"

enum { REPLY = 12000, ASKED = 1000, TOGETHER = 15 };

static etcp_tls *server_tls, *client_tls;
static uint8_t reply[REPLY];

/* ---- setting the scene ----------------------------------------------------------------------- */

static unsigned failed; /* sendings of the server */

static void say(etcp_conn *to, size_t len)
{
    failed += etcp_conn_send(to, 0, reply, len, NULL, NULL) != 0;
}

/* Starts a server, and dials. */
static etcp_conn *meet(world *w, int over_tls, const etcp_conn_limits *limits,
                       void (*on_event)(world *w, etcp_server_event *event))
{
    etcp_server_options o = world_options();
    etcp_conn *c;

    failed = 0;
    if (limits)
        o.limits = *limits;
    o.tls = over_tls ? server_tls : NULL;
    world_start(w, &o);
    w->client_tls = over_tls ? client_tls : NULL;
    w->server_config->flags |= over_tls ? ETCP_ALLOW_TLS : 0u;
    w->client_config->flags |= over_tls ? ETCP_ALLOW_TLS : 0u;
    w->on_event = slow_note;
    c = world_dial(w);
    if (c)
        (void)world_send(c, "hello");
    world_pump(w);
    w->on_event = on_event;
    world_forget(w);
    return c;
}

static void part(world *w, etcp_conn *c)
{
    world_calls.sendmsg = sendmsg;
    etcp_conn_close(c);
    etcp_conn_unref(c);
    world_pump(w);
    world_stop(w);
}

/* ---- the kernel takes nothing, for a while ---------------------------------------------------- */

static int stuffed = -1; /* of this descriptor */

static ssize_t stuffed_sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (fd == stuffed) {
        errno = EAGAIN;
        return -1;
    }
    return sendmsg(fd, m, flags);
}

static void stuff(void)
{
    world_calls.sendmsg = stuffed_sendmsg;
    stuffed = etcp_conn_fd(slow_server_side);
}

/* ---- what is asked --------------------------------------------------------------------------- */

static SSL *ssl_of(const etcp_conn *c)
{
    return c->tunnel->channel->ssl;
}

/* Sends so many messages at once, by one write. */
static void ask_together(etcp_conn *c, unsigned n)
{
    static const uint8_t packet[] = "\x05\x01\x03" "ask";
    static const uint8_t last[] = "\x05\x01\x04" "last";
    uint8_t packets[7 * TOGETHER];
    size_t len = 0;
    unsigned i;

    for (i = 1; i < n; i++, len += sizeof packet - 1)
        memcpy(packets + len, packet, sizeof packet - 1);
    memcpy(packets + len, last, sizeof last - 1);
    len += sizeof last - 1;
    if (!c->tunnel) {
        (void)send(etcp_conn_fd(c), packets, len, MSG_NOSIGNAL);
        return;
    }
    (void)etcp_channel_seal(c->tunnel->channel, NULL, 0, packets, len, &c->tunnel->cipher);
    (void)etcp_conn_push_tunnel(c);
}

/* ---- what is gathered ------------------------------------------------------------------------ */

static unsigned asked;
static unsigned drained; /* how often it was told that all has left */

/* A message that another one follows is answered, the last is not. */
static void answer_all_but_last(world *w, etcp_server_event *e)
{
    (void)w;
    drained += e->type == ETCP_SERVER_DRAINED;
    if (e->type != ETCP_SERVER_MESSAGE || *e->message.data == 'l')
        return;
    say(e->conn, 900);
}

/* Replies that are sealed when the turn ends are queued as those that are not sealed at all. */
static void test_drain(int over_tls)
{
    const char *name = over_tls ? "TLS" : "plain";
    etcp_event event;
    unsigned came = 0;
    unsigned turn;
    world w;
    etcp_conn *c = meet(&w, over_tls, NULL, answer_all_but_last);

    stuff();
    drained = 0;
    for (turn = 0; turn < 10; turn++) {
        ask_together(c, TOGETHER);
        world_pump(&w);
    }
    tap_ok(etcp_conn_queued(slow_server_side) > 100000, "%s: much is queued", name);
    tap_is_int((int)drained, 0, "%s: and has not left", name);
    stuffed = -1;
    while (world_wait(c, 100, &event) == 1)
        came += event.len == 900;
    tap_is_int((int)came, 140, "%s: all of it arrives", name);
    tap_is_int((int)drained, 1, "%s: that it has left is told, once", name);
    part(&w, c);
}

/* A long queue leaves, and another one stands there before anybody was told: there is no news. */
static void answer_twice(world *w, etcp_server_event *e)
{
    uint64_t since = 0;
    int i;

    (void)w;
    drained += e->type == ETCP_SERVER_DRAINED && etcp_conn_queued(e->conn) == 0;
    asked += e->type == ETCP_SERVER_DRAINED;
    for (i = 0; i < 2 && e->type == ETCP_SERVER_MESSAGE; i++) {
        int n;

        stuffed = -1;
        (void)etcp_conn_drain(e->conn, 0, &since);
        stuff();
        for (n = 0; n < 8; n++)
            say(e->conn, REPLY);
    }
}

static void test_old_news(int over_tls)
{
    const char *name = over_tls ? "TLS" : "plain";
    etcp_event event;
    unsigned came = 0;
    world w;
    etcp_conn *c = meet(&w, over_tls, NULL, answer_twice);

    drained = asked = 0;
    ask_together(c, 1);
    world_pump(&w);
    tap_ok(etcp_conn_queued(slow_server_side) > 8 * REPLY, "%s: much is queued again", name);
    tap_is_int((int)asked, 0, "%s: that it had left before is not told", name);
    stuffed = -1;
    while (world_wait(c, 100, &event) == 1)
        came += event.len == REPLY;
    tap_is_int((int)came, 16, "%s: all of it arrives", name);
    tap_ok(drained == 1 && asked == 1, "%s: that all has left is told, once", name);
    part(&w, c);
}

static unsigned unsent; /* replies that were not with the kernel at once */

static void answer_briefly(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    say(e->conn, 10);
    unsent += etcp_conn_queued(e->conn) > 0;
}

/* What is gathered counts as queued, sealed or not. */
static void test_queued(int over_tls)
{
    world w;
    etcp_conn *c = meet(&w, over_tls, NULL, answer_briefly);

    unsent = 0;
    ask_together(c, TOGETHER);
    world_pump(&w);
    tap_is_int((int)unsent, TOGETHER - 2, "%s: all but the first and the last are gathered, and count",
               over_tls ? "TLS" : "plain");
    tap_is_int((int)etcp_conn_queued(slow_server_side), 0, "until they leave");
    part(&w, c);
}

/* More than the high-water mark, to whoever asks. */
static void answer_at_length(world *w, etcp_server_event *e)
{
    int i;

    (void)w;
    drained += e->type == ETCP_SERVER_DRAINED;
    for (i = 0; i < 4 && e->type == ETCP_SERVER_MESSAGE; i++)
        say(e->conn, REPLY);
}

/* Who reads all is never taken for somebody who does not, because replies are gathered. */
static void test_small_mark(int over_tls, size_t high_water, etcp_when_full when_full)
{
    etcp_conn_limits limits;
    etcp_event event;
    unsigned came = 0;
    etcp_conn *c;
    world w;

    etcp_conn_limits_default(&limits);
    limits.high_water = high_water;
    limits.when_full = when_full;
    c = meet(&w, over_tls, &limits, answer_at_length);
    drained = 0;
    ask_together(c, 10);
    while (world_wait(c, 100, &event) == 1)
        came += event.len == REPLY;
    tap_ok(failed == 0 && came == 40, "%s: a mark of %lu: %u failed, %u came",
           over_tls ? "TLS" : "plain", (unsigned long)high_water, failed, came);
    tap_is_int((int)drained, 0, "and that it has left need not be told");
    part(&w, c);
}

/* The first reply of all is not gathered. */
static void answer_until_refused(world *w, etcp_server_event *e)
{
    (void)w;
    drained += e->type == ETCP_SERVER_DRAINED;
    if (e->type != ETCP_SERVER_MESSAGE || stuffed < 0 || ++asked < 2)
        return;
    while (!failed)
        say(e->conn, 3500);
    stuffed = -1;
}

/* A reply that is refused, while the kernel takes all the others when the turn ends. */
static void test_refused(int over_tls)
{
    const char *name = over_tls ? "TLS" : "plain";
    etcp_conn_limits limits;
    etcp_conn *c;
    world w;

    etcp_conn_limits_default(&limits);
    limits.high_water = 20000;
    limits.when_full = ETCP_FULL_FAIL;
    c = meet(&w, over_tls, &limits, answer_until_refused);
    stuff();
    say(slow_server_side, 9000);
    drained = asked = 0;
    ask_together(c, TOGETHER);
    world_pump(&w);
    tap_is_int((int)failed, 1, "%s: a reply is refused", name);
    tap_is_int((int)etcp_conn_queued(slow_server_side), 0, "%s: then all others leave", name);
    tap_is_int((int)drained, 1, "%s: which is told", name);
    part(&w, c);
}

/* ---- half of a connection -------------------------------------------------------------------- */

static int last_rc;

/* A last word to whoever has left. */
static void speak_after(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_DISCONNECT)
        last_rc = etcp_conn_send(e->conn, 0, reply, 1, NULL, NULL);
}

typedef enum ending { CUT, GOODBYE, GOODBYE_AND_CUT, GARBAGE } ending;

static void end(etcp_conn *c, ending how)
{
    if (how == GOODBYE || how == GOODBYE_AND_CUT)
        etcp_conn_say_goodbye(c);
    if (how == GARBAGE)
        (void)send(etcp_conn_fd(c), reply, 100, MSG_NOSIGNAL);
    if (how == CUT || how == GOODBYE_AND_CUT)
        (void)shutdown(etcp_conn_fd(c), SHUT_WR);
}

static int read_all(etcp_conn *c, unsigned *messages, unsigned *last_words)
{
    etcp_event event;
    int rc;

    *messages = *last_words = 0;
    while ((rc = world_wait(c, 5000, &event)) == 1) {
        *messages += event.len == REPLY;
        *last_words += event.len == 1;
    }
    return rc;
}

/* The peer ends its half while much is queued for it, and then reads. */
static void test_half(int over_tls, ending how, int answers, int ends_by, const char *name)
{
    unsigned messages, last_words;
    unsigned i;
    int rc;
    world w;
    etcp_conn *c = meet(&w, over_tls, NULL, speak_after);

    for (i = 0; i < SLOW_COUNT; i++)
        say(slow_server_side, REPLY);
    tap_ok(etcp_conn_queued(slow_server_side) > 1000000 && failed == 0, "%s: much is queued", name);
    last_rc = 1;
    end(c, how);
    world_pump(&w);
    tap_ok(strchr(w.log, 'D') != NULL, "%s: the end is told: %s", name, w.log);
    tap_is_int(last_rc == 0, answers, "%s: whether it can be answered", name);
    rc = read_all(c, &messages, &last_words);
    tap_is_int((int)messages, SLOW_COUNT, "%s: what was queued is delivered", name);
    tap_is_int((int)last_words, answers, "%s: and the last word", name);
    tap_is_int(rc, ends_by, "%s: how it ends: %s", name, etcp_conn_error(c)->text);
    part(&w, c);
}

/* ---- the brake ------------------------------------------------------------------------------- */

/* One record for each byte of a packet, and now and then the wish to hear of new keys. */
static void ask_by_bytes(etcp_conn *c, unsigned n)
{
    static const uint8_t packet[] = "\x05\x01\x08question";
    etcp_buf *out = &c->tunnel->cipher;
    unsigned i;

    for (i = 0; i < sizeof packet - 1; i++)
        (void)etcp_channel_seal(c->tunnel->channel, NULL, 0, packet + i, 1, out);
    if (n % 100 == 0)
        (void)SSL_key_update(ssl_of(c), SSL_KEY_UPDATE_REQUESTED);
    (void)etcp_conn_push_tunnel(c);
}

/* Who asks and asks, a byte at a time, and wants new keys again and again, stops only himself. */
static void test_brake(void)
{
    etcp_conn_limits limits;
    etcp_event event;
    unsigned came = 0;
    size_t most = 0;
    etcp_conn *c;
    world w;

    etcp_conn_limits_default(&limits);
    limits.high_water = 20000;
    c = meet(&w, 1, &limits, world_echo);
    stuff();
    for (asked = 0; asked < ASKED; asked++) {
        ask_by_bytes(c, asked);
        world_pump(&w);
        if (etcp_conn_queued(slow_server_side) > most)
            most = etcp_conn_queued(slow_server_side);
    }
    tap_ok(most > 10000 && most < 20000, "braked at half the mark: %lu", (unsigned long)most);
    stuffed = -1;
    while (world_wait(c, 1000, &event) == 1)
        came += event.len == 8;
    tap_is_int((int)came, ASKED, "and all of them when it reads");
    part(&w, c);
}

/* ---- how long it is waited ------------------------------------------------------------------- */

/* What the peer says itself, wishes for new keys that are answered, say, does not prolong it. */
static void test_stall(int over_tls)
{
    const char *name = over_tls ? "TLS" : "plain";
    etcp_conn_limits limits;
    unsigned i;
    etcp_conn *c;
    world w;

    etcp_conn_limits_default(&limits);
    limits.send_timeout_ms = 10000;
    c = meet(&w, over_tls, &limits, NULL);
    stuff();
    for (i = 0; i < SLOW_COUNT; i++)
        say(slow_server_side, REPLY);
    for (i = 0; i < 9; i++) {
        world_pass(1000);
        if (over_tls)
            (void)SSL_key_update(ssl_of(c), SSL_KEY_UPDATE_REQUESTED);
        ask_together(c, 2);
        world_pump(&w);
    }
    world_pass(999);
    world_pump(&w);
    tap_ok(!strchr(w.log, 'D'), "%s: whose queue does not shrink is kept for a while", name);
    world_pass(1);
    world_pump(&w);
    tap_ok(strstr(w.log, "D1 F1 ") != NULL, "%s: and then given up: %s", name, w.log);
    part(&w, c);
}

/* A connection that is closed, for a peer that reads a little now and then. */
static void test_linger(int over_tls)
{
    const char *name = over_tls ? "TLS" : "plain";
    etcp_conn_limits limits;
    uint8_t byte;
    unsigned i;
    etcp_conn *c;
    world w;

    etcp_conn_limits_default(&limits);
    limits.linger_ms = 10000;
    c = meet(&w, over_tls, &limits, NULL);
    for (i = 0; i < SLOW_COUNT; i++)
        say(slow_server_side, REPLY);
    etcp_conn_close(slow_server_side);
    for (i = 0; i < 9; i++) {
        world_pass(1000);
        (void)recv(etcp_conn_fd(c), &byte, 1, MSG_DONTWAIT);
        world_pump(&w);
    }
    world_pass(999);
    world_pump(&w);
    tap_is_str(w.log, "", "%s: what is closed and not read is kept for a while", name);
    world_pass(1);
    world_pump(&w);
    tap_is_str(w.log, "F1 ", "%s: and no longer", name);
    part(&w, c);
}

int main(void)
{
    int over_tls = 0;

    if (policy_leaves_sha256()) {
        server_tls = tls_make(ETCP_TLS_SERVER, NULL);
        client_tls = tls_make(0, NULL);
    }
    for (over_tls = 0; over_tls <= (server_tls != NULL); over_tls++) {
        test_queued(over_tls);
        test_drain(over_tls);
        test_old_news(over_tls);
        test_small_mark(over_tls, 20000, ETCP_FULL_FAIL);
        test_small_mark(over_tls, 30000, ETCP_FULL_CLOSE);
        test_small_mark(over_tls, 1000, ETCP_FULL_CLOSE);
        test_refused(over_tls);
        test_stall(over_tls);
        test_linger(over_tls);
    }
    test_half(0, CUT, 1, ETCP_ECLOSED, "plain, cut");
    test_half(0, GARBAGE, 1, ETCP_ECLOSED, "plain, garbage");
    if (server_tls) {
        test_half(1, CUT, 1, ETCP_ECLOSED, "TLS, cut");
        test_half(1, GOODBYE, 1, ETCP_ECLOSED, "TLS, close_notify");
        test_half(1, GOODBYE_AND_CUT, 1, ETCP_ECLOSED, "TLS, both");
        test_half(1, GARBAGE, 0, ETCP_EPROTO, "TLS, garbage");
        test_brake();
    }
    etcp_tls_unref(server_tls);
    etcp_tls_unref(client_tls);
    return tap_done();
}
