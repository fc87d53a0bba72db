/* How a server ends in good order: its clients leave one after the other, and may come back to
 * another one. */
#include "server_private.h"

#include "clock.h"

enum {
    FINISH_GRACE_MS = 1000, /* beyond the time for all, for those who never stop to send */
    LOOK_AGAIN_MS = 10,     /* at clients that have input which was not handled */
    GOODBYES_MAX = 256      /* before others have their turn */
};

void etcp_server_finish(etcp_server *s, unsigned spread_ms)
{
    uint64_t now = etcp_clock_ms();
    etcp_entry *e = etcp_server_listener_entry(s);

    if (s->is_finished)
        return;
    if (e)
        etcp_loop_watch(e, 0);
    etcp_listener_shut(&s->listener);
    s->accept_left = 0;
    s->accept_resume_ms = s->look_at_ms = 0;
    s->finish_at_ms = now + spread_ms + 1; /* never 0 */
    s->goodbye_at_ms = now;
    etcp_loop_stir(s->loop);
}

/* Whether c has sent something that was not handled, part of a message included. */
static int is_busy(const etcp_server *s, const etcp_conn *c)
{
    return etcp_conn_has_view(c) || c->kept || c->entry.is_pending ||
           s->loop->current == &c->entry || !etcp_session_is_at_rest(c->session) ||
           (etcp_conn_has_socket(c) && etcp_sys->unread(c->entry.fd) > 0);
}

/* The client to be closed next; NULL: none may be closed now. */
static etcp_conn *next_to_leave(const etcp_server *s, int is_late)
{
    etcp_deadline *d;

    for (d = s->loop->lists[ETCP_LIST_CLIENTS].head; d; d = d->next) {
        etcp_conn *c = etcp_conn_of(etcp_entry_at(d));

        if (is_late || !is_busy(s, c))
            return c;
    }
    return NULL;
}

static size_t count(const etcp_server *s, etcp_list list)
{
    return s->loop->lists[list].count;
}

static int is_anybody_left(const etcp_server *s)
{
    int list;

    for (list = 0; list < ETCP_LISTS; list++)
        if (list != ETCP_LIST_DIALED && list != ETCP_LIST_DIALERS && list != ETCP_LIST_WATCHES &&
            count(s, (etcp_list)list))
            return 1;
    return s->ending || s->forgotten;
}

/* So that all have left when the time is over. */
static void plan_next(etcp_server *s, uint64_t now)
{
    size_t left = count(s, ETCP_LIST_CLIENTS) + etcp_server_negotiating(s);
    uint64_t time = s->finish_at_ms > now ? s->finish_at_ms - now : 0;

    if (!left)
        s->goodbye_at_ms = UINT64_MAX; /* whoever is being closed tells when it is gone */
    else if (count(s, ETCP_LIST_CLIENTS))
        s->goodbye_at_ms = now + time / left;
    else
        s->goodbye_at_ms = now + (time / left < LOOK_AGAIN_MS ? LOOK_AGAIN_MS : time / left);
}

static void close_half_open(etcp_server *s)
{
    int list;

    for (list = ETCP_LIST_HALF_OPEN; list <= ETCP_LIST_WITHHELD_LAST; list++)
        while (s->loop->lists[list].head)
            etcp_conn_finish_closing(etcp_conn_of(etcp_entry_at(s->loop->lists[list].head)));
}

/* Closes those whose time has come. */
static void say_goodbye(etcp_server *s)
{
    uint64_t now = etcp_clock_ms();
    int is_late = now >= s->finish_at_ms + FINISH_GRACE_MS;
    int i;

    if (is_late)
        close_half_open(s);
    for (i = 0; i < GOODBYES_MAX && now >= s->goodbye_at_ms; i++) {
        etcp_conn *c = next_to_leave(s, is_late);

        if (c)
            etcp_conn_close(c);
        plan_next(s, now);
        if (!c && s->goodbye_at_ms < now + LOOK_AGAIN_MS)
            s->goodbye_at_ms = now + LOOK_AGAIN_MS;
    }
}

int etcp_server_go_on_finishing(etcp_server *s, etcp_server_event *event)
{
    if (s->goodbye_at_ms == UINT64_MAX && count(s, ETCP_LIST_CLIENTS))
        s->goodbye_at_ms = 0;
    if (s->goodbye_at_ms != UINT64_MAX)
        say_goodbye(s);
    if (is_anybody_left(s))
        return 0;
    s->finish_at_ms = 0;
    s->is_finished = 1;
    event->type = ETCP_SERVER_FINISHED;
    event->conn = NULL;
    return 1;
}
