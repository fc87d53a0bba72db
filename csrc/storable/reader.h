/* Reads a Storable image of either byte order from memory. The bytes are hostile: nothing is allocated
 * by a claim, nesting uses no C stack and is bounded, and nothing outside the image is read. The reader
 * only understands; what values are is the builder's business. */
#ifndef ETCP_STORABLE_READER_H
#define ETCP_STORABLE_READER_H

#include <stddef.h>
#include <stdint.h>

#include "format.h"

/* How deep items may nest by default; each reference and each container is a level. Storable 2 wrote
 * structures of any depth; this is 10000 nested references to arrays or hashes. */
enum { ETCP_STORABLE_DEPTH = 20000 };

/* What an item counts for: about the memory of a Perl scalar and its place in a container. */
enum { ETCP_STORABLE_ITEM_SIZE = 64 };

/* The longest class name, and how many parts it may have, for Perl makes a symbol table for each. */
enum { ETCP_STORABLE_CLASS_MAX = 255, ETCP_STORABLE_CLASS_PARTS = 16 };

/* How long the regular expressions of an image may be together, and what each counts for beside its
 * pattern: compiling some takes Perl a second for each hundred kilobytes, and more than twice as long
 * for twice as many. */
enum { ETCP_STORABLE_PATTERNS_MAX = 32768, ETCP_STORABLE_PATTERN_SIZE = 32 };

/* What etcp_storable_read returns for a sound beginning that etcp_storable_read_all must go on with. */
enum { ETCP_STORABLE_FOREIGN = 1 };

typedef enum etcp_storable_constant {
    ETCP_STORABLE_UNDEF,
    ETCP_STORABLE_TRUE,
    ETCP_STORABLE_FALSE
} etcp_storable_constant;

typedef enum etcp_storable_place {
    ETCP_STORABLE_FRESH,   /* a new value like the constant */
    ETCP_STORABLE_ELEMENT, /* the constant, as an element: better a new value, which may be changed */
    ETCP_STORABLE_REFERRED /* the constant itself: a reference, or the image, refers to it */
} etcp_storable_place;

/* Where a value may stand: Perl's arrays and hashes hold scalars, and references lead to the rest. */
typedef enum etcp_storable_shape {
    ETCP_STORABLE_SCALAR, /* anywhere */
    ETCP_STORABLE_BODY,   /* an array, a hash, code: behind a reference, or as the root */
    ETCP_STORABLE_TIE     /* the reference from a tied value to its object: nowhere else; reader only */
} etcp_storable_shape;

/* A class named in the image. handle and overloads are for the builder, initially NULL and 0. */
typedef struct etcp_storable_class {
    const uint8_t *name; /* in the image: no NUL inside, none behind */
    size_t len;
    void *handle;
    int overloads; /* an OVERLOAD item refers to an object of this class */
    int hooked;    /* a HOOK item is an object of this class */
} etcp_storable_class;

/* Makes the values. Values are opaque, not NULL, and carry one reference when made; functions that
 * put a value somewhere take over that reference unless they fail. arg is the caller's. int results
 * are 0 or an etcp_code. */
typedef struct etcp_storable_builder {
    /* Leaves. NULL: out of memory; from string also: not UTF-8. */
    void *(*constant)(void *arg, etcp_storable_constant which, etcp_storable_place place);
    void *(*integer)(void *arg, int32_t value);
    void *(*native)(void *arg, etcp_storable_op op, const uint8_t *bytes); /* INTEGER, DOUBLE */
    /* EXACT_...: 8 bytes, most significant first; or of EXACT_DECIMAL the text, checked for its form. */
    void *(*exact)(void *arg, etcp_storable_op op, const uint8_t *bytes, size_t len);
    void *(*string)(void *arg, const uint8_t *bytes, size_t len, int is_utf8);
    /* The same of a string whose bytes the reader copies to *to; only for images that are forgotten. */
    void *(*blank)(void *arg, const uint8_t *bytes, size_t len, int is_utf8, uint8_t **to);

    /* Containers, empty at first. count elements follow, so many bytes at least are there. */
    void *(*array)(void *arg, size_t count);
    void *(*hash)(void *arg, size_t count);
    void *(*reference)(void *arg);

    /* Filling them; op is REF, OVERLOAD, or a weak form that a constant must be refused for (with
     * ETCP_EDECODE). An index comes at most once; indexes left out are absent elements. A key may come
     * twice: the last one counts and the result is 1, but the earlier value must stay alive until the
     * reader returns. */
    int (*array_put)(void *arg, void *array, size_t index, void *value);
    int (*hash_put)(void *arg, void *hash, const uint8_t *key, size_t len, unsigned key_flags,
                    void *value);
    int (*reference_put)(void *arg, void *reference, void *value, etcp_storable_op op);

    /* Hangs the literal of a version string on a string. */
    int (*vstring)(void *arg, void *string, const uint8_t *literal, size_t len);

    /* References: one more (returns value), one less, how many. */
    void *(*share)(void *arg, void *value);
    void (*release)(void *arg, void *value);
    size_t (*owners)(void *arg, void *value);
    /* Where it may stand; asked of values met again. */
    etcp_storable_shape (*shape)(void *arg, const void *value);
    /* Drops the content of a container, to break cycles before release; leaves stay as they are. */
    void (*empty)(void *arg, void *value);

    /* Only for etcp_storable_read_all, which may run anybody's code: containers can have changed when
     * they are filled further, and functions fail with ETCP_EDECODE rather than trust them.
     *
     * tied makes what will be tied; op is one of the TIED opcodes. tie ties it to the object that a
     * reference leads to, for TIED_KEY with a key, for TIED_IDX with an index; all stay the caller's. */
    void *(*tied)(void *arg, etcp_storable_op op);
    int (*tie)(void *arg, void *tied, etcp_storable_op op, void *object, void *key, uint32_t index);
    /* The keys of a hash are complete and no others are allowed. */
    void (*restricted)(void *arg, void *hash);
    /* From a string that is released afterwards; from bytes. NULL: unusable. */
    void *(*code)(void *arg, void *text);
    void *(*regexp)(void *arg, const uint8_t *pattern, size_t len, const uint8_t *modifiers,
                    size_t modifiers_len);
    /* Makes object, which is empty, what its class makes of a string and of count references. The class
     * may put another object in its place: then *object is that, and the old one was released. */
    int (*thaw)(void *arg, void **object, etcp_storable_class *c, const uint8_t *frozen, size_t len,
                void *const *referents, size_t count);

    /* Once per class, when its name is met: 0, or ETCP_EPOLICY to refuse the image. */
    int (*class_named)(void *arg, etcp_storable_class *c);
    /* The image was sound to its end. Once per class that objects were met of: 0, or
     * ETCP_STORABLE_FOREIGN to leave the image to etcp_storable_read_all. Then weaken turns references
     * into weak ones, and bless makes objects: both cannot fail. */
    int (*class_ready)(void *arg, etcp_storable_class *c);
    void (*weaken)(void *arg, void *reference);
    void (*bless)(void *arg, void *value, etcp_storable_class *c);
} etcp_storable_builder;

typedef struct etcp_storable_options {
    size_t max_depth; /* 0: ETCP_STORABLE_DEPTH */
    size_t max_size;  /* bytes that the structure may become: ETCP_STORABLE_ITEM_SIZE for each item and
                       * each key of a hash, and its strings; 0: no limit */
    /* What the local freeze writes behind the minor version: byte order and sizes, to recognise images
     * in native order. NULL: read images in network order only. */
    const uint8_t *native_header;
    size_t native_header_len;
    size_t integer_size; /* bytes of INTEGER and DOUBLE items; 0: refuse them */
    size_t double_size;
    int takes_exact; /* EXACT_... items may come: the peer was told so */
    uint8_t *forgets; /* data itself: its pages go back to the system as they are read, so that it holds
                       * anything afterwards. Only for what etcp_storable_is_plain. NULL: it stays */
} etcp_storable_options;

/* A reader keeps its tables from image to image. */
typedef struct etcp_storable_reader etcp_storable_reader;

/* Returns a reader, or NULL. etcp_storable_reader_free frees it; NULL does nothing. */
etcp_storable_reader *etcp_storable_reader_new(void);
void etcp_storable_reader_free(etcp_storable_reader *r);

/* Reads the image data[0..len) and builds its root item. Bytes behind the root are ignored, as thaw
 * does. Returns 0: *root is the value and the caller's. Otherwise everything built was released:
 * ETCP_STORABLE_FOREIGN, ETCP_EDECODE (damaged), ETCP_ETOOBIG (nested too deep), ETCP_EPOLICY (a class
 * was refused, or it is too large), ETCP_ENOMEM. options may be NULL. The builder must not use the
 * reader. */
int etcp_storable_read(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_builder *builder, void *arg,
                       const etcp_storable_options *options, void **root);

/* What etcp_storable_scan met beyond plain data. */
enum {
    ETCP_STORABLE_HAS_HOOK = 1,
    ETCP_STORABLE_HAS_TIE = 2,
    ETCP_STORABLE_HAS_CODE = 4,
    ETCP_STORABLE_HAS_REGEXP = 8,
    ETCP_STORABLE_HAS_OVERLOAD = 16,
    ETCP_STORABLE_HAS_RESTRICTED = 32,
    ETCP_STORABLE_HAS_BOOLEAN = 64, /* which Storables before 3.27 stumble over */
    ETCP_STORABLE_HAS_EXACT = 128   /* which no Storable knows */
};

/* Reads as etcp_storable_read does, but every item: never ETCP_STORABLE_FOREIGN. For images that a scan
 * has found sound, since the builder runs code of classes on the way: objects get their class before the
 * first code that may see them. After a failure everything is released, in cycles or not; what the code
 * has kept of it is emptied. */
int etcp_storable_read_all(etcp_storable_reader *r, const uint8_t *data, size_t len,
                           const etcp_storable_builder *builder, void *arg,
                           const etcp_storable_options *options, void **root);

/* What a scan tells of. A result below 0 ends it: the image counts as damaged, or as refused by
 * class_named. */
typedef struct etcp_storable_watcher {
    /* As in the builder; "Regexp" for expressions included. */
    int (*class_named)(void *arg, etcp_storable_class *c);
    /* Once per class, at the end of a sound image, with overloads and hooked as they turned out. */
    int (*class_ready)(void *arg, etcp_storable_class *c);
} etcp_storable_watcher;

/* Checks that data[0..len) is whole and sound, without making anything. The watcher may refuse what it
 * sees. Sets *features to what was met. Returns as etcp_storable_read, but never
 * ETCP_STORABLE_FOREIGN. */
int etcp_storable_scan(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_watcher *watcher, void *arg,
                       const etcp_storable_options *options, unsigned *features);

/* Whether data[0..len) is sound, and such that etcp_storable_read never returns ETCP_STORABLE_FOREIGN:
 * without classes, weak references and items that take code. */
int etcp_storable_is_plain(etcp_storable_reader *r, const uint8_t *data, size_t len,
                           const etcp_storable_options *options);

/* What the last image became, in bytes, as max_size counts. */
size_t etcp_storable_reader_size(const etcp_storable_reader *r);

/* Why the last image failed; valid until the next one. */
const char *etcp_storable_reader_error(const etcp_storable_reader *r);

#endif
