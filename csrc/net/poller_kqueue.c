#include "poller.h"

#ifdef ETCP_HAVE_KQUEUE

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"

enum { BATCH = 256 };

typedef struct kqueue_poller {
    etcp_poller base;
    int fd;
    struct kevent events[BATCH];
} kqueue_poller;

static kqueue_poller *own(etcp_poller *p)
{
    return (kqueue_poller *)(void *)p;
}

static etcp_poller *create(void)
{
    kqueue_poller *p = etcp_malloc(sizeof *p);

    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    p->base.ops = &etcp_poller_kqueue;
    p->fd = kqueue();
    if (p->fd < 0) {
        etcp_free(p);
        return NULL;
    }
    (void)fcntl(p->fd, F_SETFD, FD_CLOEXEC);
    return &p->base;
}

static int change_filter(kqueue_poller *p, int fd, short filter, int add, void *tag)
{
    struct kevent change;

    EV_SET(&change, (uintptr_t)fd, filter, add ? EV_ADD : EV_DELETE, 0, 0, tag);
    return kevent(p->fd, &change, 1, NULL, 0, NULL);
}

/* Reading and writing are two filters: a change that fails half-way is taken back. */
static int set(etcp_poller *base, int fd, unsigned before, unsigned after, void *tag)
{
    kqueue_poller *p = own(base);
    unsigned added = after & ~before;
    unsigned dropped = before & ~after;

    if ((added & ETCP_POLL_READ) && change_filter(p, fd, EVFILT_READ, 1, tag) < 0)
        return -1;
    if ((added & ETCP_POLL_WRITE) && change_filter(p, fd, EVFILT_WRITE, 1, tag) < 0) {
        if (added & ETCP_POLL_READ)
            (void)change_filter(p, fd, EVFILT_READ, 0, tag);
        return -1;
    }
    if (dropped & ETCP_POLL_READ)
        (void)change_filter(p, fd, EVFILT_READ, 0, tag);
    if (dropped & ETCP_POLL_WRITE)
        (void)change_filter(p, fd, EVFILT_WRITE, 0, tag);
    return 0;
}

/* A descriptor with both filters ready comes as two entries, which its user need not notice. */
static int wait_ready(etcp_poller *base, int timeout_ms, etcp_ready *ready, int max)
{
    kqueue_poller *p = own(base);
    struct timespec limit;
    int count;
    int i;

    limit.tv_sec = timeout_ms / 1000;
    limit.tv_nsec = (long)(timeout_ms % 1000) * 1000000L;
    count = kevent(p->fd, NULL, 0, p->events, max < BATCH ? max : BATCH,
                   timeout_ms < 0 ? NULL : &limit);
    for (i = 0; i < count; i++) {
        ready[i].tag = (void *)p->events[i].udata;
        ready[i].events = p->events[i].filter == EVFILT_WRITE ? ETCP_POLL_WRITE : ETCP_POLL_READ;
        if (p->events[i].flags & (EV_EOF | EV_ERROR))
            ready[i].events = ETCP_POLL_READ | ETCP_POLL_WRITE;
    }
    return count;
}

static void destroy(etcp_poller *base)
{
    (void)close(own(base)->fd);
    etcp_free(base);
}

/* A child does not inherit kernel queues: the number may be another file by now. */
static void abandon(etcp_poller *base)
{
    etcp_free(base);
}

static int descriptor(const etcp_poller *base)
{
    return ((const kqueue_poller *)(const void *)base)->fd;
}

const etcp_poller_ops etcp_poller_kqueue = {
    .name = "kqueue",
    .create = create,
    .set = set,
    .wait = wait_ready,
    .destroy = destroy,
    .abandon = abandon,
    .descriptor = descriptor,
};

#else
typedef int etcp_no_kqueue_here;
#endif
