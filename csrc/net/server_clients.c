/* What a server does with all its clients. */
#include "server_private.h"

#include <errno.h>
#include <string.h>

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

/* ---- counting -------------------------------------------------------------------------------- */

static void count_queued(const etcp_server *s, etcp_list list, etcp_server_counts *out)
{
    etcp_deadline *d;

    for (d = s->loop->lists[list].head; d; d = d->next) {
        size_t queued = etcp_conn_queued(etcp_conn_of(etcp_entry_at(d)));

        out->queued += queued;
        if (queued > out->queued_most)
            out->queued_most = queued;
    }
}

void etcp_server_count(const etcp_server *s, etcp_server_counts *out)
{
    const etcp_deadline_list *lists = s->loop->lists;

    memset(out, 0, sizeof *out);
    out->traffic = s->traffic;
    out->accepted = s->accepted;
    memcpy(out->refused, s->refused, sizeof out->refused);
    out->clients = lists[ETCP_LIST_CLIENTS].count;
    out->negotiating = etcp_server_negotiating(s);
    out->closing = lists[ETCP_LIST_DELIVERING].count + lists[ETCP_LIST_DISCARDING].count;
    count_queued(s, ETCP_LIST_CLIENTS, out);
    count_queued(s, ETCP_LIST_DELIVERING, out);
}

/* ---- the end of all ----------------------------------------------------------------------------
 */

enum { WAITED_FOR_MAX = 64 };

static void close_all(const etcp_deadline_list *list)
{
    etcp_deadline *next;
    etcp_deadline *d;

    for (d = list->head; d; d = next) {
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
        close_all(&s->loop->lists[ETCP_LIST_CLIENTS]);
        close_all(&s->loop->lists[ETCP_LIST_DIALED]);
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

/* ---- one message to many --------------------------------------------------------------------- */

typedef struct broadcast {
    etcp_parcel *const *parcels;
    size_t parcel_count;
    size_t count; /* of those who took one */
} broadcast;

void etcp_conn_select(etcp_conn *c, int is_selected)
{
    c->selected = is_selected != 0;
}

static void select_each(etcp_conn *c, void *arg)
{
    etcp_conn_select(c, *(const int *)arg);
}

void etcp_server_select_all(etcp_server *s, int is_selected)
{
    etcp_server_each_client(s, select_each, &is_selected);
}

/* The other ways of whenfull are those of any message; to wait is to leave out. */
static int has_room(etcp_conn *c)
{
    return c->limits.when_full != ETCP_FULL_WAIT || !etcp_conn_stays_full(c);
}

static etcp_parcel *parcel_for(const broadcast *b, const etcp_conn *c)
{
    const unsigned can = etcp_session_peer_can(c->session);
    size_t i;

    for (i = 0; i < b->parcel_count; i++)
        if (b->parcels[i] && (b->parcels[i]->needs & ~can) == 0)
            return b->parcels[i];
    return NULL;
}

static void send_each(etcp_conn *c, void *arg)
{
    broadcast *b = arg;

    if (c->selected && !c->announced && has_room(c)) {
        etcp_parcel *parcel = parcel_for(b, c);

        if (parcel && etcp_conn_send_parcel(c, parcel) == 0)
            b->count++;
    }
    c->selected = 0;
}

size_t etcp_server_broadcast(etcp_server *s, etcp_parcel *const *parcels, size_t count)
{
    broadcast b = {parcels, count, 0};

    etcp_server_each_client(s, send_each, &b);
    return b.count;
}
