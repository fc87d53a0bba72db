/* One connection's protocol state: bytes in, events and bytes out. */
#ifndef ETCP_WIRE_SESSION_H
#define ETCP_WIRE_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/piece.h"
#include "codec/cipher.h"
#include "codec/compressor.h"
#include "wire/adapt.h"
#include "wire/capability_list.h"
#include "wire/config.h"
#include "wire/parcel.h"

typedef struct etcp_session etcp_session;

typedef enum etcp_event_type {
    ETCP_EVENT_READY = 1,   /* negotiation is over; messages may be sent and will arrive */
    ETCP_EVENT_MESSAGE = 2, /* one complete application message */
    ETCP_EVENT_SETTLED = 4, /* what was missing when READY came early is known: the compressor */
    ETCP_EVENT_TLS = 3 /* TLS begins with the next byte in both directions, behind the output that
                          is there: see etcp_session_switch. Nothing else comes after it */
} etcp_event_type;

enum { ETCP_MESSAGE_COMPLEX = 2 }; /* the message is a Storable image (the wire's flag bit) */

typedef struct etcp_event {
    etcp_event_type type;
    unsigned flags;      /* ETCP_MESSAGE_COMPLEX or 0 */
    const uint8_t *data; /* the message; valid until the next call on the session (or, when it lies
                            in the caller's input, as long as that) */
    size_t len;
    void *payload; /* not NULL: a handle of payload_ops that holds data; now the caller's */
} etcp_event;

/* What can be asked of a connection: the time alone, its queue too, and also what costs more. */
typedef enum etcp_path_question {
    ETCP_PATH_TIME,  /* now_us */
    ETCP_PATH_QUEUE, /* and queued, own, was_blocked, price */
    ETCP_PATH_ALL    /* and info, same_host */
} etcp_path_question;

typedef struct etcp_path {
    uint64_t
        packed_us; /* told, not asked: spent on compressing since the queue was last asked for */
    uint64_t now_us;
    uint64_t queued; /* bytes not acknowledged, own included, or ETCP_QUEUED_UNKNOWN */
    uint64_t own;    /* bytes that the kernel did not take yet */
    int was_blocked; /* the kernel refused bytes since the queue was last asked for */
    unsigned price;  /* see etcp_adapt_choose */
    int same_host;
    etcp_path_info info;
} etcp_path;

typedef void (*etcp_path_fn)(void *arg, etcp_path_question question, etcp_path *out);

enum { ETCP_HEADER_SIZE = 8 /* where the header of a packet has room */ };

/* One encoded message: header, then body. */
typedef struct etcp_packet {
    uint8_t header[ETCP_HEADER_SIZE];
    size_t header_len;
    const uint8_t *body; /* the session's until its next call, or ... */
    size_t body_len;
    int is_borrowed;     /* ... the caller's own payload, or the parcel's */
    const uint8_t *rest; /* what of the caller's payload is not in body yet, in any form */
    size_t rest_len;     /* 0: the packet is whole */
    const etcp_piece *piece; /* NULL, or the piece that rest is in; others follow */
    etcp_seal_run run;
} etcp_packet;

/* Makes a session, taking a reference on config. A server's first packet is already in the output.
 * Returns 0 or ETCP_ENOMEM or ETCP_ECRYPT. Free with etcp_session_free. */
int etcp_session_new(etcp_config *config, etcp_session **out);

/* Makes a session that negotiates nothing: ready at once, without compression or encryption. For a
 * socket that the caller connected. Returns 0 or ETCP_ENOMEM. */
int etcp_session_new_ready(etcp_config *config, etcp_session **out);

enum { ETCP_INSIDE_PROLOGUE = 32, ETCP_INSIDE_BINDING = 32 };

/* What passes from the clear into TLS, as bits of etcp_inside_facts.flags. */
enum {
    ETCP_INSIDE_UPGRADED = 1, /* there was something in clear before */
    ETCP_INSIDE_ASKED = 2,    /* a password will be asked for, the server said */
    ETCP_INSIDE_CERTIFICATE =
        4 /* the server asked the client for a certificate, and may refuse it */
};

typedef struct etcp_inside_facts {
    uint8_t prologue[ETCP_INSIDE_PROLOGUE]; /* SHA-256 of what was said in clear */
    unsigned flags;
} etcp_inside_facts;

/* After ETCP_EVENT_TLS: fills *facts. Returns 0, ETCP_ECRYPT (OpenSSL's policy refuses the digest) or
 * ETCP_ENOMEM. The session is of no further use. */
int etcp_session_switch(const etcp_session *s, etcp_inside_facts *facts);

/* The facts of a channel without anything in clear before it. Returns as etcp_session_switch. */
int etcp_session_direct(etcp_inside_facts *facts);

/* Makes a session for a channel whose other end is not the peer: something that speaks TLS for it
 * stands in between. It negotiates as ever, without ciphers and TLS. A password is told only if
 * is_proved says that it is known whose TLS that is. Returns as etcp_session_new. */
int etcp_session_new_tunnelled(etcp_config *config, int is_proved, etcp_session **out);

/* Makes a session for the inside of a channel, which must not be fed before etcp_session_bind.
 * Returns as etcp_session_new. */
int etcp_session_new_inside(etcp_config *config, const etcp_inside_facts *facts,
                            etcp_session **out);

/* The channel is established: binding is what only both its ends know, flags are added to the
 * facts. A client's first packet is in the output afterwards. Returns 0 or a negative code,
 * recorded. */
int etcp_session_bind(etcp_session *s, unsigned flags, const uint8_t binding[ETCP_INSIDE_BINDING]);

/* Whether a server's session waits for etcp_session_prove: the client says that it knows the
 * password, and the answer tells it whether it guessed right. */
int etcp_session_wants_proof(const etcp_session *s);

/* Queues that answer. Returns 0 or a negative code, recorded. */
int etcp_session_prove(etcp_session *s);

/* Whether a client gave up because of a salt that an honest server of this old release draws now and
 * then: its next one will be another. */
int etcp_session_was_chance(const etcp_session *s);

/* Wipes keys and frees. NULL does nothing. */
void etcp_session_free(etcp_session *s);

/* A deep copy, for a connection that a thread inherits: keys, versions, unread input, and a
 * configuration of its own (etcp_config_clone). Output not yet taken is not copied. Returns 0 or
 * ETCP_ENOMEM, ETCP_ECRYPT. */
int etcp_session_clone(const etcp_session *s, etcp_session **out);

/* Takes input from *input up to end and advances *input, until one event is there or the input is
 * used up. An incomplete packet is copied into the session, so the caller's memory need not outlive
 * the call that used it up. Call with *input == end to fetch an event that needs no new bytes
 * (after etcp_session_commit). Returns 1 (*event is filled), 0 (input used up, no event),
 * ETCP_AGAIN (decoding a large message takes some milliseconds more: others may be looked after
 * before the next call), or another negative code, which is sticky: see etcp_session_error. Bytes to
 * send may have been added to the output in every case, failures too (a rejection the peer should
 * hear). */
int etcp_session_next(etcp_session *s, const uint8_t **input, const uint8_t *end,
                      etcp_event *event);

/* Takes what nearly always comes as etcp_session_next would: a small message that lies in the input as a
 * whole, where nothing was agreed and nothing is under way. Returns 1, or 0 otherwise: nothing was
 * taken. */
int etcp_session_next_usual(etcp_session *s, const uint8_t **input, const uint8_t *end,
                            etcp_event *event);

/* Whether nothing is left to be done: no output, and without new bytes etcp_session_next would
 * return 0 and free nothing. */
int etcp_session_is_at_rest(const etcp_session *s);

/* While a large payload is arriving: where its next bytes belong and how many fit, so that they can
 * be read in place. Returns the room, 0 when no large payload is under way. Room grows as bytes
 * arrive and never by what a header claims. */
size_t etcp_session_window(etcp_session *s, uint8_t **where);

/* Tells that len bytes were written to the window. */
void etcp_session_commit(etcp_session *s, size_t len);

/* Whether input..end begins with a whole packet (continuing what the session holds). No side
 * effect. */
int etcp_session_has_packet(const etcp_session *s, const uint8_t *input, const uint8_t *end);

/* Negotiation packets waiting to be sent. The caller writes them and consumes what was written. */
etcp_buf *etcp_session_output(etcp_session *s);

/* Whether a message of len bytes, few enough to be copied, goes as it is: it may be sent now, and no
 * transform is in effect. Then its packet is the header that etcp_session_encode_header writes, with its
 * size as result, and the payload; header has room for ETCP_HEADER_SIZE bytes. */
int etcp_session_is_plain(const etcp_session *s, size_t len);
size_t etcp_session_encode_header(etcp_session *s, unsigned flags, size_t len, uint8_t *header);

/* Encodes one application message with the transforms in effect. flags is 0 or
 * ETCP_MESSAGE_COMPLEX. payload stays the caller's and must live until the packet is written or
 * copied. Parts of the packet may remain to be encoded. Returns 0, ETCP_EINVAL (before READY),
 * ETCP_ETOOBIG, ETCP_ECRYPT (nothing may be sent then: never falls back to clear text), or
 * ETCP_ENOMEM. These are not sticky. */
int etcp_session_encode(etcp_session *s, unsigned flags, const uint8_t *payload, size_t len,
                        etcp_packet *packet);

/* The same for a message that others send too: the body is the parcel's where there is no cipher.
 */
int etcp_session_encode_parcel(etcp_session *s, etcp_parcel *parcel, etcp_packet *packet);

/* The same for a message in pieces, of len bytes together, which lie where they are. Where it goes as
 * it is, the packet is borrowed and has no body: the pieces follow it. Otherwise they are not needed
 * any more when the packet is whole; what may be forgotten of them is, as they are used. Returns as
 * etcp_session_encode, or ETCP_IN_ONE_PLACE: then they are to be put together, and encoded as ever. */
enum { ETCP_IN_ONE_PLACE = 2 };
int etcp_session_encode_pieces(etcp_session *s, unsigned flags, const etcp_piece *pieces,
                               size_t count, size_t len, etcp_packet *packet);

/* Encodes the next part of a packet that is not whole: header_len is 0 then, and the body follows
 * the one before. Large payloads come in parts, so that the peer receives the first while the last
 * is worked on, and memory for one is enough. Nothing else may be encoded in between. Returns 0,
 * ETCP_ECRYPT or ETCP_ENOMEM; the packet cannot be completed then. */
int etcp_session_encode_rest(etcp_session *s, etcp_packet *packet);

/* The block with the body of the packet encoded last, if that body is not the caller's own payload;
 * and the session's word that whoever has it now frees it, with etcp_free. */
void *etcp_session_encoded(const etcp_session *s);
void etcp_session_give_encoded(etcp_session *s);

/* Whether READY came before ETCP_EVENT_SETTLED, which has not come yet. */
int etcp_session_is_early(const etcp_session *s);

/* How to learn about the connection under a session, for choosing what to compress: fn is called
 * from etcp_session_encode, with arg, now and then. Without it messages are compressed as if
 * compress were ALWAYS. A clone has none. */
void etcp_session_set_path(etcp_session *s, etcp_path_fn fn, void *arg);

/* Tells that the peer closed its sending side, so that an unfinished negotiation gets its error. */
void etcp_session_end_of_input(etcp_session *s);

/* Bytes that the session holds of messages that are not handed out yet, raw and decoded. */
size_t etcp_session_held(const etcp_session *s);

/* Frees them: nothing more will be taken from this session. */
void etcp_session_drop_input(etcp_session *s);

/* Predicates and facts. The configuration is borrowed. */
etcp_config *etcp_session_config(const etcp_session *s);
int etcp_session_is_ready(const etcp_session *s);
int etcp_session_is_authenticated(const etcp_session *s);
uint32_t etcp_session_peer_version(const etcp_session *s);         /* 0 until known */
const char *etcp_session_peer_version_text(const etcp_session *s); /* "" until known */
unsigned etcp_session_peer_can(const etcp_session *s); /* receive: ETCP_CAN_..., 0 until known */
unsigned etcp_session_told(const etcp_session *s);     /* what it was told that we can */
const etcp_cipher *etcp_session_cipher(const etcp_session *s);         /* NULL: none agreed */
const etcp_compressor *etcp_session_compressor(const etcp_session *s); /* NULL: none agreed */
const etcp_error *etcp_session_error(const etcp_session *s);           /* code 0: none */

/* Whether output that is waiting, or was just taken, ends with a packet after which the first
 * message must not follow in the same segment: a client's EN to a server older than 1.00. No longer
 * true once etcp_session_encode was called. */
int etcp_session_wants_gap(const etcp_session *s);

#endif
