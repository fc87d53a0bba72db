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

/* ---- the end of all ----------------------------------------------------------------------------
 */

enum { WAITED_FOR_MAX = 64 };

static void close_clients(etcp_server *s)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = s->loop->lists[ETCP_LIST_CLIENTS].head; d; d = next) {
        etcp_conn *c = etcp_conn_of(etcp_entry_at(d));

        next = d->next;
        if (!c->outlives)
            etcp_conn_close(c);
    }
}

/* What of c's output can be waited for: POLLOUT, POLLIN, or 0: nothing. */
static short go_on_with(etcp_conn *c)
{
    etcp_conn_check(c);
    if (etcp_conn_is_open(c)) {
        (void)etcp_conn_flush(c);
        return c->out.len ? POLLOUT : 0;
    }
    etcp_conn_go_on_closing(c);
    if (c->state == ETCP_CONN_CLOSED)
        return 0;
    if (c->state == ETCP_CONN_DELIVERING)
        return POLLOUT;
    if (!etcp_conn_is_delivered(c) && etcp_conn_is_sole_owner(c))
        return POLLIN;
    etcp_conn_finish_closing(c);
    return 0;
}

/* Goes on with all in list, and notes for poll(2) what is left to be waited for: WAITED_FOR_MAX of
 * all lists are enough. Returns how many are noted in all. */
static nfds_t go_on(etcp_deadline_list *list, struct pollfd *behind, nfds_t count)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = list->head; d; d = next) {
        etcp_conn *c = etcp_conn_of(etcp_entry_at(d));
        short events;

        next = d->next;
        events = go_on_with(c);
        if (!events || count == WAITED_FOR_MAX)
            continue;
        behind[count].fd = c->entry.fd;
        behind[count].events = events;
        behind[count++].revents = 0;
    }
    return count;
}

int etcp_server_linger(etcp_server *s, uint64_t *waited_since)
{
    struct pollfd behind[WAITED_FOR_MAX];
    int saved = errno;
    nfds_t count;
    int timeout_ms;

    if (!*waited_since) {
        *waited_since = etcp_clock_ms();
        etcp_server_flush(s);
        close_clients(s);
    }
    count = go_on(&s->loop->lists[ETCP_LIST_CLIENTS], behind, 0);
    count = go_on(&s->loop->lists[ETCP_LIST_DELIVERING], behind, count);
    count = go_on(&s->loop->lists[ETCP_LIST_DISCARDING], behind, count);
    timeout_ms = count ? etcp_conn_linger_step(*waited_since, s->options.limits.linger_ms) : 0;
    if (timeout_ms)
        (void)etcp_sys->poll(behind, count, timeout_ms);
    errno = saved;
    return timeout_ms ? ETCP_EINTR : 0;
}
