#include "loop.h"

#include <errno.h>

#include "base/error.h"
#include "base/mem.h"
#include "clock.h"
#include "wire/adapt.h"

enum { PRICE_US = 50000, UNASKED_US = 1000000 };

etcp_loop *etcp_loop_new(void)
{
    etcp_loop *l = etcp_zalloc(sizeof *l);
    int list;

    if (!l)
        return NULL;
    l->scratch = etcp_malloc(sizeof *l->scratch);
    if (!l->scratch) {
        etcp_free(l);
        return NULL;
    }
    l->scratch->owner = NULL;
    for (list = 0; list < ETCP_LISTS; list++)
        etcp_deadline_list_init(&l->lists[list], 0, &l->expiring);
    etcp_deadline_list_init(&l->stalled, 0, &l->expiring);
    etcp_process_watch();
    return l;
}

void etcp_loop_free(etcp_loop *l)
{
    if (!l)
        return;
    etcp_loop_stop(l);
    etcp_alarm_free(l->alarm);
    etcp_free(l->scratch);
    etcp_free(l);
}

void etcp_loop_set_timeout(etcp_loop *l, etcp_list list, uint64_t timeout_ms)
{
    etcp_deadline_list_set_timeout(&l->lists[list], timeout_ms);
}

/* ---- watching -------------------------------------------------------------------------------- */

void etcp_loop_mistrust(etcp_loop *l)
{
    l->is_stale = 1;
    etcp_loop_stir(l);
}

int etcp_loop_try_watch(etcp_entry *e, unsigned wanted)
{
    etcp_loop *l = e->loop;

    e->wanted = (uint8_t)wanted;
    if (wanted == e->interest || !etcp_loop_is_current(l))
        return 0;
    if (l->poller->ops->set(l->poller, e->fd, e->interest, wanted, e) < 0)
        return -1;
    e->interest = (uint8_t)wanted;
    return 0;
}

void etcp_loop_watch(etcp_entry *e, unsigned wanted)
{
    if (e->loop && etcp_loop_try_watch(e, wanted) < 0)
        etcp_loop_mistrust(e->loop);
}

void etcp_loop_stop(etcp_loop *l)
{
    if (l->alarm)
        (void)etcp_alarm_watch(l->alarm, NULL);
    if (l->poller && l->generation != etcp_process_generation())
        l->poller->ops->abandon(l->poller);
    else if (l->poller)
        l->poller->ops->destroy(l->poller);
    l->poller = NULL;
}

/* One that cannot be watched ends, and the others go on. */
static void watch_anew(etcp_loop *l, etcp_entry *e)
{
    e->interest = 0;
    etcp_loop_watch(e, e->wanted);
    if (!l->is_stale)
        return;
    l->is_stale = 0;
    l->lost_errno = errno;
    e->is_lost = 1;
    etcp_loop_pend(e);
}

int etcp_loop_renew(etcp_loop *l, etcp_entry *first)
{
    etcp_deadline *d;
    int list;

    etcp_loop_stop(l);
    l->poller = etcp_poller_new();
    if (!l->poller)
        return -1;
    l->generation = etcp_process_generation();
    l->is_stale = 0;
    if (first) {
        first->interest = 0;
        etcp_loop_watch(first, first->wanted);
    }
    if (l->is_stale || (l->alarm && etcp_alarm_watch(l->alarm, l->poller) < 0))
        return -1;
    for (list = 0; list < ETCP_LISTS; list++)
        for (d = l->lists[list].head; d; d = d->next)
            watch_anew(l, etcp_entry_at(d));
    return 0;
}

/* ---- notes ----------------------------------------------------------------------------------- */

void etcp_loop_pend(etcp_entry *e)
{
    etcp_loop *l = e->loop;

    if (!l || e->is_pending)
        return;
    etcp_loop_stir(l);
    e->is_pending = 1;
    e->next_pending = NULL;
    e->references++;
    if (l->last_pending)
        l->last_pending->next_pending = e;
    else
        l->pending = e;
    l->last_pending = e;
    l->pending_count++;
}

etcp_entry *etcp_loop_expired(etcp_loop *l, uint64_t now_ms, etcp_list *list)
{
    int i;

    for (i = 0; i < ETCP_LIST_GONE; i++) {
        etcp_deadline *d = etcp_deadline_list_expired(&l->lists[i], now_ms);

        if (d) {
            *list = (etcp_list)i;
            return etcp_entry_at(d);
        }
    }
    l->deadlines_due = 0;
    return NULL;
}

etcp_entry *etcp_loop_stalled(etcp_loop *l, uint64_t now_ms)
{
    etcp_deadline *d = etcp_deadline_list_expired(&l->stalled, now_ms);

    if (!d)
        return NULL;
    return (etcp_entry *)(void *)((char *)d - offsetof(etcp_entry, stall));
}

/* ---- waiting --------------------------------------------------------------------------------- */

uint64_t etcp_loop_first_deadline(const etcp_loop *l)
{
    uint64_t first = etcp_deadline_list_next(&l->stalled);
    int list;

    for (list = 0; list < ETCP_LIST_GONE; list++) { /* those in the last have nothing to wait for */
        uint64_t at = etcp_deadline_list_next(&l->lists[list]);

        if (at < first)
            first = at;
    }
    return first;
}

/* A loop that waits for nothing but peers never asks what time it is. */
static int is_past(uint64_t at)
{
    return at != UINT64_MAX && at <= etcp_clock_ms();
}

static int timeout_until(uint64_t at)
{
    uint64_t now;

    if (at == UINT64_MAX)
        return -1;
    if (at == 0) /* the clock need not be asked */
        return 0;
    now = etcp_clock_ms();
    return at > now ? etcp_clock_as_timeout(at - now) : 0;
}

unsigned etcp_loop_price(etcp_loop *l, uint64_t now_us, uint64_t packed_us)
{
    const uint64_t passed = now_us - l->load_since_us;

    l->packed_us += packed_us;
    if (!l->load_since_us) {
        l->price = ETCP_ADAPT_PRICE_MIN;
    } else if (passed < PRICE_US) {
        return l->price;
    } else {
        l->price = etcp_adapt_next_price(
            l->price, passed > l->waited_us ? passed - l->waited_us : 0, l->packed_us, passed);
    }
    l->load_since_us = now_us;
    l->waited_us = 0;
    l->packed_us = 0;
    return l->price;
}

/* Notes how long the loop has waited since since_us. */
static void note_wait(etcp_loop *l, uint64_t since_us)
{
    const uint64_t now_us = etcp_clock_us();

    l->waited_us += now_us - since_us;
    if (now_us - l->load_since_us > UNASKED_US)
        l->load_since_us = 0;
}

int etcp_loop_wait(etcp_loop *l, uint64_t until_ms)
{
    uint64_t deadline = etcp_loop_deadline(l);
    int timeout_ms = timeout_until(until_ms < deadline ? until_ms : deadline);
    int is_slice = timeout_ms < 0 || timeout_ms > ETCP_SLICE_MS;
    uint64_t since_us = l->load_since_us ? etcp_clock_us() : 0;
    int count = l->poller->ops->wait(l->poller, is_slice ? ETCP_SLICE_MS : timeout_ms, l->ready,
                                     ETCP_READY_MAX);
    int i;

    if (since_us)
        note_wait(l, since_us);

    if (count == 0 && is_slice)
        return ETCP_EINTR;
    if (count < 0)
        return errno == EINTR ? ETCP_EINTR : ETCP_ESYSTEM;
    l->ready_next = 0;
    l->ready_count = count;
    for (i = 0; i < count; i++)
        ((etcp_entry *)l->ready[i].tag)->references++;
    l->deadlines_due = is_past(deadline);
    return count + l->deadlines_due;
}

/* ---- being watched --------------------------------------------------------------------------- */

int etcp_loop_descriptor(etcp_loop *l)
{
    if (l->alarm)
        return l->alarm->fd;
    l->alarm = etcp_alarm_new();
    if (!l->alarm)
        return -1;
    if (etcp_alarm_watch(l->alarm, l->poller) == 0)
        return l->alarm->fd;
    etcp_alarm_free(l->alarm);
    l->alarm = NULL;
    return -1;
}

void etcp_loop_arm(etcp_loop *l, uint64_t due_ms)
{
    uint64_t deadline;

    l->is_served = 0;
    if (!l->alarm)
        return;
    deadline = etcp_loop_deadline(l);
    etcp_alarm_set(l->alarm, due_ms < deadline ? due_ms : deadline);
}
