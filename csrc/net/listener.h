/* A listening socket and the addresses that may connect to it. For the files of csrc/net/ only. */
#ifndef ETCP_NET_LISTENER_H
#define ETCP_NET_LISTENER_H

#include <stddef.h>

#include "base/error.h"
#include "loop.h"
#include "socket.h"

typedef struct etcp_listener {
    etcp_entry entry; /* must be first; nobody counts its references */
    unsigned port;
    char **allowed;
    size_t allowed_count;
} etcp_listener;

/* Binds and listens, non-blocking, SO_REUSEADDR. address NULL: all IPv4 addresses, as the original
 * did; port is a number or a service name, "0": the kernel chooses. Returns 0, ETCP_EINVAL (unknown
 * address or port) or ETCP_ESYSTEM, with *error. Close with etcp_listener_close, after failures
 * too. */
int etcp_listener_open(etcp_listener *l, const char *address, const char *port, int backlog,
                       etcp_error *error);

/* The same on a duplicate of the descriptor. Returns 0 or -1; close as above. */
int etcp_listener_clone(const etcp_listener *from, etcp_listener *l);

void etcp_listener_close(etcp_listener *l);

/* The list of addresses that may connect; empty: all. Returns 0, or ETCP_ENOMEM. Texts are compared
 * exactly with what etcp_address_text gives. */
int etcp_listener_allow(etcp_listener *l, const char *ip);
void etcp_listener_disallow(etcp_listener *l, const char *ip);

/* Whether this peer may connect. */
int etcp_listener_allows(const etcp_listener *l, const etcp_address *peer);

#endif
