/* A listening socket, its clients, and the loop over them. Events are pulled: the caller runs user
 * code between calls, never inside one, and may call anything from there. */
#ifndef ETCP_NET_SERVER_H
#define ETCP_NET_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "net/conn.h"
#include "net/dialer.h"
#include "net/watch.h"
#include "tls/context.h"
#include "wire/parcel.h"

typedef struct etcp_server etcp_server;

typedef struct etcp_server_options {
    /* Where to listen: the first of these that is given. All NULL: nowhere, see etcp_server_adopt.
     */
    int handle;                /* a listening descriptor, which is duplicated; -1: none */
    const char *path;          /* of a Unix-domain socket */
    const char *port;          /* a number or a service name; "0": the kernel chooses */
    const char *address;       /* for port, to bind to; NULL: 0.0.0.0, as the original did */
    int path_mode;             /* permissions of path; -1: as the umask has it */
    int reuse_port;            /* several servers may listen at the port: SO_REUSEPORT */
    int backlog;               /* SOMAXCONN by default */
    size_t max_clients;        /* past negotiation; further ones are closed; 0 = no limit */
    size_t max_clients_per_ip; /* the same for each IP address, those who negotiate included */
    size_t max_half_open;      /* still negotiating; 0 = no limit. Newcomers wait in the
                                  backlog; after 5 s the oldest negotiation makes room */
    unsigned negotiation_timeout_ms; /* 45000, as the original */
    unsigned idle_timeout_ms;        /* a silent client is disconnected; 0 (default): never */
    int coalesce;                    /* whether replies to pipelined messages may leave together */
    etcp_conn_limits limits;         /* of each client */
    etcp_tls *tls; /* what clients are spoken TLS with; NULL: none. The server takes a reference */
} etcp_server_options;

#define ETCP_NEGOTIATION_TIMEOUT_MS 45000u
#define ETCP_HALF_OPEN_MAX ((size_t)1024)

/* Fills in the defaults. */
void etcp_server_options_default(etcp_server_options *options);

/* Binds and listens, non-blocking, SO_REUSEADDR. Takes a reference on config. Returns 0,
 * ETCP_ESYSTEM (*error says which call and why), ETCP_EINVAL (unknown port or address; the handle
 * does not listen), or ETCP_ENOMEM. Free with etcp_server_free. */
int etcp_server_new(const etcp_server_options *options, etcp_config *config, etcp_server **out,
                    etcp_error *error);

/* Closes the listening socket, delivers queued output as far as the kernel takes it, drops every
 * client (their structures live on while referenced, closed, or open if etcp_conn_outlive_server
 * was called). Safe while events are half dispatched; no FORGOTTEN comes for the clients that were
 * left. */
void etcp_server_free(etcp_server *s);

/* A server for another thread: duplicated listening descriptor, a clone of the configuration, no
 * clients. NULL on failure. */
etcp_server *etcp_server_clone(const etcp_server *s);

typedef enum etcp_server_event_type {
    ETCP_SERVER_ACCEPTED = 1, /* a connection was accepted; negotiation begins (conn only) */
    ETCP_SERVER_CONNECT,      /* negotiation is over */
    ETCP_SERVER_MESSAGE,      /* message is filled */
    /* A connection past negotiation ended: the peer closed, read error, protocol error, timeout.
     * conn is still open; by the caller's next call of etcp_server_next it is closed and forgotten.
     */
    ETCP_SERVER_DISCONNECT,
    /* A connection left the table: the user pointer may be released. Comes exactly once per
     * ACCEPTED, last; also after close by the caller. */
    ETCP_SERVER_FORGOTTEN,
    /* What etcp_server_finish began is over: no client is left. conn is NULL. */
    ETCP_SERVER_FINISHED,
    /* All output of a connection has left, after much of it was queued (conn only). */
    ETCP_SERVER_DRAINED,
    /* A dialer has made its connection (conn and dialer). MESSAGE, DISCONNECT and FORGOTTEN follow
     * as for accepted ones. */
    ETCP_SERVER_DIALED,
    ETCP_SERVER_DIAL_FAILED, /* an attempt of a dialer failed (dialer only) */
    ETCP_SERVER_WOKEN,       /* the time that etcp_server_wake was given is over (dialer only) */
    /* What a watch watches is readable, or broken, or will never be told of again, or its time has
     * come (watch only). */
    ETCP_SERVER_WATCHED
} etcp_server_event_type;

typedef struct etcp_server_event {
    etcp_server_event_type type;
    etcp_conn *conn;    /* borrowed: take a reference to keep it */
    etcp_dialer *dialer; /* borrowed until the next call on the server */
    etcp_watch *watch;   /* the same */
    etcp_event message; /* for MESSAGE; borrowed until the next call on the server or on any of its
                           connections */
} etcp_server_event;

/* Waits until something is ready or a deadline passes, at most timeout_ms (negative: for ever), and
 * notes what is. Does not wait when noted work is left from before. Flushes coalesced output first.
 * Returns the number of ready things (0: timeout), ETCP_EINTR (a signal came, or may have come
 * unnoticed five seconds ago), or ETCP_ESYSTEM. */
int etcp_server_poll(etcp_server *s, int timeout_ms);

/* Takes the next event of what poll noted; never waits. May be called again from user code that
 * runs between calls (nested loops): each event comes once. Returns 1 (*event filled) or 0
 * (round over). Failures of single connections are events; failures of accept, out of memory
 * included, pause accepting and are retried, without spinning. */
int etcp_server_next(etcp_server *s, etcp_server_event *event);

/* Says that the caller takes no more events for now: after etcp_server_next said 0, and wherever
 * else a loop is left, by an exception too. Whoever watches the descriptor hears of what is left
 * to take, or, with is_owing, to do for the caller itself. Cheap to call again, and for servers
 * whose descriptor nobody asked for. */
void etcp_server_rest(etcp_server *s, int is_owing);

/* A descriptor that is readable exactly while poll and next have something to do (net/alarm.h): for
 * the loop of another library. The same number as long as the server lives, in forked children too;
 * never to be read, written or closed. -1 with errno: ENOTSUP where there is no such thing. */
int etcp_server_descriptor(etcp_server *s);

/* A second number for it, which is the caller's to close; to be asked for once. -1 with errno. */
int etcp_server_copy_descriptor(etcp_server *s);

/* Milliseconds until poll and next have something to do even if no descriptor becomes ready. 0:
 * now; negative: never. */
int64_t etcp_server_due_in(etcp_server *s);

/* Has the loop make connections: takes a reference on d, which is in no loop. It leaves by
 * etcp_server_undial, or when the server is freed. */
void etcp_server_dial(etcp_server *s, etcp_dialer *d);

/* Ends the attempts of d, which stays in the loop for the sake of its connection. Does nothing when it
 * is in no loop. */
void etcp_server_stop_dialing(etcp_dialer *d);

/* Has WOKEN told for d, which is in the loop, at that moment (etcp_clock_ms), or at an earlier one that
 * it was called for before. */
void etcp_server_wake(etcp_server *s, etcp_dialer *d, uint64_t at_ms);

/* Takes d out of the loop. Its connection is left alone, and nothing is told of d any more. */
void etcp_server_undial(etcp_server *s, etcp_dialer *d);

/* Has WATCHED told for w, which is in no loop, again and again while its descriptor is readable: takes
 * a reference. It leaves by etcp_server_unwatch, or when the server is freed; nothing is told of it any
 * more then. Returns 0, or -1 with errno: the system cannot watch it. */
int etcp_server_watch(etcp_server *s, etcp_watch *w);
void etcp_server_unwatch(etcp_watch *w);

/* Has it told at that moment (etcp_clock_ms), too, once; in a forked child, at once. */
void etcp_server_watch_until(etcp_server *s, etcp_watch *w, uint64_t at_ms);

/* Writes out what was gathered to leave together: before anything that may block, exit or fork. */
void etcp_server_flush(etcp_server *s);

/* Serves a duplicate of fd, a connected stream socket, as if it had been accepted just now:
 * ACCEPTED does not come for it, but *conn is filled in (borrowed), and the rest as for all.
 * Returns 0, ETCP_EINVAL (fd is no such thing), ETCP_EFULL (a limit is reached, or its address may
 * not connect), ETCP_ECLOSED (the server finishes), ETCP_ESYSTEM or ETCP_ENOMEM, with *error. */
int etcp_server_adopt(etcp_server *s, int fd, etcp_conn **conn, etcp_error *error);

/* Stops listening, and closes the clients within spread_ms, evenly spread: each of them when its
 * queue is delivered, and as long as it may be not while it has input that was not handled. Then
 * FINISHED comes. DISCONNECT comes only for those who leave by themselves meanwhile. */
void etcp_server_finish(etcp_server *s, unsigned spread_ms);

/* Before etcp_server_free: closes all clients that do not outlive the server, and waits for some
 * milliseconds until all that they were sent is in their kernels. *waited_since as for
 * etcp_conn_drain. Returns ETCP_EINTR (look for signals, then call again), or 0: all is delivered,
 * or linger_ms have passed. Without it, what is queued is lost. */
int etcp_server_linger(etcp_server *s, uint64_t *waited_since);

/* The list of addresses that may connect; empty: all. Networks have a "/" (10.0.0.0/8); other texts
 * are compared exactly with what etcp_conn_remote_ip gives. Return 0, ETCP_EINVAL (a "/", but no
 * network) or ETCP_ENOMEM. */
int etcp_server_allow(etcp_server *s, const char *ip);
int etcp_server_disallow(etcp_server *s, const char *ip);

/* Addresses and networks, written as above, whose connections begin with the header of a proxy: the
 * client that it tells is the peer, for the list above and for all else. Returns as above. */
int etcp_server_trust_proxy(etcp_server *s, const char *ip);

/* Calls each(conn, arg) for every client past negotiation that is open; each must not close any. */
void etcp_server_each_client(etcp_server *s, void (*each)(etcp_conn *conn, void *arg), void *arg);
size_t etcp_server_client_count(const etcp_server *s);

/* Selects all clients past negotiation, or none; then some more, or some less. A selection is good
 * until user code runs. */
void etcp_server_select_all(etcp_server *s, int is_selected);
void etcp_conn_select(etcp_conn *c, int is_selected);

/* Sends to all that are selected, and selects none: to each the first of count parcels of which it can
 * receive what that needs, or nothing. Some may be NULL. Left out are those that are closing, and those
 * whose queue is above the high-water mark: it never waits. Returns how many took the message; those it
 * failed for have their error. */
size_t etcp_server_broadcast(etcp_server *s, etcp_parcel *const *parcels, size_t count);

/* Why connections are closed as soon as they come. */
typedef enum etcp_refused {
    ETCP_NOT_REFUSED,
    ETCP_REFUSED_FULL,    /* max_clients */
    ETCP_REFUSED_ADDRESS, /* not in the list */
    ETCP_REFUSED_PER_IP,  /* max_clients_per_ip */
    ETCP_REFUSALS
} etcp_refused;

typedef struct etcp_server_counts {
    etcp_traffic traffic;
    uint64_t accepted; /* connections that came, refused ones included */
    uint64_t refused[ETCP_REFUSALS];
    size_t clients, negotiating, closing; /* now */
    size_t queued, queued_most;           /* bytes of output, of all and of one of them */
} etcp_server_counts;

/* Counts; what is now is found by looking at every connection. */
void etcp_server_count(const etcp_server *s, etcp_server_counts *out);

int etcp_server_fd(const etcp_server *s); /* the listening descriptor, -1: none */
unsigned etcp_server_port(const etcp_server *s);

/* The address that the server listens at, as text, into text[0..size); 64 bytes are enough. */
const char *etcp_server_ip(const etcp_server *s, char *text, size_t size);
etcp_config *etcp_server_config(etcp_server *s); /* borrowed */
void etcp_server_set_config(etcp_server *s,
                            etcp_config *config); /* for later clients; takes a ref */
size_t etcp_server_half_open(const etcp_server *s);

#endif
