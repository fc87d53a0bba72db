/* The server's round: poll notes what is ready, next does one thing at a time and tells what
 * happened. */
#include "server_private.h"

#include <errno.h>

#include "base/rare.h"
#include "clock.h"

/* Clients before 0.26 hand out one message for each read, and servers before 1.00 half of them: the
 * others wait for more traffic (Protocol.pod, "Old peers"). Replies to them leave one by one. */
static const uint32_t first_coalescing_client = ETCP_VERSION(0, 26);
static const uint32_t first_coalescing_server = ETCP_VERSION(1, 0);

enum { FAST_CALLBACK_US = 100 };

/* ---- between two events ---------------------------------------------------------------------- */

/* The cheap clock, read once between two events, until somebody else has a turn. */
static inline uint64_t cheap_now_ms(etcp_server *s)
{
    if (!s->cheap_ms)
        s->cheap_ms = etcp_clock_cheap_ms();
    return s->cheap_ms;
}

/* Gathered output never waits for more than one slow callback, nor for long behind many quick
 * ones. Reading the precise clock costs as much as the rest of a message's way through the core, so
 * that only the first callback of a gathering is timed by it; the cheap clock watches over the
 * others. */
static inline void note_callback_time(etcp_server *s)
{
    if (s->given_us) {
        s->now_us = etcp_clock_us();
        s->fast = s->now_us - s->given_us < FAST_CALLBACK_US;
        s->given_us = 0;
    }
    if (s->loop->gatherer && etcp_conn_of(s->loop->gatherer)->gathering &&
        (!s->fast || cheap_now_ms(s) != s->gathering_since_ms))
        etcp_server_flush(s);
}

static ETCP_RARE void drop_ended(etcp_server *s)
{
    etcp_conn *c;

    if ((c = s->ending) != NULL) {
        s->ending = NULL;
        if (c->entry.loop == s->loop)
            etcp_conn_close(c);
        etcp_server_end_dialed(s, c);
        etcp_conn_unref(c);
    }
    if ((c = s->forgotten) != NULL) {
        s->forgotten = NULL;
        etcp_conn_forget_session(c);
        etcp_conn_unref(c);
    }
}

/* What the event before left to be done, now that its receiver is through with it. */
static void finish_event(etcp_server *s)
{
    s->now_us = 0;
    s->cheap_ms = 0;
    if (!s->unfinished)
        return;
    note_callback_time(s);
    if (s->ending || s->forgotten)
        drop_ended(s);
    s->unfinished = s->loop->gatherer != NULL;
}

static int tell(etcp_server_event *event, etcp_server_event_type type, etcp_conn *c)
{
    event->type = type;
    event->conn = c;
    return 1;
}

static int tell_forgotten(etcp_server *s, etcp_server_event *event)
{
    etcp_conn *c;

    if (!s->loop->lists[ETCP_LIST_GONE].head)
        return 0;
    c = etcp_conn_of(etcp_entry_at(s->loop->lists[ETCP_LIST_GONE].head));
    etcp_deadline_stop(&c->entry.place);
    etcp_server_discount(s, c);
    c->entry.loop = NULL;
    s->unfinished = 1;
    s->forgotten = c; /* with the reference of the list */
    etcp_server_end_dialed(s, c);
    return tell(event, ETCP_SERVER_FORGOTTEN, c);
}

/* ---- one connection's turn ------------------------------------------------------------------- */

static void gather(etcp_server *s, etcp_conn *c)
{
    if (!s->loop->gatherer)
        s->gathering_since_ms = etcp_clock_cheap_ms();
    etcp_conn_gather(c);
}

/* Whether nothing will be left to do for c once its message, the last that was read, is handed out. What
 * a callback makes of it is pending work then. */
static inline int is_turn_done(const etcp_server *s, const etcp_conn *c)
{
    return c->budget == 0 && !c->end_code && !c->drained && !c->tunnel && !s->loop->gatherer &&
           etcp_conn_is_at_rest(c);
}

static int tell_message(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    int more = etcp_conn_has_view(c) && etcp_conn_has_message(c);

    c->gathering = 0;
    if (s->turn_messages++ == 0 && (more || c->budget > 0))
        s->turn_since_ms = etcp_clock_cheap_ms();
    if (more && s->options.coalesce) {
        s->unfinished = 1;
        if (!s->loop->gatherer)
            s->given_us = s->now_us ? s->now_us : etcp_clock_us();
        if (s->fast && etcp_session_peer_version(c->session) >=
                           (c->origin ? first_coalescing_server : first_coalescing_client))
            gather(s, c);
    } else if (is_turn_done(s, c)) {
        s->loop->current = NULL;
    }
    return tell(event, ETCP_SERVER_MESSAGE, c);
}

static int tell_event(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    if (event->message.type == ETCP_EVENT_MESSAGE)
        return tell_message(s, c, event);
    return etcp_server_promote(s, c) ? tell(event, ETCP_SERVER_CONNECT, c) : 0;
}

/* No more input will come from c. */
static ETCP_RARE int end_client(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    if (c->state == ETCP_CONN_NEGOTIATING) {
        c->is_unproven =
            c->has_guessed && !c->is_withheld && !etcp_session_is_authenticated(c->session);
        /* Its rejection was written as far as it reads; nobody waits for more. */
        etcp_output_drop(&c->out);
        etcp_conn_close(c);
        return 0;
    }
    if (c->state != ETCP_CONN_OPEN || c->announced)
        return 0;
    c->announced = 1;
    s->unfinished = 1;
    s->ending = etcp_conn_ref(c);
    return tell(event, ETCP_SERVER_DISCONNECT, c);
}

static int may_read(const etcp_conn *c)
{
    return c->budget > 0 && !c->is_withheld && (c->state == ETCP_CONN_OPEN || c->out.len == 0);
}

static void read_some(etcp_conn *c)
{
    etcp_scratch *scratch = etcp_conn_scratch(c);

    switch (etcp_conn_fill(c, scratch->bytes, sizeof scratch->bytes)) {
    case ETCP_FILL_MORE: break;
    case ETCP_FILL_SOME:
    case ETCP_FILL_NONE:
    case ETCP_FILL_ENDED: c->budget = 0; break;
    }
}

/* Parses what there is and sends what the session answers. Returns as etcp_conn_parse. */
static int advance(etcp_server *s, etcp_conn *c, etcp_event *event)
{
    int rc = 0;
    int sent;

    if (!c->end_code || etcp_conn_has_view(c) || etcp_conn_has_message(c))
        rc = etcp_conn_parse(c, event);
    if (rc > 0 && event->type == ETCP_EVENT_MESSAGE)
        return rc; /* the session spoke last when it became ready */
    if (rc == 0 && c->state == ETCP_CONN_NEGOTIATING && etcp_session_wants_proof(c->session))
        rc = etcp_server_answer_guess(s, c);
    sent = etcp_conn_push_session(c);
    if (sent < 0)
        (void)etcp_conn_end_input(c, sent);
    return rc;
}

/* However much a client sends, and however long the callbacks take, others wait for a part of it
 * only. */
static int is_turn_over(etcp_server *s)
{
    return s->turn_messages >= ETCP_TURN_MESSAGES ||
           (s->turn_since_ms && cheap_now_ms(s) - s->turn_since_ms >= ETCP_TURN_MS);
}

static void end_turn(etcp_server *s)
{
    s->loop->current = NULL;
    if (s->loop->gatherer)
        etcp_server_flush(s);
}

/* What has been read and not been worked on yet is noted. */
static ETCP_RARE void break_turn(etcp_server *s, etcp_conn *c)
{
    c->budget = 0;
    if (c->end_code || !etcp_conn_is_at_rest(c))
        etcp_conn_pend(c);
    end_turn(s);
}

/* Works for c until it has an event. Returns 1 (*event), or 0: its turn is over. */
static int step(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    etcp_conn_check(c);
    if (etcp_conn_awaits_header(c) && !etcp_server_take_header(s, c))
        return 0;
    for (;;) {
        int rc;

        if (etcp_conn_take_drained(c))
            return tell(event, ETCP_SERVER_DRAINED, c);
        rc = etcp_conn_is_at_rest(c) ? 0 : advance(s, c, &event->message);
        if (rc > 0)
            return tell_event(s, c, event);
        if (c->end_code)
            return end_client(s, c, event);
        if (rc == ETCP_AGAIN) {
            break_turn(s, c); /* one step took some milliseconds */
            return 0;
        }
        if (!may_read(c))
            return 0;
        read_some(c);
    }
}

/* The turn goes on when the peer has read. */
static ETCP_RARE void brake(etcp_server *s, etcp_conn *c)
{
    c->braked = 1;
    end_turn(s);
}

/* ---- choosing whose turn it is --------------------------------------------------------------- */

static int next_pending(etcp_server *s)
{
    unsigned events;
    etcp_entry *e = etcp_loop_take_pending(s->loop, &events);
    etcp_conn *c;

    if (!e)
        return 0;
    if (e->kind == ETCP_ENTRY_DIALER) {
        etcp_server_work_dialer(s, etcp_dialer_of(e), events);
        return 1;
    }
    if (e->kind == ETCP_ENTRY_WATCH) {
        etcp_server_work_watch(s, etcp_watch_of(e), events);
        return 1;
    }
    c = etcp_conn_of(e); /* nobody pends the listener */
    if (e->loop == s->loop && events == ETCP_POLL_LOST)
        etcp_conn_lost(c);
    if (e->loop == s->loop && etcp_conn_is_open(c))
        etcp_server_start_turn(s, c, c->output_ended ? ETCP_READ_BUDGET : c->budget);
    else if (e->loop == s->loop && c->state != ETCP_CONN_CLOSED)
        etcp_conn_go_on_closing(c);
    etcp_conn_unref(c);
    return 1;
}

static void handle_ready(etcp_server *s, etcp_conn *c, unsigned events)
{
    if (c->entry.loop != s->loop || c->state == ETCP_CONN_CLOSED)
        return;
    etcp_conn_check(c);
    if (!etcp_conn_is_open(c)) {
        etcp_conn_go_on_closing(c);
        return;
    }
    if (events & ETCP_POLL_WRITE)
        (void)etcp_conn_flush(c);
    if (!(events & ETCP_POLL_READ))
        return;
    if (c->entry.is_pending || etcp_conn_is_braked(c))
        c->budget = ETCP_READ_BUDGET; /* one turn is enough */
    else
        etcp_server_start_turn(s, c, ETCP_READ_BUDGET);
}

static int next_ready(etcp_server *s)
{
    unsigned events;
    etcp_entry *e = etcp_loop_take_ready(s->loop, &events);

    if (!e)
        return 0;
    switch ((etcp_entry_kind)e->kind) {
    case ETCP_ENTRY_LISTENER: etcp_server_note_waiting(s); break;
    case ETCP_ENTRY_DIALER: etcp_server_work_dialer(s, etcp_dialer_of(e), events); break;
    case ETCP_ENTRY_WATCH: etcp_server_work_watch(s, etcp_watch_of(e), events); break;
    case ETCP_ENTRY_CONN:
        handle_ready(s, etcp_conn_of(e), events);
        etcp_conn_unref(etcp_conn_of(e));
        break;
    }
    return 1;
}

static void expire_idle(etcp_server *s, etcp_conn *c, uint64_t now_ms)
{
    etcp_loop_await(&c->entry, ETCP_LIST_CLIENTS, now_ms);
    (void)etcp_conn_set_error(c, ETCP_ETIMEOUT, "idle for too long");
    (void)etcp_conn_end_input(c, ETCP_ETIMEOUT);
    etcp_server_start_turn(s, c, 0);
}

static void expire_half_open(etcp_conn *c)
{
    (void)etcp_conn_set_error(c, ETCP_ETIMEOUT, "negotiation took too long");
    etcp_output_drop(&c->out);
    etcp_conn_finish_closing(c);
}

static int next_deadline(etcp_server *s)
{
    etcp_list list;
    etcp_entry *e;
    uint64_t now;

    if (s->timed_are_due) {
        etcp_server_pend_due(s);
        return 1;
    }
    if (!s->loop->deadlines_due)
        return 0;
    now = etcp_clock_ms();
    e = etcp_loop_stalled(s->loop, now);
    if (e) {
        (void)etcp_conn_give_up(etcp_conn_of(e));
        return 1;
    }
    e = etcp_loop_expired(s->loop, now, &list);
    if (!e)
        return 1;
    if (list >= ETCP_LIST_WITHHELD && list <= ETCP_LIST_WITHHELD_LAST) {
        etcp_server_answer_late(s, etcp_conn_of(e));
        return 1;
    }
    switch (list) {
    case ETCP_LIST_WITHHELD: /* see above */
    case ETCP_LIST_WITHHELD_LAST: break;
    case ETCP_LIST_HALF_OPEN: expire_half_open(etcp_conn_of(e)); break;
    case ETCP_LIST_CLIENTS: expire_idle(s, etcp_conn_of(e), now); break;
    case ETCP_LIST_DELIVERING:
    case ETCP_LIST_DISCARDING: etcp_conn_closing_expired(etcp_conn_of(e), now); break;
    case ETCP_LIST_DIALED:
    case ETCP_LIST_DIALERS:
    case ETCP_LIST_WATCHES:
    case ETCP_LIST_GONE:
    case ETCP_LISTS: break; /* never expire */
    }
    return 1;
}

/* Whether all there is to do is noted as ready. */
static inline int has_only_ready(const etcp_server *s)
{
    return etcp_loop_has_ready(s->loop) && !s->loop->pending && !s->loop->deadlines_due &&
           !s->timed_are_due;
}

static inline int has_work(const etcp_server *s)
{
    return etcp_loop_has_work(s->loop) || s->accept_left > 0 || s->timed_are_due;
}

static int noted_work(const etcp_server *s)
{
    return etcp_loop_noted(s->loop) + (s->accept_left > 0) + s->timed_are_due;
}

/* A round ends when nothing is left to do, or when it was long enough. */
static int is_round_over(etcp_server *s)
{
    uint64_t now;

    if (!has_work(s))
        return 1;
    if (s->round_turns == 0)
        return 0;
    now = etcp_clock_cheap_ms();
    if (!s->round_since_ms)
        s->round_since_ms = now;
    return s->round_turns >= ETCP_ROUND_TURNS || now - s->round_since_ms >= ETCP_ROUND_MS;
}

/* What was pending when the round began. */
static int next_old_pending(etcp_server *s)
{
    if (s->round_pending == 0)
        return 0;
    s->round_pending--;
    return next_pending(s);
}

/* No source of work may keep the others waiting: each round begins with another one. What became
 * pending in this round is behind them all. */
static void choose(etcp_server *s)
{
    static int (*const sources[])(etcp_server * s) = {next_old_pending, next_ready, next_deadline,
                                                      next_old_pending, next_ready};
    int (*const *first)(etcp_server * s) = sources + s->first_source;

    s->cheap_ms = 0;
    if (has_only_ready(s))
        (void)next_ready(s);
    else if (!first[0](s) && !first[1](s) && !first[2](s))
        (void)next_pending(s);
}

/* Works for whoever has the turn. */
static int take_turn(etcp_server *s, etcp_conn *c, etcp_server_event *event)
{
    if (etcp_conn_is_braked(c))
        brake(s, c);
    else if (is_turn_over(s))
        break_turn(s, c);
    else if (step(s, c, event))
        return 1;
    else
        end_turn(s);
    return 0;
}

int etcp_server_next(etcp_server *s, etcp_server_event *event)
{
    finish_event(s);
    for (;;) {
        if (tell_forgotten(s, event) || (s->news && etcp_server_tell_news(s, event)))
            return 1;
        if (s->loop->current) {
            if (take_turn(s, etcp_conn_of(s->loop->current), event))
                return 1;
        } else if (s->finish_at_ms && etcp_server_go_on_finishing(s, event)) {
            return 1;
        } else if (is_round_over(s)) {
            return 0;
        } else if (s->accept_left > 0) {
            if (etcp_server_accept(s, event))
                return 1;
        } else {
            choose(s);
        }
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Makes the loop fit the process and the connections. Returns 0 (it did), 1 (made anew, which may
 * have left work to be done), or -1 with errno. */
static inline int renew_loop(etcp_server *s)
{
    if (etcp_loop_is_current(s->loop))
        return 0;
    etcp_conn_revise_all(s->loop);
    etcp_server_revise_timed(s);
    return etcp_loop_renew(s->loop, etcp_server_listener_entry(s)) < 0 ? -1 : 1;
}

/* When something is to be done that no descriptor and no connection tells; UINT64_MAX: never. */
static uint64_t own_deadline(const etcp_server *s)
{
    uint64_t pause_end = etcp_server_pause_end(s);
    uint64_t goodbye = etcp_server_goodbye_at(s);
    uint64_t first = pause_end < goodbye ? pause_end : goodbye;

    return first < s->timed_due_ms ? first : s->timed_due_ms;
}

/* Until when poll may sleep: not at all when there is work. What is noted from before must not keep
 * poll from asking the kernel, or those who did not get a turn would have to wait. */
static uint64_t wake_at(const etcp_server *s, uint64_t until)
{
    uint64_t own = own_deadline(s);

    if (has_work(s))
        return 0;
    return own < until ? own : until;
}

/* Notes what is ready by until. Returns how many things are noted, or a negative code. */
static int note_work(etcp_server *s, uint64_t until)
{
    int noted;
    int rc;

    if (s->accept_resume_ms || s->look_at_ms)
        etcp_server_end_pauses(s);
    if (renew_loop(s) < 0)
        return ETCP_ESYSTEM;
    rc = etcp_loop_wait(s->loop, wake_at(s, until));
    etcp_server_note_due(s);
    if (rc <= 0 && (noted = noted_work(s)) > 0)
        return noted;
    if (rc == 0 && s->finish_at_ms && etcp_server_goodbye_at(s) <= etcp_clock_ms())
        return 1; /* there are clients to close, or none are left */
    return rc;
}

/* 0: what is ready now, whatever the time is. */
static uint64_t until_when(int timeout_ms)
{
    if (timeout_ms < 0)
        return UINT64_MAX;
    return timeout_ms ? etcp_clock_ms() + (uint64_t)timeout_ms : 0;
}

int etcp_server_poll(etcp_server *s, int timeout_ms)
{
    uint64_t until = until_when(timeout_ms);
    int rc;

    etcp_loop_begin(s->loop);
    finish_event(s);
    if (s->loop->gatherer)
        etcp_server_flush(s);
    s->round_turns = 0;
    s->round_since_ms = 0;
    s->round_pending = s->loop->pending_count;
    s->first_source = s->first_source == 2 ? 0 : s->first_source + 1;
    if (etcp_loop_has_ready(s->loop))
        return noted_work(s); /* the kernel was asked not long ago */
    do {
        rc = note_work(s, until);
    } while (rc == 0 && etcp_clock_ms() < until);
    return rc;
}

/* ---- being watched by another loop ----------------------------------------------------------- */

/* When to be called again, whatever the kernel reports; UINT64_MAX: never. An event whose receiver
 * threw an exception leaves things to finish. */
static uint64_t due_at(const etcp_server *s)
{
    if (has_work(s) || s->loop->gatherer || s->ending || s->forgotten)
        return 0;
    return own_deadline(s);
}

void etcp_server_rest(etcp_server *s, int is_owing)
{
    etcp_loop_arm(s->loop, is_owing ? 0 : due_at(s));
}

int etcp_server_descriptor(etcp_server *s)
{
    int fd;

    if (s->loop->alarm)
        return s->loop->alarm->fd;
    if (renew_loop(s) < 0)
        return -1;
    fd = etcp_loop_descriptor(s->loop);
    if (!s->loop->is_served)
        etcp_server_rest(s, 0);
    return fd;
}

int etcp_server_copy_descriptor(etcp_server *s)
{
    return etcp_server_descriptor(s) < 0 ? -1 : etcp_alarm_copy(s->loop->alarm);
}

int64_t etcp_server_due_in(etcp_server *s)
{
    uint64_t deadline = etcp_loop_deadline(s->loop);
    uint64_t at;
    uint64_t now;

    etcp_server_revise_due(s, 0);
    at = due_at(s);

    if (!etcp_loop_is_current(s->loop))
        return 0;
    if (deadline < at)
        at = deadline;
    if (at == UINT64_MAX)
        return -1;
    now = etcp_clock_ms();
    return at > now ? (int64_t)(at - now) : 0;
}
