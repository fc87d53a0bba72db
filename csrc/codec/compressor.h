/* csrc/codec/ holds the compressors and ciphers that old peers may pick, each behind the same small
 * table row. A file per algorithm family; no state shared between algorithms; nothing here knows
 * packets, sockets or Perl.
 *
 * This header: the compressors. */
#ifndef ETCP_CODEC_COMPRESSOR_H
#define ETCP_CODEC_COMPRESSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/piece.h"

/* State that a compressor keeps between messages (NULL where it needs none). */
typedef struct etcp_compressor_state etcp_compressor_state;

/* The very bytes that originals send, for tests that compare with theirs. */
enum { ETCP_LEVEL_OF_ORIGINALS = 0 };

/* Bytes of a message that one step of decompressing uses at most. */
enum { ETCP_STEP_INPUT = 1 << 20 };

/* Between the steps in which a large message is decompressed. */
typedef struct etcp_unpack_run {
    uint8_t *out; /* the caller's: what came out so far, followed by the room for what comes next */
    size_t len;   /* of what came out so far */
    size_t cap;
    size_t done; /* bytes of the message that are used */
    size_t left; /* bytes that are known to come out yet; 0 where nothing tells */
    void *state; /* the compressor's */
} etcp_unpack_run;

typedef struct etcp_compressor {
    char key;            /* the module's identifier on the wire */
    const char *name;    /* the CPAN module it stands for */
    const char *version; /* the version we announce for it */

    /* Appends the compressed form of bytes[0..len) to out. level is 1 (fast) to 9 (small), or
     * ETCP_LEVEL_OF_ORIGINALS; a compressor may have fewer. Which bytes that gives depends on the
     * library that makes them. *state starts NULL, is created on first use and belongs to the
     * caller, who ends it with free_state. bytes must not lie in out.
     * Returns 0, ETCP_ENOMEM, or ETCP_ETOOBIG; out is unchanged on failure. */
    int (*compress)(etcp_compressor_state **state, int level, const uint8_t *bytes, size_t len,
                    etcp_buf *out);

    /* The same for what lies in pieces, len bytes in all, which are left alone. */
    int (*compress_pieces)(etcp_compressor_state **state, int level, const etcp_piece *pieces,
                           size_t count, size_t len, etcp_buf *out);

    /* Appends the original of bytes[0..len), at most max bytes of it, to out. Memory grows with
     * what is really produced, never with what the input claims. Returns 0, ETCP_EDECODE (damaged),
     * ETCP_ETOOBIG (more than max), or ETCP_ENOMEM; out is unchanged on failure. */
    int (*decompress)(etcp_compressor_state **state, const uint8_t *bytes, size_t len, size_t max,
                      etcp_buf *out);

    /* Goes on decompressing bytes[0..len), as far as there is room. run is all zero at first, but
     * for out and cap, which the caller may change between two steps, keeping the content. Returns
     * 0 (all is out), ETCP_AGAIN (another step is needed, for which some hundred bytes of room are
     * enough), ETCP_EDECODE or ETCP_ENOMEM. A step ends even if nothing comes out of what it uses.
     * What is used is not looked at again, but for the first byte.
     * end_steps is called in every case. */
    int (*decompress_step)(etcp_unpack_run *run, const uint8_t *bytes, size_t len);
    void (*end_steps)(etcp_unpack_run *run);

    void (*free_state)(etcp_compressor_state *state); /* NULL is allowed */
} etcp_compressor;

/* The rows, best first; *count receives their number. */
const etcp_compressor *etcp_compressors(size_t *count);

/* The row with this wire key, or NULL. */
const etcp_compressor *etcp_compressor_by_key(char key);

#endif
