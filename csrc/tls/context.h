/* csrc/tls/ is TLS 1.3 without input or output, and the only place that sees libssl: bytes in,
 * bytes out, verdicts. It knows csrc/base/ only: no socket, no clock, no Perl. The files it touches
 * are those the user names: certificate, key, authorities, known hosts.
 *
 * This header: what all connections of one client or server object share. Protocol.pod, "TLS". */
#ifndef ETCP_TLS_CONTEXT_H
#define ETCP_TLS_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tls/fingerprint.h"

enum {
    ETCP_TLS_SERVER = 1, /* the server's end; otherwise the client's */
    ETCP_TLS_DIRECT = 2  /* TLS from the first byte: a peer without ALPN may follow */
};

/* What the user asks for. Strings are the caller's and copied; NULL: not given. */
typedef struct etcp_tls_options {
    unsigned flags;
    const char *cert_file; /* PEM: chain, own certificate first */
    const char *key_file;  /* PEM; without cert_file made if it is missing */
    const char *ca_file;   /* PEM: whose certificates the peer's must lead to */
    const char *groups;    /* key exchange, as OpenSSL lists them */
    const char *known_hosts;
    const uint8_t (*fingerprints)[ETCP_FINGERPRINT]; /* of the peer's key: one of these */
    size_t fingerprint_count;
    uint64_t renew_bytes;   /* keys are renewed after so many; 0: the default */
    uint64_t renew_records; /* the same in records */
} etcp_tls_options;

/* Counted, and not changed once made. Belongs to one thread at a time. */
typedef struct etcp_tls etcp_tls;

/* Makes a context with one reference; a server without files makes itself a key and a certificate.
 * Returns 0, or a negative code with its text in *error, for the user: ETCP_EINVAL (a file or list
 * cannot be used), ETCP_ESYSTEM, ETCP_ECRYPT, ETCP_ENOMEM. */
int etcp_tls_new(const etcp_tls_options *options, etcp_tls **out, etcp_error *error);

/* One for another thread, with the same key. NULL: out of memory. */
etcp_tls *etcp_tls_clone(const etcp_tls *tls);

/* Adds or drops a reference; the last one frees. NULL does nothing. */
etcp_tls *etcp_tls_ref(etcp_tls *tls);
void etcp_tls_unref(etcp_tls *tls);

/* Whether TLS begins with the first byte: ETCP_TLS_DIRECT. */
int etcp_tls_is_direct(const etcp_tls *tls);

/* "SHA256:" and 64 hex digits of our own key, or "" when there is none: a client without one. */
const char *etcp_tls_fingerprint(const etcp_tls *tls);

/* Writes the number of OpenSSL's version, such as "3.0.15", into text[0..size). Returns text. */
const char *etcp_tls_library_version(char *text, size_t size);

#endif
