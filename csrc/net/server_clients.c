/* What a server does with all its clients. */
#include "server_private.h"

#include <errno.h>

#include "clock.h"

void etcp_server_each_client(etcp_server *s, void (*each)(etcp_conn *conn, void *arg), void *arg)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = s->loop->lists[ETCP_LIST_CLIENTS].head; d; d = next) {
        next = d->next;
        each(etcp_conn_of(etcp_entry_at(d)), arg);
    }
}

void etcp_server_flush(etcp_server *s)
{
    etcp_conn_flush_gathered(s->loop);
}

enum { DRAIN_AT_ONCE = 64 };

/* Flushes every connection of l; notes up to DRAIN_AT_ONCE that are still behind. Returns how many
 * are noted in all. */
static nfds_t flush_list(etcp_deadline_list *l, struct pollfd *behind, nfds_t count)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = l->head; d; d = next) {
        etcp_conn *c = etcp_conn_of(etcp_entry_at(d));

        next = d->next;
        etcp_conn_check(c);
        (void)etcp_conn_flush(c);
        if (c->out.len == 0 || count == DRAIN_AT_ONCE)
            continue;
        behind[count].fd = c->entry.fd;
        behind[count].events = POLLOUT;
        behind[count++].revents = 0;
    }
    return count;
}

int etcp_server_drain(etcp_server *s, unsigned timeout_ms, uint64_t *waited_since)
{
    enum { LOOK_AGAIN_MS = 100 }; /* at those that were not noted */
    struct pollfd behind[DRAIN_AT_ONCE];

    etcp_server_flush(s);
    for (;;) {
        nfds_t count = flush_list(&s->loop->lists[ETCP_LIST_CLIENTS], behind, 0);
        uint64_t now = etcp_clock_ms();
        uint64_t left;

        count = flush_list(&s->loop->lists[ETCP_LIST_DELIVERING], behind, count);
        if (count == 0)
            return 0;
        if (!*waited_since)
            *waited_since = now;
        left = etcp_clock_left(*waited_since, timeout_ms, now);
        if (left == 0)
            return ETCP_ETIMEOUT;
        if (count == DRAIN_AT_ONCE && left > LOOK_AGAIN_MS)
            left = LOOK_AGAIN_MS;
        if (etcp_sys->poll(behind, count, etcp_clock_as_timeout(left)) < 0 && errno == EINTR)
            return ETCP_EINTR;
    }
}
