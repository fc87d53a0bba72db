/* The inside of a server, for the files of csrc/net/ only.
 *
 * Every connection sits in exactly one list of its server, by what it waits for:
 *
 *     half_open --READY--> clients --close--> delivering --queue sent--> discarding --> gone
 *         \                    \_________________\_______________________________________/
 *          \____________________________________________________________________________/
 *
 * and the server holds one reference to it until FORGOTTEN was given out. Work that was noted and
 * not done yet is in the server too (current, ending, pending, ready, accept_left, deadlines_due),
 * never on the C stack: user code between two calls may do anything. */
#ifndef ETCP_NET_SERVER_PRIVATE_H
#define ETCP_NET_SERVER_PRIVATE_H

#include "conn_private.h"
#include "poller.h"
#include "process.h"

enum {
    ETCP_READY_MAX = 256,           /* noted by one poll */
    ETCP_ACCEPT_MAX = 64,           /* accepted in one round */
    ETCP_ACCEPT_PAUSE_MS = 100,     /* after running out of descriptors or memory */
    ETCP_HALF_OPEN_GRACE_MS = 5000, /* how long a negotiation is safe from newcomers */
    ETCP_DISCARD_MS = 2000,         /* how often a closing connection is looked at */
    ETCP_SLICE_MS = 5000 /* the longest wait: a signal that came just before does not end it */
};

struct etcp_server {
    etcp_holder holder; /* must be first */
    etcp_config *config;
    etcp_server_options options; /* without address and port */
    int fd;
    unsigned interest; /* what the poller watches on fd */
    unsigned port;

    etcp_poller *poller;
    unsigned generation; /* the process that made the poller */
    int rebuild;         /* the poller no longer tells the truth */

    etcp_deadline_list half_open;
    etcp_deadline_list clients;
    etcp_deadline_list delivering;
    etcp_deadline_list discarding;
    etcp_deadline_list gone; /* FORGOTTEN is due */

    etcp_scratch *scratch;
    etcp_conn *current;   /* whose input is being worked through */
    etcp_conn *ending;    /* DISCONNECT was given out: closed by the next call; counted */
    etcp_conn *forgotten; /* FORGOTTEN was given out: let go by the next call; counted */
    etcp_conn *pending, *last_pending; /* counted */
    etcp_ready ready[ETCP_READY_MAX];  /* tags: connections, counted, or the server itself */
    int ready_next;
    int ready_count;
    int accept_left;
    int deadlines_due;
    uint64_t accept_resume_ms; /* not 0: accepting pauses until then */

    etcp_conn *unflushed;   /* output of this one was held back, and is while its holding is set */
    uint64_t held_since_ms; /* by the cheap clock: when unflushed was set */
    uint64_t given_us;      /* when a message was given out whose callback is timed; 0: it is not */
    uint64_t now_us;        /* when the call under way began, 0: not asked for */
    int fast;               /* the last callback timed took no time worth mentioning */

    char **allowed;
    size_t allowed_count;
};

static inline etcp_conn *etcp_conn_at(etcp_deadline *place)
{
    return (etcp_conn *)(void *)place;
}

/* Makes the poller fit the process and the connections. Returns 0 (it did), 1 (made anew, which may
 * have left work to be done), or -1 with errno. */
int etcp_server_ensure_poller(etcp_server *s);

/* Watches the listening socket, or stops. */
void etcp_server_watch_listener(etcp_server *s, unsigned interest);

/* ---- accepting (server_accept.c) ------------------------------------------------------------- */

/* Accepts one connection. Returns 1 (*event is ACCEPTED) or 0 (accept_left tells whether to go on).
 */
int etcp_server_accept(etcp_server *s, etcp_server_event *event);

/* Accepts again, if that paused. */
void etcp_server_resume(etcp_server *s);

/* ---- clients (server_clients.c) -------------------------------------------------------------- */

/* Negotiation is over. */
void etcp_server_promote(etcp_conn *c);

/* Goes on with a connection that is being closed: its descriptor is ready or time has passed. */
void etcp_server_go_on_closing(etcp_conn *c);
void etcp_server_closing_expired(etcp_conn *c, uint64_t now_ms);

/* Closes the descriptor at once. FORGOTTEN follows. */
void etcp_server_finish_closing(etcp_conn *c);

#endif
