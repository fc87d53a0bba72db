/* Readiness of many descriptors: one small table of functions, one file per backend. */
#ifndef ETCP_NET_POLLER_H
#define ETCP_NET_POLLER_H

enum { ETCP_POLL_READ = 1, ETCP_POLL_WRITE = 2 };

/* One ready descriptor. Errors and hang-ups are reported as both readable and writable: the next
 * read or write tells what it is. */
typedef struct etcp_ready {
    void *tag;
    unsigned events;
} etcp_ready;

typedef struct etcp_poller etcp_poller;

typedef struct etcp_poller_ops {
    const char *name;
    etcp_poller *(*create)(void); /* NULL with errno */
    /* Changes what is watched on fd from before to after (0: not watched at all). Returns 0, or -1
     * with errno and nothing changed; taking out (after 0) always succeeds. */
    int (*set)(etcp_poller *p, int fd, unsigned before, unsigned after, void *tag);
    /* Waits at most timeout_ms (negative: for ever) and fills ready[0..max). Level-triggered.
     * Returns the number of entries or -1 with errno, EINTR included. */
    int (*wait)(etcp_poller *p, int timeout_ms, etcp_ready *ready, int max);
    void (*destroy)(etcp_poller *p);
    /* As destroy, for what was inherited through fork: the parent's set stays as it is. */
    void (*abandon)(etcp_poller *p);
    /* A descriptor that is readable while wait would find something; NULL: there is none. */
    int (*descriptor)(const etcp_poller *p);
} etcp_poller_ops;

/* Every poller begins with its backend. */
struct etcp_poller {
    const etcp_poller_ops *ops;
};

/* The backends that this platform has, best first, NULL at the end. */
extern const etcp_poller_ops *const etcp_pollers[];

/* Makes a poller of the best backend, or of the one chosen before, or of the one that the
 * environment variable NET_EASYTCP_POLLER names. NULL with errno. */
etcp_poller *etcp_poller_new(void);

/* Chooses the backend of later pollers by name, NULL: automatically. Returns 0, or -1 when there is
 * no such backend here. */
int etcp_poller_choose(const char *name);

#if defined(__linux__)
#define ETCP_HAVE_EPOLL 1
extern const etcp_poller_ops etcp_poller_epoll;
#endif
/* Elsewhere, the compiler's -D says that a library has it. */
#if defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) ||                         \
    defined(__DragonFly__) || defined(__APPLE__)
#define ETCP_HAVE_KQUEUE 1
#endif
#ifdef ETCP_HAVE_KQUEUE
extern const etcp_poller_ops etcp_poller_kqueue;
#endif
extern const etcp_poller_ops etcp_poller_poll;

#endif
