/* The inside of a watch, for the files of csrc/net/ only. */
#ifndef ETCP_NET_WATCH_PRIVATE_H
#define ETCP_NET_WATCH_PRIVATE_H

#include "loop.h"
#include "watch.h"

struct etcp_watch {
    etcp_entry entry; /* must be first; the descriptor is the duplicate, -1: none */
    uint64_t due_ms;  /* when to tell even if it is not ready; UINT64_MAX: never */
    uint64_t identity;
    unsigned generation; /* the process that it was revised for */
    int is_lost;
    void *user;
};

static inline etcp_watch *etcp_watch_of(etcp_entry *e)
{
    return (etcp_watch *)(void *)e;
}

/* Puts it into a loop, which then has a reference. Returns 0, or -1 with errno: it cannot be watched. */
int etcp_watch_enter(etcp_watch *w, etcp_loop *l);

/* Takes it out again. */
void etcp_watch_leave(etcp_watch *w);

/* After a fork, in the child: its moment, if it has one, is now. */
void etcp_watch_revise(etcp_watch *w);

/* It could not be watched: nothing will be told of its descriptor any more. */
void etcp_watch_lose(etcp_watch *w);

#endif
