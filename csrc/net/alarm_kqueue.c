#include "alarm.h"

#ifdef ETCP_HAVE_KQUEUE

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "clock.h"

enum { TIMER_IDENT = 1 };

static int change(int set, uintptr_t ident, short filter, unsigned short flags, int64_t data)
{
    struct kevent event;

    EV_SET(&event, ident, filter, flags, 0, data, NULL);
    return kevent(set, &event, 1, NULL, 0, NULL);
}

static void start_timer(int set, uint64_t ms)
{
    (void)change(set, TIMER_IDENT, EVFILT_TIMER, EV_ADD | EV_ONESHOT, (int64_t)ms);
}

static int new_set(void)
{
    int set = kqueue();

    if (set >= 0)
        (void)fcntl(set, F_SETFD, FD_CLOEXEC);
    return set;
}

/* Sets vanish in a child, and leave their numbers free. */
static void put_at(int set, int number)
{
    if (number < 0 || number == set || fcntl(number, F_GETFD) >= 0 || errno != EBADF)
        return;
    if (dup2(set, number) >= 0)
        (void)fcntl(number, F_SETFD, FD_CLOEXEC);
}

static void inherit(etcp_heir *heir)
{
    etcp_alarm *a = (etcp_alarm *)(void *)heir;
    int set = new_set();

    a->watched = -1;
    a->is_foreign = set < 0;
    if (set < 0)
        return;
    put_at(set, a->fd);
    put_at(set, a->copy);
    if (set != a->fd && set != a->copy)
        (void)close(set);
    a->at_ms = 0;
    start_timer(a->fd, 0);
}

etcp_alarm *etcp_alarm_new(void)
{
    etcp_alarm *a = etcp_zalloc(sizeof *a);

    if (!a) {
        errno = ENOMEM;
        return NULL;
    }
    a->watched = a->copy = a->timer = -1;
    a->at_ms = ETCP_ALARM_NEVER;
    a->heir.inherit = inherit;
    a->fd = new_set();
    if (a->fd >= 0) {
        etcp_process_add_heir(&a->heir);
        return a;
    }
    etcp_free(a);
    return NULL;
}

void etcp_alarm_free(etcp_alarm *a)
{
    if (!a)
        return;
    etcp_process_remove_heir(&a->heir);
    (void)close(a->fd);
    etcp_free(a);
}

int etcp_alarm_watch(etcp_alarm *a, const etcp_poller *poller)
{
    const int fd = poller && poller->ops->descriptor ? poller->ops->descriptor(poller) : -1;

    if (a->watched >= 0)
        (void)change(a->fd, (uintptr_t)a->watched, EVFILT_READ, EV_DELETE, 0);
    a->watched = -1;
    if (!poller || a->is_foreign)
        return 0;
    if (fd < 0) {
        errno = ENOTSUP;
        return -1;
    }
    if (change(a->fd, (uintptr_t)fd, EVFILT_READ, EV_ADD, 0) < 0)
        return -1;
    a->watched = fd;
    return 0;
}

void etcp_alarm_set(etcp_alarm *a, uint64_t at_ms)
{
    uint64_t now;

    if (at_ms >= a->at_ms || a->is_foreign)
        return;
    a->at_ms = at_ms;
    now = etcp_clock_ms();
    start_timer(a->fd, at_ms > now ? at_ms - now : 0);
}

/* Taking the timer's event out silences it; the poller's comes again while it is ready. */
void etcp_alarm_take(etcp_alarm *a)
{
    static const struct timespec at_once = {0, 0};
    struct kevent events[2];
    int count;

    if (a->at_ms == ETCP_ALARM_NEVER || a->is_foreign)
        return;
    count = kevent(a->fd, NULL, 0, events, 2, &at_once);
    while (count-- > 0)
        if (events[count].filter == EVFILT_TIMER)
            a->at_ms = ETCP_ALARM_NEVER;
}

int etcp_alarm_copy(etcp_alarm *a)
{
    a->copy = dup(a->fd);
    if (a->copy >= 0)
        (void)fcntl(a->copy, F_SETFD, FD_CLOEXEC);
    return a->copy;
}

#else
typedef int etcp_no_kqueue_alarm_here;
#endif
