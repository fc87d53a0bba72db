/* Somebody between a client and the server of a world: relays one connection after another, and
 * changes what he likes. Either he only sees bytes, or he ends TLS on both sides with a key of his
 * own, from the end of the negotiation in clear on, and sees what is inside. */
#ifndef ETCP_T_BETWEEN_H
#define ETCP_T_BETWEEN_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/buf.h"
#include "net_world.h"

enum { BETWEEN_CLIENT = 0, BETWEEN_SERVER = 1 }; /* whose bytes these are */

typedef struct between between;
struct between {
    world *w;
    /* Sees what came from an end and may change it before it goes on. Returns 0, or a negative
     * number: both connections are cut. NULL: nothing is changed. */
    int (*change)(between *b, int from, etcp_buf *bytes);
    void *arg;
    int by_byte;       /* hands on one byte at a time */
    int is_deaf;       /* does not connect to the server: change answers by between_say ... */
    etcp_buf greeting; /* ... and this is said to a client at once */
    int is_cut;        /* set by change: both connections end when what waits for them is written */
    SSL_CTX *tls[2];   /* towards the client, towards the server; NULL: he only sees bytes */

    char port[8]; /* his own: where the client connects to */
    char server_port[8];
    int listener;
    int fd[2];
    SSL *ssl[2];
    etcp_buf out[2];    /* for the client, for the server */
    etcp_buf inside[2]; /* the same, to be sealed when the handshake is over */
    etcp_buf start[2];  /* of each end: its first packet, as long as it is incomplete */
    int is_started[2];  /* that has come; with TLS only */
    uint64_t passed[2]; /* bytes that change has seen before, of each end */
    unsigned connections;
};

/* Puts b between w's server and its clients. ctx: see tls; both are NULL, or taken over. */
void between_start(between *b, world *w, SSL_CTX *to_client, SSL_CTX *to_server);

/* Ends him; the world's clients reach its server again. */
void between_stop(between *b);

/* Contexts for him, with a new key; alpn is in the form that ALPN has on the wire, NULL: none. */
SSL_CTX *between_to_client(int max_version, const char *alpn);
SSL_CTX *between_to_server(int max_version, const char *alpn);

/* Queues bytes for an end, in clear; inside TLS, if there is one, with between_whisper. */
void between_say(between *b, int to, const void *bytes, size_t len);
void between_whisper(between *b, int to, const void *bytes, size_t len);

#endif
