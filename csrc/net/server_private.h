/* The inside of a server, for the files of csrc/net/ only.
 *
 * Every connection sits in exactly one list of the server's loop:
 *
 *     HALF_OPEN --READY--> CLIENTS --close, see conn_close.c--> DELIVERING, DISCARDING, GONE
 *      |     ^
 *     WITHHELD, while an answer that tells whether the password is right is delayed
 *
 * and the server holds one reference to it until FORGOTTEN was taken. Work that was noted and not
 * done yet is in the loop and here (ending, forgotten, accept_left), never on the C stack: user
 * code between two calls may do anything. */
#ifndef ETCP_NET_SERVER_PRIVATE_H
#define ETCP_NET_SERVER_PRIVATE_H

#include "address_count.h"
#include "conn_private.h"
#include "dialer_private.h"
#include "guesses.h"
#include "listener.h"
#include "server.h"
#include "watch_private.h"

enum {
    ETCP_ACCEPT_MAX = 64,           /* accepted in one round */
    ETCP_ACCEPT_PAUSE_MS = 100,     /* after running out of descriptors or memory */
    ETCP_SHARED_ACCEPT_MAX = 8,     /* accepted at one look, where other processes accept, too */
    ETCP_LOOK_AWAY_MS = 2,          /* after such a look */
    ETCP_TURN_MESSAGES = 64,        /* of one client, then others have their turn */
    ETCP_TURN_MS = 10,              /* the same; a callback that takes longer is not interrupted */
    ETCP_ROUND_TURNS = 256,         /* then the caller looks after timers, signals and stop */
    ETCP_ROUND_MS = 10,             /* the same, not counting the first turn */
    ETCP_HALF_OPEN_GRACE_MS = 5000, /* how long a negotiation is safe from newcomers */
    ETCP_DISCARD_MS = 2000          /* how often a closing connection is looked at */
};

struct etcp_server {
    etcp_config *config;
    etcp_server_options options; /* without address, port and tls */
    etcp_loop *loop;
    etcp_listener listener;
    etcp_security *security; /* NULL: no TLS */
    etcp_guesses guesses;    /* of the password */

    int unfinished;       /* the event told last left something to be done by the next call */
    etcp_conn *ending;    /* DISCONNECT was taken: closed by the next call; counted */
    etcp_conn *forgotten; /* FORGOTTEN was taken: dropped by the next call; counted */
    etcp_entry *news; /* what happened to this dialer or watch is told next; counted */
    etcp_server_event_type news_type;
    /* The first dialer or watch is due, or sooner than that; UINT64_MAX: none is. */
    uint64_t timed_due_ms;
    int timed_are_due;
    int accept_left;
    uint64_t accept_resume_ms; /* not 0: accepting pauses until then, or */
    size_t closed_at_pause;    /* until the loop has closed more than these */
    uint64_t look_at_ms;       /* not 0: looks away from a shared listener until then */
    int look_max;              /* how many it accepts at this look, */
    int look_took;             /* and how many it has */
    etcp_traffic traffic;
    uint64_t accepted;
    uint64_t refused[ETCP_REFUSALS];
    etcp_address_count per_ip; /* connections, if they are limited */

    uint64_t finish_at_ms;  /* not 0: finishing, and when that should be over */
    uint64_t goodbye_at_ms; /* when the next client is closed */
    int is_finished;

    unsigned turn_messages; /* told in the turn of loop->current */
    uint64_t turn_since_ms; /* by the cheap clock; 0: the turn has no second message so far */
    unsigned round_turns;
    uint64_t round_since_ms; /* by the cheap clock; 0: not asked for yet */
    size_t round_pending;    /* how much work is left that was pending when it began */
    unsigned first_source;   /* where its turns are looked for first */

    uint64_t gathering_since_ms; /* by the cheap clock */
    uint64_t given_us; /* when a message was taken whose callback is timed; 0: it is not */
    uint64_t now_us;   /* when the call under way began, 0: not asked for */
    uint64_t cheap_ms; /* the same by the cheap clock */
    int fast;          /* the last callback timed took no time worth mentioning */
};

/* From now on it is c's turn, which may read so many bytes. */
static inline void etcp_server_start_turn(etcp_server *s, etcp_conn *c, size_t budget)
{
    s->loop->current = &c->entry;
    s->turn_messages = 0;
    s->turn_since_ms = 0;
    s->round_turns++;
    c->budget = budget;
}

/* What the loop watches of the listener: NULL if there is none. */
static inline etcp_entry *etcp_server_listener_entry(etcp_server *s)
{
    return s->listener.entry.fd < 0 ? NULL : &s->listener.entry;
}

/* ---- accepting (server_accept.c) ------------------------------------------------------------- */

/* Connections are waiting, so it seems: notes how many of them to accept. */
void etcp_server_note_waiting(etcp_server *s);

/* Accepts one connection. Returns 1 (*event is ACCEPTED) or 0 (accept_left tells whether to go on).
 */
int etcp_server_accept(etcp_server *s, etcp_server_event *event);

/* Goes on with accepting where that paused and may go on by now. */
void etcp_server_end_pauses(etcp_server *s);

/* When that should be called next; UINT64_MAX: nothing pauses. */
uint64_t etcp_server_pause_end(const etcp_server *s);

/* c is about to be forgotten. */
void etcp_server_discount(etcp_server *s, etcp_conn *c);

/* How many negotiations are under way. */
size_t etcp_server_negotiating(const etcp_server *s);

/* Answers a client that says that it knows the password, or has that wait. Returns 0 or a negative
 * code, recorded. */
int etcp_server_answer_guess(etcp_server *s, etcp_conn *c);

/* It waited for long enough. */
void etcp_server_answer_late(etcp_server *s, etcp_conn *c);

/* Negotiation is over. Returns 1, or 0: there are max_clients already, and it was closed. */
int etcp_server_promote(etcp_server *s, etcp_conn *c);

/* Reads c's proxy header. Returns 1 when it is complete and its client may come in, or 0: not yet, or
 * c is closed. */
int etcp_server_take_header(etcp_server *s, etcp_conn *c);

/* ---- dialing and watching (server_timed.c) --------------------------------------------------- */

/* Drops the reference of a note. */
void etcp_server_unref_entry(etcp_entry *e);

/* Has a dialer go on, whose note was taken. What comes of it is told next. */
void etcp_server_work_dialer(etcp_server *s, etcp_dialer *d, unsigned events);

/* Has a watch told of, whose note was taken. */
void etcp_server_work_watch(etcp_server *s, etcp_watch *w, unsigned events);

/* Tells what happened to a dialer or a watch. Returns 1, or 0: nothing did. */
int etcp_server_tell_news(etcp_server *s, etcp_server_event *event);
void etcp_server_forget_news(etcp_server *s);

/* Notes that time has come for some of them, if it has; then notes work for them. */
void etcp_server_note_due(etcp_server *s);
void etcp_server_pend_due(etcp_server *s);

/* Looks up when the first of them is due after now_ms: what is noted may be too soon. */
void etcp_server_revise_due(etcp_server *s, uint64_t now_ms);

/* Brings dialers and watches up to date with their process, before etcp_loop_renew. */
void etcp_server_revise_timed(etcp_server *s);

/* A connection ended: its dialer, if it has one, hears of it. */
void etcp_server_end_dialed(etcp_server *s, etcp_conn *c);

/* ---- finishing (server_finish.c) ------------------------------------------------------------- */

/* Closes the clients whose time has come. Returns 1 when none is left: *event is FINISHED. */
int etcp_server_go_on_finishing(etcp_server *s, etcp_server_event *event);

/* When to call it; UINT64_MAX: not at all. */
static inline uint64_t etcp_server_goodbye_at(const etcp_server *s)
{
    return s->finish_at_ms ? s->goodbye_at_ms : UINT64_MAX;
}

#endif
