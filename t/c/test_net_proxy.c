/* Clients behind a proxy that tells who they are. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "net_world.h"
#include "tap.h"

static const char header[] = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 2345\r\n";

/* What the loop saw last: the address of the client that connected. */
static char seen_ip[64], seen_proxy[64], seen_error[64];
static unsigned seen_port;

static void note(world *w, etcp_server_event *e)
{
    (void)w;
    if (e->type == ETCP_SERVER_CONNECT) {
        (void)etcp_conn_remote_ip(e->conn, seen_ip, sizeof seen_ip);
        seen_port = etcp_conn_remote_port(e->conn);
        seen_proxy[0] = '\0';
        (void)etcp_conn_proxy_ip(e->conn, seen_proxy, sizeof seen_proxy);
    }
    if (e->type == ETCP_SERVER_FORGOTTEN && etcp_conn_has_heard(e->conn))
        (void)snprintf(seen_error, sizeof seen_error, "%.60s", etcp_conn_error(e->conn)->text);
}

static void start(world *w, const etcp_server_options *o)
{
    world_start(w, o);
    w->on_event = note;
    seen_ip[0] = seen_proxy[0] = seen_error[0] = '\0';
    (void)etcp_server_trust_proxy(w->server, "127.0.0.0/8");
}

static int is_silent(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* ---- a client that negotiates by hand -------------------------------------------------------- */

static void say(int fd, const void *bytes, size_t len)
{
    (void)!write(fd, bytes, len);
}

/* The other half of the negotiation of a client that can nothing: it answers whatever is said. */
static void negotiate(world *w, int fd, const char *answers, size_t len)
{
    const char *end = answers + len;

    for (; answers < end; answers += 3 + answers[2]) {
        char bytes[4096];

        world_pump(w);
        (void)!recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        say(fd, answers, 3u + (size_t)answers[2]);
    }
    world_pump(w);
}

static const char answers[] = "\x01\x01\x02NO\x01\x01\x07VE\0000.26\x01\x01\x02"
                              "EN";

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_header(void)
{
    int fd;
    size_t i;
    world w;

    start(&w, NULL);
    fd = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 ", "a connection of the proxy");
    for (i = 0; i + 1 < sizeof header - 1; i++) {
        say(fd, header + i, 1);
        world_pump(&w);
    }
    tap_ok(is_silent(fd), "nothing is said before the header is complete");
    say(fd, header + i, 1);
    world_pump(&w);
    tap_ok(!is_silent(fd), "then the client is welcomed");
    negotiate(&w, fd, answers, sizeof answers - 1);
    tap_is_str(seen_ip, "192.0.2.7", "its address");
    tap_is_int(seen_port, 4711, "its port");
    tap_is_str(seen_proxy, "127.0.0.1", "the proxy's address");
    say(fd, "\x05\x01\x04here", 7);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 M1(here) ", "its messages");
    (void)close(fd);
    world_pump(&w);
    world_stop(&w);
}

/* Only what belongs to the header is taken: here the answer to a welcome that is still to come. */
static void test_together(void)
{
    static const char both[] = "PROXY TCP6 2001:db8::1 ::1 1 2\r\n\x01\x01\x02NO";
    int fd;
    world w;

    start(&w, NULL);
    fd = world_connect_raw(&w);
    say(fd, both, sizeof both - 1);
    world_pump(&w);
    tap_is_str(w.log, "A1 ", "a header with something behind it");
    negotiate(&w, fd, answers + 5, sizeof answers - 6);
    tap_is_str(seen_ip, "2001:db8::1", "both arrive where they should");
    (void)close(fd);
    world_pump(&w);
    world_stop(&w);
}

static void test_malformed(void)
{
    int fd[3];
    world w;

    start(&w, NULL);
    fd[0] = world_connect_raw(&w);
    say(fd[0], "PROXY nonsense\r\n", 16);
    world_pump(&w);
    tap_ok(world_sees_end(fd[0]), "what is no header ends the connection");
    tap_is_str(seen_error, "malformed PROXY header", "and is told");
    seen_error[0] = '\0';
    fd[1] = world_connect_raw(&w);
    say(fd[1], "PROXY TC", 8);
    world_pump(&w);
    (void)close(fd[1]);
    world_pump(&w);
    fd[2] = world_connect_raw(&w);
    say(fd[2], header, sizeof header - 1);
    world_pump(&w);
    (void)close(fd[2]);
    world_pump(&w);
    tap_is_str(w.log, "A1 F1 A2 F2 A3 F3 ", "those who leave meanwhile");
    tap_is_str(seen_error, "", "are not told of");
    (void)close(fd[0]);
    world_stop(&w);
}

/* A header that does not come takes no longer than a negotiation. */
static void test_time(void)
{
    int fd;
    world w;

    start(&w, NULL);
    fd = world_connect_raw(&w);
    world_pump(&w);
    world_pass(44999);
    world_pump(&w);
    tap_is_str(w.log, "A1 ", "still waiting");
    world_pass(1);
    world_pump(&w);
    tap_is_str(w.log, "A1 F1 ", "too long");
    (void)close(fd);
    world_stop(&w);
}

static void test_lists(void)
{
    static const char local[] = "PROXY UNKNOWN\r\n";
    etcp_server_options o = world_options();
    int fd[5];
    int i;
    world w;

    o.max_clients_per_ip = 1;
    start(&w, &o);
    (void)etcp_server_allow(w.server, "192.0.2.0/24");
    for (i = 0; i < 2; i++) {
        fd[i] = world_connect_raw(&w);
        say(fd[i], header, sizeof header - 1);
        world_pump(&w);
    }
    tap_ok(!is_silent(fd[0]), "a client on the list");
    tap_ok(world_sees_end(fd[1]), "the second of its address");
    fd[2] = world_connect_raw(&w);
    say(fd[2], "PROXY TCP4 198.51.100.1 127.0.0.1 1 2\r\n", 39);
    world_pump(&w);
    tap_ok(world_sees_end(fd[2]), "one that is not on it");
    (void)close(fd[0]);
    world_pump(&w);
    fd[0] = world_connect_raw(&w);
    say(fd[0], header, sizeof header - 1);
    world_pump(&w);
    tap_ok(!is_silent(fd[0]), "one that left makes room");
    (void)etcp_server_allow(w.server, "127.0.0.1");
    for (i = 3; i < 5; i++) {
        fd[i] = world_connect_raw(&w);
        say(fd[i], local, sizeof local - 1);
        world_pump(&w);
        tap_ok(!is_silent(fd[i]), "a proxy that speaks for itself is not counted");
    }
    for (i = 0; i < 5; i++)
        (void)close(fd[i]);
    world_pump(&w);
    tap_is_str(seen_error, "", "none of this is an error");
    world_stop(&w);
}

static void test_memory(void)
{
    long n;
    world w;

    for (n = 1; n < 12; n++) {
        int fd;

        start(&w, NULL);
        fd = world_connect_raw(&w);
        say(fd, header, sizeof header - 1);
        alloc_fail_at(n);
        world_pump(&w);
        alloc_fail_at(0);
        (void)close(fd);
        world_pass(200);
        world_pump(&w);
        world_pump(&w);
        world_stop(&w);
        alloc_reset();
    }
    tap_ok(1, "no memory at any time");
}

static void run(void)
{
    test_header();
    test_together();
    test_malformed();
    test_time();
    test_lists();
    test_memory();
}

int main(void)
{
    world_with_each_poller(run);
    return tap_done();
}
