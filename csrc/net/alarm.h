/* One descriptor for a whole loop: readable exactly while the loop has something to do. It is a set
 * of two, the poller's own descriptor and a timer, so that a foreign event loop which watches it
 * needs to know of no socket and of no deadline. Level-triggered.
 *
 * The number that was given out never changes. In a forked child a new set takes its place before
 * fork() returns, with an alarm that has gone off: the parent's set is never touched, and the
 * child's loop is asked to look around once. */
#ifndef ETCP_NET_ALARM_H
#define ETCP_NET_ALARM_H

#include <stdint.h>

#include "poller.h"
#include "process.h"

#define ETCP_ALARM_NEVER UINT64_MAX

typedef struct etcp_alarm {
    etcp_heir heir;        /* must be first: what a child has to do */
    int fd;                /* the set; the number that is given out */
    int timer;             /* part of the set, where it is a descriptor */
    int watched;           /* the poller's descriptor in the set, -1: none */
    int copy;              /* a second number for the same set, -1: none */
    int is_foreign;        /* the set is the parent's: no other could be made for this child */
    uint64_t at_ms;        /* when it goes off at the latest; ETCP_ALARM_NEVER: not set */
} etcp_alarm;

/* Makes the set. Returns NULL with errno: ENOTSUP where the system has no such thing. */
etcp_alarm *etcp_alarm_new(void);

/* Closes the set and its number, but not the copy, whose owner closes it. NULL does nothing. */
void etcp_alarm_free(etcp_alarm *a);

/* Puts poller's descriptor into the set, in place of the one before; NULL: takes that one out, which
 * must happen before it is closed. Returns 0, or -1 with errno: ENOTSUP when this backend has no
 * descriptor. */
int etcp_alarm_watch(etcp_alarm *a, const etcp_poller *poller);

/* Makes the set readable at_ms by the clock at the latest (etcp_clock_ms; in the past: at once). Only
 * ever moves the moment forward: an alarm that goes off too early costs one look. */
void etcp_alarm_set(etcp_alarm *a, uint64_t at_ms);

/* The loop is looking now: an alarm that has gone off is silenced, and one that has not stays. */
void etcp_alarm_take(etcp_alarm *a);

/* A second descriptor for the same set, close-on-exec, or -1 with errno. It is the caller's to close,
 * at any time: whether its number still is this set is looked at before a child gets another. At
 * most one. */
int etcp_alarm_copy(etcp_alarm *a);

#endif
