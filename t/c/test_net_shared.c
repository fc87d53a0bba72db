/* Servers that others help: listeners that are shared, connections that are adopted, and ends in
 * good order. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/dial.h"
#include "net/local_socket.h"
#include "net_world.h"
#include "tap.h"

enum { MANY = 40 };

/* How many events of a kind were logged. */
static int logged(const world *w, char kind)
{
    const char *at;
    int count = 0;

    for (at = w->log; *at; at++)
        if (*at == kind && (at == w->log || at[-1] == ' '))
            count++;
    return count;
}

static int is_blocking(int fd)
{
    return !(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* ---- a listener that others accept from, too ---------------------------------------------------
 */

static int listen_raw(void)
{
    struct sockaddr_in in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 128) < 0)
        exit(1);
    return fd;
}

static void test_looks(void)
{
    static const int expected[] = {1, 3, 7, 15, 23, 31, 39, MANY, MANY};
    etcp_server_options o = world_options();
    int listener = listen_raw();
    int fd[MANY];
    size_t i;
    world w;

    o.handle = listener;
    o.port = NULL;
    world_start(&w, &o);
    tap_ok(!is_blocking(listener), "a shared listener never blocks");
    (void)close(listener);
    for (i = 0; i < MANY; i++)
        fd[i] = world_connect_raw(&w);
    for (i = 0; i < sizeof expected / sizeof *expected; i++) {
        world_pump(&w);
        tap_is_int(logged(&w, 'A'), expected[i], "look %u", (unsigned)i);
        world_pass(1);
        world_pump(&w);
        tap_is_int(logged(&w, 'A'), expected[i], "nothing is accepted between two looks");
        tap_ok(etcp_server_due_in(w.server) <= 1 || expected[i] == MANY, "the next one is planned");
        world_pass(1);
    }
    for (i = 0; i < MANY; i++)
        (void)close(fd[i]);
    world_pump(&w);
    world_forget(&w);
    fd[0] = world_connect_raw(&w);
    fd[1] = world_connect_raw(&w);
    world_pump(&w);
    tap_is_int(logged(&w, 'A'), 1, "after a time without any, one at a time again");
    world_pass(2);
    world_pump(&w);
    tap_is_int(logged(&w, 'A'), 2, "and the second");
    (void)close(fd[0]);
    (void)close(fd[1]);
    world_pump(&w);
    world_stop(&w);
}

/* Clients that become ready end no look away. */
static void test_looks_and_clients(void)
{
    etcp_server_options o = world_options();
    int listener = listen_raw();
    etcp_conn *c;
    int fd;
    world w;

    o.handle = listener;
    world_start(&w, &o);
    (void)close(listener);
    c = world_dial(&w);
    fd = world_connect_raw(&w);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 ", "a client has connected, the next one waits");
    world_pass(2);
    world_pump(&w);
    tap_is_str(w.log, "A1 C1 A2 ", "for the next look");
    (void)close(fd);
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_handle_refused(void)
{
    etcp_server_options o = world_options();
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    etcp_server *s = NULL;
    etcp_error e;
    int fds[3];
    int i;

    if (pipe(fds) < 0)
        exit(1);
    fds[2] = socket(AF_INET, SOCK_STREAM, 0);
    for (i = 0; i < 3; i++) {
        memset(&e, 0, sizeof e);
        o.handle = fds[i];
        tap_is_int(etcp_server_new(&o, config, &s, &e), ETCP_EINVAL, "what does not listen");
        tap_is_str(e.text, "handle is not a listening socket", "is told");
        (void)close(fds[i]);
    }
    etcp_config_unref(config);
}

/* ---- Unix-domain sockets --------------------------------------------------------------------- */

static char path[64];

static int listen_at(etcp_local_file *file)
{
    const char *what;

    return etcp_local_socket_listen(path, 0600, 5, file, &what);
}

static void test_path(void)
{
    etcp_local_file first, second;
    struct stat st;
    int fd = listen_at(&first);
    int left;

    tap_ok(fd >= 0 && stat(path, &st) == 0 && S_ISSOCK(st.st_mode), "a socket");
    tap_is_int(st.st_mode & 0777, 0600, "with the permissions that were asked for");
    tap_ok(listen_at(&second) < 0 && errno == EADDRINUSE, "one that is listened at stays");
    (void)close(fd);
    fd = listen_at(&second);
    tap_ok(fd >= 0, "one that was left behind is replaced");
    (void)unlink(path);
    first = second;
    left = fd;
    fd = listen_at(&second);
    etcp_local_socket_remove(path, &first);
    tap_ok(stat(path, &st) == 0, "the file of another one is not removed");
    (void)close(left);
    etcp_local_socket_remove(path, &second);
    tap_ok(stat(path, &st) < 0, "its own is");
    (void)close(fd);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    (void)close(fd);
    tap_ok(listen_at(&second) < 0 && errno == EADDRINUSE, "what is no socket stays");
    tap_ok(stat(path, &st) == 0, "as it was");
    (void)unlink(path);
}

static void test_path_names(void)
{
    struct sockaddr_un un;
    char text[200];

    memset(text, 'x', sizeof text);
    text[sizeof un.sun_path] = '\0';
    tap_ok(etcp_local_socket_address(text, &un) == 0 && errno == ENAMETOOLONG, "too long by one");
    text[sizeof un.sun_path - 1] = '\0';
    tap_ok(etcp_local_socket_address(text, &un) > 0, "as long as may be");
    tap_ok(etcp_local_socket_address("", &un) == 0 && errno == EINVAL, "none");
}

static etcp_conn *dial_path(world *w)
{
    etcp_conn_limits limits;
    etcp_conn *c = NULL;
    etcp_dial *d;
    int rc;

    etcp_conn_limits_default(&limits);
    if (etcp_dial_new(NULL, path, 30000, 90000, w->client_config, &limits, &d) < 0)
        return NULL;
    do {
        rc = etcp_dial_step(d, &c);
    } while (rc == ETCP_EINTR);
    if (rc < 0)
        world_error = *etcp_dial_error(d);
    etcp_dial_free(d);
    return rc == 0 ? c : NULL;
}

static void test_over_path(void)
{
    etcp_server_options o = world_options();
    etcp_conn *c;
    char ip[64];
    world w;

    o.path = path;
    o.max_clients_per_ip = 1;
    world_start(&w, &o);
    tap_is_str(etcp_server_ip(w.server, ip, sizeof ip), "unix", "it has no address");
    c = dial_path(&w);
    tap_ok(c != NULL, "a client");
    etcp_conn_unref(dial_path(&w));
    tap_is_str(etcp_conn_remote_ip(c, ip, sizeof ip), "unix", "nor has its peer");
    tap_is_int(etcp_conn_remote_port(c), 0, "nor a port");
    (void)world_send(c, "over a path");
    world_pump(&w);
    tap_ok(strstr(w.log, "M1(over a path) ") != NULL, "messages as usual");
    tap_is_int(logged(&w, 'C'), 2, "who has no address is not limited by it");
    (void)etcp_server_allow(w.server, "10.0.0.0/8");
    tap_ok(dial_path(&w) == NULL, "who is not on the list is turned away");
    (void)etcp_server_allow(w.server, "unix");
    etcp_conn_unref(dial_path(&w));
    etcp_conn_unref(c);
    world_pump(&w);
    (void)etcp_config_ref(w.client_config); /* for the last dial */
    world_stop(&w);
    tap_ok(access(path, F_OK) < 0, "its file goes with it");
    tap_ok(dial_path(&w) == NULL && world_error.sys_errno == ENOENT, "and so nobody can connect");
    etcp_config_unref(w.client_config);
}

/* ---- adopting -------------------------------------------------------------------------------- */

static void test_adopt(void)
{
    etcp_server_options o = world_options();
    etcp_conn *c;
    etcp_error e;
    int fds[2];
    world w;

    o.port = NULL;
    world_start(&w, &o);
    tap_is_int(etcp_server_fd(w.server), -1, "a server that listens nowhere");
    memset(&e, 0, sizeof e);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        exit(1);
    tap_is_int(etcp_server_adopt(w.server, fds[0], &c, &e), 0, "takes a connection over");
    (void)close(fds[0]);
    etcp_conn_set_serial(c, 1);
    world_pump(&w);
    tap_ok(recv(fds[1], &o, sizeof o, MSG_DONTWAIT) > 0, "which is welcomed");
    (void)close(fds[1]);
    world_pump(&w);
    tap_is_str(w.log, "F1 ", "and forgotten like others");
    tap_is_int(etcp_server_adopt(w.server, -1, &c, &e), ETCP_EINVAL, "nothing");
    tap_is_str(e.text, "handle is not a connected socket", "is told");
    memset(&e, 0, sizeof e);
    (void)etcp_server_allow(w.server, "127.0.0.1");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        exit(1);
    tap_is_int(etcp_server_adopt(w.server, fds[0], &c, &e), ETCP_EFULL, "who is not on the list");
    tap_is_str(e.text, "its address may not connect", "is told");
    tap_ok(fcntl(fds[0], F_GETFD) >= 0, "and what was refused is still open");
    (void)close(fds[0]);
    (void)close(fds[1]);
    world_stop(&w);
}

/* ---- finishing ------------------------------------------------------------------------------- */

static void test_finish(void)
{
    etcp_conn *c[4];
    int i;
    world w;

    world_start(&w, NULL);
    for (i = 0; i < 4; i++)
        c[i] = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    etcp_server_finish(w.server, 3000);
    world_pump(&w);
    tap_is_int(etcp_server_fd(w.server), -1, "nobody can connect any more");
    tap_is_str(w.log, "F1 ", "one is closed at once");
    tap_is_int((long long)etcp_server_client_count(w.server), 3, "and is no client any more");
    world_pass(999);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 3, "the next one later");
    world_pass(2);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 2, "evenly spread");
    tap_ok(etcp_server_due_in(w.server) <= 1000, "it is planned when");
    (void)world_send(c[3], "still served");
    world_pump(&w);
    tap_is_str(w.log, "F1 F2 M4(still served) ", "those who are left are served");
    world_pass(2000);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "all are closed in time");
    tap_is_int(logged(&w, 'E'), 1, "that is told");
    for (i = 0; i < 4; i++) {
        tap_ok(world_sees_end(etcp_conn_fd(c[i])), "each sees the end");
        etcp_conn_unref(c[i]);
    }
    tap_is_int(logged(&w, 'D'), 0, "none of them left by itself");
    world_pump(&w);
    tap_is_int(logged(&w, 'E'), 1, "once");
    world_stop(&w);
}

static void test_finish_empty(void)
{
    world w;

    world_start(&w, NULL);
    etcp_server_finish(w.server, 30000);
    world_pump(&w);
    tap_is_str(w.log, "E0 ", "without clients, at once");
    etcp_server_finish(w.server, 30000);
    world_pump(&w);
    tap_is_str(w.log, "E0 ", "and only once");
    world_stop(&w);
}

/* Input that nobody has looked at; only who never stops to send is cut off. */
static void test_finish_busy(void)
{
    etcp_conn *c;
    world w;

    world_start(&w, NULL);
    c = world_dial(&w);
    world_pump(&w);
    world_forget(&w);
    (void)!write(etcp_conn_fd(c), "\x01", 1); /* the beginning of a packet */
    etcp_server_finish(w.server, 0);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 1, "half a message has come");
    world_pass(10);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 1, "and is waited for");
    world_pass(1000);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "but not for ever");
    etcp_conn_unref(c);
    world_pump(&w);
    tap_is_int(logged(&w, 'E'), 1, "over");
    world_stop(&w);
}

static void test_finish_half_open(void)
{
    int fd;
    world w;

    world_start(&w, NULL);
    fd = world_connect_raw(&w);
    world_pump(&w);
    etcp_server_finish(w.server, 1000);
    world_pass(1000);
    world_pump(&w);
    tap_is_int((long long)etcp_server_half_open(w.server), 1, "who negotiates may finish that");
    world_pass(1002);
    world_pump(&w);
    tap_is_str(w.log, "A1 F1 E0 ", "but not take for ever");
    (void)close(fd);
    world_stop(&w);
}

static void run(void)
{
    test_looks();
    test_looks_and_clients();
    test_handle_refused();
    test_path();
    test_path_names();
    test_over_path();
    test_adopt();
    test_finish();
    test_finish_empty();
    test_finish_busy();
    test_finish_half_open();
}

int main(void)
{
    (void)snprintf(path, sizeof path, "t/c/test-%ld.sock", (long)getpid());
    world_with_each_poller(run);
    return tap_done();
}
