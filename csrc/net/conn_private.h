/* The inside of a connection, for the files of csrc/net/ only.
 *
 * Input. What was read and not parsed yet is the view: bytes[view..view_end), either in somebody's
 * scratch buffer (read into by many connections in turn) or in kept, a copy of our own. A
 * connection only reads when its view is empty. Whoever needs the scratch next first has its owner
 * move the view into kept. So user code may leave by any way between two calls, longjmp included:
 * nothing needs cleaning up, the next call continues.
 *
 * A connection may have a loop or none. With one, somebody pulls events of all the loop's
 * connections and nothing here waits; without, its user waits in the calls of conn.h.
 *
 * From here on each part may use those before it: conn.c, conn_output.c, conn_tunnel.c,
 * conn_input.c,
 * conn_negotiate.c, conn_close.c. */
#ifndef ETCP_NET_CONN_PRIVATE_H
#define ETCP_NET_CONN_PRIVATE_H

#include "conn.h"
#include "loop.h"
#include "output_queue.h"
#include "process.h"
#include "socket.h"
#include "tunnel.h"
#include "wire/proxy_header.h"

enum {
    ETCP_CLIENT_SCRATCH_SIZE = 16384, /* on the stack: some systems give a thread 128 KiB of it */
    ETCP_WINDOW_READ_MAX = 1 << 20,   /* one read of a large payload */
    ETCP_READ_BUDGET = 256 << 10,     /* of one connection and round */
    ETCP_HEAVY = 65536,               /* held input; who has less is not closed for it */
    ETCP_LOOK_AGAIN_MS = 50           /* at what the kernel does not tell by itself */
};

typedef enum etcp_conn_state {
    ETCP_CONN_NEGOTIATING,
    ETCP_CONN_OPEN,
    ETCP_CONN_DELIVERING, /* closed by us; the queue still goes out */
    ETCP_CONN_DISCARDING, /* closed by us; sending side shut down, input is thrown away */
    ETCP_CONN_CLOSED      /* no descriptor any more */
} etcp_conn_state;

/* A proxy that tells whom it stands for, before anything else. */
typedef struct etcp_proxy {
    etcp_proxy_header *header; /* as far as it has come; NULL: it is complete */
    etcp_address address;
} etcp_proxy;

struct etcp_conn {
    etcp_entry entry; /* must be first */
    etcp_session *session;
    etcp_security *security; /* what TLS would begin with; NULL: it cannot, or has begun */
    etcp_tunnel *tunnel;     /* NULL: no TLS. Otherwise view and window hold clear text */

    const uint8_t *view;
    const uint8_t *view_end;
    uint8_t *kept;
    size_t budget; /* bytes this round may still read */

    size_t held;        /* bytes that the configuration counts as this connection's */
    size_t undelivered; /* of them, those that its user says */
    size_t last_room;   /* without a session: see etcp_conn_forget_session */

    etcp_traffic *traffic; /* where it is counted: of its server, or its own; NULL: nowhere */
    etcp_output out;
    size_t retry_at; /* while blocked: the length of the queue at which writing is tried anyway */
    uint64_t gap_since_ms;     /* 0, or when the client's EN left: see conn_output.c */
    uint64_t closing_since_ms; /* when it began to close, in its loop */

    etcp_error *error; /* NULL: none, unless error_lost */
    etcp_conn_limits limits;
    etcp_address peer;
    etcp_proxy *proxy; /* of a server's client: the proxy in between, NULL: none */

    etcp_entry *origin; /* the dialer that made it and is to hear of its end; NULL: none */
    void *user;
    long serial;
    void (*on_close)(void *owner); /* set: the descriptor belongs to owner */
    void *on_close_owner;
    uint64_t identity; /* of the socket handed over: the owner may have closed it */

    unsigned generation;       /* the process that made it, or adopted it after a fork */
    unsigned sharing;          /* see etcp_process_connected; 0: nobody knows the owners */
    uint8_t state;             /* an etcp_conn_state */
    int8_t end_code;           /* not 0: no more input will come, because of this etcp_code */
    unsigned starting : 1;     /* its first packet was not sent yet */
    unsigned output_ended : 1; /* nothing may be sent any more; reading goes on */
    int write_errno;           /* why, if a write failed: it need not be the first error */
    unsigned error_lost : 1;   /* it could not be allocated */
    unsigned heard : 1;        /* the peer has sent something */
    unsigned is_dialed : 1;    /* a client's in the loop of a server */
    unsigned outlives : 1;     /* goes on alone when its server is freed */
    unsigned announced : 1;    /* DISCONNECT was taken */
    unsigned blocked : 1;      /* the kernel took no more output when last asked */
    unsigned brakes : 1;       /* the peer is not read when it does not read: a server's client */
    unsigned braked : 1;       /* work was left because of that */
    unsigned was_blocked : 1;  /* and has been since the session asked */
    unsigned selected : 1;     /* for a broadcast: see etcp_server_broadcast */
    unsigned was_long : 1;     /* much output was queued, and has not all left */
    unsigned drained : 1;      /* then all left, which nobody was told yet */
    unsigned waits_for_answer : 1; /* negotiates until the session is no longer early */
    unsigned gave_up_settling : 1; /* waited for the answer in vain: it does so once */
    unsigned gathering : 1;    /* output is gathered for now, to leave together */
    unsigned is_halfway : 1;   /* waits before the rest of a message is sealed */
    unsigned has_guessed : 1;  /* the password, which was counted */
    unsigned is_unproven : 1;  /* it left when it could tell from the answer that it was wrong */
    unsigned is_withheld : 1;  /* the answer to that waits; nothing is read meanwhile */
    unsigned is_counted : 1;   /* as one of the process's connections */
    unsigned owns_traffic : 1; /* traffic is freed with it */
    unsigned is_tallied : 1;   /* as one of its address's, by its server */
};

/* What one reading brought. */
typedef enum etcp_fill {
    ETCP_FILL_MORE, /* bytes, and there may be more at once */
    ETCP_FILL_SOME, /* bytes, all the kernel had */
    ETCP_FILL_NONE, /* nothing now */
    ETCP_FILL_ENDED /* end of stream or error: recorded, input ended */
} etcp_fill;

static inline etcp_conn *etcp_conn_of(etcp_entry *e)
{
    return (etcp_conn *)(void *)e;
}

/* ---- state (conn.c) -------------------------------------------------------------------------- */

/* A connection in state with one reference, taking over fd and session. NULL: out of memory, both
 * stay the caller's. */
etcp_conn *etcp_conn_create(int fd, etcp_session *session, const etcp_conn_limits *limits,
                            etcp_conn_state state);

/* Has it count for itself, if there is memory. */
void etcp_conn_count_alone(etcp_conn *c);

static inline void etcp_conn_count_in(etcp_conn *c, size_t bytes)
{
    if (c->traffic)
        c->traffic->bytes_in += bytes;
}

static inline void etcp_conn_count_out(etcp_conn *c, size_t bytes)
{
    if (c->traffic)
        c->traffic->bytes_out += bytes;
}

/* Lets go of the descriptor and frees: for the last reference. */
void etcp_conn_free(etcp_conn *c);

void etcp_conn_check_closely(etcp_conn *c);

/* Every function that reads or writes begins with this: after a fork the child's copy drops output
 * that is the parent's to deliver, and a handle that its owner closed is noticed. */
static inline void etcp_conn_check(etcp_conn *c)
{
    if (c->generation != etcp_process_generation() || c->on_close)
        etcp_conn_check_closely(c);
}

/* Replaces the session, which is freed: takes over the new one. */
void etcp_conn_use_session(etcp_conn *c, etcp_session *session);

/* Records an error unless there is one already; returns code. */
int etcp_conn_set_error(etcp_conn *c, int code, const char *text);
int etcp_conn_set_errno(etcp_conn *c, int saved_errno, const char *what);

/* Records that no more input will come, because of code; returns code. */
int etcp_conn_end_input(etcp_conn *c, int code);

/* Drops output for good. */
void etcp_conn_end_output(etcp_conn *c);

/* Whether a proxy's header is still to come. */
static inline int etcp_conn_awaits_header(const etcp_conn *c)
{
    return c->proxy && c->proxy->header;
}

/* Drops unparsed input. */
void etcp_conn_drop_view(etcp_conn *c);

static inline int etcp_conn_has_view(const etcp_conn *c)
{
    return c->view != c->view_end;
}

/* Whether nothing that was read is left to be worked on. Most looks at a connection only find that its
 * last message was the last. */
static inline int etcp_conn_is_at_rest(const etcp_conn *c)
{
    return !etcp_conn_has_view(c) && !c->kept && etcp_session_is_at_rest(c->session);
}

/* Whether the peer must read before it is read any further: who asks and asks and does not take the
 * answers stops nobody but itself. What was read already is handed out if the input has ended for
 * another reason than the peer's. */
static inline int etcp_conn_is_braked(const etcp_conn *c)
{
    size_t high = c->limits.high_water;

    return c->out.len && c->brakes && high && c->out.len > high / 2 &&
           (!c->end_code || c->end_code == ETCP_ECLOSED);
}

/* Notes that the connection holds so many bytes of messages that are not handed out. */
static inline void etcp_conn_note_held(etcp_conn *c, size_t now)
{
    const size_t heavy = now >= ETCP_HEAVY;
    const size_t was_heavy = c->held >= ETCP_HEAVY;

    if (now == c->held)
        return;
    etcp_session_config(c->session)->buffered += now - c->held; /* modulo 2^n: right for less, too */
    c->held = now;
    if (c->entry.loop)
        c->entry.loop->heavy += heavy - was_heavy;
}

/* Bytes that were given to be sent, and that the kernel has not taken. */
static inline size_t etcp_conn_unsent(const etcp_conn *c)
{
    return c->out.len + (c->tunnel ? etcp_buf_len(&c->tunnel->gathered) : 0);
}

/* Tells the loop, if there is one, what the connection waits for now. */
void etcp_conn_watch(etcp_conn *c);

/* Has the loop, which there must be, watch it no longer. */
void etcp_conn_unwatch(etcp_conn *c);

/* Has the loop, if there is one, look at the connection even if the kernel reports nothing. */
static inline void etcp_conn_pend(etcp_conn *c)
{
    etcp_loop_pend(&c->entry);
}

/* Lets go of the descriptor: closes it, or tells its owner. Output and view are dropped. Whoever
 * watches the descriptor must have stopped; the caller has a reference. */
void etcp_conn_release_fd(etcp_conn *c);

/* Whether fd still is the socket it was: the owner of a handed-over descriptor may close it. */
int etcp_conn_has_socket(const etcp_conn *c);

/* Whether the descriptor is this object's alone, so that shutdown(2) disturbs nobody. */
int etcp_conn_is_sole_owner(const etcp_conn *c);

/* Whether a connection that delivers its queue before it ends takes and drops input meanwhile. */
int etcp_conn_discards(const etcp_conn *c);

/* What TLS took or gave could not be used: records the channel's error; returns its code. */
int etcp_conn_tunnel_failed(etcp_conn *c, int code);

/* What reading gave that is no byte: records it. */
etcp_fill etcp_conn_end_of_stream(etcp_conn *c);
etcp_fill etcp_conn_read_failed(etcp_conn *c, int error);

/* Before anything is done with the tunnel or its socket: whether they are this process's. If not,
 * records that, and input and output end. */
int etcp_conn_may_use_tunnel(etcp_conn *c);

/* ---- what is held (conn_memory.c) ------------------------------------------------------------ */

/* Bytes that the connection holds of messages that are not handed out. */
size_t etcp_conn_held(const etcp_conn *c);

/* Frees the session of a connection that is over, and with it the way to its configuration: how much
 * room that has left is noted, as the connection's user may still have messages to decode. */
void etcp_conn_forget_session(etcp_conn *c);

/* Notes what the connection holds. When all of its configuration hold too much, those that hold
 * most have their input ended: never call this before an event is handed out that may be theirs. */
void etcp_conn_count(etcp_conn *c);

/* ---- output (conn_output.c) ------------------------------------------------------------------ */

/* Writes queued output as far as the kernel takes it. Returns 0, or an error that is recorded: then
 * the queue is dropped and output has ended. Whose payload went out may drop the connection: the
 * caller has a reference, or does not touch it afterwards. */
int etcp_conn_flush(etcp_conn *c);

/* Sends what the session has to say: negotiation packets. Returns as etcp_conn_flush. */
int etcp_conn_push_session(etcp_conn *c);

/* Sends cipher text that the tunnel has ready: handshake packets and the like. Returns as
 * etcp_conn_flush. */
int etcp_conn_push_tunnel(etcp_conn *c);

/* Says that nothing more will be sent, if TLS is spoken and this process owns it: before closing.
 */
void etcp_conn_say_goodbye(etcp_conn *c);

/* Sends a parcel, which the queue holds a reference to as long as it needs it. Never waits. Returns
 * as etcp_conn_send. */
int etcp_conn_send_parcel(etcp_conn *c, etcp_parcel *parcel);

/* Output of c is gathered from now on, until etcp_conn_flush_gathered for its loop. */
void etcp_conn_gather(etcp_conn *c);

/* Writes out what was gathered, if anything was. A failure is noted for the loop. */
void etcp_conn_flush_gathered(etcp_loop *l);

/* How many milliseconds the first message to an old server should still be kept back (conn_output.c
 * says why), at most; 0: it should not. */
unsigned etcp_conn_gap_left(etcp_conn *c);

/* The queue has not shrunk for too long: input and output end. Returns ETCP_ETIMEOUT. */
int etcp_conn_give_up(etcp_conn *c);

/* Waits as etcp_conn_drain does, which ends the connection on ETCP_ETIMEOUT. */
int etcp_conn_await_written(etcp_conn *c, size_t mark, uint64_t *waited_since);

/* ---- input (conn_input.c) -------------------------------------------------------------------- */

/* Parses the view. Returns 1 (*event), 0 (view used up), or the session's error, recorded, the view
 * dropped and the input ended. ETCP_EVENT_SETTLED comes only while the connection negotiates: what is
 * behind it is for whoever has the open connection. */
int etcp_conn_parse(etcp_conn *c, etcp_event *event);

/* Reads once, into the session's window or into bytes[0..size), which becomes the view. The view
 * must be empty. */
etcp_fill etcp_conn_fill(etcp_conn *c, uint8_t *bytes, size_t size);

/* The scratch of c's loop, now c's, after moving anybody else's view out of it. */
etcp_scratch *etcp_conn_scratch(etcp_conn *c);

/* Moves the view into memory of the connection. Returns 0, or ETCP_ENOMEM with the view dropped and
 * the input ended. */
int etcp_conn_keep_view(etcp_conn *c);

/* Throws away what the kernel holds for us, a bounded amount of it. Returns 0 when the peer closed
 * or the connection broke, 1 otherwise. */
int etcp_conn_discard(etcp_conn *c);

/* ---- TLS (conn_tunnel.c) --------------------------------------------------------------------- */

/* Makes the first session of a connection that begins with TLS if security says so, and with a
 * negotiation in clear otherwise (security may be NULL). Returns 0 or a negative code. */
int etcp_conn_first_session(etcp_config *config, const etcp_security *security, etcp_session **out);

/* Begins with TLS where that is to be: c->security is set. Returns 0 or a negative code, recorded.
 */
int etcp_conn_begin(etcp_conn *c);

/* ETCP_EVENT_TLS came: replaces the session by one for the inside, and begins. Returns 0 or a
 * negative code, recorded. */
int etcp_conn_switch(etcp_conn *c);

/* As etcp_conn_fill, for a connection with a tunnel. Afterwards nothing that was read is still
 * inside the tunnel, so that what poll(2) says stays true. */
etcp_fill etcp_conn_fill_tunnel(etcp_conn *c, uint8_t *bytes, size_t size);

/* ---- a client's negotiation (conn_negotiate.c) ----------------------------------------------- */

/* Writes what waits to be written, or reads once and answers. Returns 1 (the negotiation is over
 * and all is written: the connection is open), ETCP_AGAIN (when etcp_conn_negotiation_wants is
 * fulfilled), or another negative code, recorded. */
int etcp_conn_negotiate(etcp_conn *c);

/* What it waits for, ETCP_POLL_... */
unsigned etcp_conn_negotiation_wants(const etcp_conn *c);

/* ---- closing (conn_close.c) ------------------------------------------------------------------ */

/* Closes the descriptor at once. A connection of a loop goes to its list of those that are gone. */
void etcp_conn_finish_closing(etcp_conn *c);

/* Goes on with a connection that is being closed: as far as its descriptor allows, or, in a loop,
 * having waited in its list until now_ms. */
void etcp_conn_go_on_closing(etcp_conn *c);
void etcp_conn_closing_expired(etcp_conn *c, uint64_t now_ms);

/* Whether the peer's kernel has all that a connection that is being closed has sent. */
int etcp_conn_is_delivered(etcp_conn *c);

/* How long to wait, in milliseconds, before looking again at connections that close since since_ms;
 * 0: their time is over. */
int etcp_conn_linger_step(uint64_t since_ms, unsigned linger_ms);

/* Brings every connection of the loop up to date with its process and its socket, before
 * etcp_loop_renew. */
void etcp_conn_revise_all(etcp_loop *l);

/* c could not be watched: its input ends. */
void etcp_conn_lost(etcp_conn *c);

/* Takes c out of its loop. It goes on alone, open if it may and can, closed otherwise. Drops the
 * loop's reference. */
void etcp_conn_leave(etcp_conn *c);

#endif
