/* Descriptors of others in a loop, and moments. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "net/clock.h"
#include "net/poller.h"
#include "net/watch.h"
#include "net_world.h"
#include "tap.h"

static etcp_server *loop;
static int told;            /* how often */
static etcp_watch *told_of; /* and of which the last time; not counted */
static int ends[2];         /* of a pipe */

static void start(world *w)
{
    etcp_server_options options = world_options();
    etcp_error error;

    world_start(w, NULL);
    options.port = NULL;
    if (etcp_server_new(&options, w->server_config, &loop, &error) < 0 || pipe(ends) < 0)
        exit(99);
    told = 0;
}

static void stop(world *w)
{
    etcp_server_free(loop);
    (void)close(ends[0]);
    (void)close(ends[1]);
    world_stop(w);
}

static int go_round(void)
{
    etcp_server_event e;
    int rc = etcp_server_poll(loop, 0);

    while (etcp_server_next(loop, &e) > 0)
        if (e.type == ETCP_SERVER_WATCHED) {
            told++;
            told_of = e.watch;
        }
    return rc;
}

static void put(void)
{
    if (write(ends[1], "x", 1) != 1)
        exit(98);
}

static void take(void)
{
    char c;

    if (read(ends[0], &c, 1) != 1)
        exit(97);
}

static etcp_watch *watch_of(int fd)
{
    etcp_watch *w = etcp_watch_new(fd);

    if (!w || etcp_server_watch(loop, w) < 0)
        exit(96);
    return w;
}

static void test_readable(void)
{
    etcp_watch *watch;
    world w;

    start(&w);
    watch = watch_of(ends[0]);
    (void)go_round();
    tap_is_int(told, 0, "nothing to read, nothing to tell");
    put();
    (void)go_round();
    tap_ok(told == 1 && told_of == watch, "told when there is");
    (void)go_round();
    tap_is_int(told, 2, "again while there is");
    take();
    (void)go_round();
    tap_is_int(told, 2, "and no more");
    put();
    tap_ok(etcp_server_poll(loop, 0) > 0, "noted");
    etcp_server_unwatch(watch);
    (void)go_round();
    tap_is_int(told, 2, "what left the loop is told of no more, though it was noted");
    etcp_watch_unref(watch);
    watch = watch_of(ends[0]);
    etcp_watch_unref(watch);
    stop(&w);
    tap_ok(1, "a loop that is freed lets go of what it watches");
}

/* The number may be closed, and be another file's, while the watch goes on. */
static void test_duplicate(void)
{
    etcp_watch *watch;
    int other[2];
    world w;

    start(&w);
    watch = watch_of(ends[0]);
    tap_ok(etcp_watch_is_of(watch, ends[0]), "knows its file");
    if (pipe(other) < 0 || dup2(other[0], ends[0]) < 0)
        exit(95);
    tap_ok(!etcp_watch_is_of(watch, ends[0]), "and another one at its number");
    if (write(other[1], "x", 1) != 1)
        exit(94);
    (void)go_round();
    tap_is_int(told, 0, "is not told of the other one");
    (void)close(other[0]);
    (void)close(other[1]);
    etcp_server_unwatch(watch);
    etcp_watch_unref(watch);
    stop(&w);
}

static void test_moment(void)
{
    etcp_watch *watch;
    world w;

    start(&w);
    watch = watch_of(-1);
    tap_is_int((long long)etcp_server_due_in(loop), -1, "without a moment nothing is due");
    etcp_server_watch_until(loop, watch, etcp_clock_ms() + 1000);
    tap_is_int((long long)etcp_server_due_in(loop), 1000, "due then");
    world_pass(999);
    (void)go_round();
    tap_is_int(told, 0, "not too early");
    world_pass(1);
    (void)go_round();
    tap_is_int(told, 1, "told in time");
    world_pass(5000);
    (void)go_round();
    tap_is_int(told, 1, "once");
    etcp_server_unwatch(watch);
    etcp_watch_unref(watch);
    stop(&w);
}

static void test_refused(void)
{
    int fd = open(".", O_RDONLY);
    etcp_watch *watch = etcp_watch_new(fd);

    tap_ok(!watch && errno == EPERM, "a directory is always ready: it cannot be watched");
    (void)close(fd);
    tap_ok(!etcp_watch_new(fd) && errno == EBADF, "nor can a closed number");
}

/* A child goes on watching, in a set of its own; what it ends goes on for the parent. */
static void test_fork(void)
{
    etcp_watch *watch;
    int status;
    pid_t pid;
    world w;

    start(&w);
    watch = watch_of(ends[0]);
    put();
    pid = fork();
    if (pid == 0) {
        (void)go_round();
        etcp_server_unwatch(watch);
        (void)go_round();
        _exit(told == 1 ? 0 : 1);
    }
    tap_ok(waitpid(pid, &status, 0) == pid && status == 0, "told in the child");
    (void)go_round();
    tap_is_int(told, 1, "and in the parent");
    etcp_server_unwatch(watch);
    etcp_watch_unref(watch);
    stop(&w);
}

/* In a child, the system may have no room for it: this is told once, for a watch nobody hears of would
 * be missed. */
static void test_lost(void)
{
    etcp_watch *watch;
    int status;
    pid_t pid;
    world w;

    start(&w);
    watch = watch_of(ends[0]);
    pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        /* Every number is closed behind the loop's back. */
        for (int fd = 3; fd < 64; fd++)
            (void)close(fd);
        (void)go_round();
        (void)go_round();
        _exit(told == 1 && etcp_watch_is_lost(told_of) ? 0 : 1);
    }
    tap_ok(waitpid(pid, &status, 0) == pid && status == 0, "the last that is told is that it is lost");
    etcp_watch_unref(watch);
    stop(&w);
}

int main(void)
{
    int i;

    for (i = 0; etcp_pollers[i]; i++) {
        (void)etcp_poller_choose(etcp_pollers[i]->name);
        test_readable();
        test_duplicate();
        test_moment();
        test_fork();
    }
    (void)etcp_poller_choose(NULL);
    test_lost();
    test_refused();
    return tap_done();
}
