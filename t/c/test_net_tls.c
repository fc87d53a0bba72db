/* Connections with TLS under them: messages, closing, passwords, forks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "net/clock.h"
#include "net/dial.h"
#include "net/guesses.h"
#include "net_world.h"
#include "policy.h"
#include "tap.h"
#include "tls_make.h"
#include "wire/session.h"

static etcp_tls *server_tls, *client_tls;

static void set_password(etcp_config *config, const char *password)
{
    if (password &&
        etcp_config_set_password(config, (const uint8_t *)password, strlen(password)) < 0)
        abort();
}

static void start(world *w, const char *server_password, const char *client_password)
{
    etcp_server_options options = world_options();

    options.tls = server_tls;
    world_start(w, &options);
    w->client_tls = client_tls;
    w->on_event = world_echo;
    w->server_config->flags |= ETCP_ALLOW_TLS;
    w->client_config->flags |= ETCP_ALLOW_TLS;
    set_password(w->server_config, server_password);
    set_password(w->client_config, client_password);
}

static int is_tls(const etcp_conn *c)
{
    char text[ETCP_FINGERPRINT_TEXT];
    etcp_trust trust;

    return etcp_conn_tls(c, &trust, text);
}

/* ---- messages -------------------------------------------------------------------------------- */

static uint8_t big[5000000];

static int passes(etcp_conn *c, size_t len)
{
    etcp_event event;
    size_t mark;
    int rc = etcp_conn_send(c, 0, big, len, NULL, NULL);

    while (rc == 0 && etcp_conn_wants_drain(c, &mark))
        rc = world_drain(c, mark);
    return rc == 0 && world_wait(c, 10000, &event) == 1 && event.len == len &&
           memcmp(event.data, big, len) == 0;
}

static void test_messages(void)
{
    static const size_t sizes[] = {0,     1,     100,    8000,   8192,    16380,  16384,
                                   20000, 65536, 131072, 200000, 1000000, 5000000};
    char text[ETCP_FINGERPRINT_TEXT];
    etcp_trust trust;
    unsigned lost = 0;
    etcp_conn *c;
    unsigned i;
    world w;

    for (i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7 + (i >> 9));
    start(&w, NULL, NULL);
    c = world_dial(&w);
    if (!tap_ok(c != NULL, "dialled: %s", world_error.text)) {
        world_stop(&w);
        return;
    }
    tap_ok(etcp_conn_tls(c, &trust, text), "TLS is spoken");
    tap_is_str(text, etcp_tls_fingerprint(server_tls), "with the server's key");
    tap_ok(etcp_session_cipher(etcp_conn_session(c)) == NULL, "and no other cipher");
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!passes(c, sizes[i])) {
            lost++;
            tap_note("%lu bytes: %s", (unsigned long)sizes[i], etcp_conn_error(c)->text);
        }
    tap_is_int((int)lost, 0, "messages of all sizes come back");
    etcp_conn_close(c);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

/* Many small messages leave and come back together, in order. */
static void test_pipelining(void)
{
    unsigned wrong = 0;
    etcp_conn *c;
    unsigned i;
    world w;

    start(&w, NULL, NULL);
    c = world_dial(&w);
    for (i = 0; i < 3000; i++) {
        char text[32];

        (void)snprintf(text, sizeof text, "message %u", i);
        wrong += world_send(c, text) != 0;
    }
    for (i = 0; i < 3000; i++) {
        char text[32];
        const char *got = world_receive(c);

        (void)snprintf(text, sizeof text, "message %u", i);
        wrong += !got || strcmp(got, text) != 0;
    }
    tap_is_int((int)wrong, 0, "3000 replies, in order");
    tap_ok(!etcp_conn_has_message(c), "and nothing is left");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* A client that only sends can learn all the same what the server's last packet says. */
static void test_looking(void)
{
    etcp_conn *c;
    world w;

    start(&w, NULL, NULL);
    c = world_dial(&w);
    tap_ok(etcp_session_is_early(etcp_conn_session(c)), "ready before the server's answer");
    tap_is_int(etcp_conn_settle_now(c), ETCP_ETIMEOUT, "which is not waited for");
    tap_is_int(world_send(c, "hello"), 0, "a message is sent");
    world_pump(&w);
    tap_is_int(etcp_conn_settle_now(c), 0, "the answer is taken when it is there");
    tap_ok(!etcp_session_is_early(etcp_conn_session(c)), "so that all is known");
    tap_is_str(world_receive(c), "hello", "and what comes back is not lost");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* Neither signals nor more to send have it wait longer for a server that does not answer. */
static void test_waiting(void)
{
    int (*usual)(struct pollfd *, nfds_t, int);
    uint64_t since = 0;
    etcp_conn *c;
    world w;
    int rc;

    start(&w, NULL, NULL);
    c = world_dial(&w);
    usual = world_calls.poll;
    world_calls.poll = world_poll_interrupted;
    world_interruptions = 0;
    while ((rc = etcp_conn_settle(c, 1000, &since)) == ETCP_EINTR && world_interruptions < 100)
        ;
    tap_is_int(rc, ETCP_ETIMEOUT, "signals do not prolong the wait");
    tap_is_int(world_interruptions, 3, "of a second, with one every 0.4");
    since = 0;
    tap_is_int(etcp_conn_settle(c, 1000, &since), ETCP_ETIMEOUT, "which is in vain");
    tap_is_int(world_interruptions, 3, "only once");
    world_calls.poll = usual;
    world_pump(&w);
    tap_is_int(etcp_conn_settle(c, 1000, &since), 0, "the answer is taken when it comes after all");
    tap_ok(!etcp_session_is_early(etcp_conn_session(c)), "as ever");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- closing --------------------------------------------------------------------------------- */

static int close_it(etcp_conn *c)
{
    etcp_event event;
    int rc = world_wait(c, 5000, &event);

    etcp_conn_unref(c);
    return rc;
}

static void close_client(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    (void)etcp_conn_send(e->conn, 0, (const uint8_t *)"bye", 3, NULL, NULL);
    etcp_conn_close(e->conn);
}

static int end_code;

static void note_end(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_DISCONNECT)
        end_code = etcp_conn_error(e->conn)->code;
}

static void test_closing(void)
{
    etcp_conn *c;
    world w;

    start(&w, NULL, NULL);
    w.on_event = close_client;
    c = world_dial(&w);
    (void)world_send(c, "hello");
    tap_is_str(world_receive(c), "bye", "the server's last word");
    tap_is_int(close_it(c), ETCP_ECLOSED, "then a regular end");
    w.on_event = note_end;
    c = world_dial(&w);
    world_pump(&w);
    etcp_conn_close(c);
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_int(end_code, ETCP_ECLOSED, "the client's regular end");
    w.on_event = world_echo;
    c = world_dial(&w);
    (void)passes(c, 10); /* a close that leaves input unread is a reset */
    w.on_event = note_end;
    etcp_conn_abandon(c);
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_int(end_code, ETCP_EPROTO, "an end without a word is an attack");
    world_stop(&w);
}

static size_t last_len;

static void send_and_close(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    (void)etcp_conn_send(e->conn, 0, big, last_len, NULL, NULL);
    etcp_conn_close(e->conn);
}

/* The last message and the end that are read at once: wherever the message is put, it comes first.
 */
static void test_last_words(void)
{
    unsigned lost = 0;
    world w;

    start(&w, NULL, NULL);
    w.on_event = send_and_close;
    for (last_len = 1; last_len < 200000; last_len += last_len < 20000 ? 1621 : 12345) {
        etcp_conn *c = world_dial(&w);
        etcp_event event;

        (void)world_send(c, "hello");
        world_pump(&w);
        if (world_wait(c, 10000, &event) != 1 || event.len != last_len)
            lost++;
        etcp_conn_unref(c);
    }
    tap_is_int((int)lost, 0, "no last message is lost");
    world_stop(&w);
}

/* ---- passwords ------------------------------------------------------------------------------- */

static void test_passwords(void)
{
    static const struct {
        const char *server, *client;
        int code;
        const char *text;
    } cases[] = {
        {"secret", "secret", 0, ""},
        {"secret", "Secret", ETCP_EREJECTED, "The server does not know the password"},
        {"secret", NULL, ETCP_EREJECTED, "The server does not know the password"},
        {"", NULL, 0, ""},
        {NULL, "secret", 0, ""},
    };
    unsigned i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        etcp_conn *c;
        world w;

        start(&w, cases[i].server, cases[i].client);
        c = world_dial(&w);
        tap_is_int(world_error.code, cases[i].code, "password %u", i + 1);
        tap_is_str(world_error.text, cases[i].text, "password %u: text", i + 1);
        if (c) {
            tap_ok(is_tls(c) && passes(c, 1000), "password %u: messages", i + 1);
            tap_is_int(etcp_session_is_authenticated(etcp_conn_session(c)),
                       cases[i].server && cases[i].server[0], "password %u: authenticated", i + 1);
        }
        etcp_conn_unref(c);
        world_stop(&w);
    }
}

/* ---- guesses --------------------------------------------------------------------------------- */

/* Whoever guesses waits ever longer, even if he leaves before the verdict; who knows the password
 * waits as long and gets in. */
static void test_guesses(int is_tls_spoken)
{
    const char *name = is_tls_spoken ? "TLS" : "the old hash";
    uint64_t begin;
    unsigned refused = 0;
    unsigned i;
    etcp_conn *c;
    world w;

    start(&w, "secret", "wrong");
    if (!is_tls_spoken)
        w.client_config->flags &= ~(unsigned)ETCP_ALLOW_TLS;
    begin = etcp_clock_ms();
    for (i = 0; i < 8; i++)
        refused += world_dial(&w) == NULL;
    tap_ok(refused == 8 && etcp_clock_ms() == begin, "%s: eight wrong ones at once", name);
    for (i = 0; i < 12; i++)
        refused += world_dial(&w) == NULL;
    tap_ok(refused == 20 && etcp_clock_ms() - begin < 100000, "%s: twelve that wait", name);
    set_password(w.client_config, "secret");
    begin = etcp_clock_ms();
    c = world_dial(&w);
    if (!tap_ok(c && passes(c, 10), "%s: the right one is taken", name))
        tap_note("%s", world_error.text);
    tap_ok(etcp_clock_ms() - begin >= 1600, "%s: later", name);
    etcp_conn_unref(c);
    for (i = 0; i < 8; i++) {
        world_pass(ETCP_GUESSES_FORGIVE_MS);
        world_pump(&w);
    }
    for (i = 0; i < 30; i++) {
        begin = etcp_clock_ms();
        c = world_dial(&w);
        refused += !c || etcp_clock_ms() != begin;
        etcp_conn_unref(c);
    }
    tap_is_int((int)refused, 20, "%s: right ones never wait when some were forgiven", name);
    world_stop(&w);
}

/* Who waits for such an answer is still negotiating. */
static void test_guesses_in_stats(void)
{
    etcp_server_counts counts;
    etcp_dial *dials[12];
    etcp_conn_limits limits;
    etcp_conn *c;
    unsigned round;
    unsigned i;
    world w;

    start(&w, "secret", "wrong");
    etcp_conn_limits_default(&limits);
    for (i = 0; i < 12; i++)
        if (etcp_dial_new("127.0.0.1", w.port, 30000, 90000, w.client_config, &limits, &dials[i]) < 0 ||
            etcp_dial_secure(dials[i], client_tls, NULL) < 0 || etcp_dial_begin(dials[i]) < 0)
            abort();
    for (round = 0; round < 20; round++) {
        for (i = 0; i < 12; i++)
            if (etcp_dial_continue(dials[i], &c) != ETCP_AGAIN)
                etcp_dial_close(dials[i]);
        world_pump(&w);
    }
    etcp_server_count(w.server, &counts);
    tap_is_int((int)counts.negotiating, 4, "those whose answer is delayed count as negotiating");
    for (i = 0; i < 12; i++)
        etcp_dial_free(dials[i]);
    world_stop(&w);
}

/* ---- a server that speaks TLS no more -------------------------------------------------------- */

/* Dials again, as a client does that connects again by itself. */
static int dial_again(etcp_dial *d)
{
    etcp_conn *c = NULL;
    int rc;

    etcp_dial_again(d);
    do {
        rc = etcp_dial_step(d, &c);
    } while (rc == ETCP_EINTR);
    etcp_conn_unref(c);
    return rc;
}

static void test_forgetting(void)
{
    etcp_conn_limits limits;
    etcp_conn *c = NULL;
    etcp_dial *d;
    world w;

    start(&w, NULL, NULL);
    etcp_conn_limits_default(&limits);
    if (etcp_dial_new("127.0.0.1", w.port, 30000, 90000, w.client_config, &limits, &d) < 0 ||
        etcp_dial_secure(d, client_tls, NULL) < 0)
        abort();
    tap_ok(etcp_dial_step(d, &c) == 0 && is_tls(c), "TLS at first");
    etcp_conn_unref(c);
    world_pump(&w);
    w.server_config->flags &= ~(unsigned)ETCP_ALLOW_TLS;
    tap_is_int(dial_again(d), ETCP_EPOLICY, "the next connection insists on it");
    world_pass(60 * 60 * 1000 - 1000);
    tap_is_int(dial_again(d), ETCP_EPOLICY, "for an hour");
    world_pass(2000);
    tap_is_int(dial_again(d), 0, "and no longer, even from the same client");
    etcp_dial_free(d);
    world_stop(&w);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static int ends_with(pid_t child)
{
    int status = -1;

    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The client forks; one process goes on, the other closes. */
static void test_fork(int child_goes_on)
{
    const char *who = child_goes_on ? "child" : "parent";
    etcp_conn *c;
    pid_t child;
    world w;

    start(&w, NULL, NULL);
    c = world_dial(&w);
    (void)passes(c, 100);
    world_pump(&w);
    child = fork();
    if (child == 0) {
        int rc = 0;

        if (child_goes_on)
            rc = etcp_conn_send(c, 0, big, 10, NULL, NULL) == 0 ? 7 : 1;
        else
            etcp_conn_close(c);
        _exit(rc);
    }
    tap_is_int(ends_with(child), child_goes_on ? 7 : 0, "%s goes on: the child's part", who);
    if (child_goes_on) {
        world_forget(&w);
        world_pump(&w);
        tap_ok(strstr(w.log, "M1") != NULL, "the child's message came: %s", w.log);
        tap_is_int(etcp_conn_send(c, 0, big, 10, NULL, NULL), ETCP_ECLOSED, "the parent may not");
        tap_is_str(etcp_conn_error(c)->text, "The TLS connection belongs to another process",
                   "and is told why");
        world_forget(&w);
        etcp_conn_close(c);
        world_pump(&w);
        tap_ok(strstr(w.log, "M1") == NULL, "it sends nothing");
    } else {
        tap_ok(passes(c, 1000), "the parent's connection is whole");
    }
    etcp_conn_unref(c);
    world_stop(&w);
}

static void test_forks(void)
{
    etcp_conn *c;
    unsigned i;
    world w;

    test_fork(0);
    test_fork(1);
    start(&w, NULL, NULL);
    c = world_dial(&w);
    for (i = 0; i < 5; i++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        (void)ends_with(child);
        if (!passes(c, 100))
            break;
    }
    tap_is_int((int)i, 5, "a process that forks now and then goes on");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_out_of_memory(void)
{
    unsigned leaks = 0;
    unsigned good = 0;
    long n;

    alloc_fail_at(0);
    for (n = 1; good < 3 && n < 2000; n++) {
        long live = alloc_live();
        etcp_conn *c;
        world w;

        start(&w, "secret", "secret");
        alloc_fail_at(n);
        c = world_dial(&w);
        if (c && passes(c, 1000))
            good = alloc_count() < n ? good + 1 : 0;
        alloc_fail_at(0);
        etcp_conn_unref(c);
        world_stop(&w);
        leaks += alloc_live() != live;
    }
    tap_is_int((int)leaks, 0, "no failure of %ld leaks", n - 1);
    tap_is_int((int)good, 3, "without a failure all is well");
    alloc_reset();
}

int main(void)
{
    if (!policy_leaves_sha256())
        return tap_done();
    server_tls = tls_make(ETCP_TLS_SERVER, NULL);
    client_tls = tls_make(0, NULL);
    test_messages();
    test_pipelining();
    test_looking();
    test_waiting();
    test_closing();
    test_last_words();
    test_passwords();
    test_guesses(1);
    test_guesses(0);
    test_guesses_in_stats();
    test_forgetting();
    test_forks();
    etcp_tls_unref(server_tls);
    etcp_tls_unref(client_tls);
    alloc_fail_at(0);
    server_tls = tls_make(ETCP_TLS_SERVER, NULL);
    client_tls = tls_make(0, NULL);
    test_out_of_memory();
    etcp_tls_unref(server_tls);
    etcp_tls_unref(client_tls);
    return tap_done();
}
