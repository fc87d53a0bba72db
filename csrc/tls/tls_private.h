/* The inside of contexts and channels, for the files of csrc/tls/ only. */
#ifndef ETCP_TLS_TLS_PRIVATE_H
#define ETCP_TLS_TLS_PRIVATE_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "channel.h"

/* What both ends must name, so that no other protocol's server can be made to answer. */
#define ETCP_ALPN "easytcp/1"

struct etcp_tls {
    unsigned references;
    unsigned flags; /* ETCP_TLS_... */
    SSL_CTX *ctx;
    BIO_METHOD *method; /* of channel_bio.c */
    char *known_hosts;  /* NULL: none */
    int has_ca;
    uint8_t (*fingerprints)[ETCP_FINGERPRINT];
    size_t fingerprint_count;
    uint64_t renew_bytes;
    uint64_t renew_records;
    char fingerprint[ETCP_FINGERPRINT_TEXT]; /* our own */
    etcp_channel *last; /* that was used, or NULL: see keep_buffers */
};

struct etcp_channel {
    etcp_tls *tls;
    SSL *ssl;
    char *host;
    char *endpoint;

    /* The caller's, for the time of one call. */
    const uint8_t *in;
    const uint8_t *in_end;
    etcp_buf *out;

    etcp_error *error;     /* NULL: none, or out of memory */
    uint64_t sealed_bytes; /* since our keys were renewed */
    uint64_t sealed_records;
    uint32_t opened;   /* clear text since renewals was 0 */
    uint32_t shaken;   /* cipher text taken before the channel was established */
    uint32_t renewals; /* of the peer's keys */
    uint8_t peer[ETCP_FINGERPRINT];
    uint8_t trust;         /* an etcp_trust */
    int8_t code;           /* not 0: the sticky one */
    int8_t end_code;       /* not 0: of input only */
    uint8_t uses;          /* in a row, as far as they count */
    unsigned has_peer : 1; /* peer is filled */
    unsigned established : 1;
    unsigned easytcp : 1;   /* ALPN chose us */
    unsigned asked : 1;     /* for a certificate */
    unsigned more : 1;      /* see etcp_channel_has_more */
    unsigned cut : 1;       /* the input ended */
    unsigned closed : 1;    /* close_notify is said */
    unsigned no_memory : 1; /* our side of the BIO had none */
    unsigned keeps_buffers : 1;
    unsigned between_records : 1; /* nothing of one waits inside OpenSSL */
};

/* Records the first error: code, and a printf-style text. Returns the code now in effect
 * (channel_error.c). */
int etcp_channel_fail(etcp_channel *ch, int code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Says whether the peer's certificate is taken, for SSL_CTX_set_cert_verify_callback (verify.c). */
int etcp_verify_peer(X509_STORE_CTX *store, void *unused);

/* The BIO between OpenSSL and the caller's buffers (channel_bio.c): copies nothing but what OpenSSL
 * keeps. NULL: out of memory. Free with BIO_meth_free. */
BIO_METHOD *etcp_channel_bio_method(void);

#endif
