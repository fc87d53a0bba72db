#include "dialer_private.h"

#include "base/mem.h"
#include "base/random.h"
#include "clock.h"
#include "conn_private.h"

etcp_dialer *etcp_dialer_new(etcp_dial *dial, unsigned retry_min_ms, unsigned retry_max_ms)
{
    etcp_dialer *d = etcp_zalloc(sizeof *d);

    if (!d)
        return NULL;
    etcp_process_watch();
    d->entry.kind = ETCP_ENTRY_DIALER;
    d->entry.fd = -1;
    d->entry.references = 1;
    d->dial = dial;
    etcp_dial_wait_for_answer(dial);
    d->retry_min_ms = retry_min_ms;
    d->retry_max_ms = retry_max_ms;
    d->since_ms = etcp_clock_ms();
    d->due_ms = d->wake_ms = UINT64_MAX;
    d->generation = etcp_process_generation();
    return d;
}

void etcp_dialer_unref(etcp_dialer *d)
{
    if (!d || --d->entry.references > 0)
        return;
    etcp_dial_free(d->dial);
    etcp_free(d);
}

/* ---- in and out ------------------------------------------------------------------------------ */

/* The descriptor is about to be closed, or to belong to somebody else. */
static void look_away(etcp_dialer *d)
{
    etcp_loop_watch(&d->entry, 0);
    d->entry.fd = -1;
    d->entry.interest = 0;
}

static void drop_conn(etcp_dialer *d)
{
    etcp_conn_abandon(d->conn);
    etcp_conn_unref(d->conn);
    d->conn = NULL;
}

void etcp_dialer_enter(etcp_dialer *d, etcp_loop *l)
{
    d->entry.loop = l;
    d->entry.references++;
    etcp_loop_await(&d->entry, ETCP_LIST_DIALERS, 0);
    etcp_loop_pend(&d->entry);
}

void etcp_dialer_stop(etcp_dialer *d)
{
    look_away(d);
    if (d->state == ETCP_DIALER_GAP)
        drop_conn(d);
    if (d->conn)
        d->conn->origin = NULL;
    d->conn = NULL;
    etcp_dial_close(d->dial);
    d->state = ETCP_DIALER_OVER;
    d->due_ms = UINT64_MAX;
}

void etcp_dialer_leave(etcp_dialer *d)
{
    if (!d->entry.loop)
        return;
    etcp_dialer_stop(d);
    etcp_deadline_stop(&d->entry.place);
    d->entry.loop = NULL;
    etcp_dialer_unref(d);
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* Between a half and one and a half of ms: those who lost the same server do not all come back in
 * the same moment. */
static uint64_t spread(uint64_t ms)
{
    uint8_t random[2] = {128, 0};

    (void)etcp_random_bytes(NULL, random, sizeof random);
    return ms / 2 + ms * ((unsigned)random[0] << 8 | random[1]) / 65536;
}

static uint64_t pause_ms(const etcp_dialer *d)
{
    uint64_t pause = d->retry_min_ms;
    unsigned n;

    for (n = 0; n < d->failures && pause < d->retry_max_ms; n++)
        pause *= 2;
    return spread(pause < d->retry_max_ms ? pause : d->retry_max_ms);
}

static void wait_or_end(etcp_dialer *d, int may_retry)
{
    d->due_ms = UINT64_MAX;
    d->state = ETCP_DIALER_OVER;
    if (!d->retry_max_ms || !may_retry)
        return;
    d->state = ETCP_DIALER_WAITING;
    d->due_ms = etcp_clock_ms() + pause_ms(d);
    d->failures++;
}

/* What the network does may be over the next time; what the server wants, or we, will not. A
 * connection that was cut off, as one that is spoken to in another language, is a breach of the
 * protocol. */
static int is_of_network(int code)
{
    return code == ETCP_ESYSTEM || code == ETCP_ETIMEOUT || code == ETCP_ECLOSED ||
           code == ETCP_EPROTO || code == ETCP_EFULL || code == ETCP_ENOMEM;
}

static int fail(etcp_dialer *d, int code)
{
    look_away(d);
    if (etcp_dial_retry(d->dial)) {
        etcp_loop_pend(&d->entry);
        return ETCP_AGAIN;
    }
    etcp_dial_close(d->dial);
    d->code = code;
    wait_or_end(d, is_of_network(code) || etcp_dial_phase_of(d->dial) == ETCP_DIAL_CONNECTING);
    return code;
}

static void begin_again(etcp_dialer *d)
{
    look_away(d);
    etcp_dial_again(d->dial);
    d->state = ETCP_DIALER_TRYING;
    d->generation = etcp_process_generation();
    d->since_ms = etcp_clock_ms();
}

static void watch(etcp_dialer *d, int fd, unsigned events, uint64_t due_ms)
{
    d->entry.fd = fd;
    d->due_ms = due_ms;
    etcp_loop_watch(&d->entry, events);
}

static int go_on_trying(etcp_dialer *d)
{
    etcp_dial_want want;
    int rc;

    /* While it connects, each address has a socket of its own, which is closed at any time. */
    if (etcp_dial_phase_of(d->dial) == ETCP_DIAL_CONNECTING)
        look_away(d);
    rc = etcp_dial_continue(d->dial, &d->conn);
    if (rc == 0)
        d->state = ETCP_DIALER_GAP;
    if (rc == 0)
        return 0;
    if (rc != ETCP_AGAIN)
        return fail(d, rc);
    want = etcp_dial_wants(d->dial);
    watch(d, want.fd, want.events, want.until_ms);
    return rc;
}

static int wait_for_gap(etcp_dialer *d, etcp_conn **out)
{
    unsigned left = etcp_conn_gap_left(d->conn);

    look_away(d);
    if (left) {
        d->due_ms = etcp_clock_ms() + left;
        return ETCP_AGAIN;
    }
    d->state = ETCP_DIALER_CONNECTED;
    d->due_ms = UINT64_MAX;
    d->since_ms = etcp_clock_ms();
    *out = d->conn;
    return 0;
}

int etcp_dialer_go_on(etcp_dialer *d, etcp_conn **out)
{
    int rc = 0;

    etcp_dialer_revise(d);
    if (d->state == ETCP_DIALER_WAITING && etcp_clock_ms() >= d->due_ms)
        begin_again(d);
    if (d->state == ETCP_DIALER_TRYING)
        rc = go_on_trying(d);
    if (rc == 0 && d->state == ETCP_DIALER_GAP)
        return wait_for_gap(d, out);
    return rc == 0 ? ETCP_AGAIN : rc;
}

int etcp_dialer_lost_sight(etcp_dialer *d, int error)
{
    if (d->state != ETCP_DIALER_TRYING)
        return ETCP_AGAIN;
    return fail(d, etcp_dial_give_up(d->dial, error));
}

void etcp_dialer_lost(etcp_dialer *d, int code)
{
    if (d->conn)
        d->conn->origin = NULL;
    d->conn = NULL;
    if (d->state != ETCP_DIALER_CONNECTED)
        return;
    if (etcp_clock_ms() - d->since_ms >= d->retry_max_ms)
        d->failures = 0;
    wait_or_end(d, is_of_network(code));
}

void etcp_dialer_revise(etcp_dialer *d)
{
    if (d->generation == etcp_process_generation())
        return;
    d->generation = etcp_process_generation();
    if (d->state != ETCP_DIALER_TRYING && d->state != ETCP_DIALER_GAP)
        return;
    if (d->state == ETCP_DIALER_GAP)
        drop_conn(d);
    begin_again(d);
    etcp_loop_pend(&d->entry);
}

/* ---- facts ----------------------------------------------------------------------------------- */

int etcp_dialer_has_future(const etcp_dialer *d)
{
    if (d->state == ETCP_DIALER_CONNECTED)
        return d->retry_max_ms > 0;
    return d->state != ETCP_DIALER_OVER;
}

const etcp_dial *etcp_dialer_dial(const etcp_dialer *d)
{
    return d->dial;
}

int etcp_dialer_code(const etcp_dialer *d)
{
    return d->code;
}

unsigned etcp_dialer_seconds(const etcp_dialer *d)
{
    return (unsigned)((etcp_clock_ms() - d->since_ms) / 1000);
}

void etcp_dialer_set_user(etcp_dialer *d, void *user)
{
    d->user = user;
}

void *etcp_dialer_user(const etcp_dialer *d)
{
    return d->user;
}
