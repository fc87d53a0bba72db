/* Which sockets are ready: epoll where the system has it, else poll. One set per program. */
#ifndef BENCH_READINESS_H
#define BENCH_READINESS_H

#include <errno.h>
#include <stdlib.h>

enum { READY_READ = 1, READY_WRITE = 2, READY_BATCH = 512 };

struct ready {
    int fd, events;
};

#ifdef __linux__
#include <sys/epoll.h>

static int ready_set = -1;

/* Watches fd for events instead of those before. 0 takes it out; that must happen before it is
 * closed. */
static inline void ready_watch(int fd, int before, int events)
{
    struct epoll_event e = {0};
    int what = !before ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

    if (ready_set < 0)
        ready_set = epoll_create1(0);
    e.events = (events & READY_READ ? EPOLLIN : 0u) | (events & READY_WRITE ? EPOLLOUT : 0u);
    e.data.fd = fd;
    if (before != events)
        epoll_ctl(ready_set, what, fd, &e);
}

/* Waits at most timeout_ms and fills ready[0..READY_BATCH). Returns how many there are. */
static inline int ready_wait(struct ready *ready, int timeout_ms)
{
    struct epoll_event e[READY_BATCH];
    int count = epoll_wait(ready_set, e, READY_BATCH, timeout_ms), i;

    for (i = 0; i < count; i++) {
        ready[i].fd = e[i].data.fd;
        ready[i].events = (e[i].events & ~(unsigned)EPOLLOUT ? READY_READ : 0) |
                          (e[i].events & EPOLLOUT ? READY_WRITE : 0);
    }
    return count;
}

#else
#include <poll.h>

static struct pollfd *ready_set;
static int ready_size;

static inline void ready_watch(int fd, int before, int events)
{
    (void)before;
    while (fd >= ready_size) {
        ready_set = realloc(ready_set, (size_t)(ready_size + 64) * sizeof *ready_set);
        if (!ready_set)
            abort();
        for (int i = 0; i < 64; i++)
            ready_set[ready_size++].fd = -1;
    }
    ready_set[fd].fd = events ? fd : -1;
    ready_set[fd].events =
        (short)((events & READY_READ ? POLLIN : 0) | (events & READY_WRITE ? POLLOUT : 0));
}

static inline int ready_wait(struct ready *ready, int timeout_ms)
{
    static int first;
    int left = poll(ready_set, (nfds_t)ready_size, timeout_ms), count = 0;

    /* Begins where the last batch ended, so that nobody waits for ever. */
    for (int i = 0; i < ready_size && left > 0 && count < READY_BATCH; i++) {
        struct pollfd *p = &ready_set[(first + i) % ready_size];
        if (p->fd < 0 || !p->revents)
            continue;
        ready[count].fd = p->fd;
        ready[count++].events =
            (p->revents & ~POLLOUT ? READY_READ : 0) | (p->revents & POLLOUT ? READY_WRITE : 0);
        if (--left == 0 || count == READY_BATCH)
            first = (first + i + 1) % ready_size;
    }
    return left < 0 && count == 0 ? -1 : count;
}

#endif
#endif
