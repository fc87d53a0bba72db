/* How objects begin, end, and get into new threads. */
#ifndef ETCP_PERL_LIFETIME_H
#define ETCP_PERL_LIFETIME_H

#include "object.h"

/* Makes objects known. Call it at boot. */
void etcp_lifetime_boot(void);

/* Makes the structure and hangs it on hash. The object owns nothing yet. */
etcp_object *etcp_object_attach(pTHX_ HV *hash, etcp_kind kind);

/* Closes the connection of a client or serverclient, waiting until the peer's kernel has what was
 * sent; handlers of signals run meanwhile, and may leave by an exception. The caller protects o. */
void etcp_lifetime_close(pTHX_ etcp_object *o);

#endif
