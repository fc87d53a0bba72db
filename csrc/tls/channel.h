/* A TLS 1.3 channel without input or output: cipher text in, clear text out, and back. */
#ifndef ETCP_TLS_CHANNEL_H
#define ETCP_TLS_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "tls/context.h"

enum {
    ETCP_BINDING = 32,                /* what both ends of one channel share, and nobody else */
    ETCP_CHANNEL_SHAKING_MAX = 65536, /* cipher text taken before the handshake is complete */
    ETCP_CHANNEL_ANSWER_MAX = 16384,  /* cipher text that one piece of input may provoke */
    ETCP_CHANNEL_RENEWALS_MAX = 32    /* of the peer's keys in each MiB that it sends */
};

/* Why the peer's key was taken. */
typedef enum etcp_trust {
    ETCP_TRUST_NONE, /* nothing was asked of it */
    ETCP_TRUST_FINGERPRINT,
    ETCP_TRUST_CA,
    ETCP_TRUST_KNOWN_HOST,
    ETCP_TRUST_FIRST_USE /* nobody knew it: to be noted when the connection has proved good */
} etcp_trust;

typedef struct etcp_channel etcp_channel;

/* Makes a channel, with a reference on tls. host is whose certificate a client wants to see, and
 * endpoint, "host:port", under which its key is noted; both are copied, and NULL at a server. A
 * client's first words come from an etcp_channel_open without input.
 * Returns 0, ETCP_ECRYPT or ETCP_ENOMEM. Free with etcp_channel_free. */
int etcp_channel_new(etcp_tls *tls, const char *host, const char *endpoint, etcp_channel **out);

/* Wipes and frees without a word to the peer. NULL does nothing. */
void etcp_channel_free(etcp_channel *ch);

/* Takes cipher text from *input up to end and advances *input; clear text goes to out[0..room), and
 * cipher text to send is appended to output, in failures too. Returns the bytes in out (0: input
 * used up, or no room), ETCP_ECLOSED (the peer said that no more comes), or another code:
 * ETCP_EPROTO, ETCP_EPOLICY (the peer's key or certificate is refused), ETCP_ETOOBIG, ETCP_ENOMEM.
 * Codes are sticky. etcp_channel_seal still works after ETCP_ECLOSED, and after ETCP_EPROTO if an
 * established channel was only cut off: see etcp_channel_has_failed. Keeps no pointer. */
ptrdiff_t etcp_channel_open(etcp_channel *ch, const uint8_t **input, const uint8_t *end,
                            uint8_t *out, size_t room, etcp_buf *output);

/* Whether the last etcp_channel_open stopped for want of room: clear text may wait inside. */
int etcp_channel_has_more(const etcp_channel *ch);

/* Appends head and body as records, one if they fit. Returns 0, ETCP_EINVAL (not established) or
 * ETCP_ENOMEM (both: output unchanged), or ETCP_ECRYPT and what etcp_channel_open returned before,
 * sticky. */
int etcp_channel_seal(etcp_channel *ch, const uint8_t *head, size_t head_len, const uint8_t *body,
                      size_t len, etcp_buf *output);

/* Whether nothing can be sealed any more, as something failed before. */
int etcp_channel_has_failed(const etcp_channel *ch);

/* Whether the handshake is over: Finished from both, protocol and certificate judged. */
int etcp_channel_is_established(const etcp_channel *ch);

/* Whether both named our own protocol; without it, in direct mode only, something else that speaks
 * TLS stands before the peer. */
int etcp_channel_is_easytcp(const etcp_channel *ch);

/* Whether the peer wanted to see a certificate: a server that does may still refuse the client
 * after the client thinks that the handshake is over. */
int etcp_channel_was_asked(const etcp_channel *ch);

/* The exporter's value for this channel (RFC 9266). Returns 0, or ETCP_EINVAL before the channel is
 * established. */
int etcp_channel_binding(const etcp_channel *ch, uint8_t binding[ETCP_BINDING]);

/* Tells that no more input comes: cut off, unless the peer said so before. */
void etcp_channel_end_of_input(etcp_channel *ch);

/* Appends our word that no more comes, once. Returns 0 or ETCP_ENOMEM. */
int etcp_channel_close(etcp_channel *ch, etcp_buf *output);

/* Facts. The endpoint is what the channel was made with. The fingerprint is "" while unknown and
 * without a certificate. */
const char *etcp_channel_endpoint(const etcp_channel *ch);
etcp_trust etcp_channel_trust(const etcp_channel *ch);
void etcp_channel_peer_fingerprint(const etcp_channel *ch, char text[ETCP_FINGERPRINT_TEXT]);
const etcp_error *etcp_channel_error(const etcp_channel *ch); /* code 0: none */

/* Notes the key of ETCP_TRUST_FIRST_USE; does nothing otherwise. Returns 0, or an error: the file
 * cannot be written, or says something else by now. Its text is in etcp_channel_error. */
int etcp_channel_learn(etcp_channel *ch);

#endif
