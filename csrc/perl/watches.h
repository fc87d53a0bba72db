/* What a program has our loops watch for it: watch() and unwatch(), and moments. */
#ifndef ETCP_PERL_WATCHES_H
#define ETCP_PERL_WATCHES_H

#include "object.h"

typedef struct etcp_watching etcp_watching;

/* The number of the descriptor that handle has, or is; -1: none. Runs Perl code. */
int etcp_watches_fileno(pTHX_ SV *handle);

/* watch(): has host, the object whose loop o is in, call code with o and handle while its descriptor
 * fd is readable; in place of what was said for the same handle before. Magic was read. Returns 1, or 0
 * with the text in $@. */
int etcp_watches_add(pTHX_ etcp_object *host, etcp_object *o, SV *handle, int fd, SV *code);

/* Calls code with o in so many seconds, once; in a forked child at once, too. Returns as
 * etcp_watches_add. */
int etcp_watches_add_moment(pTHX_ etcp_object *host, etcp_object *o, NV seconds, SV *code);

/* unwatch(): forgets a handle, which may be closed by now: fd is -1 then. */
void etcp_watches_remove(pTHX_ etcp_object *host, SV *handle, int fd);

/* Forgets all that was asked for on o. Runs no code: subroutines and handles go when the statement
 * ends. */
void etcp_watches_remove_own(pTHX_ etcp_object *o);

/* The same, and all that is watched in its loop, by whomever. */
void etcp_watches_remove_all(pTHX_ etcp_object *o);

/* Forgets handles that the program has closed, so that their files are. */
void etcp_watches_look_after(pTHX_ etcp_object *host);

/* WATCHED was told: what to call, a mortal, and with what, mortals and a NULL. NULL: nobody is to be
 * called. */
SV *etcp_watches_due(pTHX_ etcp_watch *core, SV *arguments[3]);

#endif
