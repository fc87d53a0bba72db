/* The negotiation inside TLS: what was said in clear is forgotten, and its hash is the first thing
 * that is compared. Protocol.pod, "Inside TLS".
 *
 *     HI \0 version \0 compressors \0 capabilities \0 %XX P [\0 %XX pA]      client
 *     EN \0 version \0 compressor \0 capabilities [\0 %XX pB \0 %XX cB]      server
 *     CP \0 %XX cA                                                           client, after pB
 *     PF                                                                     server: wrong password
 */
#ifndef ETCP_WIRE_NEGOTIATE_INSIDE_H
#define ETCP_WIRE_NEGOTIATE_INSIDE_H

#include <stdint.h>

#include "codec/spake2.h"
#include "negotiate.h"
#include "session.h"

/* Where an inside negotiation is. */
typedef enum etcp_inside_state {
    ETCP_INSIDE_HELLO,    /* server: waits for HI. client: HI is out, waits for EN */
    ETCP_INSIDE_WITHHELD, /* server: HI is here, EN waits for etcp_session_prove */
    ETCP_INSIDE_PROVING   /* server: waits for CP */
} etcp_inside_state;

struct etcp_inside {
    etcp_inside_state state;
    etcp_inside_facts facts;
    uint8_t binding[ETCP_INSIDE_BINDING];
    etcp_spake2 *run;                 /* client: NULL: no password */
    uint8_t share[ETCP_SPAKE2_SHARE]; /* server: the client's, until EN */
    uint8_t proof[ETCP_SPAKE2_PROOF]; /* server: what CP must say */
};

/* Queues the client's HI. Returns 0 or a negative code, recorded. */
int etcp_inside_begin(etcp_session *s);

/* Queues the server's EN, in state ETCP_INSIDE_WITHHELD. Returns 0 or a negative code, recorded. */
int etcp_inside_prove(etcp_session *s);

/* Act on one packet. Return as etcp_server_take. */
int etcp_inside_server_take(etcp_session *s, const etcp_fields *fields);
int etcp_inside_client_take(etcp_session *s, const etcp_fields *fields);

#endif
