/* How a connection ends. Closing may take its time, in a loop or, without one, while its user
 * waits:
 *
 *     open --close--> DELIVERING --queue sent--> DISCARDING --the peer closed--> gone
 *        \________________\__________________________________________________/
 */
#include "conn_private.h"

#include <errno.h>

#include "clock.h"

enum { SETTLE_MS = 5000 };

/* ---- the end --------------------------------------------------------------------------------- */

/* The loop, if there is one, stops working for c. */
static void end_work(etcp_conn *c)
{
    etcp_loop *l = c->entry.loop;

    if (l && l->gatherer == &c->entry)
        etcp_conn_flush_gathered(l);
    if (l && l->current == &c->entry)
        l->current = NULL;
    etcp_conn_drop_view(c);
    if (!c->held)
        return;
    etcp_session_drop_input(c->session);
    etcp_conn_note_held(c, 0);
}

void etcp_conn_finish_closing(etcp_conn *c)
{
    end_work(c);
    if (c->entry.loop) {
        etcp_conn_unwatch(c);
        etcp_loop_await(&c->entry, ETCP_LIST_GONE, 0);
        c->entry.loop->closed++;
    }
    etcp_conn_release_fd(c);
}

void etcp_conn_unref(etcp_conn *c)
{
    if (!c)
        return;
    if (c->entry.references > 1) {
        c->entry.references--;
        return;
    }
    /* Closing delivers queued output; it may take and drop references itself. */
    etcp_conn_close(c);
    etcp_conn_free(c);
}

/* ---- closing by and by ------------------------------------------------------------------------
 */

/* A socket that is closed while input is unread, or that gets more input afterwards, is reset, and
 * a reset destroys what the peer's kernel has not acknowledged yet: the answer before the close. So
 * where that may happen only the sending side is shut down, and input is thrown away for a while.
 * Not when the peer has closed too, and never when another process or thread has the socket:
 * shutdown(2) would end its conversation. */
static int wants_discarding(const etcp_conn *c)
{
    if (c->end_code == ETCP_ECLOSED || c->end_code == ETCP_ESYSTEM || c->output_ended)
        return 0;
    if (!c->limits.linger_ms || !etcp_conn_is_sole_owner(c))
        return 0;
    return etcp_sys->unread(c->entry.fd) > 0 || etcp_sys->unacked(c->entry.fd) > 0;
}

static int wants_delivering(const etcp_conn *c)
{
    return c->out.len > 0 && !c->output_ended && c->limits.linger_ms;
}

/* The owner of the handle sees it closed now; delivery goes on with a duplicate. Returns 0 or -1.
 */
static int take_back_descriptor(etcp_conn *c)
{
    void (*on_close)(void *owner) = c->on_close;
    int fd;

    if (!on_close)
        return 0;
    fd = etcp_conn_has_socket(c) ? etcp_socket_dup(c->entry.fd) : -1;
    if (fd < 0)
        return -1;
    etcp_conn_unwatch(c);
    c->entry.fd = fd;
    c->on_close = NULL;
    on_close(c->on_close_owner);
    return 0;
}

static void await(etcp_conn *c, etcp_conn_state state, etcp_list list)
{
    c->state = (uint8_t)state;
    if (c->entry.loop)
        etcp_loop_await(&c->entry, list, etcp_clock_ms());
    etcp_conn_watch(c);
}

static void start_discarding(etcp_conn *c)
{
    if (etcp_sys->shutdown(c->entry.fd, SHUT_WR) < 0)
        etcp_conn_finish_closing(c);
    else
        await(c, ETCP_CONN_DISCARDING, ETCP_LIST_DISCARDING);
}

static void close_in_loop(etcp_conn *c)
{
    if (!etcp_conn_is_open(c))
        return;
    end_work(c);
    etcp_conn_say_goodbye(c);
    (void)etcp_conn_flush(c);
    c->closing_since_ms = etcp_clock_ms();
    if (wants_delivering(c) && take_back_descriptor(c) == 0)
        await(c, ETCP_CONN_DELIVERING, ETCP_LIST_DELIVERING);
    else if (wants_discarding(c) && take_back_descriptor(c) == 0)
        start_discarding(c);
    else
        etcp_conn_finish_closing(c);
}

/* The peer may be unable to read before what it sends is taken. */
static void discard_meanwhile(etcp_conn *c)
{
    if (!etcp_conn_discards(c) || etcp_conn_discard(c))
        return;
    (void)etcp_conn_end_input(c, ETCP_ECLOSED);
    etcp_conn_watch(c);
}

void etcp_conn_go_on_closing(etcp_conn *c)
{
    if (c->state == ETCP_CONN_DISCARDING) {
        if (!etcp_conn_discard(c))
            etcp_conn_finish_closing(c);
        return;
    }
    (void)etcp_conn_flush(c);
    if (c->out.len > 0)
        discard_meanwhile(c);
    else if (wants_discarding(c))
        start_discarding(c);
    else
        etcp_conn_finish_closing(c);
}

void etcp_conn_closing_expired(etcp_conn *c, uint64_t now_ms)
{
    int is_late = !etcp_clock_left(c->closing_since_ms, c->limits.linger_ms, now_ms);

    /* The peer neither closes nor sends. As long as its kernel has not got everything that may be
     * because it is slow. */
    if (c->state == ETCP_CONN_DISCARDING && !is_late && !etcp_socket_is_delivered(c->entry.fd))
        etcp_loop_await(&c->entry, ETCP_LIST_DISCARDING, now_ms);
    else
        etcp_conn_finish_closing(c);
}

/* ---- closing --------------------------------------------------------------------------------- */

/* An answer that reaches a closed socket resets the connection, which destroys what has not been
 * delivered yet: a client that did not wait for the server's last packet of the negotiation has to
 * do so now, for a while. */
static void await_answer(etcp_conn *c)
{
    uint64_t since = 0;

    if (c->tunnel && !c->output_ended && !c->end_code && etcp_claim_is_ours(&c->tunnel->claim))
        (void)etcp_conn_settle(c, SETTLE_MS, &since);
}

static void close_alone(etcp_conn *c)
{
    await_answer(c);
    etcp_conn_say_goodbye(c);
    (void)etcp_conn_flush(c);
    etcp_conn_release_fd(c);
}

void etcp_conn_close(etcp_conn *c)
{
    etcp_conn_check(c);
    if (c->state == ETCP_CONN_CLOSED)
        return;
    (void)etcp_conn_ref(c);
    if (c->entry.loop)
        close_in_loop(c);
    else
        close_alone(c);
    etcp_conn_unref(c);
}

void etcp_conn_abandon(etcp_conn *c)
{
    if (c->state == ETCP_CONN_CLOSED)
        return;
    etcp_output_drop(&c->out);
    etcp_conn_finish_closing(c);
}

int etcp_conn_drain(etcp_conn *c, size_t mark, uint64_t *waited_since)
{
    int rc = etcp_conn_await_written(c, mark, waited_since);

    if (rc == ETCP_ETIMEOUT && !c->entry.loop)
        etcp_conn_close(c);
    return rc;
}

/* ---- waiting for the end of closing ---------------------------------------------------------- */

int etcp_conn_is_delivered(etcp_conn *c)
{
    return c->state == ETCP_CONN_CLOSED ||
           (c->state == ETCP_CONN_DISCARDING && etcp_socket_is_delivered(c->entry.fd));
}

static void begin_to_linger(etcp_conn *c)
{
    await_answer(c);
    etcp_conn_say_goodbye(c);
    c->state = ETCP_CONN_DELIVERING;
    c->closing_since_ms = etcp_clock_ms();
    etcp_conn_drop_view(c);
}

/* What the peer's kernel has cannot be waited for, only asked for: again and again, after ever
 * longer times. */
static int step_ms(uint64_t passed_ms, uint64_t left_ms)
{
    uint64_t step = 1 + passed_ms / 8;

    if (step > ETCP_LOOK_AGAIN_MS)
        step = ETCP_LOOK_AGAIN_MS;
    return etcp_clock_as_timeout(step < left_ms ? step : left_ms);
}

int etcp_conn_linger_step(uint64_t since_ms, unsigned linger_ms)
{
    uint64_t now = etcp_clock_ms();
    uint64_t left = etcp_clock_left(since_ms, linger_ms, now);

    return left ? step_ms(now - since_ms, left) : 0;
}

static int linger(etcp_conn *c)
{
    int events = POLLIN;
    int timeout_ms;

    if (etcp_conn_is_open(c))
        begin_to_linger(c);
    etcp_conn_go_on_closing(c);
    if (etcp_conn_is_delivered(c))
        return 0;
    timeout_ms = etcp_conn_linger_step(c->closing_since_ms, c->limits.linger_ms);
    if (!timeout_ms)
        return 0;
    if (c->state == ETCP_CONN_DELIVERING)
        events = POLLOUT | (etcp_conn_discards(c) ? POLLIN : 0);
    (void)etcp_socket_wait(c->entry.fd, (short)events, timeout_ms);
    return ETCP_EINTR;
}

int etcp_conn_linger(etcp_conn *c)
{
    int saved = errno;
    int rc = 0;

    etcp_conn_check(c);
    if (!c->entry.loop && c->state != ETCP_CONN_CLOSED && c->limits.linger_ms &&
        (etcp_conn_is_open(c) || etcp_conn_is_sole_owner(c)))
        rc = linger(c);
    errno = saved;
    return rc;
}

/* ---- for the loop's user --------------------------------------------------------------------- */

void etcp_conn_revise_all(etcp_loop *l)
{
    int list;

    for (list = ETCP_LIST_HALF_OPEN; list <= ETCP_LIST_DISCARDING; list++) {
        etcp_deadline *next;
        etcp_deadline *d;

        for (d = l->lists[list].head; d; d = next) {
            etcp_conn *c = etcp_conn_of(etcp_entry_at(d));

            next = d->next;
            etcp_conn_check(c);
            if (!etcp_conn_is_open(c) && !etcp_conn_is_sole_owner(c) && c->output_ended)
                etcp_conn_finish_closing(c); /* the parent delivers what it had queued */
            else
                etcp_conn_watch(c);
        }
    }
}

void etcp_conn_lost(etcp_conn *c)
{
    (void)etcp_conn_set_errno(c, c->entry.loop->lost_errno, "poller");
    (void)etcp_conn_end_input(c, ETCP_ESYSTEM);
}

void etcp_conn_leave(etcp_conn *c)
{
    int stays = c->outlives && c->state == ETCP_CONN_OPEN && etcp_conn_keep_view(c) == 0;
    etcp_scratch *scratch = c->entry.loop->scratch;

    etcp_deadline_stop(&c->entry.place);
    etcp_deadline_stop(&c->entry.stall);
    if (!stays)
        etcp_conn_drop_view(c);
    if (scratch->owner == &c->entry)
        scratch->owner = NULL;
    c->entry.loop = NULL;
    c->entry.interest = 0;
    c->brakes = 0;
    if (!c->owns_traffic)
        c->traffic = NULL;
    if (!stays)
        etcp_conn_close(c);
    etcp_conn_unref(c);
}
