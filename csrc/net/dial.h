/* Making a client's connection: resolves, connects, negotiates. Whoever has a loop uses begin and
 * continue, which never wait for the peer; step waits. */
#ifndef ETCP_NET_DIAL_H
#define ETCP_NET_DIAL_H

#include <stdint.h>

#include "net/conn.h"
#include "net/poller.h"
#include "tls/context.h"

typedef struct etcp_dial etcp_dial;

/* Makes an attempt. port is a number or a service name. connect_timeout_ms bounds the TCP connect,
 * negotiation_timeout_ms each wait of the negotiation and the whole of it; 0: no limit. Returns 0
 * or ETCP_ENOMEM; everything else is reported later. Free with etcp_dial_free. */
int etcp_dial_new(const char *host, const char *port, unsigned connect_timeout_ms,
                  unsigned negotiation_timeout_ms, etcp_config *config,
                  const etcp_conn_limits *limits, etcp_dial **out);

/* The same over a connected stream socket, which is duplicated. Returns 0, ETCP_EINVAL (it is none),
 * ETCP_ESYSTEM with errno, or ETCP_ENOMEM. Such an attempt cannot be made again. */
int etcp_dial_new_on(int fd, unsigned negotiation_timeout_ms, etcp_config *config,
                     const etcp_conn_limits *limits, etcp_dial **out);

/* Has the connection speak TLS if the server offers it and the configuration allows it; before
 * etcp_dial_begin. name is whose certificate the server must show, NULL: the host's. Takes a
 * reference on tls. Returns 0 or ETCP_ENOMEM. */
int etcp_dial_secure(etcp_dial *d, etcp_tls *tls, const char *name);

/* Has the attempt be over only when the server has answered all that a client says in advance, and
 * so let it in; before etcp_dial_begin. Otherwise, with some servers, a client may send sooner. */
void etcp_dial_wait_for_answer(etcp_dial *d);

/* Resolves the name, which takes as long as the system's resolver does; an address in digits takes
 * no time. Call it once, before etcp_dial_continue. Returns 0 or a negative code. */
int etcp_dial_begin(etcp_dial *d);

/* Goes on as far as that needs no waiting. Returns 0 (*out is the ready connection, one reference,
 * the caller's), ETCP_AGAIN (call again when etcp_dial_wants is fulfilled, or sooner), or another
 * negative code: the attempt failed. */
int etcp_dial_continue(etcp_dial *d, etcp_conn **out);

/* What an attempt that said ETCP_AGAIN waits for. */
typedef struct etcp_dial_want {
    int fd;            /* may be another one after each call */
    unsigned events;   /* ETCP_POLL_... */
    uint64_t until_ms; /* by etcp_clock_ms: what happens then, happens without the peer; UINT64_MAX:
                          never */
} etcp_dial_want;
etcp_dial_want etcp_dial_wants(const etcp_dial *d);

/* Begins if need be, and works until the connection is ready, fails, or a signal arrives. Returns
 * as etcp_dial_continue, and ETCP_EINTR (call again) in place of ETCP_AGAIN. */
int etcp_dial_step(etcp_dial *d, etcp_conn **out);

/* Ends an attempt, because waiting for its descriptor failed with the error of that number. Returns
 * ETCP_ESYSTEM. */
int etcp_dial_give_up(etcp_dial *d, int error);

/* Closes what a failed attempt has open. What is known of it stays. */
void etcp_dial_close(etcp_dial *d);

/* Forgets the attempt, whatever came of it: etcp_dial_continue makes another, to the addresses that
 * etcp_dial_begin has found. */
void etcp_dial_again(etcp_dial *d);

/* After an attempt failed: whether it may have been by chance, as where a salt of an old server looks
 * like the mark of those that offer TLS. Then it is made again, as by etcp_dial_again. True once. */
int etcp_dial_retry(etcp_dial *d);

/* How far an attempt came: names the text that `$@` gets. */
typedef enum etcp_dial_phase { ETCP_DIAL_CONNECTING, ETCP_DIAL_NEGOTIATING } etcp_dial_phase;
etcp_dial_phase etcp_dial_phase_of(const etcp_dial *d);
const etcp_error *etcp_dial_error(const etcp_dial *d);
void etcp_dial_free(etcp_dial *d);

#endif
