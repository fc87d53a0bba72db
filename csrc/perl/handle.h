/* The IO::Socket handle that socket() gives out: on a descriptor of its own, made when asked for. */
#ifndef ETCP_PERL_HANDLE_H
#define ETCP_PERL_HANDLE_H

#include "object.h"

/* A duplicate of the object's descriptor for a Perl handle to own; -1 when closed or on failure
 * (errno set). */
int etcp_handle_dup_fd(const etcp_object *o);

/* Remembers a copy of the reference to the handle. */
void etcp_handle_set(pTHX_ etcp_object *o, SV *handle);

/* The reference to the handle, made now if there is none yet; the object's own, to be copied. NULL when
 * the connection is closed or on failure. Runs Perl. */
SV *etcp_handle_get(pTHX_ etcp_object *o);

/* Closes the handle, wherever else it is referenced. */
void etcp_handle_close(pTHX_ etcp_object *o);

/* Adds the slot _sock to a new object: old scripts read it instead of calling socket(). It makes the
 * handle when it is read. */
void etcp_handle_offer(pTHX_ etcp_object *o);

/* Whether the script closed a handle it got from socket(). */
int etcp_handle_was_closed(const etcp_object *o);

#endif
