/* The descriptor that another loop watches: readable exactly while there is something to do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/alarm.h"
#include "net/clock.h"
#include "tap.h"

enum { PATIENCE_MS = 20000 };

static int readable(int fd, int wait_ms)
{
    struct pollfd p = {fd, POLLIN, 0};

    return poll(&p, 1, wait_ms) == 1 && (p.revents & POLLIN);
}

static uint64_t still_us;

static uint64_t still(void)
{
    return still_us;
}

static void test_time(void)
{
    etcp_alarm *a = etcp_alarm_new();
    uint64_t start = etcp_clock_ms();

    tap_ok(!readable(a->fd, 0), "a new one is silent");
    etcp_alarm_take(a);
    etcp_alarm_set(a, ETCP_ALARM_NEVER);
    tap_ok(!readable(a->fd, 0), "never is never");
    etcp_alarm_set(a, start + 30);
    tap_ok(readable(a->fd, PATIENCE_MS), "it goes off");
    tap_ok(etcp_clock_ms() >= start + 30, "and not too early");
    tap_ok(readable(a->fd, 0), "and stays so until it is taken");
    etcp_alarm_take(a);
    tap_ok(!readable(a->fd, 0), "then it is silent");
    etcp_alarm_set(a, start);
    tap_ok(readable(a->fd, PATIENCE_MS), "a moment in the past is now");
    etcp_alarm_take(a);
    etcp_alarm_set(a, 0);
    tap_ok(readable(a->fd, PATIENCE_MS), "and so is 0");
    etcp_alarm_free(a);
}

/* By a clock that stands still, so that no machine is too slow for this. */
static void test_only_earlier(void)
{
    etcp_alarm *a = etcp_alarm_new();
    uint64_t now;

    still_us = 5000000;
    etcp_clock_replace(still);
    now = etcp_clock_ms();
    etcp_alarm_set(a, now + 3600000);
    tap_ok(a->at_ms == now + 3600000, "set for later");
    etcp_alarm_set(a, now + 7200000);
    tap_ok(a->at_ms == now + 3600000, "a later moment changes nothing");
    etcp_alarm_take(a);
    tap_ok(a->at_ms == now + 3600000, "looking around before leaves it as it is");
    etcp_alarm_set(a, now + 1);
    tap_ok(readable(a->fd, PATIENCE_MS), "an earlier one counts");
    etcp_alarm_take(a);
    tap_ok(a->at_ms == now + 1, "before its moment by the clock, the timer is not asked");
    still_us += 1000;
    etcp_alarm_take(a);
    tap_ok(a->at_ms == ETCP_ALARM_NEVER, "and is forgotten when it is over");
    etcp_clock_replace(NULL);
    etcp_alarm_free(a);
}

static void test_poller(const etcp_poller_ops *ops)
{
    etcp_poller *p = ops->create();
    etcp_poller *q = ops->create();
    etcp_alarm *a = etcp_alarm_new();
    int ends[2];
    char byte;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        exit(1);
    if (!ops->descriptor) {
        errno = 0;
        tap_is_int(etcp_alarm_watch(a, p), -1, "%s: nothing to put into a set", ops->name);
        tap_is_int(errno, ENOTSUP, "%s: and errno says so", ops->name);
    } else {
        tap_is_int(etcp_alarm_watch(a, p), 0, "%s: watched", ops->name);
        tap_is_int(p->ops->set(p, ends[0], 0, ETCP_POLL_READ, p), 0, "%s: a socket", ops->name);
        tap_ok(!readable(a->fd, 0), "%s: silent", ops->name);
        (void)!write(ends[1], "x", 1);
        tap_ok(readable(a->fd, PATIENCE_MS), "%s: readable with the socket", ops->name);
        etcp_alarm_take(a);
        tap_ok(readable(a->fd, 0), "%s: still, as nobody read", ops->name);
        tap_is_int(etcp_alarm_watch(a, q), 0, "%s: another poller takes its place", ops->name);
        tap_ok(!readable(a->fd, 0), "%s: so that the first one is out", ops->name);
        tap_is_int(etcp_alarm_watch(a, p), 0, "%s: and back", ops->name);
        (void)!read(ends[0], &byte, 1);
        tap_ok(!readable(a->fd, 0), "%s: silent when it was read", ops->name);
        tap_is_int(etcp_alarm_watch(a, NULL), 0, "%s: taken out", ops->name);
    }
    etcp_alarm_free(a);
    ops->destroy(p);
    ops->destroy(q);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* What a child sees, as bits of its exit status. */
static int look_in_child(etcp_alarm *a, int copy)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        status = readable(a->fd, 0) ? 1 : 0;
        status |= readable(copy, 0) ? 2 : 0;
        etcp_alarm_take(a);
        status |= readable(a->fd, 0) || readable(copy, 0) ? 0 : 4;
        etcp_alarm_set(a, etcp_clock_ms());
        status |= readable(a->fd, PATIENCE_MS) ? 8 : 0;
        _exit(status);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : -1;
}

static void test_fork(void)
{
    etcp_alarm *a = etcp_alarm_new();
    int number = a->fd;
    int copy;
    int ends[2];

    etcp_process_watch();
    copy = etcp_alarm_copy(a);
    tap_ok(copy >= 0 && copy != number, "a second number");
    tap_is_int(look_in_child(a, copy), 15, "a child has to look, is heard by both numbers, and rests");
    tap_ok(!readable(number, 0) && !readable(copy, 0), "its parent hears nothing of that");
    tap_is_int(a->fd, number, "the number stays");
    etcp_alarm_set(a, etcp_clock_ms());
    tap_ok(readable(number, PATIENCE_MS), "and works on in the parent");
    etcp_alarm_take(a);

    (void)close(copy);
    if (pipe(ends) < 0 || dup2(ends[0], copy) < 0)
        exit(1);
    tap_is_int(look_in_child(a, copy), 13, "a foreign file at the second number stays what it is");
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(copy);
    etcp_alarm_free(a);
}

int main(void)
{
    etcp_alarm *a = etcp_alarm_new();
    int i;

    if (!a && errno == ENOTSUP) {
        tap_skip(1, "no such descriptor on this system");
        return tap_done();
    }
    etcp_alarm_free(a);
    test_time();
    test_only_earlier();
    for (i = 0; etcp_pollers[i]; i++)
        test_poller(etcp_pollers[i]);
    test_fork();
    return tap_done();
}
