/* A listening socket, or the lack of one, and the addresses that may connect to it. For the files
 * of csrc/net/ only. */
#ifndef ETCP_NET_LISTENER_H
#define ETCP_NET_LISTENER_H

#include <stddef.h>

#include "address_list.h"
#include "base/error.h"
#include "local_socket.h"
#include "loop.h"
#include "socket.h"

typedef struct etcp_listener {
    etcp_entry entry; /* must be first; nobody counts its references */
    etcp_address address;
    etcp_address_list allowed;
    etcp_address_list proxies; /* who tell another address than their own */
    int is_inherited;    /* another process may accept from it, too */
    unsigned generation; /* the process that made it */
    char *path;          /* of the file to be removed, or NULL */
    etcp_local_file file;
} etcp_listener;

/* Where to listen; the first that is given counts: handle, path, port. */
typedef struct etcp_listen_options {
    int handle;          /* an open descriptor, -1: none */
    const char *path;    /* of a Unix-domain socket, or NULL */
    int path_mode;       /* its permissions, -1: as the umask has it */
    const char *address; /* to bind to; NULL: all IPv4 addresses, as the original did */
    const char *port;    /* a number or a service name; "0": the kernel chooses; NULL: nowhere */
    int reuse_port;      /* other sockets may listen there, too: SO_REUSEPORT */
    int backlog;
} etcp_listen_options;

/* Listens, non-blocking; ports with SO_REUSEADDR. A handle is duplicated. Returns 0, ETCP_EINVAL
 * (unknown address or port; the handle does not listen) or ETCP_ESYSTEM, with *error, or
 * ETCP_ENOMEM. Close with etcp_listener_close, after failures too. */
int etcp_listener_open(etcp_listener *l, const etcp_listen_options *options, etcp_error *error);

/* The same on a duplicate of the descriptor. Returns 0 or -1; close as above. */
int etcp_listener_clone(const etcp_listener *from, etcp_listener *l);

/* Closes the socket, removes its file if this process made it, and forgets the addresses. */
void etcp_listener_close(etcp_listener *l);

/* Only the first two: nobody can connect any more. Nothing may watch it. */
void etcp_listener_shut(etcp_listener *l);

/* Whether other processes accept from it, too. */
int etcp_listener_is_shared(const etcp_listener *l);

/* Whether this peer may connect: while nobody is in the list of those who are allowed, all are. */
int etcp_listener_allows(const etcp_listener *l, const etcp_address *peer);

#endif
