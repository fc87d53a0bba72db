/* A builder for the Storable reader that makes a tree of nodes, counts references, checks that the reader
 * keeps its promises, and can print the result. Header only: the fuzzer uses it, too.
 *
 * Printed: undef, yes, no for the constants (Undef, Yes, No where the constant itself is referred to),
 * 12, n:hex (native numbers), "bytes", u"bytes", [a,-,b] with - for absent elements, {key=>a} with /flags
 * behind the key if it has any, \a and ~a (weak), v<literal>"bytes", Class(a). #n= marks a node that
 * is met again as #n. Of images read whole also: tied(object)a with :key or :index, !{} (restricted),
 * code(a), qr(pattern)modifiers, and hook<string>(references)a in the place of an object that its
 * class made. */
#ifndef ETCP_T_STORABLE_TREE_H
#define ETCP_T_STORABLE_TREE_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "storable/reader.h"

enum tree_kind {
    TREE_CONSTANT,
    TREE_IMMORTAL,
    TREE_INTEGER,
    TREE_NATIVE,
    TREE_STRING,
    TREE_ARRAY,
    TREE_HASH,
    TREE_REFERENCE,
    TREE_CODE,
    TREE_REGEXP
};

typedef struct tree_node {
    enum tree_kind kind;
    size_t refs;
    struct tree_node *next, *prev; /* all nodes of the tree */
    long number; /* constants: which one; integers: the value */
    int is_utf8, is_weak;
    uint8_t *bytes; /* strings, native numbers */
    size_t len;
    uint8_t *literal; /* version strings */
    size_t literal_len;
    struct tree_node **items; /* elements, values or the target */
    size_t count, used;
    struct tree_key {
        uint8_t *bytes;
        size_t len;
        unsigned flags;
    } *keys;
    char class_name[32];
    struct tree_node *tie, *tie_key; /* the reference to the object that it is tied to */
    long tie_index;
    int is_restricted, is_thawed;
    struct tree_node *next_replaced;
    int visits; /* printing: how often it is met */
    long mark;  /* and its number if that is more than once */
} tree_node;

typedef struct tree {
    tree_node nodes; /* head of the list */
    size_t live;
    size_t claimed;    /* elements that containers were announced to have */
    size_t image_len;
    int is_ending;     /* class_ready or later was called */
    int blessed;
    const char *forbidden; /* class that is refused */
    const char *foreign;   /* class that is left to Storable */
    tree_node *replaced; /* values of duplicate keys, linked by next_replaced */
    long marks;
    int hooked, overloads;   /* scanning: classes with hooks, classes that overload */
    int is_whole;            /* objects are made as they come */
} tree;

static inline void tree_init(tree *t, size_t image_len)
{
    memset(t, 0, sizeof *t);
    t->nodes.next = t->nodes.prev = &t->nodes;
    t->image_len = image_len;
}

static inline tree_node *tree_new(tree *t, enum tree_kind kind)
{
    tree_node *n = etcp_zalloc(sizeof *n);

    if (!n)
        return NULL;
    n->kind = kind;
    n->refs = 1;
    n->next = t->nodes.next;
    n->prev = &t->nodes;
    n->next->prev = n;
    t->nodes.next = n;
    t->live++;
    return n;
}

static inline void tree_free_node(tree *t, tree_node *n)
{
    size_t i;

    n->next->prev = n->prev;
    n->prev->next = n->next;
    t->live--;
    for (i = 0; n->keys && i < n->used; i++)
        etcp_free(n->keys[i].bytes);
    etcp_free(n->keys);
    etcp_free(n->items);
    etcp_free(n->bytes);
    etcp_free(n->literal);
    etcp_free(n);
}

/* Frees what is left, cycles and all. */
static inline void tree_deinit(tree *t)
{
    while (t->nodes.next != &t->nodes)
        tree_free_node(t, t->nodes.next);
}

static inline void *tree_constant(void *arg, etcp_storable_constant which, etcp_storable_place place)
{
    tree_node *n =
        tree_new((tree *)arg, place == ETCP_STORABLE_REFERRED ? TREE_IMMORTAL : TREE_CONSTANT);

    if (n)
        n->number = which;
    return n;
}

static inline void *tree_integer(void *arg, int32_t value)
{
    tree_node *n = tree_new((tree *)arg, TREE_INTEGER);

    if (n)
        n->number = value;
    return n;
}

static inline void *tree_bytes(tree *t, enum tree_kind kind, const uint8_t *bytes, size_t len)
{
    tree_node *n = tree_new(t, kind);

    if (!n)
        return NULL;
    n->bytes = etcp_memdup(bytes, len);
    n->len = len;
    if (!n->bytes) {
        tree_free_node(t, n);
        return NULL;
    }
    return n;
}

static inline void *tree_native(void *arg, etcp_storable_op op, const uint8_t *bytes)
{
    assert(op == ETCP_SX_INTEGER || op == ETCP_SX_DOUBLE);
    return tree_bytes((tree *)arg, TREE_NATIVE, bytes, op == ETCP_SX_INTEGER ? 4 : 8);
}

/* As native ones, the opcode in front. */
static inline void *tree_exact(void *arg, etcp_storable_op op, const uint8_t *bytes, size_t len)
{
    uint8_t all[256];

    assert(op >= ETCP_SX_EXACT_DOUBLE && op <= ETCP_SX_EXACT_DECIMAL && len < sizeof all);
    all[0] = (uint8_t)op;
    memcpy(all + 1, bytes, len);
    return tree_bytes((tree *)arg, TREE_NATIVE, all, len + 1);
}

/* UTF-8 is well-formed here unless it has a byte that cannot be in it. */
static inline void *tree_string(void *arg, const uint8_t *bytes, size_t len, int is_utf8)
{
    tree_node *n;

    if (is_utf8 && len && memchr(bytes, 0xc0, len))
        return NULL;
    n = tree_bytes((tree *)arg, TREE_STRING, bytes, len);
    if (n)
        n->is_utf8 = is_utf8;
    return n;
}

static inline void *tree_blank(void *arg, const uint8_t *bytes, size_t len, int is_utf8, uint8_t **to)
{
    tree_node *n = (tree_node *)tree_string(arg, bytes, len, is_utf8);

    if (n)
        memset(*to = n->bytes, '?', len);
    return n;
}

static inline void *tree_container(tree *t, enum tree_kind kind, size_t count)
{
    tree_node *n;

    n = tree_new(t, kind);
    if (!n)
        return NULL;
    n->count = count;
    n->items = etcp_zalloc((count + 1) * sizeof *n->items);
    n->keys = kind == TREE_HASH ? etcp_zalloc((count + 1) * sizeof *n->keys) : NULL;
    if (!n->items || (kind == TREE_HASH && !n->keys)) {
        tree_free_node(t, n);
        return NULL;
    }
    return n;
}

/* Each element announced is at least a byte of the image, in all containers together. */
static inline void *tree_counted(tree *t, enum tree_kind kind, size_t count)
{
    t->claimed += count;
    assert(t->claimed <= t->image_len);
    return tree_container(t, kind, count);
}

static inline void *tree_array(void *arg, size_t count)
{
    return tree_counted((tree *)arg, TREE_ARRAY, count);
}

static inline void *tree_hash(void *arg, size_t count)
{
    return tree_counted((tree *)arg, TREE_HASH, count);
}

static inline void *tree_reference(void *arg)
{
    return tree_container((tree *)arg, TREE_REFERENCE, 1);
}

static inline void tree_empty(void *arg, void *value);

static inline void tree_release(void *arg, void *value)
{
    tree_node *n = (tree_node *)value;

    assert(n->refs > 0);
    if (--n->refs)
        return;
    tree_empty(arg, n);
    tree_free_node((tree *)arg, n);
}

/* Recursive, as deep as the tests nest. */
static inline void tree_empty(void *arg, void *value)
{
    tree_node *n = (tree_node *)value;
    size_t i;

    for (i = 0; i < n->count; i++) {
        tree_node *item = n->items[i];
        n->items[i] = NULL;
        if (item && !n->is_weak)
            tree_release(arg, item);
    }
    if (n->tie)
        tree_release(arg, n->tie);
    if (n->tie_key)
        tree_release(arg, n->tie_key);
    n->tie = n->tie_key = NULL;
}

/* Containers inside containers are what Perl cannot have. */
static inline etcp_storable_shape tree_shape(void *arg, const void *value)
{
    const tree_node *n = (const tree_node *)value;

    (void)arg;
    return n->kind == TREE_ARRAY || n->kind == TREE_HASH || n->kind == TREE_CODE
               ? ETCP_STORABLE_BODY
               : ETCP_STORABLE_SCALAR;
}

static inline int tree_array_put(void *arg, void *array, size_t index, void *value)
{
    tree_node *n = (tree_node *)array;

    assert(tree_shape(arg, value) == ETCP_STORABLE_SCALAR);
    assert(n->kind == TREE_ARRAY && index < n->count && !n->items[index]);
    n->items[index] = (tree_node *)value;
    return 0;
}

static inline int tree_replace(tree *t, tree_node *n, size_t i, tree_node *value)
{
    tree_node *link = tree_container(t, TREE_REFERENCE, 1);

    if (!link)
        return ETCP_ENOMEM;
    link->items[0] = n->items[i];
    link->next_replaced = t->replaced;
    t->replaced = link;
    n->items[i] = value;
    return 1;
}

static inline int tree_hash_put(void *arg, void *hash, const uint8_t *key, size_t len,
                                unsigned key_flags, void *value)
{
    tree_node *n = (tree_node *)hash;
    uint8_t *copy = etcp_memdup(key, len);
    size_t i;

    assert(tree_shape(arg, value) == ETCP_STORABLE_SCALAR);
    assert(n->kind == TREE_HASH && n->used < n->count);
    if (!copy)
        return ETCP_ENOMEM;
    for (i = 0; i < n->used; i++) {
        if (n->keys[i].len == len && memcmp(n->keys[i].bytes, key, len) == 0) {
            etcp_free(copy);
            return tree_replace((tree *)arg, n, i, (tree_node *)value);
        }
    }
    n->keys[n->used].bytes = copy;
    n->keys[n->used].len = len;
    n->keys[n->used].flags = key_flags;
    n->items[n->used++] = (tree_node *)value;
    return 0;
}

static inline int tree_reference_put(void *arg, void *reference, void *value, etcp_storable_op op)
{
    tree_node *n = (tree_node *)reference;
    int is_weak = op == ETCP_SX_WEAKREF || op == ETCP_SX_WEAKOVERLOAD;

    (void)arg;
    assert(n->kind == TREE_REFERENCE && !n->items[0]);
    if (is_weak && ((tree_node *)value)->kind == TREE_IMMORTAL)
        return ETCP_EDECODE;
    n->items[0] = (tree_node *)value;
    return 0;
}

static inline int tree_vstring(void *arg, void *string, const uint8_t *literal, size_t len)
{
    tree_node *n = (tree_node *)string;

    (void)arg;
    assert(n->kind == TREE_STRING && !n->literal);
    n->literal = etcp_memdup(literal, len);
    n->literal_len = len;
    return n->literal ? 0 : ETCP_ENOMEM;
}

static inline void *tree_share(void *arg, void *value)
{
    (void)arg;
    ((tree_node *)value)->refs++;
    return value;
}

static inline size_t tree_owners(void *arg, void *value)
{
    (void)arg;
    return ((tree_node *)value)->refs;
}

static inline int tree_class_is(const etcp_storable_class *c, const char *name)
{
    return name && strlen(name) == c->len && memcmp(name, c->name, c->len) == 0;
}

static inline int tree_class_named(void *arg, etcp_storable_class *c)
{
    assert(c->len > 0 && c->len <= 255 && !memchr(c->name, 0, c->len) && !c->handle);
    return tree_class_is(c, ((tree *)arg)->forbidden) ? ETCP_EPOLICY : 0;
}

static inline int tree_class_ready(void *arg, etcp_storable_class *c)
{
    tree *t = (tree *)arg;

    assert(!c->handle);
    c->handle = t;
    t->is_ending = 1;
    return tree_class_is(c, t->foreign) ? ETCP_STORABLE_FOREIGN : 0;
}

static inline void tree_weaken(void *arg, void *reference)
{
    tree_node *n = (tree_node *)reference;

    (void)arg;
    assert(n->kind == TREE_REFERENCE && !n->is_weak);
    if (!n->items[0])
        return; /* a class emptied it */
    n->is_weak = 1;
    assert(n->items[0]->refs > 1); /* the reader holds everything meanwhile */
    n->items[0]->refs--;
}

static inline void tree_bless(void *arg, void *value, etcp_storable_class *c)
{
    tree *t = (tree *)arg;
    tree_node *n = (tree_node *)value;

    assert(t->is_whole || (c->handle == t && t->is_ending));
    assert(n->kind != TREE_IMMORTAL && !n->class_name[0]);
    t->blessed++;
    sprintf(n->class_name, "%.*s%s", c->len > 20 ? 20 : (int)c->len, (const char *)c->name,
            c->overloads ? "*" : "");
}

/* ---- images read whole -------------------------------------------------------------------------------- */

static inline void *tree_tied(void *arg, etcp_storable_op op)
{
    tree *t = (tree *)arg;

    if (op == ETCP_SX_TIED_ARRAY || op == ETCP_SX_TIED_HASH)
        return tree_container(t, op == ETCP_SX_TIED_ARRAY ? TREE_ARRAY : TREE_HASH, 0);
    return tree_constant(arg, ETCP_STORABLE_UNDEF, ETCP_STORABLE_FRESH);
}

/* Perl calls methods of the object at every turn. */
static inline int tree_tie(void *arg, void *tied, etcp_storable_op op, void *object, void *key,
                           uint32_t index)
{
    tree_node *n = (tree_node *)tied;
    tree_node *reference = (tree_node *)object;

    assert(reference->kind == TREE_REFERENCE && !n->tie);
    if (!reference->items[0])
        return ETCP_EDECODE; /* a class emptied it */
    assert((op == ETCP_SX_TIED_KEY) == (key != NULL));
    n->tie = (tree_node *)tree_share(arg, object);
    n->tie_key = key ? (tree_node *)tree_share(arg, key) : NULL;
    n->tie_index = op == ETCP_SX_TIED_IDX ? (long)index : -1;
    return 0;
}

static inline void tree_restricted(void *arg, void *hash)
{
    (void)arg;
    assert(((tree_node *)hash)->kind == TREE_HASH && !((tree_node *)hash)->is_restricted);
    ((tree_node *)hash)->is_restricted = 1;
}

static inline void *tree_code(void *arg, void *text)
{
    const tree_node *n = (const tree_node *)text;

    assert(n->kind == TREE_STRING);
    return tree_bytes((tree *)arg, TREE_CODE, n->bytes, n->len);
}

static inline void *tree_regexp(void *arg, const uint8_t *pattern, size_t len, const uint8_t *modifiers,
                                size_t modifiers_len)
{
    tree_node *n = tree_bytes((tree *)arg, TREE_REGEXP, pattern, len);

    if (!n)
        return NULL;
    n->literal = etcp_memdup(modifiers, modifiers_len);
    n->literal_len = modifiers_len;
    return n->literal ? n : (tree_free_node((tree *)arg, n), NULL);
}

/* Makes n something with an item for each of the referents. */
static inline int tree_adopt(tree *t, tree_node *n, void *const *referents, size_t count)
{
    tree_node **larger = etcp_realloc(n->items, (n->count + count + 1) * sizeof *larger);
    size_t i;

    if (!larger)
        return ETCP_ENOMEM;
    n->items = larger;
    for (i = 0; i < count; i++) {
        tree_node *reference = tree_container(t, TREE_REFERENCE, 1);
        if (!reference)
            return ETCP_ENOMEM;
        reference->items[0] = (tree_node *)tree_share(t, referents[i]);
        n->items[n->count++] = reference;
    }
    return 0;
}

/* What classes do: "D" dies, "E" empties what it is given, "X" puts an array in the place of the object, "Y"
 * a string; others keep references to all they are given. */
static inline int tree_thaw(void *arg, void **object, etcp_storable_class *c, const uint8_t *frozen,
                            size_t len, void *const *referents, size_t count)
{
    tree *t = (tree *)arg;
    tree_node *n = (tree_node *)*object;
    size_t i;

    if (tree_class_is(c, "D"))
        return ETCP_EDECODE;
    for (i = 0; i < count && tree_class_is(c, "E"); i++)
        tree_empty(t, referents[i]);
    if (tree_class_is(c, "X") || tree_class_is(c, "Y")) {
        n = tree_class_is(c, "X") ? tree_container(t, TREE_ARRAY, 0)
                                  : tree_bytes(t, TREE_STRING, frozen, len);
        if (!n)
            return ETCP_ENOMEM;
        tree_release(t, *object);
        *object = n;
    } else if (tree_adopt(t, n, referents, tree_class_is(c, "E") ? 0 : count) < 0) {
        return ETCP_ENOMEM;
    }
    etcp_free(n->literal);
    n->literal = etcp_memdup(frozen, len);
    n->literal_len = len;
    n->is_thawed = 1;
    sprintf(n->class_name, "%.*s", c->len > 20 ? 20 : (int)c->len, (const char *)c->name);
    return n->literal ? 0 : ETCP_ENOMEM;
}

static inline const etcp_storable_builder *tree_builder(void)
{
    static const etcp_storable_builder builder = {
        tree_constant,  tree_integer,     tree_native,  tree_exact, tree_string, tree_blank,
        tree_array,     tree_hash,
        tree_reference, tree_array_put,   tree_hash_put, tree_reference_put,
        tree_vstring,   tree_share,       tree_release, tree_owners, tree_shape, tree_empty, tree_tied,
        tree_tie,       tree_restricted,  tree_code,    tree_regexp, tree_thaw,  tree_class_named,
        tree_class_ready, tree_weaken,    tree_bless};

    return &builder;
}

/* ---- scanning ----------------------------------------------------------------------------------------- */

static inline int tree_scan_class_ready(void *arg, etcp_storable_class *c)
{
    tree *t = (tree *)arg;

    assert(!tree_class_is(c, t->forbidden));
    t->hooked += c->hooked != 0;
    t->overloads += c->overloads != 0;
    return 0;
}

static inline int tree_scan(tree *t, etcp_storable_reader *r, const uint8_t *image, size_t len,
                            const etcp_storable_options *options, unsigned *features)
{
    static const etcp_storable_watcher watcher = {tree_class_named, tree_scan_class_ready};

    return etcp_storable_scan(r, image, len, &watcher, t, options, features);
}

typedef int tree_reading(etcp_storable_reader *r, const uint8_t *data, size_t len,
                         const etcp_storable_builder *builder, void *arg,
                         const etcp_storable_options *options, void **root);

/* Reads an image from a block of exactly its size, so that a sanitizer sees each byte too far; that one
 * is forgotten if the image is to be. Returns the reader's result; after a failure nothing may be left
 * of the tree. */
static inline int tree_read_by(tree_reading *reading, tree *t, etcp_storable_reader *r,
                               const uint8_t *image, size_t len, const etcp_storable_options *options,
                               tree_node **root)
{
    uint8_t *exact = len ? malloc(len) : NULL;
    etcp_storable_options own = {0};
    void *value = NULL;
    int rc;

    if (len)
        memcpy(exact, image, len);
    if (options)
        own = *options;
    if (own.forgets)
        own.forgets = exact;
    rc = reading(r, exact, len, tree_builder(), t, options ? &own : NULL, &value);
    free(exact);
    while (t->replaced) {
        tree_node *next = t->replaced->next_replaced;
        tree_release(t, t->replaced);
        t->replaced = next;
    }
    *root = (tree_node *)value;
    return rc;
}

static inline int tree_read(tree *t, etcp_storable_reader *r, const uint8_t *image, size_t len,
                            const etcp_storable_options *options, tree_node **root)
{
    return tree_read_by(etcp_storable_read, t, r, image, len, options, root);
}

static inline int tree_read_all(tree *t, etcp_storable_reader *r, const uint8_t *image, size_t len,
                                const etcp_storable_options *options, tree_node **root)
{
    t->is_whole = 1;
    return tree_read_by(etcp_storable_read_all, t, r, image, len, options, root);
}

/* Whether a scan, and reading it whole if it is sound, keep their promises: what was scanned can be read,
 * unless a class refuses; a failure leaves nothing. */
static inline int tree_is_sound_whole(etcp_storable_reader *r, const uint8_t *image, size_t len,
                                      const etcp_storable_options *options, const char *forbidden)
{
    unsigned features;
    tree_node *root;
    tree t;
    int rc;
    int is_clean;

    tree_init(&t, len);
    t.forbidden = forbidden;
    if (tree_scan(&t, r, image, len, options, &features) != 0)
        return 1;
    rc = tree_read_all(&t, r, image, len, options, &root);
    is_clean = rc == 0 || t.live == 0;
    tree_deinit(&t);
    /* Text is not looked at by the scan: this builder takes no UTF-8 with the byte C0. */
    return is_clean && (rc == 0 || rc == ETCP_ENOMEM ||
                        (rc == ETCP_EDECODE && (features || memchr(image, 0xc0, len))));
}

/* ---- printing: tree_visit once, then tree_print ------------------------------------------------------- */

static inline void tree_print(tree *t, tree_node *n, etcp_buf *out);

static inline void tree_print_bytes(const uint8_t *bytes, size_t len, etcp_buf *out)
{
    char text[8];
    size_t i;

    for (i = 0; i < len; i++) {
        sprintf(text, bytes[i] > 32 && bytes[i] < 127 ? "%c" : "%%%02x", bytes[i]);
        etcp_buf_append_str(out, text);
    }
}

static inline void tree_print_items(tree *t, tree_node *n, etcp_buf *out)
{
    char text[16];
    size_t i;
    size_t count = n->kind == TREE_HASH ? n->used : n->count;

    for (i = 0; i < count; i++) {
        if (i)
            etcp_buf_append_byte(out, ',');
        if (n->keys) {
            tree_print_bytes(n->keys[i].bytes, n->keys[i].len, out);
            sprintf(text, n->keys[i].flags ? "/%x=>" : "=>", n->keys[i].flags);
            etcp_buf_append_str(out, text);
        }
        if (n->items[i])
            tree_print(t, n->items[i], out);
        else
            etcp_buf_append_byte(out, '-');
    }
}

static inline void tree_print_leaf(const tree_node *n, etcp_buf *out)
{
    static const char *const constants[] = {"undef", "yes", "no", "Undef", "Yes", "No"};
    char text[24];
    size_t i;

    switch (n->kind) {
    case TREE_CONSTANT:
    case TREE_IMMORTAL:
        etcp_buf_append_str(out, constants[n->number + (n->kind == TREE_IMMORTAL ? 3 : 0)]);
        break;
    case TREE_INTEGER:
        sprintf(text, "%ld", n->number);
        etcp_buf_append_str(out, text);
        break;
    case TREE_NATIVE:
        etcp_buf_append_str(out, "n:");
        for (i = 0; i < n->len; i++) {
            sprintf(text, "%02x", n->bytes[i]);
            etcp_buf_append_str(out, text);
        }
        break;
    case TREE_CODE:
    case TREE_REGEXP:
        etcp_buf_append_str(out, n->kind == TREE_CODE ? "code(" : "qr(");
        tree_print_bytes(n->bytes, n->len, out);
        etcp_buf_append_byte(out, ')');
        tree_print_bytes(n->literal, n->literal_len, out);
        break;
    default:
        if (n->literal && !n->is_thawed) {
            etcp_buf_append_str(out, "v<");
            tree_print_bytes(n->literal, n->literal_len, out);
            etcp_buf_append_byte(out, '>');
        }
        etcp_buf_append_str(out, n->is_utf8 ? "u\"" : "\"");
        tree_print_bytes(n->bytes, n->len, out);
        etcp_buf_append_byte(out, '"');
        break;
    }
}

static inline void tree_visit(tree_node *n)
{
    size_t i;

    if (n->visits++)
        return;
    if (n->tie)
        tree_visit(n->tie->items[0]);
    for (i = 0; i < n->count; i++) {
        if (n->items[i])
            tree_visit(n->items[i]);
    }
}

static inline void tree_print_tie(tree *t, const tree_node *n, etcp_buf *out)
{
    char text[24];

    etcp_buf_append_str(out, "tied(");
    tree_print(t, n->tie->items[0], out);
    if (n->tie_key) {
        etcp_buf_append_byte(out, ':');
        tree_print(t, n->tie_key, out);
    }
    if (n->tie_index >= 0) {
        sprintf(text, ":%ld", n->tie_index);
        etcp_buf_append_str(out, text);
    }
    etcp_buf_append_byte(out, ')');
}

static inline void tree_print_thawed(tree *t, const tree_node *n, etcp_buf *out)
{
    size_t i;

    etcp_buf_append_str(out, "hook<");
    tree_print_bytes(n->literal, n->literal_len, out);
    etcp_buf_append_str(out, ">(");
    for (i = 0; i < n->count; i++) {
        if (i)
            etcp_buf_append_byte(out, ',');
        tree_print(t, n->items[i], out);
    }
    etcp_buf_append_byte(out, ')');
}

static inline void tree_print_content(tree *t, tree_node *n, etcp_buf *out)
{
    static const char *const open[] = {"[", "{"};
    static const char *const shut[] = {"]", "}"};
    const int is_counted = n->kind == TREE_ARRAY || n->kind == TREE_HASH;

    if (n->is_restricted)
        etcp_buf_append_byte(out, '!');
    if (is_counted)
        etcp_buf_append_str(out, open[n->kind == TREE_HASH]);
    else if (n->kind == TREE_REFERENCE)
        etcp_buf_append_byte(out, n->is_weak ? '~' : '\\');
    if (n->is_thawed)
        tree_print_thawed(t, n, out);
    else if (is_counted || n->kind == TREE_REFERENCE)
        tree_print_items(t, n, out);
    else
        tree_print_leaf(n, out);
    if (is_counted)
        etcp_buf_append_str(out, shut[n->kind == TREE_HASH]);
}

static inline void tree_print(tree *t, tree_node *n, etcp_buf *out)
{
    char text[24];

    if (n->mark) {
        sprintf(text, "#%ld", n->mark);
        etcp_buf_append_str(out, text);
        return;
    }
    if (n->visits > 1 || n->kind == TREE_IMMORTAL) {
        n->mark = ++t->marks;
        sprintf(text, "#%ld=", n->mark);
        etcp_buf_append_str(out, text);
    }
    if (n->class_name[0]) {
        etcp_buf_append_str(out, n->class_name);
        etcp_buf_append_byte(out, '(');
    }
    if (n->tie)
        tree_print_tie(t, n, out);
    tree_print_content(t, n, out);
    if (n->class_name[0])
        etcp_buf_append_byte(out, ')');
}

#endif
