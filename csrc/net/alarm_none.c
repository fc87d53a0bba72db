#include "alarm.h"

#if !defined(ETCP_HAVE_EPOLL) && !defined(ETCP_HAVE_KQUEUE)

#include <errno.h>

/* A system whose descriptors cannot be put into a set that is one itself: nothing is ever made, so
 * that the other functions have nothing to do. */
etcp_alarm *etcp_alarm_new(void)
{
    errno = ENOTSUP;
    return NULL;
}

void etcp_alarm_free(etcp_alarm *a)
{
    (void)a;
}

int etcp_alarm_watch(etcp_alarm *a, const etcp_poller *poller)
{
    (void)a;
    (void)poller;
    errno = ENOTSUP;
    return -1;
}

void etcp_alarm_set(etcp_alarm *a, uint64_t at_ms)
{
    (void)a;
    (void)at_ms;
}

void etcp_alarm_take(etcp_alarm *a)
{
    (void)a;
}

int etcp_alarm_copy(etcp_alarm *a)
{
    (void)a;
    errno = ENOTSUP;
    return -1;
}

#else
typedef int etcp_alarm_is_elsewhere;
#endif
