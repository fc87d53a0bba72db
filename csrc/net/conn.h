/* csrc/net/ is the only place with system calls: sockets, clock, pollers, the connection with its
 * output queue, the server with its clients and deadlines. Platform differences stay here.
 *
 * This header: one TCP connection, of a client or of a server's client. */
#ifndef ETCP_NET_CONN_H
#define ETCP_NET_CONN_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/piece.h"
#include "net/traffic.h"
#include "tls/channel.h"
#include "wire/config.h"
#include "wire/session.h"

typedef struct etcp_conn etcp_conn;

/* What becomes of a message to a server's client for which more than high_water is queued. */
typedef enum etcp_when_full {
    ETCP_FULL_WAIT, /* it is sent; the sender should wait, see etcp_conn_wants_drain */
    ETCP_FULL_FAIL, /* it is refused */
    ETCP_FULL_CLOSE /* it is refused, and the connection ends */
} etcp_when_full;

/* Limits of a connection. Times in milliseconds where nothing else is said; 0 = none. */
typedef struct etcp_conn_limits {
    size_t high_water;        /* output bytes queued at which a sender must wait */
    etcp_when_full when_full; /* or must not */
    unsigned send_timeout_ms; /* how long a sender waits: a client for a peer that reads nothing, a
                                 server's client in all; a queue that has not shrunk for so long
                                 ends the connection */
    unsigned keep_alive_s;    /* seconds after which the system asks a silent peer for a sign */
    unsigned linger_ms;       /* how long a closed connection may take to deliver its queue */
} etcp_conn_limits;

/* One slow reader may hold this much; then send() waits. */
#define ETCP_HIGH_WATER ((size_t)64 << 20)
#define ETCP_SEND_TIMEOUT_MS 300000u /* as long as the original's longest wait */
#define ETCP_LINGER_MS 60000u

/* Fills in the defaults above. */
void etcp_conn_limits_default(etcp_conn_limits *limits);

/* Connections are counted: a server holds one reference to each of its clients until it has closed,
 * every other user takes its own. The last reference closes the descriptor and frees. */
etcp_conn *etcp_conn_ref(etcp_conn *c);
void etcp_conn_unref(etcp_conn *c);

/* A deep copy on a duplicated descriptor, belonging to no server: for threads. NULL on failure. */
etcp_conn *etcp_conn_clone(const etcp_conn *c);

/* Wraps a connected socket that negotiates nothing (the original's undocumented _sock argument): a
 * ready session without compression or encryption. Takes over fd on success.
 * Returns 0, ETCP_ESYSTEM or ETCP_ENOMEM. */
int etcp_conn_wrap(int fd, etcp_config *config, const etcp_conn_limits *limits, etcp_conn **out);

/* ---- using a connection --------------------------------------------------------------------- */

/* Sends one message: encodes, writes what the kernel takes now, queues the rest. Never waits, with
 * two exceptions: the first message of a client to a server older than 1.00 is kept back for some
 * milliseconds, 50 at most, unless that server has spoken since (conn_output.c says why); and a message
 * of megabytes that is sealed in parts waits between them where there is no loop, since its sender
 * waits afterwards anyway.
 * payload is copied where it must be kept, unless release is given: then payload stays in place,
 * and release(owner) is called once, when it is no longer needed (at once, on failure too). Returns
 * 0, ETCP_ECLOSED, ETCP_ETOOBIG, ETCP_ECRYPT, ETCP_ENOMEM, ETCP_EFULL (see etcp_when_full),
 * ETCP_ETIMEOUT (as etcp_conn_drain), or ETCP_ESYSTEM (errno says why; nothing can be sent any more). */
typedef void (*etcp_release_fn)(void *owner);
int etcp_conn_send(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len,
                   etcp_release_fn release, void *owner);

/* What etcp_conn_send tries first, when there is nothing to release. Returns 1 (sent, with nothing to
 * wait for), 2 (sent: see etcp_conn_wants_drain), a code as it, or 0: nothing was done, as the message
 * is not one of the small ones that need no care, or the connection is not settled. */
int etcp_conn_send_usual(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len);

/* The same for a message in several places, one at least, whose memory together is as large as len
 * says: each piece is released once. None of the releases may come back here. The list stays the
 * caller's. */
int etcp_conn_send_pieces(etcp_conn *c, unsigned flags, const etcp_piece *pieces, size_t count,
                          size_t len);

/* Waits until at most mark bytes of output are queued (mark 0: everything is with the kernel).
 * *waited_since is the caller's note across ETCP_EINTR: start with 0, pass it back unchanged.
 * Returns 0, ETCP_EINTR (call again), ETCP_ETIMEOUT (send_timeout_ms without progress, or
 * in all for a connection with a loop; the connection is closed by this), ETCP_ECLOSED or
 * ETCP_ESYSTEM. */
int etcp_conn_drain(etcp_conn *c, size_t mark, uint64_t *waited_since);

/* Whether a sender should call etcp_conn_drain now: the queue passed high_water, or the connection
 * belongs to no server and has any queue at all. mark to drain to in *mark, unless mark is NULL. */
int etcp_conn_wants_drain(const etcp_conn *c, size_t *mark);

/* Whether more than high_water is queued for a connection that has a loop. */
int etcp_conn_is_full(const etcp_conn *c);

/* The same, once the kernel was offered what is only gathered: a peer that reads need not be waited for.
 * If it stays so, the loop tells when the queue is empty. Releases nothing: what was borrowed goes with
 * the next call that sends. */
int etcp_conn_stays_full(etcp_conn *c);

/* Has the loop that c has tell when its queue is empty, which may be now: also if little was queued. */
void etcp_conn_tell_drained(etcp_conn *c);

/* Whether the loop is to tell now. What was queued after all had left has to leave, too, first. */
int etcp_conn_take_drained(etcp_conn *c);

/* Takes the next message: buffered ones first, then what the kernel has, then waiting. timeout_ms
 * is inactivity: every byte starts it anew; 0 does not wait. *waited_since as for etcp_conn_drain.
 * Returns 1 (*event filled, as etcp_session_next), ETCP_EINTR (call again), ETCP_ETIMEOUT,
 * ETCP_ECLOSED (the peer closed and nothing is left), ETCP_ESYSTEM, or a session's error. */
int etcp_conn_receive(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since, etcp_event *event);

/* Waits, at most timeout_ms (0: not at all), for what a client learns from its server only after it
 * may send: which compressor was agreed on. One that only sends never learns it otherwise. Takes no
 * message, and does not wait again once that was in vain. *waited_since as for etcp_conn_drain.
 * Returns 0 (it is known, or never will be), ETCP_EINTR (call again), ETCP_ETIMEOUT or another code. */
int etcp_conn_settle(etcp_conn *c, unsigned timeout_ms, uint64_t *waited_since);

/* Takes it if it is here, without waiting. Returns the same. */
int etcp_conn_settle_now(etcp_conn *c);

/* Whether there is nothing to wait for. */
int etcp_conn_is_settled(const etcp_conn *c);

/* Whether a complete message is already here, without reading from the socket. */
int etcp_conn_has_message(const etcp_conn *c);

/* The user keeps so many bytes of messages that it took and that nobody has fetched: they count as
 * unfinished ones do. */
void etcp_conn_set_undelivered(etcp_conn *c, size_t bytes);

/* How many bytes more all that share the connection's configuration may hold, at least 64 KiB. */
size_t etcp_conn_room(etcp_conn *c);

/* Closes: no more input, no more events. Queued output is still delivered, by the server's loop for
 * its clients, otherwise within this call as far as the kernel takes it without waiting, and a
 * connection with unread input is reset (call etcp_conn_linger first to lose nothing). The
 * structure lives until its last reference. Idempotent. */
void etcp_conn_close(etcp_conn *c);

/* Begins to close a connection that belongs to no server, and waits for some milliseconds: until
 * the queue is delivered, the sending side shut down, and all that was sent in the peer's kernel,
 * at most linger_ms in all; input is thrown away meanwhile. From the first call on it is not open.
 * Returns ETCP_EINTR (let signal handlers run, then call again) or 0: now call etcp_conn_close,
 * which may be done earlier too. */
int etcp_conn_linger(etcp_conn *c);

/* Ends a connection whose message the caller could not decode: no more input; its server reports
 * DISCONNECT, then FORGOTTEN. */
void etcp_conn_fail(etcp_conn *c);

/* The same for another reason. */
void etcp_conn_fail_with(etcp_conn *c, int code, const char *text);

/* Lets a server's client, if it is open then, go on alone when its server is freed. */
void etcp_conn_outlive_server(etcp_conn *c);

/* Closes this process's copy without touching the connection itself or queued output. */
void etcp_conn_abandon(etcp_conn *c);

/* What TLS is under the connection, if it is: how the peer's key was judged, the peer's fingerprint
 * ("" without a certificate). trust and text are left alone otherwise. Returns whether it is. */
int etcp_conn_tls(const etcp_conn *c, etcp_trust *trust, char text[ETCP_FINGERPRINT_TEXT]);

/* The same without asking for more. */
int etcp_conn_is_tls(const etcp_conn *c);

/* Gives up ownership of the descriptor: the caller (a Perl file handle) closes it. Afterwards
 * etcp_conn_close does not close the descriptor but calls on_close(owner) for that. */
void etcp_conn_hand_over_fd(etcp_conn *c, void (*on_close)(void *owner), void *owner);

int etcp_conn_is_open(const etcp_conn *c);

/* Whether an open connection can be sent to: neither its input nor its output has ended. */
int etcp_conn_is_live(const etcp_conn *c);
int etcp_conn_fd(const etcp_conn *c); /* -1 when closed */
size_t etcp_conn_queued(const etcp_conn *c);
etcp_session *etcp_conn_session(etcp_conn *c); /* NULL for a server's client after FORGOTTEN */
const etcp_error *etcp_conn_error(const etcp_conn *c);

/* Whether the peer has sent anything at all: scanners of ports and tests of health do not. */
int etcp_conn_has_heard(const etcp_conn *c);

/* Whether a server's client left when the server had proved that it knows the password, without doing
 * so itself: a client sees first that its password is a wrong one. */
int etcp_conn_is_unproven(const etcp_conn *c);

/* Whether a dialer of its server made it: it is no client of the server, then. */
int etcp_conn_is_dialed(const etcp_conn *c);

/* The peer's address as text (IPv4 dotted, also when mapped into IPv6), into text[0..size), and its
 * port. 64 bytes are enough. Stay valid after close. */
const char *etcp_conn_remote_ip(const etcp_conn *c, char *text, size_t size);
unsigned etcp_conn_remote_port(const etcp_conn *c);

/* The address of the proxy that told the peer's, the same way; NULL: the peer is connected itself. */
const char *etcp_conn_proxy_ip(const etcp_conn *c, char *text, size_t size);

/* What went over it; NULL for a server's client, which its server counts. */
const etcp_traffic *etcp_conn_traffic(const etcp_conn *c);

/* A pointer for the user of the connection, NULL at first; never touched by the core. */
void etcp_conn_set_user(etcp_conn *c, void *user);
void *etcp_conn_user(const etcp_conn *c);

/* A number for the user, 0 at first: the bridge keeps the serial here. */
void etcp_conn_set_serial(etcp_conn *c, long serial);
long etcp_conn_serial(const etcp_conn *c);

#endif
