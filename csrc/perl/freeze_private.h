/* Inside of freezing: shared by storable_freeze.c, which walks, and the freeze_*.c, which write
 * what the walk meets. Nobody else includes this.
 *
 * The walk uses no C stack: what is under way stands in frames. Functions that write an item return
 * one of the results below, or an etcp_code. */
#ifndef ETCP_PERL_FREEZE_PRIVATE_H
#define ETCP_PERL_FREEZE_PRIVATE_H

#include "storable_private.h"

enum {
    ETCP_FREEZE_DONE = 0,
    ETCP_FREEZE_NEXT = 1,   /* another item belongs here, and was named */
    ETCP_FREEZE_OPENED = 2, /* a frame was pushed: its items are next */
    ETCP_FREEZE_AGAIN = 3,  /* the mode does not suffice: begin anew with the one set now */
    ETCP_FREEZE_FOREIGN = 4 /* only Storable can go on, or say why not */
};

typedef enum etcp_freeze_mode {
    ETCP_FREEZE_PLAIN,    /* what has a single owner is met once */
    ETCP_FREEZE_TRACKING, /* there are weak references, or owners that do not count */
    ETCP_FREEZE_HOLDING   /* Perl code runs meanwhile: everything met is kept alive */
} etcp_freeze_mode;

typedef enum etcp_freeze_kind {
    ETCP_FREEZE_ARRAY,
    ETCP_FREEZE_HASH,     /* as its buckets lie */
    ETCP_FREEZE_SORTED,   /* entries in order */
    ETCP_FREEZE_SNAPSHOT, /* a list of value, key, value, key: Perl code may change the hash */
    ETCP_FREEZE_TIED_KEY,
    ETCP_FREEZE_TIED_INDEX,
    ETCP_FREEZE_HOOK,
    ETCP_FREEZE_LAST /* nothing follows its last item */
} etcp_freeze_kind;

/* A container that is being written. Its value is alive: its owner is, or the freezer holds it. */
typedef struct etcp_freeze_frame {
    SV *value;
    size_t index; /* of the next item or, for a HASH, of its bucket */
    size_t count; /* of items; for a HASH, of those that are not written yet */
    size_t level; /* how deep its items are */
    union {
        HE *entry;    /* HASH: to be written next, or whose value is being written */
        HE **entries; /* SORTED: owned by the frame */
        AV *list;     /* SNAPSHOT and HOOK: held by the freezer */
    } u;
    uint8_t kind;         /* etcp_freeze_kind */
    uint8_t is_flagged;   /* hashes: flags stand before the keys */
    uint8_t has_value;    /* hashes: the value is written, the key is not */
    uint8_t has_begun;    /* HOOK: its opcode is written */
    uint32_t class_index; /* HOOK */
} etcp_freeze_frame;

typedef struct etcp_freeze_class {
    HV *stash;        /* held in ETCP_FREEZE_HOLDING */
    const char *name; /* NUL behind */
    size_t len;
    CV *hook;     /* its STORABLE_freeze, or NULL */
    int is_named; /* it has a number in the image */
    uint32_t number;
} etcp_freeze_class;

/* One freezing, and the memory that the next one uses again. */
typedef struct etcp_freezer {
    etcp_storable_writer w;
    etcp_storable_state *state;
    etcp_freeze_mode mode;
    unsigned can; /* what the peer can receive beyond Storable's items, ETCP_CAN_... */
    int is_canonical;
    int lends;      /* long strings are not copied, but kept by a scalar that shares their bytes */
    int is_guarded; /* abandoned by the scope if Perl code dies */
    size_t level;   /* how deep the item is that is being written */
    size_t deepest;

    etcp_freeze_frame *frames;
    size_t depth, frame_cap;
    etcp_freeze_class *classes;
    size_t class_count, class_cap;
    uint32_t named_classes;
    HV *class_numbers; /* index by address of the stash, when there are many; or NULL */
    AV *held;          /* ETCP_FREEZE_HOLDING: everything that was met; or NULL */
} etcp_freezer;

/* What etcp_freeze_push needs: 0, ETCP_FREEZE_FOREIGN or ETCP_ENOMEM. */
int etcp_freeze_reserve_frame(pTHX_ etcp_freezer *z);

/* Pushes a frame for count items of value, which lie one level deeper. ETCP_FREEZE_OPENED with *f,
 * valid until the next push; ETCP_FREEZE_FOREIGN: too deep; or ETCP_ENOMEM. */
static inline int etcp_freeze_push(pTHX_ etcp_freezer *z, etcp_freeze_kind kind, SV *value, size_t count,
                                   etcp_freeze_frame **f)
{
    *f = NULL;
    if (z->level >= z->deepest || z->depth == z->frame_cap) {
        int rc = etcp_freeze_reserve_frame(aTHX_ z);
        if (rc)
            return rc;
    }
    *f = &z->frames[z->depth++];
    (*f)->value = value;
    (*f)->index = 0;
    (*f)->count = count;
    (*f)->level = z->level + 1;
    (*f)->kind = (uint8_t)kind;
    (*f)->has_begun = 0;
    return ETCP_FREEZE_OPENED;
}

/* Takes the last frame away: its items are written. */
void etcp_freeze_pop(etcp_freezer *z);

/* One level more for a single item. ETCP_FREEZE_NEXT with *next, or ETCP_FREEZE_FOREIGN. */
int etcp_freeze_below(pTHX_ etcp_freezer *z, SV *item, SV **next);

/* Raises the mode if it is lower than that. Returns whether it was: return ETCP_FREEZE_AGAIN then.
 */
int etcp_freeze_needs(etcp_freezer *z, etcp_freeze_mode mode);

/* As etcp_freeze_needs, and for what peers leave to Storable, which knows none of our items: they are
 * not used in this image. */
int etcp_freeze_needs_storable(etcp_freezer *z);

/* Call it before anything that may run Perl code or die: everything is cleaned up then. */
void etcp_freeze_guard(pTHX_ etcp_freezer *z);

/* Keeps a value alive until the image is complete; takes over the reference. ETCP_FREEZE_HOLDING
 * only. */
void etcp_freeze_hold(pTHX_ etcp_freezer *z, SV *owned);

/* Drops the scalars that keep what was lent. */
void etcp_freeze_end_loans(pTHX_ etcp_freezer *z);

/* freeze_hash.c: a hash, and the next item of its frame (ETCP_FREEZE_DONE: none is left). */
int etcp_freeze_hash(pTHX_ etcp_freezer *z, HV *hv);
int etcp_freeze_hash_step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next);

/* freeze_class.c: what stands before the item of an object. ETCP_FREEZE_DONE: the item follows;
 * otherwise it was, or will be, written by a hook. */
int etcp_freeze_object(pTHX_ etcp_freezer *z, SV *sv);
int etcp_freeze_hook_step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next);
/* Whether a class overloads operators: ETCP_FREEZE_DONE, with the answer, or ETCP_FREEZE_AGAIN. */
int etcp_freeze_find_overloading(pTHX_ etcp_freezer *z, HV *stash, int *overloads);

/* freeze_tied.c: tied containers and scalars, and elements of tied containers. The magic of the
 * tie, or NULL; the object behind it, an undefined mortal for a scalar that is tied to itself. */
const MAGIC *etcp_freeze_tie_of(const SV *sv);
SV *etcp_freeze_tied_object(pTHX_ const MAGIC *tie);
int etcp_freeze_tied(pTHX_ etcp_freezer *z, SV *sv, const MAGIC *tie, SV **next);
int etcp_freeze_tied_step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next);

/* The freezer of this interpreter, or a new one while that is in use; NULL: out of memory. finish
 * gives it back: its image is valid until the next one is begun. clean drops what an image needed
 * while it was made. Both release what was held, which may run DESTROY. */
etcp_freezer *etcp_freezer_take(etcp_storable_state *s);
void etcp_freezer_finish(pTHX_ etcp_freezer *z);
void etcp_freezer_clean(pTHX_ etcp_freezer *z);

/* Frees a freezer with all its memory; NULL does nothing. */
void etcp_freezer_free(pTHX_ etcp_freezer *z);

#endif
