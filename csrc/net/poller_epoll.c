#include "poller.h"

#ifdef ETCP_HAVE_EPOLL

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"

enum { BATCH = 256 };

typedef struct epoll_poller {
    etcp_poller base;
    int fd;
    struct epoll_event events[BATCH];
} epoll_poller;

static epoll_poller *own(etcp_poller *p)
{
    return (epoll_poller *)(void *)p;
}

static etcp_poller *create(void)
{
    epoll_poller *p = etcp_malloc(sizeof *p);

    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    p->base.ops = &etcp_poller_epoll;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0) {
        etcp_free(p);
        return NULL;
    }
    return &p->base;
}

static int set(etcp_poller *base, int fd, unsigned before, unsigned after, void *tag)
{
    struct epoll_event event;
    int what = EPOLL_CTL_MOD;

    if (before == after)
        return 0;
    memset(&event, 0, sizeof event);
    event.events = ((after & ETCP_POLL_READ) ? (unsigned)EPOLLIN : 0u) |
                   ((after & ETCP_POLL_WRITE) ? (unsigned)EPOLLOUT : 0u);
    event.data.ptr = tag;
    if (!before)
        what = EPOLL_CTL_ADD;
    else if (!after)
        what = EPOLL_CTL_DEL;
    if (epoll_ctl(own(base)->fd, what, fd, &event) < 0 && after)
        return -1;
    return 0;
}

static unsigned translate(unsigned events)
{
    unsigned result = 0;

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        result |= ETCP_POLL_READ;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        result |= ETCP_POLL_WRITE;
    return result;
}

static int wait_ready(etcp_poller *base, int timeout_ms, etcp_ready *ready, int max)
{
    epoll_poller *p = own(base);
    int count = epoll_wait(p->fd, p->events, max < BATCH ? max : BATCH, timeout_ms);
    int i;

    for (i = 0; i < count; i++) {
        ready[i].tag = p->events[i].data.ptr;
        ready[i].events = translate(p->events[i].events);
    }
    return count;
}

/* Closing our copy of the descriptor leaves the set of a parent as it is; only epoll_ctl would not.
 */
static void destroy(etcp_poller *base)
{
    (void)close(own(base)->fd);
    etcp_free(base);
}

static int descriptor(const etcp_poller *base)
{
    return ((const epoll_poller *)(const void *)base)->fd;
}

const etcp_poller_ops etcp_poller_epoll = {
    .name = "epoll",
    .create = create,
    .set = set,
    .wait = wait_ready,
    .destroy = destroy,
    .abandon = destroy,
    .descriptor = descriptor,
};

#else
typedef int etcp_no_epoll_here;
#endif
