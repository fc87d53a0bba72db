/* Sockets: how they are made, read, written and asked. The system calls that a test wants to script
 * (short writes, resets, exhausted descriptors) go through one table. */
#ifndef ETCP_NET_SOCKET_H
#define ETCP_NET_SOCKET_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <netdb.h>

#include "base/error.h"

/* What some kernels tell of a TCP connection; 0: not told. */
typedef struct etcp_tcp_info {
    uint64_t delivery_rate; /* bytes a second, of what was acknowledged of late */
    uint64_t min_rtt_us;
    uint64_t busy_us;    /* for so long there was something to send, */
    uint64_t limited_us; /* for so long of that the peer's window was full */
} etcp_tcp_info;

/* Each behaves as the system call of its name, errno included. */
typedef struct etcp_syscalls {
    ssize_t (*recv)(int fd, void *bytes, size_t len, int flags);
    ssize_t (*send)(int fd, const void *bytes, size_t len, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
    int (*accept)(int fd, struct sockaddr *address,
                  socklen_t *len); /* non-blocking, close-on-exec */
    int (*connect)(int fd, const struct sockaddr *address, socklen_t len);
    int (*poll)(struct pollfd *fds, nfds_t count, int timeout_ms);
    int (*shutdown)(int fd, int how);
    int (*close)(int fd);
    int (*getaddrinfo)(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **out);
    int (*unread)(int fd);  /* bytes the kernel holds for us */
    int (*unacked)(int fd); /* bytes we sent that the peer's kernel has not; 0 where unknown */
    int (*path)(int fd, etcp_tcp_info *out); /* -1: nothing is known */
} etcp_syscalls;

/* Whether unacked knows. */
int etcp_socket_counts_unacked(void);

/* What the net layer calls; the system's own unless a test replaced it. */
extern const etcp_syscalls *etcp_sys;

/* The system's own calls, for tests to copy and change. */
extern const etcp_syscalls etcp_system_calls;

enum { ETCP_FAMILY_UNIX = 1 };

/* One address of a peer or listener, small enough to be kept per connection. */
typedef struct etcp_address {
    uint8_t bytes[16]; /* IPv4 in the first four */
    uint16_t port;
    uint8_t family; /* 4, 6, ETCP_FAMILY_UNIX, or 0: none of these */
} etcp_address;

/* Reads what fd has, never waiting, retrying after signals. Returns the bytes read, 0 at the end of
 * the stream, or -1 with errno (EAGAIN: nothing there). */
ssize_t etcp_socket_read(int fd, void *bytes, size_t len);

/* The same without taking it: the next read gets these bytes again. */
ssize_t etcp_socket_peek(int fd, void *bytes, size_t len);

/* Writes what fd takes of count pieces, never waiting, never raising SIGPIPE, retrying after
 * signals. (count has a type that fits msg_iovlen on every system.) Returns the bytes written (0:
 * the kernel takes nothing now) or -1 with errno. */
ssize_t etcp_socket_write(int fd, struct iovec *pieces, unsigned short count);

/* The same for bytes in one place. */
ssize_t etcp_socket_write_one(int fd, const uint8_t *bytes, size_t len);

/* The same for head and body, which may be empty. */
ssize_t etcp_socket_write_two(int fd, const uint8_t *head, size_t head_len, const uint8_t *body,
                              size_t body_len);

/* Waits for events (POLLIN, POLLOUT) on one descriptor; timeout_ms negative: for ever. Returns as
 * poll(2): 1, 0 (timeout), or -1 with errno, EINTR included. Says EINTR once a second too: a signal
 * that came just before the wait does not end it, and its handler must not wait for the peer. */
int etcp_socket_wait(int fd, short events, int timeout_ms);

/* Resolves host (NULL: any address, to listen) and port to a list for freeaddrinfo. Numeric ports
 * above 65535 are refused. family is AF_UNSPEC or AF_INET. Returns 0, or what getaddrinfo does: a
 * code for gai_strerror. */
int etcp_socket_resolve(const char *host, const char *port, int family, struct addrinfo **out);

/* Makes a non-blocking, close-on-exec stream socket that raises no SIGPIPE. -1 with errno. */
int etcp_socket_new(int family);

/* Makes a listening socket on the first address of list that can be bound; shares_port: where
 * others that say so listen, too. Returns the descriptor, or -1 with errno and what failed in
 * *what. */
int etcp_socket_listen(const struct addrinfo *list, int shares_port, int backlog,
                       const char **what);

/* Whether fd is a stream socket that listens, or that has a peer. */
int etcp_socket_is_listening(int fd);
int etcp_socket_is_connected(int fd);

/* Accepts one connection and prepares it (TCP_NODELAY). Returns the descriptor or -1 with errno. */
int etcp_socket_accept(int fd, etcp_address *peer);

/* Duplicates fd, close-on-exec. -1 with errno. */
int etcp_socket_dup(int fd);

/* Closes fd; errno is kept. */
void etcp_socket_close(int fd);

/* Small packets leave at once: the protocol is one of questions and answers. */
void etcp_socket_no_delay(int fd);

/* Puts a descriptor back into blocking mode, as users of a client's handle expect it. */
void etcp_socket_blocking(int fd);

/* The other way round, for whoever shares the open socket, too. */
void etcp_socket_unblocking(int fd);

/* The error of a finished non-blocking connect: 0 or an errno. */
int etcp_socket_pending_error(int fd);

/* Has the system ask a silent peer, after so many seconds and then three times, whether it still is
 * there, and end the connection if it does not answer. No effect on what is no TCP socket. */
void etcp_socket_keep_alive(int fd, unsigned seconds);

/* Addresses of fd. Unknown families give family 0. */
void etcp_socket_peer(int fd, etcp_address *out);
void etcp_socket_local(int fd, etcp_address *out);

/* Whether fd's peer is on this machine: both ends have the same address, or it is no socket of the
 * internet at all. */
int etcp_socket_is_local(int fd);

/* Whether the peer's kernel has all that was written to fd. What went into a Unix-domain socket is the
 * peer's at once, even though it counts as unacked until it is read; unless input is unread here, which
 * would spoil the peer's end of the stream. */
int etcp_socket_is_delivered(int fd);

/* Identifies the open socket behind fd for as long as it exists; 0 when fd is not open. */
uint64_t etcp_socket_identity(int fd);

/* An IPv4 client is known by the address it has, also when that comes mapped into IPv6. */
void etcp_address_unmap(etcp_address *a);

/* Writes the address as text; "unix" for all Unix-domain sockets, "" for family 0. IPv6-mapped IPv4
 * is written dotted. Returns text. */
const char *etcp_address_text(const etcp_address *a, char *text, size_t size);

#endif
