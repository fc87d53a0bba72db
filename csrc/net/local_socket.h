/* Unix-domain sockets: their addresses, and the files that stand for them. For the files of
 * csrc/net/ only. */
#ifndef ETCP_NET_LOCAL_SOCKET_H
#define ETCP_NET_LOCAL_SOCKET_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Fills in the address of the socket at path. Returns its length, or 0 with errno: ENAMETOOLONG or,
 * for an empty path, EINVAL. */
socklen_t etcp_local_socket_address(const char *path, struct sockaddr_un *out);

/* The file of a socket, to know it again. All zero: none. */
typedef struct etcp_local_file {
    uint64_t device;
    uint64_t inode;
} etcp_local_file;

/* Makes a listening socket at path: non-blocking, close-on-exec. A socket that is there and that
 * nobody listens at any more is removed; anything else at path stays and is an error (EADDRINUSE).
 * mode are the permissions of the file, -1: what the process's umask leaves. Returns the
 * descriptor, with *file filled in, or -1 with errno and the call that failed in *what. */
int etcp_local_socket_listen(const char *path, int mode, int backlog, etcp_local_file *file,
                             const char **what);

/* Removes the file at path if it still is this one. errno is kept. */
void etcp_local_socket_remove(const char *path, const etcp_local_file *file);

#endif
