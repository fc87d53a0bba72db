/* The IO::Socket handle that socket() gives out: on a descriptor of its own, made when asked for. */
#ifndef ETCP_PERL_HANDLE_H
#define ETCP_PERL_HANDLE_H

#include "object.h"

/* A duplicate of the object's descriptor for a Perl handle to own; -1 when closed or on failure
 * (errno set). */
int etcp_handle_dup_fd(const etcp_object *o);

/* Remembers the handle and shows it in the slot _sock. */
void etcp_handle_set(pTHX_ etcp_object *o, SV *handle);

/* Closes the handle, wherever else it is referenced, and empties the slot. */
void etcp_handle_close(pTHX_ etcp_object *o);

/* Whether the script closed a handle it got from socket(). */
int etcp_handle_was_closed(const etcp_object *o);

#endif
