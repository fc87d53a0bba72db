/* What a loop does for others than a server's clients: connections that it makes itself, and watches.
 * Both have a moment when they are due. */
#include "server_private.h"

#include "clock.h"

void etcp_server_unref_entry(etcp_entry *e)
{
    switch ((etcp_entry_kind)e->kind) {
    case ETCP_ENTRY_LISTENER: break; /* nobody counts its references */
    case ETCP_ENTRY_DIALER: etcp_dialer_unref(etcp_dialer_of(e)); break;
    case ETCP_ENTRY_WATCH: etcp_watch_unref(etcp_watch_of(e)); break;
    case ETCP_ENTRY_CONN: etcp_conn_unref(etcp_conn_of(e)); break;
    }
}

static uint64_t due_of(etcp_entry *e)
{
    const etcp_dialer *d;

    if (e->kind == ETCP_ENTRY_WATCH)
        return etcp_watch_of(e)->due_ms;
    d = etcp_dialer_of(e);
    return d->due_ms < d->wake_ms ? d->due_ms : d->wake_ms;
}

static void note_due(etcp_server *s, uint64_t due_ms)
{
    if (due_ms < s->timed_due_ms)
        s->timed_due_ms = due_ms;
}

/* ---- what happens to them -------------------------------------------------------------------- */

/* A new connection joins the loop, and has its turn: the first message may be here already. */
static void take_in(etcp_server *s, etcp_dialer *d, etcp_conn *c)
{
    c->entry.loop = s->loop;
    c->origin = &d->entry;
    c->is_dialed = 1;
    etcp_loop_await(&c->entry, ETCP_LIST_DIALED, etcp_clock_ms());
    etcp_conn_watch(c);
    etcp_server_start_turn(s, c, ETCP_READ_BUDGET);
}

/* Takes over the reference of a note. */
static void keep_news(etcp_server *s, etcp_entry *e, etcp_server_event_type type)
{
    s->news = e;
    s->news_type = type;
}

static int is_to_wake(const etcp_server *s, const etcp_dialer *d)
{
    return d->entry.loop == s->loop && d->wake_ms != UINT64_MAX && d->wake_ms <= etcp_clock_ms();
}

void etcp_server_work_dialer(etcp_server *s, etcp_dialer *d, unsigned events)
{
    etcp_conn *c = NULL;
    int rc = ETCP_AGAIN;

    if (is_to_wake(s, d)) {
        d->wake_ms = UINT64_MAX;
        etcp_loop_pend(&d->entry); /* for what else is due */
        keep_news(s, &d->entry, ETCP_SERVER_WOKEN);
        return;
    }
    if (d->entry.loop == s->loop)
        rc = events == ETCP_POLL_LOST ? etcp_dialer_lost_sight(d, s->loop->lost_errno)
                                      : etcp_dialer_go_on(d, &c);
    note_due(s, d->due_ms);
    if (rc == ETCP_AGAIN) {
        etcp_dialer_unref(d);
        return;
    }
    if (rc == 0)
        take_in(s, d, c);
    keep_news(s, &d->entry, rc == 0 ? ETCP_SERVER_DIALED : ETCP_SERVER_DIAL_FAILED);
}

int etcp_server_tell_news(etcp_server *s, etcp_server_event *event)
{
    etcp_entry *e = s->news;

    if (!e)
        return 0;
    if (e->loop != s->loop) {
        etcp_server_forget_news(s);
        return 0;
    }
    s->news = NULL;
    event->type = s->news_type;
    if (e->kind == ETCP_ENTRY_WATCH) {
        event->watch = etcp_watch_of(e);
    } else {
        event->dialer = etcp_dialer_of(e);
        event->conn = event->dialer->conn;
    }
    etcp_server_unref_entry(e); /* the loop has one */
    return 1;
}

void etcp_server_forget_news(etcp_server *s)
{
    if (s->news)
        etcp_server_unref_entry(s->news);
    s->news = NULL;
}

void etcp_server_end_dialed(etcp_server *s, etcp_conn *c)
{
    etcp_dialer *d = c->origin ? etcp_dialer_of(c->origin) : NULL;

    if (!d)
        return;
    etcp_dialer_lost(d, etcp_conn_error(c)->code);
    note_due(s, d->due_ms);
}

/* ---- when ------------------------------------------------------------------------------------ */

void etcp_server_note_due(etcp_server *s)
{
    if (s->timed_due_ms != UINT64_MAX && s->timed_due_ms <= etcp_clock_ms())
        s->timed_are_due = 1;
}

static void pend_due_in(const etcp_deadline_list *list, uint64_t now)
{
    etcp_deadline *p;

    for (p = list->head; p; p = p->next)
        if (due_of(etcp_entry_at(p)) <= now)
            etcp_loop_pend(etcp_entry_at(p));
}

void etcp_server_pend_due(etcp_server *s)
{
    uint64_t now = etcp_clock_ms();

    s->timed_are_due = 0;
    pend_due_in(&s->loop->lists[ETCP_LIST_DIALERS], now);
    pend_due_in(&s->loop->lists[ETCP_LIST_WATCHES], now);
    etcp_server_revise_due(s, now);
}

static void note_due_in(etcp_server *s, const etcp_deadline_list *list, uint64_t now_ms)
{
    etcp_deadline *p;

    for (p = list->head; p; p = p->next)
        if (due_of(etcp_entry_at(p)) > now_ms)
            note_due(s, due_of(etcp_entry_at(p)));
}

void etcp_server_revise_due(etcp_server *s, uint64_t now_ms)
{
    if (s->timed_due_ms == UINT64_MAX)
        return;
    s->timed_due_ms = UINT64_MAX;
    note_due_in(s, &s->loop->lists[ETCP_LIST_DIALERS], now_ms);
    note_due_in(s, &s->loop->lists[ETCP_LIST_WATCHES], now_ms);
}

void etcp_server_revise_timed(etcp_server *s)
{
    etcp_deadline *p;

    for (p = s->loop->lists[ETCP_LIST_DIALERS].head; p; p = p->next)
        etcp_dialer_revise(etcp_dialer_of(etcp_entry_at(p)));
    for (p = s->loop->lists[ETCP_LIST_WATCHES].head; p; p = p->next) {
        etcp_watch_revise(etcp_watch_of(etcp_entry_at(p)));
        note_due(s, etcp_watch_of(etcp_entry_at(p))->due_ms);
    }
}

/* ---- in and out ------------------------------------------------------------------------------ */

void etcp_server_dial(etcp_server *s, etcp_dialer *d)
{
    etcp_dialer_enter(d, s->loop);
}

void etcp_server_wake(etcp_server *s, etcp_dialer *d, uint64_t at_ms)
{
    if (d->entry.loop != s->loop || at_ms >= d->wake_ms)
        return;
    d->wake_ms = at_ms;
    note_due(s, at_ms);
    etcp_loop_stir(s->loop);
}

void etcp_server_stop_dialing(etcp_dialer *d)
{
    if (d->entry.loop)
        etcp_dialer_stop(d);
}

void etcp_server_undial(etcp_server *s, etcp_dialer *d)
{
    if (d->entry.loop == s->loop)
        etcp_dialer_leave(d);
}

/* ---- watches --------------------------------------------------------------------------------- */

/* It takes one of the turns of a round. */
void etcp_server_work_watch(etcp_server *s, etcp_watch *w, unsigned events)
{
    const int is_due = w->due_ms <= etcp_clock_ms();

    s->round_turns++;
    if (events == ETCP_POLL_LOST && w->entry.loop == s->loop)
        etcp_watch_lose(w);
    if (!events && !is_due) {
        etcp_watch_unref(w);
        return;
    }
    if (is_due)
        w->due_ms = UINT64_MAX;
    keep_news(s, &w->entry, ETCP_SERVER_WATCHED);
}

int etcp_server_watch(etcp_server *s, etcp_watch *w)
{
    return etcp_watch_enter(w, s->loop);
}

void etcp_server_unwatch(etcp_watch *w)
{
    etcp_watch_leave(w);
}

void etcp_server_watch_until(etcp_server *s, etcp_watch *w, uint64_t at_ms)
{
    w->due_ms = at_ms;
    note_due(s, at_ms);
    etcp_loop_stir(s->loop);
}
