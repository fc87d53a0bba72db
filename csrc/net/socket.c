#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif

/* SIGPIPE belongs to the program: it must never be raised by us, nor its handler changed. */
#ifdef MSG_NOSIGNAL
enum { SEND_FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };
#else
enum { SEND_FLAGS = MSG_DONTWAIT };
#endif

#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
#define HAVE_SOCKET_FLAGS 1
#else
/* Two steps instead of one: a fork of another thread in between inherits the descriptor. */
static void set_descriptor_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}
#endif

enum {
    SLICE_MS = 1000, /* the longest that a signal's handler waits for a peer */
    COPIED_MAX = 1024
};

static int system_accept(int fd, struct sockaddr *address, socklen_t *len)
{
#ifdef HAVE_SOCKET_FLAGS
    return accept4(fd, address, len, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
    int accepted = accept(fd, address, len);

    if (accepted >= 0)
        set_descriptor_flags(accepted);
    return accepted;
#endif
}

static int system_unread(int fd)
{
    int count = 0;

    return ioctl(fd, FIONREAD, &count) < 0 ? 0 : count;
}

static int system_unacked(int fd)
{
    int count = 0;

#if defined(SIOCOUTQ)
    if (ioctl(fd, SIOCOUTQ, &count) < 0)
        return 0;
#elif defined(FIONWRITE)
    if (ioctl(fd, FIONWRITE, &count) < 0)
        return 0;
#else
    (void)fd;
#endif
    return count;
}

int etcp_socket_counts_unacked(void)
{
#if defined(SIOCOUTQ) || defined(FIONWRITE)
    return 1;
#else
    return 0;
#endif
}

/* The C library's declaration may be older than the kernel, and end before what is wanted. */
#if defined(__linux__) && defined(TCP_INFO)
enum {
    INFO_RTT = 68,
    INFO_MIN_RTT = 148,
    INFO_DELIVERY_RATE = 160,
    INFO_BUSY_TIME = 168,
    INFO_RWND_LIMITED = 176,
    INFO_SIZE = 232
};

static uint64_t info_at(const uint8_t *info, socklen_t len, size_t at, size_t size)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;

    if (len < at + size)
        return 0;
    if (size == sizeof wide) {
        memcpy(&wide, info + at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, info + at, sizeof narrow);
    return narrow;
}

static int system_path(int fd, etcp_tcp_info *out)
{
    uint8_t info[INFO_SIZE];
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0)
        return -1;
    out->delivery_rate = info_at(info, len, INFO_DELIVERY_RATE, 8);
    out->min_rtt_us = info_at(info, len, INFO_MIN_RTT, 4);
    if (!out->min_rtt_us || out->min_rtt_us == UINT32_MAX)
        out->min_rtt_us = info_at(info, len, INFO_RTT, 4);
    out->busy_us = info_at(info, len, INFO_BUSY_TIME, 8);
    out->limited_us = info_at(info, len, INFO_RWND_LIMITED, 8);
    return 0;
}
#else
static int system_path(int fd, etcp_tcp_info *out)
{
    (void)fd;
    (void)out;
    return -1;
}
#endif

/* POSIX lets recv and sendmsg be macros or wrappers with other parameter types: plain functions. */
static ssize_t system_recv(int fd, void *bytes, size_t len, int flags)
{
    return recv(fd, bytes, len, flags);
}

static ssize_t system_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return sendmsg(fd, message, flags);
}

static ssize_t system_send(int fd, const void *bytes, size_t len, int flags)
{
    return send(fd, bytes, len, flags);
}

static int system_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return connect(fd, address, len);
}

static int system_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    return poll(fds, count, timeout_ms);
}

static int system_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                              struct addrinfo **out)
{
    return getaddrinfo(host, port, hints, out);
}

const etcp_syscalls etcp_system_calls = {
    .recv = system_recv,
    .send = system_send,
    .sendmsg = system_sendmsg,
    .accept = system_accept,
    .connect = system_connect,
    .poll = system_poll,
    .shutdown = shutdown,
    .close = close,
    .getaddrinfo = system_getaddrinfo,
    .unread = system_unread,
    .unacked = system_unacked,
    .path = system_path,
};

const etcp_syscalls *etcp_sys = &etcp_system_calls;

static ssize_t receive(int fd, void *bytes, size_t len, int flags)
{
    ssize_t n;

    do {
        n = etcp_sys->recv(fd, bytes, len, MSG_DONTWAIT | flags);
    } while (n < 0 && errno == EINTR);
#if EWOULDBLOCK != EAGAIN
    if (n < 0 && errno == EWOULDBLOCK)
        errno = EAGAIN;
#endif
    return n;
}

ssize_t etcp_socket_read(int fd, void *bytes, size_t len)
{
    return receive(fd, bytes, len, 0);
}

ssize_t etcp_socket_peek(int fd, void *bytes, size_t len)
{
    return receive(fd, bytes, len, MSG_PEEK);
}

/* Whether a failed write may simply be tried again later. ENOBUFS and ENOMEM are the kernel's own
 * shortages: the stream is intact. */
static int is_transient(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
}

ssize_t etcp_socket_write_one(int fd, const uint8_t *bytes, size_t len)
{
    ssize_t n;

    do {
        n = etcp_sys->send(fd, bytes, len, SEND_FLAGS);
    } while (n < 0 && errno == EINTR);
    return n < 0 && is_transient(errno) ? 0 : n;
}

ssize_t etcp_socket_write(int fd, struct iovec *pieces, unsigned short count)
{
    struct msghdr message;
    ssize_t n;

    if (count == 1) /* usual, and costs the kernel less */
        return etcp_socket_write_one(fd, pieces->iov_base, pieces->iov_len);
    memset(&message, 0, sizeof message);
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    do {
        n = etcp_sys->sendmsg(fd, &message, SEND_FLAGS);
    } while (n < 0 && errno == EINTR);
    return n < 0 && is_transient(errno) ? 0 : n;
}

/* Copying a short message costs the process less than a second piece costs the kernel. */
ssize_t etcp_socket_write_two(int fd, const uint8_t *head, size_t head_len, const uint8_t *body,
                              size_t body_len)
{
    uint8_t together[COPIED_MAX];

    if (head_len == 0)
        return etcp_socket_write_one(fd, body, body_len);
    if (head_len + body_len > sizeof together) {
        struct iovec pieces[2];
        union {
            const uint8_t *in;
            void *out;
        } bytes; /* struct iovec has no const */

        bytes.in = head;
        pieces[0].iov_base = bytes.out;
        pieces[0].iov_len = head_len;
        bytes.in = body;
        pieces[1].iov_base = bytes.out;
        pieces[1].iov_len = body_len;
        return etcp_socket_write(fd, pieces, 2);
    }
    memcpy(together, head, head_len);
    if (body_len)
        memcpy(together + head_len, body, body_len);
    return etcp_socket_write_one(fd, together, head_len + body_len);
}

int etcp_socket_wait(int fd, short events, int timeout_ms)
{
    int is_slice = timeout_ms < 0 || timeout_ms > SLICE_MS;
    struct pollfd one;
    int ready;

    one.fd = fd;
    one.events = events;
    one.revents = 0;
    ready = etcp_sys->poll(&one, 1, is_slice ? SLICE_MS : timeout_ms);
    if (ready == 0 && is_slice) {
        errno = EINTR;
        return -1;
    }
    return ready;
}

/* Some resolvers take a number modulo 65536: a typing error must not reach another port. */
static int is_port_too_large(const char *port)
{
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    return *port != '\0' && *end == '\0' && number > 65535;
}

int etcp_socket_resolve(const char *host, const char *port, int family, struct addrinfo **out)
{
    struct addrinfo hints;
    int rc;

    *out = NULL;
    if (is_port_too_large(port))
        return EAI_SERVICE;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = host ? 0 : AI_PASSIVE;
    rc = etcp_sys->getaddrinfo(host, port, &hints, out);
    return rc == 0 && !*out ? EAI_NONAME : rc;
}

int etcp_socket_new(int family)
{
    int fd;

#ifdef HAVE_SOCKET_FLAGS
    fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0)
        set_descriptor_flags(fd);
#endif
#ifdef SO_NOSIGPIPE
    if (fd >= 0) {
        int on = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
    }
#endif
    return fd;
}

static int reuse_port(int fd)
{
#ifdef SO_REUSEPORT
    int on = 1;

    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
#else
    (void)fd;
    errno = ENOPROTOOPT;
    return -1;
#endif
}

/* SO_REUSEADDR frees the port of a dropped server at once; SO_REUSEPORT lets two live servers share
 * a port unnoticed, so that it must be asked for. */
static int bind_and_listen(int fd, const struct addrinfo *at, int shares_port, int backlog,
                           const char **what)
{
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    etcp_socket_no_delay(fd);
    *what = "SO_REUSEPORT";
    if (shares_port && reuse_port(fd) < 0)
        return -1;
    *what = "bind";
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0)
        return -1;
    *what = "listen";
    return listen(fd, backlog);
}

static int listen_on(const struct addrinfo *at, int shares_port, int backlog, const char **what)
{
    int fd;

    *what = "socket";
    fd = etcp_socket_new(at->ai_family);
    if (fd >= 0 && bind_and_listen(fd, at, shares_port, backlog, what) == 0)
        return fd;
    if (fd >= 0)
        etcp_socket_close(fd);
    return -1;
}

int etcp_socket_listen(const struct addrinfo *list, int shares_port, int backlog, const char **what)
{
    int fd = -1;

    for (; list && fd < 0; list = list->ai_next)
        fd = listen_on(list, shares_port, backlog, what);
    return fd;
}

static int option_of(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof value;

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

int etcp_socket_is_listening(int fd)
{
    return option_of(fd, SO_TYPE) == SOCK_STREAM && option_of(fd, SO_ACCEPTCONN) > 0;
}

int etcp_socket_is_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;

    return option_of(fd, SO_TYPE) == SOCK_STREAM &&
           getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

void etcp_address_unmap(etcp_address *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (a->family != 6 || memcmp(a->bytes, mapped, sizeof mapped) != 0)
        return;
    memmove(a->bytes, a->bytes + 12, 4);
    memset(a->bytes + 4, 0, 12);
    a->family = 4;
}

static void address_from(const struct sockaddr_storage *from, etcp_address *out)
{
    memset(out, 0, sizeof *out);
    if (from->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        memcpy(out->bytes, &in.sin_addr, 4);
        out->port = ntohs(in.sin_port);
        out->family = 4;
    } else if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        memcpy(out->bytes, &in6.sin6_addr, 16);
        out->port = ntohs(in6.sin6_port);
        out->family = 6;
        etcp_address_unmap(out); /* of a listener for both kinds */
    } else if (from->ss_family == AF_UNIX) {
        out->family = ETCP_FAMILY_UNIX;
    }
}

int etcp_socket_accept(int fd, etcp_address *peer)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    int accepted;

    memset(&from, 0, sizeof from);
    accepted = etcp_sys->accept(fd, (struct sockaddr *)&from, &len);
    if (accepted < 0)
        return -1;
    address_from(&from, peer);
#if !defined(__linux__)
    /* Linux and most others hand the listener's option down, but nothing promises it. */
    etcp_socket_no_delay(accepted);
#endif
#ifdef SO_NOSIGPIPE
    {
        int on = 1;
        (void)setsockopt(accepted, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
    }
#endif
    return accepted;
}

int etcp_socket_dup(int fd)
{
#ifdef F_DUPFD_CLOEXEC
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
#else
    int copy = dup(fd);

    if (copy >= 0)
        (void)fcntl(copy, F_SETFD, FD_CLOEXEC);
    return copy;
#endif
}

void etcp_socket_close(int fd)
{
    int saved = errno;

    /* Not repeated after EINTR: the descriptor is gone then, and its number may be someone else's.
     */
    (void)etcp_sys->close(fd);
    errno = saved;
}

void etcp_socket_no_delay(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void set_tcp(int fd, int option, unsigned value)
{
    int number = (int)value;

    (void)setsockopt(fd, IPPROTO_TCP, option, &number, sizeof number);
}

void etcp_socket_keep_alive(int fd, unsigned seconds)
{
    unsigned interval = seconds < 3 ? 1 : seconds / 3;
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#if defined(TCP_KEEPIDLE)
    set_tcp(fd, TCP_KEEPIDLE, seconds);
#elif defined(TCP_KEEPALIVE) /* macOS */
    set_tcp(fd, TCP_KEEPALIVE, seconds);
#endif
#if defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
    set_tcp(fd, TCP_KEEPINTVL, interval);
    set_tcp(fd, TCP_KEEPCNT, 3);
#endif
#ifdef TCP_USER_TIMEOUT /* the same for what was sent and is not acknowledged */
    set_tcp(fd, TCP_USER_TIMEOUT, (seconds + 3 * interval) * 1000);
#endif
    (void)interval;
}

void etcp_socket_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

void etcp_socket_unblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int etcp_socket_pending_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return errno;
    return error;
}

void etcp_socket_peer(int fd, etcp_address *out)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;

    memset(&from, 0, sizeof from);
    if (getpeername(fd, (struct sockaddr *)&from, &len) < 0)
        memset(&from, 0, sizeof from);
    address_from(&from, out);
}

void etcp_socket_local(int fd, etcp_address *out)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;

    memset(&from, 0, sizeof from);
    if (getsockname(fd, (struct sockaddr *)&from, &len) < 0)
        memset(&from, 0, sizeof from);
    address_from(&from, out);
}

int etcp_socket_is_local(int fd)
{
    etcp_address here;
    etcp_address there;

    etcp_socket_local(fd, &here);
    etcp_socket_peer(fd, &there);
    if (!here.family || here.family != there.family)
        return !here.family && !there.family;
    if (here.family == 4 && here.bytes[0] == 127)
        return 1;
    return memcmp(here.bytes, there.bytes, sizeof here.bytes) == 0;
}

int etcp_socket_is_delivered(int fd)
{
    etcp_address here;

    if (etcp_sys->unacked(fd) == 0)
        return 1;
    etcp_socket_local(fd, &here);
    return here.family == ETCP_FAMILY_UNIX && etcp_sys->unread(fd) == 0;
}

uint64_t etcp_socket_identity(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

const char *etcp_address_text(const etcp_address *a, char *text, size_t size)
{
    if (size)
        text[0] = '\0';
    if (a->family == ETCP_FAMILY_UNIX)
        (void)snprintf(text, size, "unix");
    else if (a->family)
        (void)inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, text, (socklen_t)size);
    return text;
}
