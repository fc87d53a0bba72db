/* Requests of async clients: messages that will be answered, in order. */
#ifndef ETCP_PERL_REQUEST_H
#define ETCP_PERL_REQUEST_H

#include "async.h"

/* Adds the request of a message that was just sent: code is called with what becomes of it, which must
 * be known in seconds (0: at any time). */
void etcp_request_add(pTHX_ etcp_object *o, SV *code, NV seconds);

/* Takes the oldest request whose message has left: its code, a mortal. NULL: there is none. */
SV *etcp_request_take(pTHX_ etcp_object *o);

/* Whether there is one. */
static inline int etcp_request_is_open(const etcp_async *a)
{
    return a->request_count > a->kept_requests;
}

/* Takes a request whose time is over and whose message still waits, and the message. The same. */
SV *etcp_request_take_late(pTHX_ etcp_object *o);

/* Whether the time of one is over whose message has left. Has the loop wake the client for the next. */
int etcp_request_is_late(const etcp_object *o);

/* Forgets all, without calling anybody. */
void etcp_request_drop_all(pTHX_ etcp_async *a);

#endif
