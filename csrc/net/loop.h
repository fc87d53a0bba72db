/* The loop under connections and listeners: it watches descriptors, notes what is ready and what is
 * due, and waits. It knows entries, the part that all of them begin with, and not what they are:
 * whoever takes a note knows what to do. For the files of csrc/net/ only.
 *
 * Every entry that waits for something sits in exactly one of the loop's lists, by what it waits
 * for. Notes hold a reference to their entry, which goes to whoever takes them; the loop itself
 * never lets go of one. */
#ifndef ETCP_NET_LOOP_H
#define ETCP_NET_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include "alarm.h"
#include "deadline_list.h"
#include "poller.h"
#include "process.h"

enum {
    ETCP_READY_MAX = 256, /* noted by one wait */
    ETCP_SCRATCH_SIZE = 65536,
    ETCP_SLICE_MS = 5000 /* the longest wait: a signal that came just before does not end it */
};

/* Beside ETCP_POLL_READ and ETCP_POLL_WRITE, in a note only: the entry cannot be watched. */
enum { ETCP_POLL_LOST = 4 };

typedef struct etcp_loop etcp_loop;
typedef struct etcp_entry etcp_entry;

/* For the loop's user, what an entry is part of. */
typedef enum etcp_entry_kind {
    ETCP_ENTRY_CONN,
    ETCP_ENTRY_LISTENER,
    ETCP_ENTRY_DIALER,
    ETCP_ENTRY_WATCH
} etcp_entry_kind;

/* Must be the first member of what it stands for. */
struct etcp_entry {
    etcp_deadline place; /* in one of the loop's lists; must be first */
    etcp_deadline stall; /* in the loop's list of those whose output does not get on */
    etcp_loop *loop;     /* NULL: none, its user waits for it alone */
    etcp_entry *next_pending;
    int fd; /* -1: none */
    unsigned references;
    uint8_t kind;     /* an etcp_entry_kind */
    uint8_t interest; /* ETCP_POLL_...: what the poller watches */
    uint8_t wanted;   /* what it should watch */
    uint8_t is_pending;
    uint8_t is_lost; /* pending because it cannot be watched */
};

/* What entries wait for. */
typedef enum etcp_list {
    ETCP_LIST_HALF_OPEN, /* the end of a negotiation */
    ETCP_LIST_WITHHELD,  /* an answer that is delayed: a list for each delay, up to */
    ETCP_LIST_WITHHELD_LAST = ETCP_LIST_WITHHELD + 7,
    ETCP_LIST_CLIENTS,    /* input */
    ETCP_LIST_DIALED,     /* input, of a connection that we made */
    ETCP_LIST_DELIVERING, /* a peer that takes the rest of the output of a closed connection */
    ETCP_LIST_DISCARDING, /* a peer that closes, too */
    ETCP_LIST_DIALERS,    /* whatever each of them says: this list never expires */
    ETCP_LIST_WATCHES,    /* the same */
    ETCP_LIST_GONE,       /* nothing: closed, which nobody was told yet */
    ETCP_LISTS
} etcp_list;

/* Where input is read to by all connections of a loop in turn. */
typedef struct etcp_scratch {
    etcp_entry *owner; /* NULL: nobody's unparsed input is in here */
    uint8_t bytes[ETCP_SCRATCH_SIZE];
} etcp_scratch;

struct etcp_loop {
    etcp_fork_hook before_fork; /* must be first; of the gatherer */
    etcp_poller *poller;        /* NULL before etcp_loop_renew */
    unsigned generation;        /* the process that made the poller */
    int is_stale;               /* the poller does not watch what it should */
    int lost_errno;             /* why an entry cannot be watched */

    /* How much of the time the loop does not wait, for the price of work. */
    uint64_t load_since_us; /* 0: nobody asks, nothing is measured */
    uint64_t waited_us;     /* since then */
    uint64_t packed_us;     /* and compressed */
    unsigned price;

    etcp_deadline_list lists[ETCP_LISTS];
    etcp_deadline_list stalled; /* of the stall of entries; never expires unless set up to */
    size_t expiring;            /* in all these lists; see deadline_list.h */
    size_t heavy;               /* entries that hold much memory; kept by the loop's user */
    size_t closed;              /* entries that gave back their descriptor, ever */
    etcp_scratch *scratch;
    etcp_entry *current;  /* whose turn it is; set by the loop's user */
    etcp_entry *gatherer; /* whose output is gathered, to leave together */

    etcp_entry *pending, *last_pending;
    size_t pending_count;
    etcp_ready ready[ETCP_READY_MAX]; /* tags: entries */
    int ready_next;
    int ready_count;
    int deadlines_due;

    etcp_alarm *alarm; /* what a foreign loop watches; NULL: none does */
    int is_served;     /* its user takes notes, and sets the alarm afterwards */
};

static inline etcp_entry *etcp_entry_at(etcp_deadline *place)
{
    return (etcp_entry *)(void *)place;
}

/* Makes a loop whose lists never expire and that watches nothing yet. NULL: out of memory. */
etcp_loop *etcp_loop_new(void);

/* Frees it; NULL does nothing. Its lists and notes must be empty. */
void etcp_loop_free(etcp_loop *l);

/* How long entries of this list wait; 0: for ever. */
void etcp_loop_set_timeout(etcp_loop *l, etcp_list list, uint64_t timeout_ms);

/* Whether the poller watches what it should. Otherwise every entry must be brought up to date, then
 * etcp_loop_renew called, before the next wait: after a fork, or when a descriptor vanished. */
static inline int etcp_loop_is_current(const etcp_loop *l)
{
    return l->poller && !l->is_stale && l->generation == etcp_process_generation();
}

/* Makes the poller anew, for first (NULL: none), which may be in no list, and for all in the lists.
 * Those that cannot be watched are noted as lost. Returns 0, or -1 with errno: no poller, or first
 * cannot be watched. */
int etcp_loop_renew(etcp_loop *l, etcp_entry *first);

/* Stops watching everything, for ever: the loop is about to be freed. Descriptors may be closed
 * afterwards in any order. */
void etcp_loop_stop(etcp_loop *l);

/* Has e->fd watched for wanted (0: not at all), now or after the next etcp_loop_renew. Nothing
 * happens without a loop. */
void etcp_loop_watch(etcp_entry *e, unsigned wanted);

/* The same, where the loop may be told that this cannot be done. Returns 0, also before the next
 * etcp_loop_renew, or -1 with errno. */
int etcp_loop_try_watch(etcp_entry *e, unsigned wanted);

/* Says that the descriptor of an entry vanished or changed behind the loop's back. */
void etcp_loop_mistrust(etcp_loop *l);

/* Notes that there is work to do for e even if the kernel reports nothing. Nothing happens without
 * a loop. */
void etcp_loop_pend(etcp_entry *e);

/* There is something to look at, which the kernel does not report: whoever watches the loop's
 * descriptor hears of it. */
static inline void etcp_loop_stir(etcp_loop *l)
{
    if (l->alarm && !l->is_served)
        etcp_alarm_set(l->alarm, 0);
}

/* What work costs in this loop now, beyond the time it takes: see etcp_adapt_next_price. It is
 * measured from the first call on until nobody asks for a second. packed_us: what the caller has
 * spent on compressing since it last asked. */
unsigned etcp_loop_price(etcp_loop *l, uint64_t now_us, uint64_t packed_us);

/* Puts e into one of its loop's lists, at the end; its time begins at now_ms. */
static inline void etcp_loop_await(etcp_entry *e, etcp_list list, uint64_t now_ms)
{
    etcp_loop_stir(e->loop);
    etcp_deadline_start(&e->loop->lists[list], &e->place, now_ms);
}

/* ---- taking notes ---------------------------------------------------------------------------- */

/* Whether something is noted as ready that nobody took. */
static inline int etcp_loop_has_ready(const etcp_loop *l)
{
    return l->ready_next < l->ready_count;
}

/* Whether anything is noted. */
static inline int etcp_loop_has_work(const etcp_loop *l)
{
    return etcp_loop_has_ready(l) || l->lists[ETCP_LIST_GONE].head || l->current || l->pending ||
           l->deadlines_due;
}

/* How many things are noted, or 1 for many of a kind: 0 is none. */
static inline int etcp_loop_noted(const etcp_loop *l)
{
    return (l->ready_count - l->ready_next) + (l->lists[ETCP_LIST_GONE].head != NULL) +
           (l->current != NULL) + (l->pending != NULL) + l->deadlines_due;
}

/* Take the next note, with its reference: pending work (*events is 0, or ETCP_POLL_LOST: errno is
 * in lost_errno), and readiness. NULL: there is none. */
static inline etcp_entry *etcp_loop_take_pending(etcp_loop *l, unsigned *events)
{
    etcp_entry *e = l->pending;

    if (!e)
        return NULL;
    l->pending = e->next_pending;
    if (!l->pending)
        l->last_pending = NULL;
    l->pending_count--;
    *events = e->is_lost ? ETCP_POLL_LOST : 0;
    e->is_pending = e->is_lost = 0;
    return e;
}

static inline etcp_entry *etcp_loop_take_ready(etcp_loop *l, unsigned *events)
{
    const etcp_ready *note;

    if (l->ready_next == l->ready_count)
        return NULL;
    note = &l->ready[l->ready_next++];
    *events = note->events;
    return (etcp_entry *)note->tag;
}

/* The next entry whose time is over, still in *list; NULL: none is. */
etcp_entry *etcp_loop_expired(etcp_loop *l, uint64_t now_ms, etcp_list *list);

/* When the next deadline of an entry is; UINT64_MAX: there is none, as in most servers most of the
 * time. */
uint64_t etcp_loop_first_deadline(const etcp_loop *l);

static inline uint64_t etcp_loop_deadline(const etcp_loop *l)
{
    return l->expiring ? etcp_loop_first_deadline(l) : UINT64_MAX;
}

/* The next entry whose output has not got on for too long; NULL: there is none. */
etcp_entry *etcp_loop_stalled(etcp_loop *l, uint64_t now_ms);

/* Waits until a descriptor is ready, a deadline passes or it is until_ms, and notes what is.
 * Returns how many things are noted, ETCP_EINTR (a signal came, or may have come unnoticed five
 * seconds ago), or ETCP_ESYSTEM with errno. */
int etcp_loop_wait(etcp_loop *l, uint64_t until_ms);

/* ---- being watched by another loop ----------------------------------------------------------- */

/* The descriptor that is readable while there is something to note or to take, see alarm.h; made at
 * the first call, which needs a loop that is current. Or -1 with errno: ENOTSUP where there is no
 * such thing. */
int etcp_loop_descriptor(etcp_loop *l);

/* The loop's user begins to take notes: work that comes up meanwhile is seen without an alarm. */
static inline void etcp_loop_begin(etcp_loop *l)
{
    l->is_served = 1;
    if (l->alarm)
        etcp_alarm_take(l->alarm);
}

/* The loop's user is through for now, and wants to be called by due_ms (0: at once, UINT64_MAX: it
 * does not matter) or by the next deadline. Until then no work goes unnoticed. */
void etcp_loop_arm(etcp_loop *l, uint64_t due_ms);

#endif
