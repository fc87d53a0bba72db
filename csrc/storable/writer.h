/* Writes a Storable image item by item. The caller walks its own data and says what it meets; the
 * writer knows the bytes, the tags and what was met before. What is called once per value is
 * inline. */
#ifndef ETCP_STORABLE_WRITER_H
#define ETCP_STORABLE_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "format.h"

typedef struct etcp_storable_slot {
    const void *address;
    uint32_t tag;
    uint32_t image; /* a slot of an earlier image counts as empty, so that nothing needs clearing */
} etcp_storable_slot;

/* Bytes of somebody else that belong into the image, where they are not copied to. */
typedef struct etcp_storable_loan {
    size_t at; /* bytes of the image's own that stand before them */
    const void *bytes;
    size_t len;
    void *owner; /* the caller's note */
} etcp_storable_loan;

/* Fields are read-only outside writer.c. */
typedef struct etcp_storable_writer {
    etcp_buf out; /* the image so far, without */
    etcp_storable_loan *loans;
    size_t loan_count, loan_cap;
    uint32_t next_tag;
    uint32_t image; /* number of the current image */
    size_t seen;    /* slots that it uses */
    size_t slot_count;
    etcp_storable_slot *slots; /* hash table by address, open addressing */
} etcp_storable_writer;

/* Makes a writer that owns no memory. Cannot fail. */
void etcp_storable_writer_init(etcp_storable_writer *w);

/* Frees all memory of the writer and leaves it as etcp_storable_writer_init does. */
void etcp_storable_writer_deinit(etcp_storable_writer *w);

/* Begins an image in network order, dropping the last one and its loans. Memory is kept from image
 * to image unless it is out of proportion. Returns 0 or ETCP_ENOMEM. */
int etcp_storable_begin(etcp_storable_writer *w, uint8_t minor);

/* Looks up, by address, an item that may be met again. Returns 1 after writing OBJECT because it
 * was met before: write nothing more for it. Returns 0 when it is new: it has a tag now, write it.
 * Fails with ETCP_ENOMEM, or ETCP_ETOOBIG when there are no tags left. */
int etcp_storable_meet(etcp_storable_writer *w, const void *address);

/* The tag of an item that etcp_storable_meet has met in this image. Returns whether it has. */
int etcp_storable_find(const etcp_storable_writer *w, const void *address, uint32_t *tag);

/* In place of etcp_storable_meet for an item that cannot be met twice: it only takes its tag. */
static inline void etcp_storable_pass(etcp_storable_writer *w)
{
    w->next_tag++;
}

/* Appends an integer: BYTE, NETINT or, beyond 32 bits, its digits. The value is magnitude, or
 * minus magnitude. with_netint == 0 writes digits instead of NETINT, as Storable 2.04 to 2.25 do on
 * 64-bit systems. Returns 0 or ETCP_ENOMEM. */
int etcp_storable_put_integer(etcp_storable_writer *w, int is_negative, uint64_t magnitude,
                              int with_netint);

/* Appends a number that a peer with ETCP_CAN_EXACT_NUMBERS gets as it is: EXACT_DOUBLE;
 * BYTE, NETINT or, beyond 32 bits, EXACT_INTEGER or EXACT_UNSIGNED; EXACT_DECIMAL, of at most 255
 * bytes. 0 or ETCP_ENOMEM. */
int etcp_storable_put_exact_double(etcp_storable_writer *w, double value);
int etcp_storable_put_exact_integer(etcp_storable_writer *w, int is_negative, uint64_t magnitude);
int etcp_storable_put_exact_decimal(etcp_storable_writer *w, const char *text, size_t len);

/* Appends the start of an object: BLESS with the name of a class on first sight, or IX_BLESS with
 * its number, counted from 0 in order of first sight. The object's item follows. 0 or ETCP_ENOMEM.
 */
int etcp_storable_put_class(etcp_storable_writer *w, const uint8_t *name, size_t len);
int etcp_storable_put_class_index(etcp_storable_writer *w, uint32_t index);

/* What stands in a HOOK item. */
typedef struct etcp_storable_hook {
    unsigned kind;       /* ETCP_SX_HOOK_SCALAR, _ARRAY, _HASH, _TIED */
    unsigned tied;       /* ETCP_SX_HOOK_TIED_SCALAR, _ARRAY, _HASH: only if it is */
    int has_begun;       /* etcp_storable_begin_hook wrote the start already */
    const uint8_t *name; /* of the class on first sight; NULL: index is its number */
    size_t name_len;
    uint32_t index;
    const uint8_t *text; /* what the hook returned first, at most 2^31 - 1 bytes */
    size_t text_len;
    size_t tag_count; /* how many etcp_storable_put_tag follow, at most 2^31 - 1 */
} etcp_storable_hook;

/* Appends what stands before an item that the hook's object refers to and that was not met before:
 * the item follows, and then this again or etcp_storable_put_hook. Sets has_begun. 0 or
 * ETCP_ENOMEM. */
int etcp_storable_begin_hook(etcp_storable_writer *w, etcp_storable_hook *h);

/* Appends the HOOK item up to the tags of what it refers to, which follow; for one that is tied,
 * the item of its tie comes last. 0 or ETCP_ENOMEM. */
int etcp_storable_put_hook(etcp_storable_writer *w, const etcp_storable_hook *h);

/* Appends the literal of a version string, len (at most 2^31 - 1) bytes. Its string follows, and
 * has the tag. 0 or ETCP_ENOMEM. */
int etcp_storable_put_literal(etcp_storable_writer *w, const uint8_t *literal, size_t len);

/* Makes room for len bytes behind the image. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_reserve(etcp_storable_writer *w, size_t len)
{
    return etcp_buf_room(&w->out) >= len ? 0 : etcp_buf_reserve(&w->out, len);
}

/* Where room that was made, for a byte at least, begins; etcp_storable_wrote says how many bytes were
 * used. */
static inline uint8_t *etcp_storable_tail(etcp_storable_writer *w)
{
    return w->out.data + w->out.end;
}

/* Both at once: NULL when memory is exhausted. */
static inline uint8_t *etcp_storable_room(etcp_storable_writer *w, size_t len)
{
    return etcp_storable_reserve(w, len) < 0 ? NULL : etcp_storable_tail(w);
}

static inline void etcp_storable_wrote(etcp_storable_writer *w, size_t len)
{
    etcp_buf_commit(&w->out, len);
}

static inline void etcp_storable_store_u32(uint8_t *to, uint32_t n)
{
    to[0] = (uint8_t)(n >> 24);
    to[1] = (uint8_t)(n >> 16);
    to[2] = (uint8_t)(n >> 8);
    to[3] = (uint8_t)n;
}

/* Appends 32 bits: a tag of a HOOK, or the index of a TIED_IDX. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_u32(etcp_storable_writer *w, uint32_t n)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, 4) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    etcp_storable_store_u32(to, n);
    etcp_storable_wrote(w, 4);
    return 0;
}

/* Appends an opcode alone: UNDEF, SV_..., BOOLEAN_..., or the start of a REF. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_op(etcp_storable_writer *w, etcp_storable_op op)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, 1) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    to[0] = (uint8_t)op;
    etcp_storable_wrote(w, 1);
    return 0;
}

/* The shortest integers, from -128 to 127, which all peers read: BYTE. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_byte(etcp_storable_writer *w, int value)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, 2) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    to[0] = ETCP_SX_BYTE;
    to[1] = (uint8_t)(value + 128);
    etcp_storable_wrote(w, 2);
    return 0;
}

/* Appends the start of an ARRAY or HASH of count (at most 2^31 - 1) elements. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_container(etcp_storable_writer *w, etcp_storable_op op,
                                              uint32_t count)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, 5) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    to[0] = (uint8_t)op;
    etcp_storable_store_u32(to + 1, count);
    etcp_storable_wrote(w, 5);
    return 0;
}

/* Appends the start of a FLAG_HASH of count elements with its own flags, 0 or
 * ETCP_SX_HASH_RESTRICTED. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_flag_hash(etcp_storable_writer *w, unsigned flags,
                                              uint32_t count)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, 6) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    to[0] = ETCP_SX_FLAG_HASH;
    to[1] = (uint8_t)flags;
    etcp_storable_store_u32(to + 2, count);
    etcp_storable_wrote(w, 6);
    return 0;
}

/* Appends a string of at most 2^31 - 1 bytes, as SCALAR or UTF8STR or their long forms. 0 or
 * ETCP_ENOMEM. */
static inline int etcp_storable_put_string(etcp_storable_writer *w, const void *bytes, size_t len,
                                           int is_utf8)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, len + 5) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    if (len <= ETCP_SX_SHORT_MAX) {
        *to++ = is_utf8 ? ETCP_SX_UTF8STR : ETCP_SX_SCALAR;
        *to++ = (uint8_t)len;
    } else {
        *to++ = is_utf8 ? ETCP_SX_LUTF8STR : ETCP_SX_LSCALAR;
        etcp_storable_store_u32(to, (uint32_t)len);
        to += 4;
    }
    memcpy(to, bytes, len);
    etcp_storable_wrote(w, (len <= ETCP_SX_SHORT_MAX ? 2 : 5) + len);
    return 0;
}

/* The same, but the bytes stay where they are: they must live as long as the image is used, which is
 * not whole without the loans. */
int etcp_storable_lend_string(etcp_storable_writer *w, const void *bytes, size_t len, int is_utf8,
                              void *owner);

/* Appends the key of a HASH element; its value came before. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_key(etcp_storable_writer *w, const void *bytes, size_t len)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, len + 4) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    etcp_storable_store_u32(to, (uint32_t)len);
    memcpy(to + 4, bytes, len);
    etcp_storable_wrote(w, len + 4);
    return 0;
}

/* Appends the key of a FLAG_HASH element with its ETCP_SX_KEY_ flags. 0 or ETCP_ENOMEM. */
static inline int etcp_storable_put_flag_key(etcp_storable_writer *w, unsigned flags,
                                             const void *bytes, size_t len)
{
    uint8_t *to;

    if (etcp_storable_reserve(w, len + 5) < 0)
        return ETCP_ENOMEM;
    to = etcp_storable_tail(w);
    to[0] = (uint8_t)flags;
    etcp_storable_store_u32(to + 1, (uint32_t)len);
    memcpy(to + 5, bytes, len);
    etcp_storable_wrote(w, len + 5);
    return 0;
}

#endif
