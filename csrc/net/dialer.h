/* A client's connection that is made within a loop, and made again when it is lost: attempts of
 * dial.h, one after the other. server.h says how it gets into a loop. */
#ifndef ETCP_NET_DIALER_H
#define ETCP_NET_DIALER_H

#include "net/dial.h"

typedef struct etcp_dialer etcp_dialer;

/* Takes over an attempt that etcp_dial_begin was called for. It waits retry_min_ms after the first
 * failure, twice as long after each, at most retry_max_ms, each time between a half and one and a
 * half of that; retry_max_ms 0: the first failure is the end. Returns NULL when out of memory, with
 * one reference otherwise. */
etcp_dialer *etcp_dialer_new(etcp_dial *dial, unsigned retry_min_ms, unsigned retry_max_ms);
void etcp_dialer_unref(etcp_dialer *d);

/* Whether there will be a connection in time, or another one when that which is there is lost. */
int etcp_dialer_has_future(const etcp_dialer *d);

/* The attempt, for what is to be said about a failure; its code; and how many seconds it took. */
const etcp_dial *etcp_dialer_dial(const etcp_dialer *d);
int etcp_dialer_code(const etcp_dialer *d);
unsigned etcp_dialer_seconds(const etcp_dialer *d);

/* A pointer for the user, NULL at first; never touched by the core. */
void etcp_dialer_set_user(etcp_dialer *d, void *user);
void *etcp_dialer_user(const etcp_dialer *d);

#endif
