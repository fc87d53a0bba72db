/* The server's loop as Perl sees it: core events become callbacks. */
#ifndef ETCP_PERL_DISPATCH_H
#define ETCP_PERL_DISPATCH_H

#include "object.h"

/* The pace of the original, in milliseconds: do_one_loop() waits at most this long, and start() runs
 * its idle callback at least this often. */
enum { ETCP_TICK_MS = 10 };

/* One loop: waits at most timeout_ms (negative: until something happens), then delivers everything
 * that is ready. Callbacks may die, exit, or do anything to any object. Returns 1, or 0 with $@ set. */
int etcp_dispatch_loop(pTHX_ etcp_object *server, int timeout_ms);

/* start(): loops until stop is requested, calling idle (NULL: none) with the server after each loop.
 * Returns 1, or 0 with $@ set. */
int etcp_dispatch_start(pTHX_ etcp_object *server, SV *idle);

/* request() of an async client: sends data, and notes code for the reply, which must come in so many
 * seconds (0: at any time). The caller holds the object and the arguments. Returns 1, or 0 with $@
 * set. */
int etcp_dispatch_request(pTHX_ etcp_object *o, SV *data, SV *code, NV seconds);

/* close() has closed an async client: tells its requests. */
void etcp_dispatch_closed(pTHX_ etcp_object *o);

#endif
