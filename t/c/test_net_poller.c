/* Every backend of this platform behaves the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "net/poller.h"
#include "tap.h"

enum { PAIRS = 40 };

static int ends[PAIRS][2];

static unsigned events_of(const etcp_ready *ready, int count, const void *tag)
{
    unsigned events = 0;
    int i;

    for (i = 0; i < count; i++)
        if (ready[i].tag == tag)
            events |= ready[i].events;
    return events;
}

static void open_pairs(void)
{
    int i;

    for (i = 0; i < PAIRS; i++)
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) < 0)
            exit(1);
}

static void close_pairs(void)
{
    int i;

    for (i = 0; i < PAIRS; i++) {
        (void)close(ends[i][0]);
        (void)close(ends[i][1]);
    }
}

/* Watches for output besides the input that waits, then instead of it. */
static void check_both(const etcp_poller_ops *ops, etcp_poller *p, int *tag)
{
    const unsigned both = ETCP_POLL_READ | ETCP_POLL_WRITE;
    etcp_ready ready[64];
    int rc = ops->set(p, tag[0], ETCP_POLL_READ, both, tag);
    int n;

#ifdef __linux__
    if (rc < 0 && errno == EFAULT && strcmp(ops->name, "kqueue") == 0) {
        tap_skip(4, "libkqueue 2.3.1 does not watch a socket for input and output at once");
        (void)ops->set(p, tag[0], ETCP_POLL_READ, 0, tag);
        return;
    }
#endif
    tap_is_int(rc, 0, "both");
    n = ops->wait(p, 0, ready, 64);
    tap_is_int(events_of(ready, n, tag), both, "both reported");
    tap_is_int(ops->set(p, tag[0], both, ETCP_POLL_WRITE, tag), 0, "only output");
    n = ops->wait(p, 0, ready, 64);
    tap_is_int(events_of(ready, n, tag), ETCP_POLL_WRITE, "input is not reported any more");
    (void)ops->set(p, tag[0], ETCP_POLL_WRITE, 0, tag);
}

static void test_readiness(const etcp_poller_ops *ops)
{
    etcp_ready ready[64];
    etcp_poller *p = ops->create();
    int *tag = ends[0];
    int n;

    tap_ok(p != NULL && p->ops == ops, "%s: made", ops->name);
    tap_is_int(ops->wait(p, 0, ready, 64), 0, "an empty set");
    tap_is_int(ops->set(p, tag[0], 0, ETCP_POLL_READ, tag), 0, "watched for input");
    tap_is_int(ops->wait(p, 0, ready, 64), 0, "nothing there");
    (void)!write(tag[1], "xy", 2);
    n = ops->wait(p, -1, ready, 64);
    tap_is_int(events_of(ready, n, tag), ETCP_POLL_READ, "readable, and not said to be writable");
    n = ops->wait(p, 0, ready, 64);
    tap_is_int(events_of(ready, n, tag), ETCP_POLL_READ, "still readable: level-triggered");
    check_both(ops, p, tag);
    tap_is_int(ops->wait(p, 0, ready, 64), 0, "nothing is watched");
    tap_is_int(ops->set(p, tag[0], 0, ETCP_POLL_READ, tag), 0, "put in again");
    (void)shutdown(tag[1], SHUT_RDWR);
    n = ops->wait(p, 0, ready, 64);
    tap_ok(events_of(ready, n, tag) & ETCP_POLL_READ, "a hang-up is readable");
    (void)ops->set(p, tag[0], ETCP_POLL_READ, 0, tag);
    ops->destroy(p);
}

/* More are ready than are asked for: all of them get their turn. */
static void test_fairness(const etcp_poller_ops *ops)
{
    etcp_poller *p = ops->create();
    int seen[PAIRS] = {0};
    int all = 0;
    int round;
    int i;

    for (i = 0; i < PAIRS; i++) {
        (void)ops->set(p, ends[i][0], 0, ETCP_POLL_READ, ends[i]);
        (void)!write(ends[i][1], "x", 1);
    }
    for (round = 0; round < 3 * PAIRS; round++) {
        etcp_ready ready[4];
        int n = ops->wait(p, 0, ready, 4);

        tap_ok(n >= 0 && n <= 4, "%s: at most as many as there is room for", ops->name);
        for (i = 0; i < n; i++)
            seen[(int(*)[2])ready[i].tag - ends] = 1;
    }
    for (i = 0; i < PAIRS; i++)
        all += seen[i];
    tap_is_int(all, PAIRS, "%s: nobody starves", ops->name);
    /* Out of the middle, the end, the front. */
    for (i = 0; i < PAIRS; i += 2)
        (void)ops->set(p, ends[i][0], ETCP_POLL_READ, 0, ends[i]);
    {
        etcp_ready ready[64];
        int n = ops->wait(p, 0, ready, 64);
        unsigned wrong = 0;

        for (i = 0; i < PAIRS; i++)
            wrong += events_of(ready, n, ends[i]) != (i % 2 ? (unsigned)ETCP_POLL_READ : 0u);
        tap_is_int(wrong, 0, "%s: half of them were taken out", ops->name);
    }
    ops->destroy(p);
}

/* What a child does with an inherited poller does not reach its parent's. */
static void test_fork(const etcp_poller_ops *ops)
{
    etcp_ready ready[4];
    etcp_poller *p = ops->create();
    pid_t child;
    int status = -1;

    (void)ops->set(p, ends[0][0], 0, ETCP_POLL_READ, ends[0]);
    (void)!write(ends[0][1], "x", 1);
    child = fork();
    if (child == 0) {
        ops->abandon(p);
        (void)close(ends[0][0]);
        _exit(0);
    }
    (void)waitpid(child, &status, 0);
    tap_is_int(status, 0, "%s: a child abandons its copy", ops->name);
    tap_is_int(ops->wait(p, 0, ready, 4), 1, "the parent's set is as it was");
    ops->destroy(p);
}

static void test_out_of_memory(const etcp_poller_ops *ops)
{
    int is_well;
    long n;

    for (n = 1;; n++) {
        etcp_poller *p;
        int failed = 0;
        int i;

        alloc_fail_at(n);
        p = ops->create();
        if (!p)
            tap_is_int(errno, ENOMEM, "%s: told by errno", ops->name);
        for (i = 0; p && i < PAIRS; i++) {
            if (ops->set(p, ends[i][0], 0, ETCP_POLL_READ, ends[i]) < 0) {
                failed++;
                tap_is_int(ops->set(p, ends[i][0], 0, ETCP_POLL_READ, ends[i]), 0,
                           "%s: a failed set changed nothing and can be repeated", ops->name);
            }
        }
        if (p)
            ops->destroy(p);
        tap_is_int(alloc_live(), 0, "%s: no block is left", ops->name);
        is_well = p && !failed;
        if (is_well || !alloc_has_failed())
            break;
    }
    tap_ok(n > 1 && is_well, "%s: failures were tried", ops->name);
    alloc_reset();
}

static void test_choice(void)
{
    etcp_poller *p;

    tap_is_int(etcp_poller_choose("no such"), -1, "an unknown backend is refused");
    tap_is_int(etcp_poller_choose("poll"), 0, "poll is everywhere");
    p = etcp_poller_new();
    tap_is_str(p->ops->name, "poll", "and taken when chosen");
    p->ops->destroy(p);
    (void)etcp_poller_choose(NULL);
    p = etcp_poller_new();
    tap_ok(p->ops == etcp_pollers[0], "the best one otherwise");
    p->ops->destroy(p);
    (void)setenv("NET_EASYTCP_POLLER", "poll", 1);
    p = etcp_poller_new();
    tap_is_str(p->ops->name, "poll", "the environment chooses, too");
    p->ops->destroy(p);
    (void)unsetenv("NET_EASYTCP_POLLER");
}

int main(void)
{
    size_t i;

    for (i = 0; etcp_pollers[i]; i++) {
        open_pairs();
        test_readiness(etcp_pollers[i]);
        close_pairs();
        open_pairs();
        test_fairness(etcp_pollers[i]);
        test_fork(etcp_pollers[i]);
        test_out_of_memory(etcp_pollers[i]);
        close_pairs();
    }
    (void)unsetenv("NET_EASYTCP_POLLER");
    test_choice();
    return tap_done();
}
