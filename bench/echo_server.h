/* What the echo servers in C share: bytes, sockets, and a loop without end. */
#ifndef BENCH_ECHO_SERVER_H
#define BENCH_ECHO_SERVER_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "readiness.h"

enum { READ_SIZE = 65536, CLIENTS_MAX = 65536 };

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

/* What a server does with the client at a descriptor, which is less than CLIENTS_MAX. */
struct echo_ops {
    void (*welcome)(int fd);
    /* It is ready for events. Returns 0, or -1 when the client is gone. */
    int (*turn)(int fd, int events);
    void (*drop)(int fd); /* closes it, too */
};

static inline void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static inline void reserve(struct bytes *b, size_t room)
{
    if (b->cap - b->len >= room)
        return;
    b->cap = b->cap * 2 > b->len + room ? b->cap * 2 : b->len + room;
    b->data = realloc(b->data, b->cap);
    if (!b->data)
        give_up("realloc");
}

static inline void append(struct bytes *b, const void *data, size_t len)
{
    reserve(b, len);
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static inline void swap(struct bytes *a, struct bytes *b)
{
    struct bytes old = *a;

    *a = *b;
    *b = old;
}

/* Moves whole messages, in[0..len), to out, and makes room for the next one, which has so many
 * bytes (0: nobody knows). */
static inline void echo_bytes(struct bytes *in, struct bytes *out, size_t len, size_t next)
{
    if (len && len == in->len && !out->len) {
        swap(in, out); /* no copy */
        return;
    }
    append(out, in->data, len);
    in->len -= len;
    if (len && in->len)
        memmove(in->data, in->data + len, in->len);
    if (next > in->len)
        reserve(in, next - in->len);
}

static inline void accept_all(int listener, const struct echo_ops *ops)
{
    int fd, one = 1;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (fd >= CLIENTS_MAX) {
            close(fd);
            continue;
        }
        fcntl(fd, F_SETFL, O_NONBLOCK);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        ops->welcome(fd);
    }
}

static inline int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        give_up("listen");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    printf("READY C %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Serves until the program is ended. */
static inline void serve(const struct echo_ops *ops)
{
    struct ready ready[READY_BATCH];
    int listener = listen_somewhere();

    signal(SIGPIPE, SIG_IGN);
    ready_watch(listener, 0, READY_READ);
    for (;;) {
        int count = ready_wait(ready, -1), i;
        for (i = 0; i < count; i++) {
            if (ready[i].fd == listener)
                accept_all(listener, ops);
            else if (ops->turn(ready[i].fd, ready[i].events) < 0)
                ops->drop(ready[i].fd);
        }
    }
}

#endif
