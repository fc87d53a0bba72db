/* csrc/wire/ is the protocol without input or output: packets, negotiation, and the session that
 * turns bytes into events and messages into bytes. It never touches a socket, a clock or Perl.
 *
 * This header: what all sessions of one client or server object share. */
#ifndef ETCP_WIRE_CONFIG_H
#define ETCP_WIRE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/random.h"
#include "codec/compressor.h"
#include "codec/spake2.h"

typedef enum etcp_role { ETCP_ROLE_CLIENT, ETCP_ROLE_SERVER } etcp_role;

/* Options of the user, as bits of etcp_config.flags. */
enum {
    ETCP_DONOT_ENCRYPT = 1,
    ETCP_DONOT_COMPRESS = 2,
    ETCP_REQUIRE_ENCRYPTION = 4, /* refuse a peer with which no cipher was agreed */
    ETCP_REQUIRE_PASSWORD = 8,   /* refuse a server that asks for no password (client only) */
    ETCP_REFUSE_PLAINTEXT = 16,  /* once a cipher is agreed, refuse packets without it from old
                                    peers too (1.x peers never send any) */
    ETCP_ALLOW_TLS = 32,         /* offer TLS, or take the offer */
    ETCP_REQUIRE_TLS = 64,       /* take nothing else */
    ETCP_SPOKE_TLS = 128,        /* the same, because this server spoke TLS before (client only) */
    ETCP_REQUIRE_PASSWORD_IN_TLS = 256, /* as ETCP_REQUIRE_PASSWORD, over TLS only */
    ETCP_MIX_COMPRESSORS = 1024         /* tell 1.x peers that they may choose for every message */
};

/* Which messages are compressed, if a compressor is agreed. */
typedef enum etcp_compress {
    ETCP_COMPRESS_ALWAYS, /* those that shrink, as originals do */
    ETCP_COMPRESS_AUTO,   /* those that arrive earlier for it, as far as wire/adapt can tell */
    ETCP_COMPRESS_NEVER   /* none; what arrives compressed is read */
} etcp_compress;

/* Versions of peers as numbers, for comparison: millionths, so that 0.07 is exact. */
#define ETCP_VERSION(major, hundredths)                                                            \
    ((uint32_t)(major)*UINT32_C(1000000) + (uint32_t)(hundredths)*UINT32_C(10000))

/* Default limits, each a field of etcp_config that the user can change. */
/* Negotiation packets. The largest of original servers has about 15 KB, of what clients answer to
 * us 2 KB. Under Crypt::RSA a server works some 60 microseconds for each 64 bytes, before it knows
 * the client's password. */
#define ETCP_SERVER_PACKET_MAX ((size_t)65536)
#define ETCP_CLIENT_PACKET_MAX ((size_t)4096)
/* More than programs send, and less than machines hold: a peer may make us keep so much. */
#define ETCP_MESSAGE_MAX ((size_t)1 << 30)
/* The same for all connections of an object together. */
#define ETCP_BUFFERED_MAX ((size_t)1 << 30)
#define ETCP_PAYLOAD_THRESHOLD ((size_t)16384) /* below this a copy costs less than a handle */

/* A welcome text must leave room for its packet: our own clients accept 64 KB. */
#define ETCP_WELCOME_MAX ((size_t)60000)

enum { ETCP_COMPRESSOR_ROWS_MAX = 4 };

/* Where the payload of a large plain message is received, so that it need not be copied on its way
 * to the user: the bridge supplies Perl scalars. All functions get etcp_config.payload_arg. */
typedef struct etcp_payload_ops {
    /* Returns a new handle able to hold cap bytes, its memory in *data; NULL: out of memory. */
    void *(*create)(void *arg, size_t cap, uint8_t **data);
    /* Grows handle to cap bytes, keeping its content; returns its memory, or NULL (handle kept). */
    uint8_t *(*grow)(void *arg, void *handle, size_t cap);
    /* Frees a handle that was not handed out with an event. */
    void (*destroy)(void *arg, void *handle);
} etcp_payload_ops;

/* Shared by sessions, counted, and not changed after the first session was made from it.
 * Strings are owned by the configuration (set them with the functions below). A configuration and
 * its sessions belong to one thread at a time. */
typedef struct etcp_config {
    unsigned references;
    etcp_role role;
    unsigned flags;
    etcp_compress compress;
    char version[16];          /* what VE announces, a decimal number: "1.10" */
    char storable_version[16]; /* of the Storable beside us, for SVE: "3.26" */
    uint8_t storable_minor;    /* of the images that Storable writes */
    char *class_name;          /* of the server object, for the welcome packet */
    char *welcome;             /* the user's welcome text, or NULL */
    uint8_t *password;         /* NULL: none defined */
    size_t password_len;
    unsigned capabilities; /* what we can receive, ETCP_CAN_..., but for what flags say; peers are
                              told */
    uint32_t ciphers;      /* bit i: row i of etcp_ciphers() may be used */
    uint32_t compressors;  /* bit i: row i of etcp_compressors() may be used */
    size_t negotiation_packet_max;
    size_t message_max;                  /* payload bytes, on the wire and after decompression */
    size_t buffered;                     /* what all sessions together hold, as their users count */
    size_t buffered_max;                 /* and may hold */
    size_t payload_threshold;            /* messages of at least this size use payload_ops */
    const etcp_payload_ops *payload_ops; /* NULL: large messages stay in the session's buffer */
    void *payload_arg;
    int (*is_interrupted)(void); /* whether the program has something to do that cannot be done inside a
                                    call, as for a signal; NULL: nobody knows */
    etcp_random_fn random;
    void *random_arg;
    etcp_random_pool pool;      /* random_arg, unless a test brings its own source */
    etcp_spake2_secret *secret; /* of the password, NULL until needed */
    etcp_buf rsa_public;        /* the server's Crypt::RSA pair, empty until made */
    etcp_buf rsa_private;
    /* Working memory of the compressors, by row: lent to one call at a time, so that thousands of
     * sessions need it only once. NULL until used. */
    etcp_compressor_state *compressor_states[ETCP_COMPRESSOR_ROWS_MAX];
} etcp_config;

/* A configuration with one reference and every default, or NULL when memory is exhausted. All
 * ciphers and compressors are allowed. */
etcp_config *etcp_config_new(etcp_role role);

/* A copy that shares nothing with the original, with one reference: for another thread. NULL when
 * memory is exhausted. payload_ops and payload_arg are copied as they are. */
etcp_config *etcp_config_clone(const etcp_config *config);

/* Adds or drops a reference; the last one wipes and frees. NULL does nothing. */
etcp_config *etcp_config_ref(etcp_config *config);
void etcp_config_unref(etcp_config *config);

/* Copy a value into the configuration; NULL removes it (class name: the default). Return 0,
 * ETCP_ENOMEM, or ETCP_EINVAL (too long). */
int etcp_config_set_password(etcp_config *config, const uint8_t *password, size_t len);
int etcp_config_set_welcome(etcp_config *config, const char *text);
int etcp_config_set_class_name(etcp_config *config, const char *name);

/* Makes config.secret unless it is there. Returns 0, ETCP_EINVAL (this one password in 2^256 cannot
 * be used) or ETCP_ENOMEM. Takes a quarter of a millisecond. */
int etcp_config_make_secret(etcp_config *config);

/* The bit in config.ciphers of the cipher with this CPAN name; 0: there is none. */
uint32_t etcp_config_cipher_bit(const char *module_name);

/* The bit in config.compressors likewise. */
uint32_t etcp_config_compressor_bit(const char *module_name);

/* Forbids the module with this CPAN name, cipher or compressor. Unknown names do nothing. */
void etcp_config_forbid(etcp_config *config, const char *module_name);

/* Makes a new Crypt::RSA pair for a server, replacing the old one for sessions that start later.
 * Returns 0, ETCP_ECRYPT or ETCP_ENOMEM. Takes milliseconds. */
int etcp_config_renew_rsa(etcp_config *config);

#endif
