/* Who else has the descriptors of this process's connections: by a fork two processes have them,
 * until one of the two, and all that it forked, has ended or become another program. A pair of
 * connected sockets, one end for each side, tells by its end when that has come.
 *
 * For process.c, which calls this with its lock held; those of the fork itself call nothing that a
 * child of a threaded program may not call. */
#ifndef ETCP_NET_SPLIT_H
#define ETCP_NET_SPLIT_H

/* Forks whose other side still lives, at most; each takes a descriptor. Beyond that, and where
 * there are no descriptors left, the other side counts as living for ever. */
enum { ETCP_SPLITS_MAX = 64 };

/* Before the fork; in both processes after it, whose number it gets there. Numbers only grow. */
void etcp_split_prepare(void);
void etcp_split_in_parent(unsigned number);
void etcp_split_in_child(unsigned number);

/* Notes a split that nothing can tell the end of. */
void etcp_split_unseen(unsigned number);

/* Whether the other sides of all splits with larger numbers are gone. */
int etcp_split_is_over(unsigned number);

/* Forgets all splits: nothing is open any more that had to do with them. */
void etcp_split_forget(void);

#endif
