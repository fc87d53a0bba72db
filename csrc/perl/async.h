/* Clients with callbacks (async => 1): objects with a loop, their own or another's, in which they
 * connect, and what they are to send when they have. */
#ifndef ETCP_PERL_ASYNC_H
#define ETCP_PERL_ASYNC_H

#include "object.h"

typedef struct etcp_async_message etcp_async_message;
typedef struct etcp_request etcp_request;

struct etcp_async {
    etcp_dialer *dialer; /* our reference */
    SV *destination;     /* as $@ calls it, counted */
    int negotiation_s;   /* how long a negotiation may take, 0: for ever */
    etcp_conn_limits limits;
    size_t message_max;
    etcp_async_message *first, *last; /* not encoded yet: there was nobody to send them to */
    size_t bytes;                     /* of all of these */
    etcp_async_message *appended;     /* the last one, if it still waits; NULL: it has left */
    etcp_request *requests, *last_request; /* see request.h */
    size_t request_count;
    size_t kept_requests; /* so many of them, the last ones, belong to messages that wait */
    SV *failure;          /* what is to be said to those whose message has left, or NULL; counted */
    unsigned telling;     /* callbacks of theirs are running that hear it, inside each other */
    int was_long;                     /* there were many: drain is called when all have left */
};

/* Makes the part of an async client; takes over dialer. Enter it with etcp_async_enter. */
etcp_async *etcp_async_new(pTHX_ etcp_dialer *dialer, const etcp_conn_limits *limits);

/* Puts a new client into the loop of host, which may be itself. It begins to connect. */
void etcp_async_enter(etcp_object *o, etcp_object *host);

/* Takes a client out of its loop, and frees its part. */
void etcp_async_free(pTHX_ etcp_object *o);

/* Ends all attempts, and drops what was not sent. */
void etcp_async_stop(pTHX_ etcp_object *o);

/* Whether messages can be sent: now, or when there is a connection. */
int etcp_async_takes(const etcp_object *o);

/* Whether messages go to the connection, as nothing is waiting before them. */
int etcp_async_is_through(const etcp_object *o);

/* Keeps a message until there is a connection: data is frozen now. Magic was read. Returns 1, or 0
 * with the text in $@. */
int etcp_async_keep(pTHX_ etcp_object *o, SV *data);

/* Notes that the message that was sent last is a request. */
void etcp_async_mark_request(etcp_object *o);

/* Takes the n-th of the requests that wait, from 0 on, out of the queue. */
void etcp_async_drop_request(pTHX_ etcp_object *o, size_t n);

/* How many bytes wait to be sent, or for their peer to take them. */
size_t etcp_async_queued(const etcp_object *o);

/* The client has this connection now. Sends what waited. */
void etcp_async_connected(pTHX_ etcp_object *o, etcp_conn *conn);

/* Sends what still waits, as far as there is room. */
void etcp_async_flush(pTHX_ etcp_object *o);

/* The core has forgotten conn, or is about to: if it is still the client's, lets go of what hangs on
 * it. */
void etcp_async_forget(pTHX_ etcp_object *o, const etcp_conn *conn);

/* What is said of its last attempt, which failed: a mortal. */
SV *etcp_async_failure(pTHX_ const etcp_object *o);

#endif
