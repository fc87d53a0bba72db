/* TLS under a connection: a channel, whose it is after a fork, and what waits at its ends. */
#ifndef ETCP_NET_TUNNEL_H
#define ETCP_NET_TUNNEL_H

#include "base/buf.h"
#include "claim.h"
#include "tls/channel.h"
#include "tls/context.h"
#include "wire/session.h"

/* What TLS begins with, counted: of a server for all its clients, of a client for one attempt. */
typedef struct etcp_security {
    unsigned references;
    etcp_tls *tls;
    char *host;     /* whose certificate a client wants to see; NULL: a server's */
    char *endpoint; /* "host:port", under which the server's key is noted */
} etcp_security;

/* Makes one with a reference; takes one on tls and copies the texts, which may be NULL. NULL: out
 * of memory. */
etcp_security *etcp_security_new(etcp_tls *tls, const char *host, const char *endpoint);

/* One for another thread. NULL: out of memory. */
etcp_security *etcp_security_clone(const etcp_security *s);

/* Adds or drops a reference. NULL does nothing. */
etcp_security *etcp_security_ref(etcp_security *s);
void etcp_security_unref(etcp_security *s);

typedef struct etcp_tunnel {
    etcp_claim claim; /* must be first */
    etcp_channel *channel;
    etcp_buf gathered;          /* clear text that will be sealed together */
    etcp_buf cipher;            /* ready to be sent */
    int is_bound;               /* the session knows of the established channel */
    void *owner;                /* the connection, for flush */
    void (*flush)(void *owner); /* before a fork */
    int (*has_output)(const void *owner);
} etcp_tunnel;

enum { ETCP_GATHERED_MAX = 16384 /* one record */ };

/* Makes a tunnel over a new channel. Returns 0, ETCP_ECRYPT or ETCP_ENOMEM. */
int etcp_tunnel_new(const etcp_security *s, void *owner, void (*flush)(void *owner),
                    int (*has_output)(const void *owner), etcp_tunnel **out);

/* Wipes and frees. NULL does nothing. */
void etcp_tunnel_free(etcp_tunnel *t);

#endif
