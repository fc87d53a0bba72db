#include "reader.h"

#include <string.h>

#include "base/mem.h"
#include "reader_private.h"

enum {
    MANY_ITEMS = 16 * 1024, /* fewer are not worth asking for memory first */
    FORGOTTEN_AT_ONCE = 1024 * 1024 /* bytes */
};

/* ---- containers ------------------------------------------------------------------------------ */

/* Checks count elements of at least size bytes against what no open container has a claim on, and makes
 * room for a frame. Claims of nested containers add up: together they never exceed the image, so no
 * image makes builders allocate more than a multiple of its length. */
static inline int claim(etcp_storable_reader *r, uint32_t count, uint8_t size)
{
    const size_t left = etcp_storable_bytes_left(r);
    const size_t promised = etcp_storable_promised(r);

    if (left < promised || (uint64_t)count * size > left - promised)
        return etcp_storable_damaged(r, "unexpected end");
    return etcp_storable_reserve_frame(r);
}

static inline int try_items(etcp_storable_reader *r, uint32_t count)
{
    return count < MANY_ITEMS ? 0 : etcp_storable_try_memory(r, count * 2 * sizeof(void *));
}

/* The builder has made a container for count elements of at least size bytes, or there is no memory:
 * opens it, or completes it at once if it is empty. */
static inline int open_counted(etcp_storable_reader *r, void *value, etcp_storable_kind kind,
                               etcp_storable_op op, uint32_t count, uint8_t size)
{
    etcp_storable_frame *f;

    if (!value || count == 0)
        return etcp_storable_leaf(r, value);
    etcp_storable_tag(r, value);
    f = etcp_storable_push(r, value, ETCP_STORABLE_BODY, kind, op, count);
    f->least = size;
    return ETCP_STEP_MORE;
}

static int open_array(etcp_storable_reader *r)
{
    uint32_t count;
    int rc = etcp_storable_take_length(r, &count);

    if (rc == 0)
        rc = etcp_storable_may_place_body(r);
    if (rc == 0)
        rc = claim(r, count, 1);
    if (rc == 0)
        rc = try_items(r, count);
    if (rc < 0)
        return rc;
    return open_counted(r, r->builder->array(r->arg, count), ETCP_FRAME_ARRAY, ETCP_SX_ARRAY, count, 1);
}

/* A hash whose elements take at least size bytes. */
static int open_pairs(etcp_storable_reader *r, uint32_t count, uint8_t size)
{
    int rc = etcp_storable_may_place_body(r);

    if (rc == 0)
        rc = claim(r, count, size);
    if (rc == 0)
        rc = etcp_storable_count_pairs(r, count);
    if (rc == 0)
        rc = try_items(r, count);
    if (rc < 0)
        return rc;
    return open_counted(r, r->builder->hash(r->arg, count), ETCP_FRAME_HASH, ETCP_SX_HASH, count, size);
}

/* The least that an element of a hash takes: an item of one byte, and a key without bytes. */
enum { HASH_PAIR_MIN = 1 + 4, FLAG_HASH_PAIR_MIN = 1 + 5 };

static int open_hash(etcp_storable_reader *r)
{
    uint32_t count;
    int rc = etcp_storable_take_length(r, &count);

    return rc < 0 ? rc : open_pairs(r, count, HASH_PAIR_MIN);
}

static int open_flag_hash(etcp_storable_reader *r)
{
    etcp_storable_frame *f;
    unsigned flags;
    uint32_t count;
    int rc = etcp_storable_take_byte(r, &flags);

    if (rc == 0)
        rc = etcp_storable_take_length(r, &count);
    if (rc < 0)
        return rc;
    if (flags & ETCP_SX_HASH_RESTRICTED) {
        if (!r->foreign)
            return ETCP_STORABLE_FOREIGN;
        r->features |= ETCP_STORABLE_HAS_RESTRICTED;
    }
    rc = open_pairs(r, count, FLAG_HASH_PAIR_MIN);
    if (rc != ETCP_STEP_MORE)
        return rc;
    f = &r->frames[r->depth - 1];
    f->kind = ETCP_FRAME_FLAG_HASH;
    f->op = ETCP_SX_FLAG_HASH;
    f->flags = (uint8_t)flags;
    return rc;
}

static int is_weak_op(unsigned op)
{
    return op == ETCP_SX_WEAKREF || op == ETCP_SX_WEAKOVERLOAD;
}

static int is_overload_op(unsigned op)
{
    return op == ETCP_SX_OVERLOAD || op == ETCP_SX_WEAKOVERLOAD;
}

static int open_reference(etcp_storable_reader *r, etcp_storable_op op)
{
    void *value;
    int rc = etcp_storable_reserve_frame(r);

    if (rc == 0 && is_weak_op(op))
        rc = etcp_storable_reserve_weak(r);
    if (rc < 0)
        return rc;
    value = r->builder->reference(r->arg);
    if (!value)
        return etcp_storable_out_of_memory(r);
    if (is_weak_op(op))
        r->weak[r->weak_count++] = r->tag_count;
    etcp_storable_tag(r, value);
    etcp_storable_push(r, value, ETCP_STORABLE_SCALAR, ETCP_FRAME_REFERENCE, op, 1);
    return ETCP_STEP_MORE;
}

/* ---- any item -------------------------------------------------------------------------------- */

/* BLESS or IX_BLESS: the class of the item that follows. Of several the last one counts. */
static int read_class(etcp_storable_reader *r, unsigned op)
{
    unsigned byte = 0;
    uint32_t number;
    int rc = etcp_storable_reserve_blessing(r);

    if (rc == 0)
        rc = etcp_storable_take_byte(r, &byte);
    if (rc < 0)
        return rc;
    number = byte;
    if ((byte & ETCP_SX_LONG_CLASS) && (rc = etcp_storable_take_length(r, &number)) < 0)
        return rc;
    if (op == ETCP_SX_BLESS) {
        rc = etcp_storable_take_class(r, number);
        number = (uint32_t)r->class_count - 1;
    } else if (number >= r->class_count) {
        rc = etcp_storable_damaged(r, "unknown class number");
    }
    r->pending = number;
    return rc;
}

static int read_op(etcp_storable_reader *r, unsigned op)
{
    switch (op) {
    case ETCP_SX_OBJECT: return etcp_storable_read_object(r);
    case ETCP_SX_ARRAY: return open_array(r);
    case ETCP_SX_HASH: return open_hash(r);
    case ETCP_SX_FLAG_HASH: return open_flag_hash(r);
    case ETCP_SX_REF:
    case ETCP_SX_OVERLOAD:
    case ETCP_SX_WEAKREF:
    case ETCP_SX_WEAKOVERLOAD: return open_reference(r, (etcp_storable_op)op);
    case ETCP_SX_SCALAR:
    case ETCP_SX_LSCALAR:
    case ETCP_SX_UTF8STR:
    case ETCP_SX_LUTF8STR: return etcp_storable_read_string(r, op);
    case ETCP_SX_BYTE: return etcp_storable_read_byte(r);
    case ETCP_SX_NETINT: return etcp_storable_read_netint(r);
    case ETCP_SX_INTEGER:
    case ETCP_SX_DOUBLE: return etcp_storable_read_native(r, (etcp_storable_op)op);
    case ETCP_SX_EXACT_DOUBLE:
    case ETCP_SX_EXACT_INTEGER:
    case ETCP_SX_EXACT_UNSIGNED:
    case ETCP_SX_EXACT_DECIMAL: return etcp_storable_read_exact(r, (etcp_storable_op)op);
    case ETCP_SX_UNDEF:
        return etcp_storable_leaf(
            r, r->builder->constant(r->arg, ETCP_STORABLE_UNDEF, ETCP_STORABLE_FRESH));
    case ETCP_SX_BOOLEAN_TRUE: return etcp_storable_read_boolean(r, ETCP_STORABLE_TRUE);
    case ETCP_SX_BOOLEAN_FALSE: return etcp_storable_read_boolean(r, ETCP_STORABLE_FALSE);
    case ETCP_SX_SV_UNDEF:
    case ETCP_SX_SV_YES:
    case ETCP_SX_SV_NO:
    case ETCP_SX_SVUNDEF_ELEM: return etcp_storable_read_constant(r, op);
    case ETCP_SX_VSTRING: return etcp_storable_read_vstring(r, 0);
    case ETCP_SX_LVSTRING: return etcp_storable_read_vstring(r, 1);
    case ETCP_SX_TIED_ARRAY:
    case ETCP_SX_TIED_HASH:
    case ETCP_SX_TIED_SCALAR:
    case ETCP_SX_TIED_KEY:
    case ETCP_SX_TIED_IDX:
    case ETCP_SX_HOOK:
    case ETCP_SX_CODE:
    case ETCP_SX_REGEXP: return r->foreign ? r->foreign->read(r, op) : ETCP_STORABLE_FOREIGN;
    case ETCP_SX_LOBJECT: return etcp_storable_damaged(r, "item beyond 2 GB");
    default: return etcp_storable_damaged(r, "unknown item");
    }
}

/* Nothing before the next item is needed any more. */
static void forget_read(etcp_storable_reader *r)
{
    if (!r->forgotten)
        return; /* it ends too early */
    etcp_storable_forget_until(r, r->at);
    r->forget_at = etcp_storable_bytes_left(r) > FORGOTTEN_AT_ONCE ? r->at + FORGOTTEN_AT_ONCE : r->end;
}

static int is_class_op(unsigned op)
{
    return op == ETCP_SX_BLESS || op == ETCP_SX_IX_BLESS;
}

/* The next item may begin behind what is to be forgotten, or there is none. */
static int look_ahead(etcp_storable_reader *r)
{
    forget_read(r);
    if (r->at < r->end)
        return 0;
    if (etcp_storable_reserve_tag(r) < 0)
        return r->error.code;
    return etcp_storable_damaged(r, "unexpected end");
}

/* Reads the next item with what stands before it, up to its first inner item if it has any. */
static int read_item(etcp_storable_reader *r)
{
    unsigned op;
    int rc = r->at < r->forget_at ? 0 : look_ahead(r);

    if (rc == 0)
        rc = etcp_storable_reserve_tag(r);
    if (rc < 0)
        return rc;
    r->pending = ETCP_STORABLE_NO_CLASS;
    op = *r->at++;
    while (rc == 0 && is_class_op(op)) {
        rc = read_class(r, op);
        if (rc == 0)
            rc = etcp_storable_take_byte(r, &op);
    }
    return rc < 0 ? rc : read_op(r, op);
}

/* ---- filling containers ---------------------------------------------------------------------- */

/* Reads the key that follows a value, and stores both. */
static int attach_element(etcp_storable_reader *r, const etcp_storable_frame *f)
{
    const uint8_t *key;
    size_t len;
    unsigned flags = 0;
    int rc = 0;

    if (f->kind == ETCP_FRAME_FLAG_HASH) {
        rc = etcp_storable_take_byte(r, &flags);
        if (!(f->flags & ETCP_SX_HASH_RESTRICTED))
            flags &= ~(unsigned)ETCP_SX_KEY_LOCKED;
    }
    if (rc == 0)
        rc = etcp_storable_take_text(r, 1, &key, &len);
    if (rc < 0)
        return rc;
    if ((flags & ETCP_SX_KEY_IS_ITEM) ||
        ((flags & ETCP_SX_KEY_PLACEHOLDER) && !(f->flags & ETCP_SX_HASH_RESTRICTED)))
        return etcp_storable_damaged(r, "impossible hash key");
    rc = r->builder->hash_put(r->arg, f->value, key, len, flags, r->item);
    if (rc < 0)
        return etcp_storable_builder_failed(r, rc);
    r->item = NULL;
    if (rc > 0)
        r->has_duplicate_keys = 1;
    return 0;
}

/* Storable looks at the class without asking whether there is one. */
int etcp_storable_overload(etcp_storable_reader *r)
{
    uint32_t c = etcp_storable_class_of(r, r->item_tag);

    if (c == ETCP_STORABLE_NO_CLASS)
        return etcp_storable_damaged(r, "overloading of what is no object");
    r->classes[c].overloads = 1;
    r->features |= ETCP_STORABLE_HAS_OVERLOAD;
    return 0;
}

static int attach_referent(etcp_storable_reader *r, const etcp_storable_frame *f)
{
    int rc = is_overload_op(f->op) ? etcp_storable_overload(r) : 0;

    if (rc < 0)
        return rc;
    rc = r->builder->reference_put(r->arg, f->value, r->item, (etcp_storable_op)f->op);
    if (rc < 0)
        return etcp_storable_builder_failed(r, rc);
    r->item = NULL;
    return 0;
}

static inline int attach_index(etcp_storable_reader *r, etcp_storable_frame *f)
{
    size_t index = f->index++;
    int rc;

    if (!r->item)
        return 0;
    rc = r->builder->array_put(r->arg, f->value, index, r->item);
    if (rc < 0)
        return etcp_storable_builder_failed(r, rc);
    r->item = NULL;
    return 0;
}

/* Whether the next item is a BYTE, and nothing stands in its way. What does is left to read_item. */
static inline int is_byte_next(const etcp_storable_reader *r)
{
    return r->forget_at - r->at >= 2 && r->at[0] == ETCP_SX_BYTE && r->tag_count < r->tag_room;
}

/* An element, and the small integers behind it, of which arrays are full. */
static int attach_elements(etcp_storable_reader *r, etcp_storable_frame *f)
{
    int rc = attach_index(r, f);

    r->pending = ETCP_STORABLE_NO_CLASS;
    while (rc == 0 && f->left > 1 && is_byte_next(r)) {
        r->at += 2;
        rc = etcp_storable_leaf(r, r->builder->integer(r->arg, (int32_t)r->at[-1] - 128));
        if (rc == 0)
            rc = attach_index(r, f);
        f->left--;
    }
    return rc;
}

int etcp_storable_complete(etcp_storable_reader *r)
{
    const etcp_storable_frame *f = &r->frames[--r->depth];

    r->item = f->value;
    r->item_tag = f->tag;
    return ETCP_STEP_ITEM;
}

static int is_restricted(etcp_storable_kind kind, unsigned flags)
{
    return kind == ETCP_FRAME_FLAG_HASH && (flags & ETCP_SX_HASH_RESTRICTED);
}

/* Gives the completed item to the container that waits for it. If that completes the container, it is
 * the completed item now. */
static int attach(etcp_storable_reader *r)
{
    etcp_storable_frame *f = &r->frames[r->depth - 1];
    int rc = 0;

    switch ((etcp_storable_kind)f->kind) {
    case ETCP_FRAME_ARRAY: rc = attach_elements(r, f); break;
    case ETCP_FRAME_HASH:
    case ETCP_FRAME_FLAG_HASH: rc = attach_element(r, f); break;
    case ETCP_FRAME_REFERENCE: rc = attach_referent(r, f); break;
    case ETCP_FRAME_TIED:
    case ETCP_FRAME_TIED_KEY:
    case ETCP_FRAME_KEY:
    case ETCP_FRAME_TIED_INDEX:
    case ETCP_FRAME_TIE:
    case ETCP_FRAME_HOOK:
    case ETCP_FRAME_HOOK_MAGIC: return r->foreign->attach(r);
    }
    if (rc < 0)
        return rc;
    if (--f->left)
        return ETCP_STEP_MORE;
    if (is_restricted((etcp_storable_kind)f->kind, f->flags))
        r->builder->restricted(r->arg, f->value);
    return etcp_storable_complete(r);
}

static int read_items(etcp_storable_reader *r)
{
    int rc;

    do {
        rc = read_item(r);
        while (rc == ETCP_STEP_ITEM && r->depth)
            rc = attach(r);
    } while (rc == ETCP_STEP_MORE);
    return rc;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void share_all(etcp_storable_reader *r)
{
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        if (!etcp_storable_is_constant(r->tags[i]))
            r->builder->share(r->arg, r->tags[i]);
    }
}

/* Breaks cycles. Backwards, because whatever owned an item first began before it, so that every value
 * is still alive when its turn comes. */
static void empty_all(etcp_storable_reader *r)
{
    size_t i;

    for (i = r->tag_count; i-- > 0;) {
        if (!etcp_storable_is_constant(r->tags[i]))
            r->builder->empty(r->arg, r->tags[i]);
    }
}

static int has_orphans(etcp_storable_reader *r)
{
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        if (!etcp_storable_is_constant(r->tags[i]) && r->builder->owners(r->arg, r->tags[i]) == 1)
            return 1;
    }
    return 0;
}

/* Weakens what is to be weak. A value that nothing else owns would vanish here, and Storable lets it
 * vanish only after its class had a chance to notice: that is left to Storable. */
static int weaken_all(etcp_storable_reader *r)
{
    size_t i;
    int orphans;

    share_all(r);
    for (i = 0; i < r->weak_count; i++)
        r->builder->weaken(r->arg, r->tags[r->weak[i]]);
    orphans = has_orphans(r);
    if (orphans)
        empty_all(r);
    etcp_storable_release_tags(r);
    r->tag_count = orphans ? 0 : r->tag_count;
    return orphans ? ETCP_STORABLE_FOREIGN : 0;
}

/* Objects are made last: before, nothing that fails could run a destructor. */
static int finish(etcp_storable_reader *r)
{
    size_t i;
    int rc;

    if (r->foreign)
        return r->foreign->finish(r);
    /* The value that a later duplicate key replaced would be an object when it is dropped. */
    if (r->has_duplicate_keys && r->blessing_count)
        return ETCP_STORABLE_FOREIGN;
    for (i = 0; i < r->class_count; i++) {
        rc = r->builder->class_ready(r->arg, &r->classes[i]);
        if (rc)
            return rc < 0 ? etcp_storable_builder_failed(r, rc) : rc;
    }
    if (r->weak_count && (rc = weaken_all(r)) != 0)
        return rc;
    etcp_storable_bless_all(r);
    return 0;
}

static void abandon(etcp_storable_reader *r)
{
    if (r->foreign) {
        r->foreign->abandon(r);
        return;
    }
    if (r->has_backrefs)
        empty_all(r);
    if (r->item)
        r->builder->release(r->arg, r->item);
    r->item = NULL;
    while (r->depth)
        r->builder->release(r->arg, r->frames[--r->depth].value);
}

/* ---- the header ------------------------------------------------------------------------------ */

/* Byte order and sizes, of an image in native order: as on this machine, or nothing can be read. */
static int check_native_header(etcp_storable_reader *r, unsigned minor,
                               const etcp_storable_options *options)
{
    size_t len = options->native_header_len;
    const uint8_t *bytes;
    int rc;

    /* Before minor 2 the size of doubles, which comes last, was not told. */
    if (minor < 2 && len)
        len--;
    rc = etcp_storable_take_bytes(r, len, &bytes);
    if (rc < 0)
        return rc;
    if (!options->native_header || memcmp(bytes, options->native_header, len) != 0)
        return etcp_storable_damaged(r, "byte order or sizes of another machine");
    r->is_native = 1;
    return 0;
}

static int read_header(etcp_storable_reader *r, const etcp_storable_options *options)
{
    unsigned first;
    unsigned minor;
    int rc = etcp_storable_take_byte(r, &first);

    if (rc < 0)
        return rc;
    if (first >> 1 != ETCP_SX_NETWORK_2 >> 1)
        return etcp_storable_damaged(r, "unknown major version");
    rc = etcp_storable_take_byte(r, &minor);
    if (rc < 0 || first == ETCP_SX_NETWORK_2)
        return rc;
    return check_native_header(r, minor, options);
}

/* ---- the public face ------------------------------------------------------------------------- */

etcp_storable_reader *etcp_storable_reader_new(void)
{
    return etcp_zalloc(sizeof(etcp_storable_reader));
}

void etcp_storable_reader_free(etcp_storable_reader *r)
{
    if (!r)
        return;
    etcp_storable_free_tables(r);
    etcp_free(r);
}

size_t etcp_storable_reader_size(const etcp_storable_reader *r)
{
    return (size_t)(r->end - r->start) + (r->tag_count + r->pairs) * ETCP_STORABLE_ITEM_SIZE;
}

const char *etcp_storable_reader_error(const etcp_storable_reader *r)
{
    return r->error.text;
}

/* How many items of an image of len bytes may become a structure of max_size bytes: all its strings are
 * in the image. */
static size_t items_within(size_t max_size, size_t len)
{
    if (!max_size)
        return SIZE_MAX;
    return max_size > len ? (max_size - len) / ETCP_STORABLE_ITEM_SIZE : 0;
}

static void start(etcp_storable_reader *r, const uint8_t *data, size_t len,
                  const etcp_storable_options *options)
{
    /* Nothing may come as NULL, which nothing may be added to. */
    r->start = r->at = len ? data : (const uint8_t *)"";
    r->end = r->start + len;
    r->forgotten = options->forgets;
    r->forget_at = r->forgotten ? r->start : r->end;
    r->is_native = 0;
    r->max_depth = options->max_depth ? options->max_depth : ETCP_STORABLE_DEPTH;
    r->integer_size = options->integer_size;
    r->double_size = options->double_size;
    r->takes_exact = options->takes_exact;
    r->features = 0;
    r->item = NULL;
    r->has_backrefs = r->has_duplicate_keys = 0;
    r->patterns = 0;
    etcp_storable_clear_tables(r, items_within(options->max_size, len));
    r->error.code = 0;
    r->error.text[0] = '\0';
}

int etcp_storable_run(etcp_storable_reader *r, const uint8_t *data, size_t len,
                      const etcp_storable_builder *builder, void *arg,
                      const etcp_storable_options *options, const etcp_storable_foreign *foreign)
{
    static const etcp_storable_options defaults;
    int rc;

    if (!options)
        options = &defaults;
    r->builder = builder;
    r->arg = arg;
    r->foreign = foreign;
    start(r, data, len, options);
    rc = read_header(r, options);
    if (rc == 0)
        rc = read_items(r);
    if (rc == 0)
        rc = finish(r);
    if (rc != 0)
        abandon(r);
    etcp_storable_drop_large_tables(r);
    return rc;
}

int etcp_storable_read(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_builder *builder, void *arg,
                       const etcp_storable_options *options, void **root)
{
    int rc;

    r->holds_tags = 0;
    rc = etcp_storable_run(r, data, len, builder, arg, options, NULL);
    if (rc == 0) {
        *root = r->item;
        r->item = NULL;
    }
    return rc;
}
