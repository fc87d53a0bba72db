/* A descriptor that is not the loop's, or a moment, of which the loop tells its user. server.h says how
 * it gets into a loop. */
#ifndef ETCP_NET_WATCH_H
#define ETCP_NET_WATCH_H

#include <stdint.h>

typedef struct etcp_watch etcp_watch;

/* Makes one with one reference. It watches a duplicate of fd: whoever owns that may close it, and its
 * number may go to another file, before the watch ends. fd -1: there is nothing to watch but the time.
 * Returns NULL with errno: EPERM for files that are always ready. */
etcp_watch *etcp_watch_new(int fd);

/* Drops a reference; the last one closes the duplicate. NULL does nothing. */
void etcp_watch_unref(etcp_watch *w);

/* Whether fd still is the file that is watched, as far as the system tells files apart. */
int etcp_watch_is_of(const etcp_watch *w, int fd);

/* Whether the system refuses to go on watching: what was told is the last that is. */
int etcp_watch_is_lost(const etcp_watch *w);

/* A pointer for the user, NULL at first; never touched by the core. */
void etcp_watch_set_user(etcp_watch *w, void *user);
void *etcp_watch_user(const etcp_watch *w);

#endif
