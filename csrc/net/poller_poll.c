/* The backend that every system has. A wake-up costs time in proportion to all watched descriptors.
 */
#include "poller.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>

#include "base/mem.h"
#include "socket.h"

typedef struct poll_poller {
    etcp_poller base;
    struct pollfd *fds; /* dense: [0..count) */
    void **tags;        /* of the same entries */
    size_t count;
    size_t cap;
    size_t *place; /* by descriptor: its entry plus one, 0: none */
    size_t places;
    size_t first; /* where the next search for ready ones begins: nobody starves behind max */
} poll_poller;

static poll_poller *own(etcp_poller *p)
{
    return (poll_poller *)(void *)p;
}

static etcp_poller *create(void)
{
    poll_poller *p = etcp_zalloc(sizeof *p);

    if (!p) {
        errno = ENOMEM;
        return NULL;
    }
    p->base.ops = &etcp_poller_poll;
    return &p->base;
}

static int grow_entries(poll_poller *p)
{
    size_t cap = p->cap ? 2 * p->cap : 16;
    struct pollfd *fds = etcp_realloc(p->fds, cap * sizeof *fds);
    void **tags;

    if (!fds)
        return -1;
    p->fds = fds;
    tags = etcp_realloc(p->tags, cap * sizeof *tags);
    if (!tags)
        return -1;
    p->tags = tags;
    p->cap = cap;
    return 0;
}

static int grow_places(poll_poller *p, size_t fd)
{
    size_t places = p->places ? p->places : 32;
    size_t *place;

    while (places <= fd)
        places *= 2;
    place = etcp_realloc(p->place, places * sizeof *place);
    if (!place)
        return -1;
    while (p->places < places)
        place[p->places++] = 0;
    p->place = place;
    return 0;
}

static int add(poll_poller *p, size_t fd)
{
    if ((fd >= p->places && grow_places(p, fd) < 0) ||
        (p->count == p->cap && grow_entries(p) < 0)) {
        errno = ENOMEM;
        return -1;
    }
    p->place[fd] = ++p->count;
    return 0;
}

static void drop(poll_poller *p, size_t fd)
{
    size_t i = p->place[fd] - 1;

    p->place[fd] = 0;
    p->count--;
    if (i == p->count)
        return;
    p->fds[i] = p->fds[p->count];
    p->tags[i] = p->tags[p->count];
    p->place[p->fds[i].fd] = i + 1;
}

static int set(etcp_poller *base, int fd, unsigned before, unsigned after, void *tag)
{
    poll_poller *p = own(base);
    size_t index = (size_t)fd;
    int known = index < p->places && p->place[index];
    struct pollfd *entry;

    (void)before;
    if (!after) {
        if (known)
            drop(p, index);
        return 0;
    }
    if (!known && add(p, index) < 0)
        return -1;
    entry = &p->fds[p->place[index] - 1];
    entry->fd = fd;
    entry->events = 0;
    if (after & ETCP_POLL_READ)
        entry->events |= POLLIN;
    if (after & ETCP_POLL_WRITE)
        entry->events |= POLLOUT;
    entry->revents = 0;
    p->tags[p->place[index] - 1] = tag;
    return 0;
}

static unsigned translate(int events)
{
    unsigned result = 0;

    if (events & (POLLIN | POLLHUP | POLLERR | POLLNVAL))
        result |= ETCP_POLL_READ;
    if (events & (POLLOUT | POLLHUP | POLLERR | POLLNVAL))
        result |= ETCP_POLL_WRITE;
    return result;
}

static int wait_ready(etcp_poller *base, int timeout_ms, etcp_ready *ready, int max)
{
    poll_poller *p = own(base);
    int left = etcp_sys->poll(p->fds, (nfds_t)p->count, timeout_ms);
    int filled = 0;
    size_t looked;
    size_t i;

    if (left < 0)
        return -1;
    i = p->first < p->count ? p->first : 0;
    for (looked = 0; left > 0 && filled < max && looked < p->count; looked++) {
        if (p->fds[i].revents) {
            ready[filled].tag = p->tags[i];
            ready[filled++].events = translate(p->fds[i].revents);
            left--;
        }
        i = i + 1 < p->count ? i + 1 : 0;
    }
    p->first = i;
    return filled;
}

static void destroy(etcp_poller *base)
{
    poll_poller *p = own(base);

    etcp_free(p->fds);
    etcp_free(p->tags);
    etcp_free(p->place);
    etcp_free(p);
}

const etcp_poller_ops etcp_poller_poll = {
    .name = "poll",
    .create = create,
    .set = set,
    .wait = wait_ready,
    .destroy = destroy,
    .abandon = destroy,
    .descriptor = NULL,
};
