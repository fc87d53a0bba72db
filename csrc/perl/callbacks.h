/* The callbacks of a server, or of an async client: what setcallback() takes. */
#ifndef ETCP_PERL_CALLBACKS_H
#define ETCP_PERL_CALLBACKS_H

#include "object.h"

/* setcallback() for one pair: keeps code for the loop, and lists it in the hash of the object. Warns if
 * there is no callback of that name. The caller holds the object. Returns 1, or 0 with $@ set. */
int etcp_callbacks_set(pTHX_ etcp_object *o, SV *name, SV *code);

#endif
