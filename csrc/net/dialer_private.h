/* The inside of a dialer, for the files of csrc/net/ only. It knows the loop, and not who takes its
 * notes. */
#ifndef ETCP_NET_DIALER_PRIVATE_H
#define ETCP_NET_DIALER_PRIVATE_H

#include <stdint.h>

#include "dialer.h"
#include "loop.h"

typedef enum etcp_dialer_state {
    ETCP_DIALER_TRYING,    /* an attempt is under way */
    ETCP_DIALER_GAP,       /* it has succeeded; an old server is given time, see conn_output.c */
    ETCP_DIALER_WAITING,   /* for the next attempt */
    ETCP_DIALER_CONNECTED, /* conn is in use */
    ETCP_DIALER_OVER       /* there will be no other attempt */
} etcp_dialer_state;

struct etcp_dialer {
    etcp_entry entry; /* must be first; the descriptor is the attempt's */
    etcp_dialer_state state;
    etcp_dial *dial;
    etcp_conn *conn;     /* in GAP counted; when CONNECTED the loop's; otherwise NULL */
    uint64_t due_ms;     /* when to go on even if no descriptor is ready; UINT64_MAX: never */
    uint64_t wake_ms;    /* when the user is to be told; UINT64_MAX: never */
    uint64_t since_ms;   /* when the attempt began, or the connection was made */
    unsigned generation; /* the process whose attempt it is */
    unsigned retry_min_ms, retry_max_ms; /* how long to wait before another attempt; max 0: never */
    unsigned failures;                   /* in a row */
    int code;                            /* why the last attempt failed */
    void *user;
};

static inline etcp_dialer *etcp_dialer_of(etcp_entry *e)
{
    return (etcp_dialer *)(void *)e;
}

/* Puts it into a loop, which then has a reference, and has the loop look at it soon; takes it out
 * again, wherever it is. */
void etcp_dialer_enter(etcp_dialer *d, etcp_loop *l);
void etcp_dialer_leave(etcp_dialer *d);

/* Goes on as far as that needs no waiting, to be called when its descriptor is ready, it is due, or
 * just so. Returns 0 (connected: *out is the open connection, without a loop, one reference, the
 * caller's), ETCP_AGAIN, or another negative code: an attempt failed, and the state
 * tells whether there will be another. */
int etcp_dialer_go_on(etcp_dialer *d, etcp_conn **out);

/* Its descriptor could not be watched, because of the error of that number: the attempt fails.
 * Returns as etcp_dialer_go_on. */
int etcp_dialer_lost_sight(etcp_dialer *d, int error);

/* The connection ended, because of code. */
void etcp_dialer_lost(etcp_dialer *d, int code);

/* Ends all attempts. The connection, if there is one, is left alone. */
void etcp_dialer_stop(etcp_dialer *d);

/* After a fork the attempt is the parent's: this process begins one of its own. */
void etcp_dialer_revise(etcp_dialer *d);

#endif
