/* Processes that share connections after a fork, and handles that their owner closed. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slow_reader.h"
#include "tap.h"

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

static int run_child(world *w, int (*in_child)(world *w, etcp_conn *c), etcp_conn *c)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(in_child(w, c));
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int child_frees(world *w, etcp_conn *c)
{
    (void)c;
    etcp_server_free(w->server);
    return 0;
}

static int child_closes(world *w, etcp_conn *c)
{
    etcp_conn_close(c);
    (void)world_round(w);
    return 0;
}

static int child_serves(world *w, etcp_conn *c)
{
    world_pump(w); /* rebuilds its poller */
    etcp_conn_close(c);
    world_pump(w);
    return 0;
}

/* What was queued is the parent's to deliver; in between nothing can be sent. */
static int child_of_behind(world *w, etcp_conn *c)
{
    int rc;

    (void)w;
    if (etcp_conn_queued(c) != 0)
        return 1;
    rc = etcp_conn_send(c, 0, bytes("x"), 1, NULL, NULL);
    etcp_conn_close(c);
    return rc == ETCP_ECLOSED ? 0 : 2;
}

static int child_sends(world *w, etcp_conn *c)
{
    (void)w;
    if (etcp_conn_send(c, 0, bytes("from the child"), 14, NULL, NULL) != 0)
        return 1;
    etcp_conn_close(c);
    return 0;
}

static void test_fork(int (*in_child)(world *w, etcp_conn *c), const char *what)
{
    etcp_conn *c;
    etcp_conn *d;
    world w;

    c = slow_start(&w, NULL);
    w.on_event = world_echo;
    tap_is_int(run_child(&w, in_child, slow_server_side), 0, "a child %s", what);
    (void)world_send(c, "still there?");
    tap_is_str(world_receive(c), "still there?", "the parent serves its client");
    d = world_dial(&w);
    tap_ok(d && world_send(d, "x") == 0 && world_receive(d), "and new ones");
    etcp_conn_unref(c);
    etcp_conn_unref(d);
    world_pump(&w);
    tap_ok(strstr(w.log, "D1 F1 ") != NULL, "and hears when they go");
    world_stop(&w);
}

static void test_fork_behind(void)
{
    etcp_conn *c;
    world w;

    c = slow_start(&w, NULL);
    (void)slow_send(slow_server_side);
    tap_is_int(run_child(&w, child_of_behind, slow_server_side), 0,
               "a child leaves the queue alone");
    tap_is_int(slow_read(&w, c), SLOW_COUNT, "which the parent delivers, once");
    etcp_conn_unref(c);
    world_pump(&w);
    world_stop(&w);
}

static void test_fork_sends(void)
{
    etcp_conn *c;
    world w;

    c = slow_start(&w, NULL);
    tap_is_int(run_child(&w, child_sends, slow_server_side), 0,
               "a child answers in the parent's place");
    tap_is_str(world_receive(c), "from the child", "and is heard");
    (void)world_send(c, "unread");
    etcp_conn_close(slow_server_side);
    world_pump(&w);
    tap_is_int((long long)etcp_server_client_count(w.server), 0, "the parent closes its copy");
    etcp_conn_unref(c);
    world_stop(&w);
}

/* The parent closes its copy while the child goes on talking: no shutdown. */
static void test_parent_closes(void)
{
    int go[2];
    etcp_conn *c;
    pid_t child;
    char byte = 0;
    world w;

    if (pipe(go) < 0)
        exit(1);
    c = slow_start(&w, NULL);
    (void)world_send(c, "unread by the parent");
    child = fork();
    if (child == 0) {
        (void)!read(go[0], &byte, 1);
        _exit(child_sends(&w, slow_server_side));
    }
    etcp_conn_close(slow_server_side);
    world_pump(&w);
    (void)!write(go[1], "x", 1);
    (void)waitpid(child, NULL, 0);
    tap_is_str(world_receive(c), "from the child", "the child's connection was not shut down");
    tap_ok(strstr(w.log, "F1") != NULL, "though the parent has forgotten it");
    etcp_conn_unref(c);
    (void)close(go[0]);
    (void)close(go[1]);
    world_stop(&w);
}

/* A handle that its Perl owner closed: the number may belong to another client by now. */
static void forget_handle(void *owner)
{
    ++*(int *)owner;
}

static void test_closed_handle(void)
{
    int closed = 0;
    etcp_conn *a, *b;
    world w;

    a = slow_start(&w, NULL);
    etcp_conn_hand_over_fd(slow_server_side, forget_handle, &closed);
    (void)close(etcp_conn_fd(slow_server_side));
    w.on_event = world_echo;
    b = world_dial(&w);
    tap_ok(b && world_send(b, "x") == 0 && world_receive(b), "the next client gets its number");
    etcp_conn_close(slow_server_side);
    world_pump(&w);
    tap_is_int(closed, 1, "the owner is told");
    tap_ok(strstr(w.log, "F1") != NULL, "forgotten");
    (void)world_send(b, "y");
    tap_is_str(world_receive(b), "y", "and the other client is still served");
    etcp_conn_unref(a);
    etcp_conn_unref(b);
    world_pump(&w);
    world_stop(&w);
}

static void run(void)
{
    test_fork(child_frees, "drops the server");
    test_fork(child_closes, "closes its copy");
    test_fork(child_serves, "runs the loop itself");
    test_fork_behind();
    test_fork_sends();
    test_parent_closes();
    test_closed_handle();
}

int main(void)
{
    world_with_each_poller(run);
    return tap_done();
}
