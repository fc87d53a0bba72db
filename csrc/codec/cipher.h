/* The ciphers: one table row per module an original peer may choose.
 *
 * A row makes keyed contexts. Symmetric modules use one key string for both directions; Crypt::RSA
 * seals with a public key and opens with a private one. Keys are always the byte strings that
 * travel in EK and EM packets (after un-munging and, where the row says so, before armour is
 * added). */
#ifndef ETCP_CODEC_CIPHER_H
#define ETCP_CODEC_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/random.h"

/* How a Crypt::CBC message begins. Other ciphers have only ETCP_STYLE_NONE. ciphers of Crypt::CBC
 * write ETCP_STYLE_SALTED unless told otherwise, and always read both. */
typedef enum etcp_cipher_style {
    ETCP_STYLE_NONE = 0,
    ETCP_STYLE_SALTED = 1,  /* "Salted__": Crypt::CBC 2.17 and later; read by 2.13 and later */
    ETCP_STYLE_RANDOMIV = 2 /* "RandomIV": Crypt::CBC up to 2.16 */
} etcp_cipher_style;

enum {
    ETCP_CIPHER_SYMMETRIC = 1, /* public key = private key = a printable key string */
    ETCP_CIPHER_MERGES = 2,    /* the password replaces the head of the key (both peers >= 0.15) */
    ETCP_CIPHER_CBC = 4,       /* messages are Crypt::CBC's: styles matter */
    ETCP_CIPHER_ARMOURED = 8   /* keys are binary or long text: %XX-armoured on the wire */
};

/* A keyed context: seals, opens, or both. Not safe for concurrent use. */
typedef struct etcp_cipher_ctx etcp_cipher_ctx;

typedef struct etcp_cipher etcp_cipher;

struct etcp_block_cipher; /* block_cipher.h */

/* Between the parts of a message that is sealed in parts. All zero before the first. */
typedef struct etcp_seal_run {
    int begun;
    uint8_t chain[16]; /* the block that the next one depends on */
} etcp_seal_run;

/* Between the steps in which a large message is opened. All zero before the first. */
typedef struct etcp_open_run {
    size_t done;       /* bytes of the message that are open */
    size_t len;        /* bytes of plain text so far */
    uint8_t chain[16]; /* the block that the next one depends on */
    etcp_cipher_style style;
} etcp_open_run;

enum { ETCP_SEALED_TAIL_MAX = 16 /* bytes of a sealed message beyond its header and its plain text */ };

/* What some rows can do so that a large message needs no second copy in memory. Return as seal of
 * the row. */
typedef struct etcp_large_ops {
    size_t header_len; /* of a message, in front of what was sealed */

    /* The size of the sealed form of len bytes; 0: too large. */
    size_t (*sealed_len)(const etcp_cipher_ctx *ctx, size_t len);

    /* Appends the sealed form of the next part of a message to out. All parts but the last, which
     * may be empty, are multiples of 16 bytes. Nothing else may be sealed in between. The bytes may
     * lie where their sealed form will be, behind the header if it is the first part, if out has the
     * room for all of it. */
    int (*seal_part)(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                     void *source_arg, etcp_seal_run *run, const uint8_t *bytes, size_t len,
                     int is_last, etcp_buf *out);
} etcp_large_ops;

struct etcp_cipher {
    char key;            /* the module's identifier on the wire */
    const char *name;    /* the CPAN module it stands for */
    const char *version; /* the version we announce for it */
    unsigned flags;      /* ETCP_CIPHER_... */
    unsigned rank;       /* preference among 1.x peers: lower is better; 0 = not offered to 1.x */
    size_t key_length;   /* characters of a fresh key string; 0 for Crypt::RSA */
    unsigned needs;      /* a set of etcp_algorithm, of provider.h */
    const struct etcp_block_cipher *block; /* of a Crypt::CBC row; NULL elsewhere */

    /* Makes a context from key[0..len), which is copied (and wiped on free). Any length and any
     * bytes are legal for symmetric rows. For Crypt::RSA key is either a frozen public key or a
     * serialised private key, told apart by content, both read by strict parsers. Returns 0,
     * ETCP_EINVAL (empty or malformed key), ETCP_ECRYPT or ETCP_ENOMEM. */
    int (*new_ctx)(const etcp_cipher *row, const uint8_t *key, size_t len, etcp_cipher_ctx **out);

    /* Frees a context of this row and wipes its key. NULL does nothing. */
    void (*free_ctx)(etcp_cipher_ctx *ctx);

    /* Appends the sealed form of bytes[0..len) to out; salts, IVs and seeds come from source.
     * Returns 0, ETCP_ECRYPT (also: this context cannot seal, or the module cannot carry this
     * message), ETCP_ETOOBIG, or ETCP_ENOMEM; out is unchanged on failure. */
    int (*seal)(etcp_cipher_ctx *ctx, etcp_cipher_style style, etcp_random_fn source,
                void *source_arg, const uint8_t *bytes, size_t len, etcp_buf *out);

    /* Appends the plain text of the message bytes[0..len) to out. Writes the style found to *style
     * (which may be NULL). Padding is checked strictly; one error for all damage.
     * Returns 0, ETCP_ECRYPT, or ETCP_ENOMEM; out is unchanged on failure. */
    int (*open)(etcp_cipher_ctx *ctx, const uint8_t *bytes, size_t len, etcp_buf *out,
                etcp_cipher_style *style);

    /* Goes on opening a message where it is, for some milliseconds at most: its plain text is in
     * bytes[0..run->len). Nothing else may be opened in between. Returns 0 (all is open), ETCP_AGAIN
     * (there is more), ETCP_ECRYPT or ETCP_ENOMEM: nobody knows what is in bytes then. */
    int (*open_step)(etcp_cipher_ctx *ctx, etcp_open_run *run, uint8_t *bytes, size_t len);

    const etcp_large_ops *large; /* NULL: large messages are treated as others are */
};

/* The rows in the order of the original manual (Crypt::RSA first); *count receives their number. */
const etcp_cipher *etcp_ciphers(size_t *count);

/* The rows that can be had on this machine as it is configured: bit i for row i of etcp_ciphers(). */
uint32_t etcp_ciphers_at_hand(void);

/* The row with this wire key, or NULL. */
const etcp_cipher *etcp_cipher_by_key(char key);

/* The style that costs least where both ends read them all and the key is of this connection alone.
 * A "RandomIV" message needs no key of its own; but under one key, 64-bit blocks begin to repeat
 * after some gigabytes, and ciphers with such blocks stay with "Salted__". ETCP_STYLE_NONE for rows
 * without styles. */
etcp_cipher_style etcp_cipher_least_style(const etcp_cipher *row);

/* Makes a fresh key pair for the row, appending the public key to public_key and the private key to
 * private_key (the same string for symmetric rows), not armoured. A pair whose
 * private half is shown to a peer in a compatibility test must never be used again.
 * Returns 0, ETCP_ECRYPT or ETCP_ENOMEM. Slow (milliseconds) for Crypt::RSA. */
int etcp_cipher_new_keys(const etcp_cipher *row, etcp_random_fn source, void *source_arg,
                         etcp_buf *public_key, etcp_buf *private_key);

#endif
