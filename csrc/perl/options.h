/* The options of new: one table, and one reader for all of them. */
#ifndef ETCP_PERL_OPTIONS_H
#define ETCP_PERL_OPTIONS_H

#include "bridge.h"
#include "storable.h"

/* Whose options are read, and for whom an option means something. */
enum { ETCP_FOR_CLIENT = 1, ETCP_FOR_SERVER = 2, ETCP_FOR_BOTH = 3 };

/* What the options say, checked, with the defaults of those that are absent. Values are mortal:
 * valid until the statement of the caller of new ends. */
typedef struct etcp_options {
    unsigned flags;   /* ETCP_DONOT_... and so on, as in etcp_config */
    uint32_t ciphers; /* which rows may be used, as in etcp_config */
    uint32_t compressors;
    etcp_compress compress;
    size_t message_max;
    size_t buffered_max; /* 0: the default */
    SV *host; /* texts, or NULL; as the program wrote them, for $@ */
    SV *port;
    SV *connect_host; /* as they are used: slots _host and _port */
    SV *connect_port;
    SV *connect_path;     /* slot _path */
    SV *localaddr;
    SV *welcome;
    SV *password;              /* bytes, or NULL */
    etcp_thaw_mode class_mode; /* allowclasses, */
    AV *classes;               /* and the names if they are listed */
    AV *proxies;          /* proxyfrom: addresses, or NULL */
    int passes_images;         /* structures arrive unread, to be sent on */
    int raises;                /* methods die where they would fail */
    size_t max_depth;          /* 0: the default */
    unsigned cleared;          /* what of flags was given as false */
    int requires_tls;          /* requireencryption names TLS and nothing else */
    int forbids_tls;           /* it names others only, or donotencryptwith names TLS */
    SV *tls;                   /* how TLS begins, or NULL */
    SV *tls_cert;              /* names of files and the like, or NULL */
    SV *tls_key;
    SV *tls_ca;
    SV *tls_name;
    SV *tls_groups;
    SV *tls_known_hosts;
    SV *tls_fingerprints; /* ETCP_FINGERPRINT bytes each, one behind the other, or NULL */
    int async;            /* a client is to have callbacks, */
    SV *loop;             /* in the loop of this object, or NULL */
    int has_when_full;    /* whenfull was given */
    unsigned retry_min_ms, retry_max_ms; /* reconnect; max 0: not */
    unsigned connect_ms;
    unsigned client_negotiation_ms;
    etcp_server_options server; /* limits mean clients too; address and port are not filled in */
} etcp_options;

/* Reads the named arguments (lower-case keys). Each value is read once, which may run Perl code and
 * die: call it before anything is made. Names that are nearly those of options are warned of,
 * others that are not known ignored. Returns 1, or 0 with the reason in $@. */
int etcp_options_read(pTHX_ HV *args, int mode, etcp_options *options);

#endif
