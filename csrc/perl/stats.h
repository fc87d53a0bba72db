/* What stats() returns. */
#ifndef ETCP_PERL_STATS_H
#define ETCP_PERL_STATS_H

#include "object.h"

/* Why connections end, or never begin, as the error callback calls it: its index, to be counted; -1:
 * there is no such kind. */
int etcp_stats_kind(const char *kind);

enum { ETCP_STATS_KINDS = 6 };

/* A mortal reference to a new hash about a server, or a client. */
SV *etcp_stats_of_server(pTHX_ const etcp_object *server);
SV *etcp_stats_of_client(pTHX_ const etcp_object *client);

#endif
