/* Clients that do not read, over TLS and without: what holds for the one holds for the other. */
#include <string.h>
#include <sys/socket.h>

#include "net/conn_private.h"
#include "net_world.h"
#include "policy.h"
#include "slow_reader.h"
#include "tap.h"
#include "tls_make.h"

enum { REPLY = 12000 };

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

int main(void)
{
    if (policy_leaves_sha256()) {
        server_tls = tls_make(ETCP_TLS_SERVER, NULL);
        client_tls = tls_make(0, NULL);
    }
    test_half(0, CUT, 1, ETCP_ECLOSED, "plain, cut");
    test_half(0, GARBAGE, 1, ETCP_ECLOSED, "plain, garbage");
    if (server_tls) {
        test_half(1, CUT, 1, ETCP_ECLOSED, "TLS, cut");
        test_half(1, GOODBYE, 1, ETCP_ECLOSED, "TLS, close_notify");
        test_half(1, GOODBYE_AND_CUT, 1, ETCP_ECLOSED, "TLS, both");
        test_half(1, GARBAGE, 0, ETCP_EPROTO, "TLS, garbage");
    }
    etcp_tls_unref(server_tls);
    etcp_tls_unref(client_tls);
    return tap_done();
}
