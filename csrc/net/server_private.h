/* The inside of a server, for the files of csrc/net/ only.
 *
 * Every connection sits in exactly one list of the server's loop:
 *
 *     HALF_OPEN --READY--> CLIENTS --close, see conn_close.c--> DELIVERING, DISCARDING, GONE
 *
 * and the server holds one reference to it until FORGOTTEN was taken. Work that was noted and not
 * done yet is in the loop and here (ending, forgotten, accept_left), never on the C stack: user
 * code between two calls may do anything. */
#ifndef ETCP_NET_SERVER_PRIVATE_H
#define ETCP_NET_SERVER_PRIVATE_H

#include "conn_private.h"
#include "listener.h"
#include "server.h"

enum {
    ETCP_ACCEPT_MAX = 64,           /* accepted in one round */
    ETCP_ACCEPT_PAUSE_MS = 100,     /* after running out of descriptors or memory */
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

    int unfinished;       /* the event told last left something to be done by the next call */
    etcp_conn *ending;    /* DISCONNECT was taken: closed by the next call; counted */
    etcp_conn *forgotten; /* FORGOTTEN was taken: dropped by the next call; counted */
    int accept_left;
    uint64_t accept_resume_ms; /* not 0: accepting pauses until then, or */
    size_t closed_at_pause;    /* until the loop has closed more than these */

    unsigned turn_messages; /* told in the turn of loop->current */
    uint64_t turn_since_ms; /* by the cheap clock; 0: the turn has no second message so far */
    unsigned round_turns;
    uint64_t round_since_ms; /* by the cheap clock; 0: not asked for yet */
    size_t round_pending;    /* how much work is left that was pending when it began */
    unsigned first_source;   /* where its turns are looked for first */

    uint64_t gathering_since_ms; /* by the cheap clock */
    uint64_t given_us; /* when a message was taken whose callback is timed; 0: it is not */
    uint64_t now_us;   /* when the call under way began, 0: not asked for */
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

/* ---- accepting (server_accept.c) ------------------------------------------------------------- */

/* Accepts one connection. Returns 1 (*event is ACCEPTED) or 0 (accept_left tells whether to go on).
 */
int etcp_server_accept(etcp_server *s, etcp_server_event *event);

/* Accepts again, if that paused. */
void etcp_server_resume(etcp_server *s);

/* Negotiation is over. Returns 1, or 0: there are max_clients already, and it was closed. */
int etcp_server_promote(etcp_server *s, etcp_conn *c);

#endif
