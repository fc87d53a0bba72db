/* Inside of the reader: reader.c reads plain items, of which those without inner items are in
 * reader_leaves.c; foreign.c adds the others, and scan.c is a builder for both that only checks. All use
 * the tables of reader_tables.c. Nobody else includes this. */
#ifndef ETCP_STORABLE_READER_PRIVATE_H
#define ETCP_STORABLE_READER_PRIVATE_H

#include "reader.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define ETCP_STORABLE_NO_CLASS UINT32_MAX

typedef enum etcp_storable_kind {
    ETCP_FRAME_ARRAY,
    ETCP_FRAME_HASH,
    ETCP_FRAME_FLAG_HASH,
    ETCP_FRAME_REFERENCE,
    ETCP_FRAME_TIED, /* from here on only by foreign.c */
    ETCP_FRAME_TIED_KEY,
    ETCP_FRAME_KEY, /* a TIED_KEY that has its object */
    ETCP_FRAME_TIED_INDEX,
    ETCP_FRAME_TIE,       /* the reference from a tied item to its object */
    ETCP_FRAME_HOOK,      /* items that the hook's object refers to */
    ETCP_FRAME_HOOK_MAGIC /* the object behind a tied one */
} etcp_storable_kind;

/* Items that the plain reader does not know. */
typedef struct etcp_storable_foreign {
    /* Reads an item of this opcode, as far as its first inner item. Returns ETCP_STEP_... or fails. */
    int (*read)(etcp_storable_reader *r, unsigned op);
    /* Gives the completed item to the top frame, which is of a kind of theirs. Returns the same. */
    int (*attach)(etcp_storable_reader *r);
    /* The image was sound to its end, or not: the rest of the work. */
    int (*finish)(etcp_storable_reader *r);
    void (*abandon)(etcp_storable_reader *r);
} etcp_storable_foreign;

/* A container that is being filled. */
typedef struct etcp_storable_frame {
    void *value;   /* owned until the container is complete */
    void *object;  /* of a TIED_KEY or TIED_INDEX: the reference to its object, owned; else NULL */
    size_t tag;    /* of value */
    size_t left;   /* items still to be attached */
    size_t index;  /* of the next element; of the blessing, for hooks */
    uint8_t kind;  /* etcp_storable_kind */
    uint8_t op;    /* that opened it */
    uint8_t flags; /* of a FLAG_HASH or HOOK */
    uint8_t least; /* bytes at least that each item takes, with its key, if one was claimed; else 0 */
    uint8_t shape; /* etcp_storable_shape of value */
    size_t promised; /* bytes that the containers around it must still find before the end */
} etcp_storable_frame;

/* In tag order, since both are given when an item begins. */
typedef struct etcp_storable_blessing {
    size_t tag; /* must be first */
    uint32_t class_index; /* ETCP_STORABLE_NO_CLASS until a hook names its class */
    int is_hook;          /* its class makes the object */
    int is_replaced;      /* and put another in its place, which it may have used before */
} etcp_storable_blessing;

/* What is special about the value of a tag, in tag order, too. */
typedef struct etcp_storable_tie {
    size_t tag; /* must be first */
    enum {
        ETCP_TIE_REFERENCE, /* from a tied item to its object */
        ETCP_TIE_OPEN,      /* a tied array or hash whose object is being read */
        ETCP_TIE_DONE
    } state;
} etcp_storable_tie;

struct etcp_storable_reader {
    const uint8_t *start; /* the image */
    const uint8_t *at;    /* next byte to read */
    const uint8_t *end;
    uint8_t *forgotten;       /* where the rest of an image begins that is forgotten; NULL: it is not */
    const uint8_t *forget_at; /* from where on that is worth while */
    int is_native;   /* lengths in the byte order of this machine */
    size_t max_depth;
    size_t integer_size;
    size_t double_size;
    int takes_exact;

    const etcp_storable_builder *builder;
    void *arg;
    const etcp_storable_foreign *foreign; /* NULL: such images are ETCP_STORABLE_FOREIGN */
    unsigned features; /* ETCP_STORABLE_HAS_... */
    int holds_tags;    /* each tag owns a reference, since foreign code may release anything */

    void *item; /* the value just completed, owned; NULL: an absent element, or none */
    size_t item_tag;
    uint32_t pending; /* class that the item being read is blessed into */
    int has_backrefs; /* there may be cycles */
    int has_duplicate_keys;

    void **tags; /* every value begun, by tag; markers stand for the constants */
    size_t tag_count, tag_cap;
    size_t tag_room; /* tags that there is memory for, and that the limit of the size allows */
    size_t tag_max;
    size_t pairs; /* of hashes, whose keys are no items, but take as much */
    size_t patterns; /* of regular expressions, as ETCP_STORABLE_PATTERNS_MAX counts */
    etcp_storable_frame *frames;
    size_t depth, frame_cap;
    size_t frame_room; /* frames that there is memory for, and that may nest */
    etcp_storable_class *classes;
    size_t class_count, class_cap;
    etcp_storable_blessing *blessings;
    size_t blessing_count, blessing_cap;
    size_t blessed; /* of these, those that are objects by now; read_all only */
    etcp_storable_tie *ties;
    size_t tie_count, tie_cap;
    void **referents; /* of the hook that is being read */
    size_t referent_count, referent_cap;
    size_t *weak; /* tags of references to be weakened */
    size_t weak_count, weak_cap;
    int has_large_tables; /* of these, some may be too large to be kept */

    etcp_error error;
};

/* What reading and attaching an item lead to. */
enum {
    ETCP_STEP_ITEM = 0, /* r->item is complete: attach it */
    ETCP_STEP_MORE = 2  /* a container needs its next item */
};

/* ---- reader_tables.c ------------------------------------------------------------------------- */

/* Records that. Returns ETCP_ENOMEM. */
int etcp_storable_out_of_memory(etcp_storable_reader *r);

/* Records the failure with the place of the next byte. Returns ETCP_EDECODE. */
int etcp_storable_damaged(etcp_storable_reader *r, const char *what);

static inline size_t etcp_storable_bytes_left(const etcp_storable_reader *r)
{
    return (size_t)(r->end - r->at);
}

/* Reading primitives, inline because they are called for every few bytes. 0, or ETCP_EDECODE after
 * recording it; the code is spelled out so that compilers see when results are set. */

static inline int etcp_storable_take_byte(etcp_storable_reader *r, unsigned *byte)
{
    if (r->at == r->end) {
        etcp_storable_damaged(r, "unexpected end");
        return ETCP_EDECODE;
    }
    *byte = *r->at++;
    return 0;
}

static inline int etcp_storable_take_bytes(etcp_storable_reader *r, size_t len,
                                           const uint8_t **bytes)
{
    if (etcp_storable_bytes_left(r) < len) {
        etcp_storable_damaged(r, "unexpected end");
        return ETCP_EDECODE;
    }
    *bytes = r->at;
    r->at += len;
    return 0;
}

/* Tags and NETINT are big-endian in images of either byte order. */
static inline int etcp_storable_take_network_u32(etcp_storable_reader *r, uint32_t *number)
{
    const uint8_t *at;

    if (etcp_storable_take_bytes(r, 4, &at) < 0)
        return ETCP_EDECODE;
    *number = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    return 0;
}

/* Lengths and counts are in the byte order of the image. */
static inline int etcp_storable_take_length(etcp_storable_reader *r, uint32_t *length)
{
    const uint8_t *at;

    if (!r->is_native)
        return etcp_storable_take_network_u32(r, length);
    if (etcp_storable_take_bytes(r, 4, &at) < 0)
        return ETCP_EDECODE;
    memcpy(length, at, 4);
    return 0;
}

/* Bytes behind their own length, of one byte, or of four. */
static inline int etcp_storable_take_text(etcp_storable_reader *r, int is_long,
                                          const uint8_t **bytes, size_t *len)
{
    unsigned byte;
    uint32_t number;

    if (is_long) {
        if (etcp_storable_take_length(r, &number) < 0)
            return ETCP_EDECODE;
        *len = number;
    } else {
        if (etcp_storable_take_byte(r, &byte) < 0)
            return ETCP_EDECODE;
        *len = byte;
    }
    return etcp_storable_take_bytes(r, *len, bytes);
}

/* Reads a class name of len bytes and gives it the next class number. */
int etcp_storable_take_class(etcp_storable_reader *r, uint32_t len);

/* Builders may end the process when there is no memory, as Perl does: sizes that an image has chosen
 * are tried before. 0 or ETCP_ENOMEM. */
int etcp_storable_try_memory(etcp_storable_reader *r, size_t size);

/* A hash of so many pairs begins. 0, or ETCP_EPOLICY: the structure becomes too large. */
int etcp_storable_count_pairs(etcp_storable_reader *r, size_t count);

/* Room for one more of each. 0 or a failure. */
int etcp_storable_reserve_weak(etcp_storable_reader *r);
int etcp_storable_reserve_blessing(etcp_storable_reader *r);
int etcp_storable_reserve_tie(etcp_storable_reader *r);
int etcp_storable_reserve_referent(etcp_storable_reader *r);
int etcp_storable_grow_frames(etcp_storable_reader *r);

/* The same, with the check of the depth. */
static inline int etcp_storable_reserve_frame(etcp_storable_reader *r)
{
    return r->depth < r->frame_room ? 0 : etcp_storable_grow_frames(r);
}

/* Records why a function of the builder failed with code. Returns code. */
int etcp_storable_builder_failed(etcp_storable_reader *r, int code);

/* What a tag stands for, one more reference to it: a constant as the place wants it. NULL: no memory. */
void *etcp_storable_referent(etcp_storable_reader *r, size_t tag);

/* What stands for the constants in the table of tags, by etcp_storable_constant. A reference back to
 * one is read as the constant itself would be in that place: as an element it is a value of its own. */
extern char etcp_storable_constant_tags[3];

/* Whether a tag is of a constant, which nothing owns. */
static inline int etcp_storable_is_constant(const void *value)
{
    return value == &etcp_storable_constant_tags[ETCP_STORABLE_UNDEF] ||
           value == &etcp_storable_constant_tags[ETCP_STORABLE_TRUE] ||
           value == &etcp_storable_constant_tags[ETCP_STORABLE_FALSE];
}

/* Drops one reference to what each tag stands for. */
void etcp_storable_release_tags(etcp_storable_reader *r);

/* The tables are empty, as an image begins that may have so many items. */
void etcp_storable_clear_tables(etcp_storable_reader *r, size_t tag_max);

/* Frees the memory of tables that few images need. */
void etcp_storable_drop_large_tables(etcp_storable_reader *r);

/* Frees that of all. */
void etcp_storable_free_tables(etcp_storable_reader *r);

/* Nothing before until is needed any more, in an image that is forgotten. */
static inline void etcp_storable_forget_until(etcp_storable_reader *r, const uint8_t *until)
{
    const size_t read = (size_t)(until - r->forgotten);

    etcp_forget(r->forgotten, read);
    r->forgotten += read;
}

/* Makes a tag stand for undef. */
void etcp_storable_forget_tag(etcp_storable_reader *r, size_t tag);

/* What is special about a tag, or NULL. */
etcp_storable_tie *etcp_storable_tie_of(const etcp_storable_reader *r, size_t tag);

/* The blessing of a tag, or NULL. */
etcp_storable_blessing *etcp_storable_blessing_of(const etcp_storable_reader *r, size_t tag);

/* Makes objects of what has begun, up to those that their class makes. */
void etcp_storable_bless_all(etcp_storable_reader *r);

int etcp_storable_grow_tags(etcp_storable_reader *r);

static inline int etcp_storable_reserve_tag(etcp_storable_reader *r)
{
    return r->tag_count < r->tag_room ? 0 : etcp_storable_grow_tags(r);
}

/* Gives value the next tag and notes the class that is pending. Room was made by the reader. */
void etcp_storable_note_tag(etcp_storable_reader *r, void *value);

static inline void etcp_storable_tag(etcp_storable_reader *r, void *value)
{
    if (r->pending != ETCP_STORABLE_NO_CLASS || r->holds_tags)
        etcp_storable_note_tag(r, value);
    r->tags[r->tag_count++] = value;
}

/* Bytes that all open containers must still find before the end, besides the item that is being read: it
 * has begun, but its key comes after it. */
static inline size_t etcp_storable_promised(const etcp_storable_reader *r)
{
    const etcp_storable_frame *f;

    if (!r->depth)
        return 0;
    f = &r->frames[r->depth - 1];
    return f->least ? f->promised + f->left * f->least - 1 : f->promised;
}

/* Pushes a frame for value, tagged just now and of this shape, which takes items items. */
static inline etcp_storable_frame *etcp_storable_push(etcp_storable_reader *r, void *value,
                                                      etcp_storable_shape shape,
                                                      etcp_storable_kind kind, etcp_storable_op op,
                                                      size_t items)
{
    const size_t promised = etcp_storable_promised(r);
    etcp_storable_frame *f = &r->frames[r->depth++];

    f->value = value;
    f->object = NULL;
    f->tag = r->tag_count - 1;
    f->left = items;
    f->index = 0;
    f->kind = (uint8_t)kind;
    f->op = (uint8_t)op;
    f->flags = 0;
    f->least = 0;
    f->shape = (uint8_t)shape;
    f->promised = promised;
    return f;
}

/* Whether an array, a hash or code may be the next item of the top frame: 0, or damage. A program that
 * touched an array as the element of another would find memory of other use: Storable writes references
 * there, and its decoder does not ask. */
static inline int etcp_storable_may_place_body(etcp_storable_reader *r)
{
    if (!r->depth || r->frames[r->depth - 1].kind > ETCP_FRAME_FLAG_HASH)
        return 0;
    etcp_storable_damaged(r, "array, hash or code where a scalar must be");
    return ETCP_EDECODE;
}

/* The class number of the item with a tag, or ETCP_STORABLE_NO_CLASS. */
uint32_t etcp_storable_class_of(const etcp_storable_reader *r, size_t tag);

/* ---- reader.c -------------------------------------------------------------------------------- */

/* An OVERLOAD item leads to the completed item: 0, or damage if that is no object. */
int etcp_storable_overload(etcp_storable_reader *r);

/* The top frame has all its items: pops it and makes its value the completed item. Returns
 * ETCP_STEP_ITEM. */
int etcp_storable_complete(etcp_storable_reader *r);

/* A value made by the builder, or NULL, takes the next tag and is the completed item. */
static inline int etcp_storable_leaf(etcp_storable_reader *r, void *value)
{
    if (!value)
        return etcp_storable_out_of_memory(r);
    r->item = value;
    r->item_tag = r->tag_count;
    etcp_storable_tag(r, value);
    return ETCP_STEP_ITEM;
}

/* ---- reader_leaves.c ------------------------------------------------------------------------- */

/* Each reads an item whose opcode has been taken. Returns ETCP_STEP_ITEM or fails. */
int etcp_storable_read_constant(etcp_storable_reader *r, unsigned op);
int etcp_storable_read_boolean(etcp_storable_reader *r, etcp_storable_constant which);
int etcp_storable_read_object(etcp_storable_reader *r);
int etcp_storable_read_byte(etcp_storable_reader *r);
int etcp_storable_read_netint(etcp_storable_reader *r);
int etcp_storable_read_native(etcp_storable_reader *r, etcp_storable_op op);
int etcp_storable_read_exact(etcp_storable_reader *r, etcp_storable_op op);
int etcp_storable_read_vstring(etcp_storable_reader *r, int is_long);

/* Reads a leaf that must be a string of some kind, given its opcode. Returns ETCP_STEP_ITEM or fails. */
int etcp_storable_read_string(etcp_storable_reader *r, unsigned op);

/* ---- foreign.c ------------------------------------------------------------------------------- */

/* All items. */
const etcp_storable_foreign *etcp_storable_foreign_items(void);

/* Reads an image. foreign NULL: plain items only. */
int etcp_storable_run(etcp_storable_reader *r, const uint8_t *data, size_t len,
                      const etcp_storable_builder *builder, void *arg,
                      const etcp_storable_options *options, const etcp_storable_foreign *foreign);

#endif
