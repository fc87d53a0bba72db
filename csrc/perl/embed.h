/* Life inside the event loop of another module: one descriptor to watch, one method to call. */
#ifndef ETCP_PERL_EMBED_H
#define ETCP_PERL_EMBED_H

#include "object.h"

/* pollfd(): the number of the descriptor that is readable while the server has something to do.
 * Returns a mortal, or &PL_sv_undef with $@ set. */
SV *etcp_embed_pollfd(pTHX_ etcp_object *server);

/* pollhandle(): the same as a handle on a descriptor of its own, always the same one. Returns as
 * above. */
SV *etcp_embed_pollhandle(pTHX_ etcp_object *server);

/* polltimeout(): seconds until there is something to do in any case. A mortal, undef for never. */
SV *etcp_embed_polltimeout(pTHX_ const etcp_object *server);

/* Seconds that a script gave as the longest wait, as milliseconds: what is undefined or negative is
 * 0. Magic is read once. */
int etcp_embed_wait_ms(pTHX_ SV *seconds);

/* What attach() noted, or NULL; and noting it. A false value forgets. */
SV *etcp_embed_attachment(const etcp_object *server);
void etcp_embed_set_attachment(pTHX_ etcp_object *server, SV *attachment);

#endif
