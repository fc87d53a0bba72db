#include "alarm.h"

#ifdef ETCP_HAVE_EPOLL

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "clock.h"

static int change(int set, int what, int fd)
{
    struct epoll_event event;

    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    event.data.fd = fd;
    return epoll_ctl(set, what, fd, &event);
}

/* From now on the timer is readable in us microseconds, 0: at once. */
static void start_timer(int timer, uint64_t us)
{
    struct itimerspec spec;

    memset(&spec, 0, sizeof spec);
    spec.it_value.tv_sec = (time_t)(us / 1000000u);
    spec.it_value.tv_nsec = us ? (long)(us % 1000000u) * 1000 : 1;
    (void)timerfd_settime(timer, 0, &spec, NULL);
}

/* Whether number still is a set of ours: nobody else has our timer in one. */
static int is_own_set(const etcp_alarm *a, int number)
{
    return number >= 0 && change(number, EPOLL_CTL_MOD, a->timer) == 0;
}

/* The set and the timer of a new child take the places of its parent's. */
static void replace(etcp_alarm *a, int set, int timer)
{
    start_timer(timer, 0);
    if (is_own_set(a, a->copy))
        (void)dup3(set, a->copy, O_CLOEXEC);
    if (is_own_set(a, a->fd))
        (void)dup3(set, a->fd, O_CLOEXEC);
    (void)dup3(timer, a->timer, O_CLOEXEC);
    a->at_ms = 0;
}

static void inherit(etcp_heir *heir)
{
    etcp_alarm *a = (etcp_alarm *)(void *)heir;
    int set = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    a->watched = -1;
    a->is_foreign = 1;
    if (set >= 0 && timer >= 0) {
        replace(a, set, timer);
        /* Only now, as it is this number that the set is to know. */
        a->is_foreign = change(a->fd, EPOLL_CTL_ADD, a->timer) < 0;
    }
    if (set >= 0)
        (void)close(set);
    if (timer >= 0)
        (void)close(timer);
}

etcp_alarm *etcp_alarm_new(void)
{
    etcp_alarm *a = etcp_zalloc(sizeof *a);

    if (!a) {
        errno = ENOMEM;
        return NULL;
    }
    a->watched = a->copy = -1;
    a->at_ms = ETCP_ALARM_NEVER;
    a->fd = epoll_create1(EPOLL_CLOEXEC);
    a->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    a->heir.inherit = inherit;
    if (a->fd >= 0 && a->timer >= 0 && change(a->fd, EPOLL_CTL_ADD, a->timer) == 0) {
        etcp_process_add_heir(&a->heir);
        return a;
    }
    etcp_alarm_free(a);
    return NULL;
}

void etcp_alarm_free(etcp_alarm *a)
{
    const int error = errno;

    if (!a)
        return;
    etcp_process_remove_heir(&a->heir);
    if (a->fd >= 0)
        (void)close(a->fd);
    if (a->timer >= 0)
        (void)close(a->timer);
    etcp_free(a);
    errno = error;
}

/* A descriptor that is closed leaves a set by itself only with its last copy, and a child of ours may
 * hold one: so it is taken out. */
int etcp_alarm_watch(etcp_alarm *a, const etcp_poller *poller)
{
    const int fd = poller && poller->ops->descriptor ? poller->ops->descriptor(poller) : -1;

    if (a->watched >= 0)
        (void)change(a->fd, EPOLL_CTL_DEL, a->watched);
    a->watched = -1;
    if (!poller || a->is_foreign)
        return 0;
    if (fd < 0) {
        errno = ENOTSUP;
        return -1;
    }
    if (change(a->fd, EPOLL_CTL_ADD, fd) < 0)
        return -1;
    a->watched = fd;
    return 0;
}

void etcp_alarm_set(etcp_alarm *a, uint64_t at_ms)
{
    uint64_t now_us;

    if (at_ms >= a->at_ms || a->is_foreign)
        return;
    a->at_ms = at_ms;
    now_us = etcp_clock_us();
    start_timer(a->timer, at_ms > now_us / 1000u ? at_ms * 1000u - now_us : 0);
}

/* By this clock, which is the timer's own, it never goes off before its moment: until then a call is
 * saved. Afterwards only the timer itself knows whether it has. */
void etcp_alarm_take(etcp_alarm *a)
{
    uint64_t times;

    if (a->at_ms == ETCP_ALARM_NEVER || a->is_foreign || a->at_ms > etcp_clock_ms())
        return;
    if (read(a->timer, &times, sizeof times) > 0)
        a->at_ms = ETCP_ALARM_NEVER;
}

int etcp_alarm_copy(etcp_alarm *a)
{
    a->copy = fcntl(a->fd, F_DUPFD_CLOEXEC, 3);
    return a->copy;
}

#else
typedef int etcp_no_epoll_alarm_here;
#endif
