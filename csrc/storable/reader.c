#include "reader.h"

#include <string.h>

#include "base/mem.h"
#include "reader_private.h"

enum {
    FIRST_ENTRIES = 32,
    KEPT_TAGS = 128 * 1024, /* larger tables do not outlive their image */
    KEPT_FRAMES = 1024      /* of frames, classes and so on */
};

/* ---- failures and tables --------------------------------------------------------------------- */

int etcp_storable_damaged(etcp_storable_reader *r, const char *what)
{
    return etcp_error_set(&r->error, ETCP_EDECODE, "%s at byte %lu of a Storable image of %lu", what,
                          (unsigned long)(r->at - r->start), (unsigned long)(r->end - r->start));
}

static int out_of_memory(etcp_storable_reader *r)
{
    return etcp_error_set(&r->error, ETCP_ENOMEM, "out of memory");
}

/* A builder's function failed: its code, with a text unless there is one. */
static int builder_failed(etcp_storable_reader *r, int code)
{
    if (code == ETCP_ENOMEM)
        return out_of_memory(r);
    return etcp_storable_damaged(r, "unusable value");
}

/* Doubles a table of *cap entries of size bytes. Returns the new table or NULL. */
static void *grown(etcp_storable_reader *r, void *table, size_t *cap, size_t size)
{
    size_t wanted = *cap ? *cap * 2 : FIRST_ENTRIES;
    void *larger = wanted <= SIZE_MAX / 2 / size ? etcp_realloc(table, wanted * size) : NULL;

    if (larger)
        *cap = wanted;
    else
        out_of_memory(r);
    return larger;
}

int etcp_storable_reserve_tag(etcp_storable_reader *r)
{
    void **larger;

    if (r->tag_count < r->tag_cap)
        return 0;
    larger = grown(r, r->tags, &r->tag_cap, sizeof *r->tags);
    if (!larger)
        return ETCP_ENOMEM;
    r->tags = larger;
    return 0;
}

int etcp_storable_reserve_blessing(etcp_storable_reader *r)
{
    etcp_storable_blessing *larger;

    if (r->blessing_count < r->blessing_cap)
        return 0;
    larger = grown(r, r->blessings, &r->blessing_cap, sizeof *r->blessings);
    if (!larger)
        return ETCP_ENOMEM;
    r->blessings = larger;
    return 0;
}

static int reserve_class(etcp_storable_reader *r)
{
    etcp_storable_class *larger;

    if (r->class_count < r->class_cap)
        return 0;
    larger = grown(r, r->classes, &r->class_cap, sizeof *r->classes);
    if (!larger)
        return ETCP_ENOMEM;
    r->classes = larger;
    return 0;
}

static int reserve_weak(etcp_storable_reader *r)
{
    size_t *larger;

    if (r->weak_count < r->weak_cap)
        return 0;
    larger = grown(r, r->weak, &r->weak_cap, sizeof *r->weak);
    if (!larger)
        return ETCP_ENOMEM;
    r->weak = larger;
    return 0;
}

int etcp_storable_reserve_frame(etcp_storable_reader *r)
{
    etcp_storable_frame *larger;

    if (r->depth >= r->max_depth)
        return etcp_error_set(&r->error, ETCP_ETOOBIG, "items nest deeper than %lu levels",
                              (unsigned long)r->max_depth);
    if (r->depth < r->frame_cap)
        return 0;
    larger = grown(r, r->frames, &r->frame_cap, sizeof *r->frames);
    if (!larger)
        return ETCP_ENOMEM;
    r->frames = larger;
    return 0;
}

/* ---- classes --------------------------------------------------------------------------------- */

int etcp_storable_take_class(etcp_storable_reader *r, uint32_t len)
{
    etcp_storable_class *c;
    int rc = reserve_class(r);

    if (rc < 0)
        return rc;
    c = &r->classes[r->class_count];
    memset(c, 0, sizeof *c);
    c->len = len;
    rc = etcp_storable_take_bytes(r, len, &c->name);
    if (rc < 0)
        return rc;
    /* Storable cuts the name at a NUL: what a policy sees must be what is blessed into. */
    if (len == 0 || memchr(c->name, 0, len))
        return etcp_storable_damaged(r, "impossible class name");
    rc = r->builder->class_named(r->arg, c);
    if (rc < 0)
        return etcp_error_set(&r->error, rc, "class %.*s is not allowed", len > 100 ? 100 : (int)len,
                              (const char *)c->name);
    r->class_count++;
    return 0;
}

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

uint32_t etcp_storable_class_of(const etcp_storable_reader *r, size_t tag)
{
    size_t low = 0;
    size_t high = r->blessing_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->blessings[middle].tag < tag)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == r->blessing_count || r->blessings[low].tag != tag)
        return ETCP_STORABLE_NO_CLASS;
    return r->blessings[low].class_index;
}

/* ---- items ----------------------------------------------------------------------------------- */

void etcp_storable_tag(etcp_storable_reader *r, void *value)
{
    if (r->pending != ETCP_STORABLE_NO_CLASS) {
        r->blessings[r->blessing_count].tag = r->tag_count;
        r->blessings[r->blessing_count].class_index = r->pending;
        r->blessing_count++;
    }
    r->tags[r->tag_count++] = value;
}

etcp_storable_frame *etcp_storable_push(etcp_storable_reader *r, void *value,
                                        etcp_storable_shape shape, etcp_storable_kind kind,
                                        etcp_storable_op op, size_t items)
{
    etcp_storable_frame *f = &r->frames[r->depth++];

    f->value = value;
    f->tag = r->tag_count - 1;
    f->left = items;
    f->index = 0;
    f->kind = (uint8_t)kind;
    f->op = (uint8_t)op;
    f->flags = 0;
    f->promise = 0;
    f->shape = (uint8_t)shape;
    return f;
}

/* A value without content, or with all of it, has been made. */
static int leaf(etcp_storable_reader *r, void *value)
{
    if (!value)
        return out_of_memory(r);
    r->item = value;
    r->item_tag = r->tag_count;
    etcp_storable_tag(r, value);
    return ETCP_STEP_ITEM;
}

static const etcp_storable_frame *top_frame(const etcp_storable_reader *r)
{
    return r->depth ? &r->frames[r->depth - 1] : NULL;
}

static int in_array(const etcp_storable_reader *r)
{
    return r->depth && r->frames[r->depth - 1].kind == ETCP_FRAME_ARRAY;
}

/* What stands for the constants in the table of tags, by etcp_storable_constant. A reference back to one
 * is read as the constant itself would be in that place: as an element it is a value of its own. */
static char constant_tags[3];

static int is_constant_tag(const void *value)
{
    return value == &constant_tags[ETCP_STORABLE_UNDEF] ||
           value == &constant_tags[ETCP_STORABLE_TRUE] || value == &constant_tags[ETCP_STORABLE_FALSE];
}

/* One of the three constants, as the place where it stands wants it. */
static int place_constant(etcp_storable_reader *r, etcp_storable_constant which)
{
    const etcp_storable_frame *f = top_frame(r);
    int referred = !f || f->kind == ETCP_FRAME_REFERENCE;

    r->item = r->builder->constant(r->arg, which,
                                   referred ? ETCP_STORABLE_REFERRED : ETCP_STORABLE_ELEMENT);
    return r->item ? ETCP_STEP_ITEM : out_of_memory(r);
}

/* SV_UNDEF or a reference back to one: an absent element in arrays, undef elsewhere. */
static int absent(etcp_storable_reader *r)
{
    r->item = NULL;
    return in_array(r) ? ETCP_STEP_ITEM : place_constant(r, ETCP_STORABLE_UNDEF);
}

static int read_constant(etcp_storable_reader *r, unsigned op)
{
    etcp_storable_constant which = op == ETCP_SX_SV_YES   ? ETCP_STORABLE_TRUE
                                   : op == ETCP_SX_SV_NO ? ETCP_STORABLE_FALSE
                                                         : ETCP_STORABLE_UNDEF;

    if (r->pending != ETCP_STORABLE_NO_CLASS)
        return etcp_storable_damaged(r, "object made of a constant");
    /* Elsewhere Storable would plant its internal placeholder. */
    if (op == ETCP_SX_SVUNDEF_ELEM && !in_array(r))
        return etcp_storable_damaged(r, "array element outside an array");
    r->item_tag = r->tag_count;
    etcp_storable_tag(r, &constant_tags[which]);
    return op == ETCP_SX_SV_UNDEF ? absent(r) : place_constant(r, which);
}

static int read_boolean(etcp_storable_reader *r, etcp_storable_constant which)
{
    r->features |= ETCP_STORABLE_HAS_BOOLEAN;
    return leaf(r, r->builder->constant(r->arg, which, ETCP_STORABLE_FRESH));
}

static int read_object(etcp_storable_reader *r)
{
    uint32_t tag;
    int rc = etcp_storable_take_network_u32(r, &tag);

    if (rc < 0)
        return rc;
    if (tag >= r->tag_count)
        return etcp_storable_damaged(r, "reference to an item not yet met");
    r->has_backrefs = 1;
    r->item_tag = tag;
    if (r->tags[tag] == &constant_tags[ETCP_STORABLE_UNDEF])
        return absent(r);
    if (is_constant_tag(r->tags[tag]))
        return place_constant(r, r->tags[tag] == &constant_tags[ETCP_STORABLE_TRUE]
                                     ? ETCP_STORABLE_TRUE
                                     : ETCP_STORABLE_FALSE);
    r->item_shape = r->builder->shape(r->arg, r->tags[tag]);
    if (r->item_shape == ETCP_STORABLE_TIE)
        return etcp_storable_damaged(r, "reference to the inside of a tied item");
    r->item = r->builder->share(r->arg, r->tags[tag]);
    return ETCP_STEP_ITEM;
}

static int read_byte(etcp_storable_reader *r)
{
    unsigned byte;
    int rc = etcp_storable_take_byte(r, &byte);

    return rc < 0 ? rc : leaf(r, r->builder->integer(r->arg, (int32_t)byte - 128));
}

static int read_netint(etcp_storable_reader *r)
{
    uint32_t bits;
    int32_t value;
    int rc = etcp_storable_take_network_u32(r, &bits);

    if (rc < 0)
        return rc;
    memcpy(&value, &bits, sizeof value);
    return leaf(r, r->builder->integer(r->arg, value));
}

/* INTEGER and DOUBLE, as they lie in the memory of a machine like this one. */
static int read_native(etcp_storable_reader *r, etcp_storable_op op)
{
    size_t len = op == ETCP_SX_INTEGER ? r->integer_size : r->double_size;
    const uint8_t *bytes;
    int rc;

    if (!len)
        return etcp_storable_damaged(r, "number in native form");
    rc = etcp_storable_take_bytes(r, len, &bytes);
    return rc < 0 ? rc : leaf(r, r->builder->native(r->arg, op, bytes));
}

int etcp_storable_read_string(etcp_storable_reader *r, unsigned op)
{
    int is_long = op == ETCP_SX_LSCALAR || op == ETCP_SX_LUTF8STR;
    int is_utf8 = op == ETCP_SX_UTF8STR || op == ETCP_SX_LUTF8STR;
    const uint8_t *bytes;
    size_t len;
    void *value;
    int rc;

    if (!is_long && !is_utf8 && op != ETCP_SX_SCALAR)
        return etcp_storable_damaged(r, "no string where one must be");
    rc = etcp_storable_take_text(r, is_long, &bytes, &len);
    if (rc < 0)
        return rc;
    value = r->builder->string(r->arg, bytes, len, is_utf8);
    if (!value && is_utf8)
        return etcp_storable_damaged(r, "malformed UTF-8");
    return leaf(r, value);
}

/* The literal comes first, then the string. Storable takes any item there and writes strings only. */
static int read_vstring(etcp_storable_reader *r, int is_long)
{
    const uint8_t *literal;
    size_t len;
    unsigned op = 0;
    int rc = etcp_storable_take_text(r, is_long, &literal, &len);

    if (rc == 0)
        rc = etcp_storable_take_byte(r, &op);
    if (rc == 0)
        rc = etcp_storable_read_string(r, op);
    if (rc == 0)
        rc = r->builder->vstring(r->arg, r->item, literal, len);
    return rc < 0 ? builder_failed(r, rc) : ETCP_STEP_ITEM;
}

/* Checks count elements of at least size bytes against what no open container has a claim on, and makes
 * room for a frame. Claims of nested containers add up: together they never exceed the image, so no
 * image makes builders allocate more than a multiple of its length. */
static int claim(etcp_storable_reader *r, uint32_t count, size_t size)
{
    size_t left = etcp_storable_bytes_left(r);

    if (left < r->promised || count > (left - r->promised) / size)
        return etcp_storable_damaged(r, "unexpected end");
    return etcp_storable_reserve_frame(r);
}

/* Opens a counted container, or completes it at once if it is empty. */
static int open_counted(etcp_storable_reader *r, etcp_storable_kind kind, etcp_storable_op op,
                        uint32_t count, size_t size, unsigned flags)
{
    etcp_storable_frame *f;
    void *value;
    int rc = claim(r, count, size);

    if (rc < 0)
        return rc;
    value = kind == ETCP_FRAME_ARRAY ? r->builder->array(r->arg, count)
                                     : r->builder->hash(r->arg, count);
    if (!value || count == 0) {
        r->item_shape = ETCP_STORABLE_BODY;
        return leaf(r, value);
    }
    etcp_storable_tag(r, value);
    f = etcp_storable_push(r, value, ETCP_STORABLE_BODY, kind, op, count);
    f->flags = (uint8_t)flags;
    f->promise = 1;
    r->promised += count * size;
    return ETCP_STEP_MORE;
}

static int open_array(etcp_storable_reader *r)
{
    uint32_t count;
    int rc = etcp_storable_take_length(r, &count);

    return rc < 0 ? rc : open_counted(r, ETCP_FRAME_ARRAY, ETCP_SX_ARRAY, count, 1, 0);
}

/* The least that an element of a hash takes: an item of one byte, and a key without bytes. */
enum { HASH_KEY_MIN = 4, FLAG_HASH_KEY_MIN = 5 };

static int open_hash(etcp_storable_reader *r)
{
    uint32_t count;
    int rc = etcp_storable_take_length(r, &count);

    if (rc < 0)
        return rc;
    return open_counted(r, ETCP_FRAME_HASH, ETCP_SX_HASH, count, 1 + HASH_KEY_MIN, 0);
}

static int open_flag_hash(etcp_storable_reader *r)
{
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
    return open_counted(r, ETCP_FRAME_FLAG_HASH, ETCP_SX_FLAG_HASH, count, 1 + FLAG_HASH_KEY_MIN,
                        flags);
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
        rc = reserve_weak(r);
    if (rc < 0)
        return rc;
    value = r->builder->reference(r->arg);
    if (!value)
        return out_of_memory(r);
    if (is_weak_op(op))
        r->weak[r->weak_count++] = r->tag_count;
    etcp_storable_tag(r, value);
    etcp_storable_push(r, value, ETCP_STORABLE_SCALAR, ETCP_FRAME_REFERENCE, op, 1);
    return ETCP_STEP_MORE;
}

static int read_op(etcp_storable_reader *r, unsigned op)
{
    switch (op) {
    case ETCP_SX_OBJECT: return read_object(r);
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
    case ETCP_SX_BYTE: return read_byte(r);
    case ETCP_SX_NETINT: return read_netint(r);
    case ETCP_SX_INTEGER:
    case ETCP_SX_DOUBLE: return read_native(r, (etcp_storable_op)op);
    case ETCP_SX_UNDEF:
        return leaf(r, r->builder->constant(r->arg, ETCP_STORABLE_UNDEF, ETCP_STORABLE_FRESH));
    case ETCP_SX_BOOLEAN_TRUE: return read_boolean(r, ETCP_STORABLE_TRUE);
    case ETCP_SX_BOOLEAN_FALSE: return read_boolean(r, ETCP_STORABLE_FALSE);
    case ETCP_SX_SV_UNDEF:
    case ETCP_SX_SV_YES:
    case ETCP_SX_SV_NO:
    case ETCP_SX_SVUNDEF_ELEM: return read_constant(r, op);
    case ETCP_SX_VSTRING: return read_vstring(r, 0);
    case ETCP_SX_LVSTRING: return read_vstring(r, 1);
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

/* Reads the next item with what stands before it, up to its first inner item if it has any. */
static int read_item(etcp_storable_reader *r)
{
    unsigned op = 0;
    int rc;

    if (r->depth)
        r->promised -= r->frames[r->depth - 1].promise;
    r->pending = ETCP_STORABLE_NO_CLASS;
    r->item_shape = ETCP_STORABLE_SCALAR;
    rc = etcp_storable_reserve_tag(r);
    if (rc == 0)
        rc = etcp_storable_take_byte(r, &op);
    while (rc == 0 && (op == ETCP_SX_BLESS || op == ETCP_SX_IX_BLESS)) {
        rc = read_class(r, op);
        if (rc == 0)
            rc = etcp_storable_take_byte(r, &op);
    }
    return rc < 0 ? rc : read_op(r, op);
}

/* ---- filling containers ---------------------------------------------------------------------- */

/* A program that touched an array as the element of another would find memory of other use: Storable
 * writes references there, and its decoder does not ask. */
int etcp_storable_want_scalar(etcp_storable_reader *r)
{
    if (r->item_shape == ETCP_STORABLE_SCALAR)
        return 0;
    etcp_storable_damaged(r, "array, hash or code where a scalar must be");
    return ETCP_EDECODE;
}

/* Reads the key that follows a value, and stores both. */
static int attach_element(etcp_storable_reader *r, const etcp_storable_frame *f)
{
    const uint8_t *key;
    size_t len;
    unsigned flags = 0;
    int rc = etcp_storable_want_scalar(r);

    if (rc < 0)
        return rc;
    if (f->kind == ETCP_FRAME_FLAG_HASH) {
        rc = etcp_storable_take_byte(r, &flags);
        r->promised -= FLAG_HASH_KEY_MIN;
    } else {
        r->promised -= HASH_KEY_MIN;
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
        return builder_failed(r, rc);
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
        return builder_failed(r, rc);
    r->item = NULL;
    return 0;
}

static int attach_index(etcp_storable_reader *r, etcp_storable_frame *f)
{
    size_t index = f->index++;
    int rc = etcp_storable_want_scalar(r);

    if (rc < 0 || !r->item)
        return rc;
    rc = r->builder->array_put(r->arg, f->value, index, r->item);
    if (rc < 0)
        return builder_failed(r, rc);
    r->item = NULL;
    return 0;
}

int etcp_storable_complete(etcp_storable_reader *r)
{
    const etcp_storable_frame *f = &r->frames[--r->depth];

    r->item = f->value;
    r->item_tag = f->tag;
    r->item_shape = (etcp_storable_shape)f->shape;
    return ETCP_STEP_ITEM;
}

/* Gives the completed item to the container that waits for it. If that completes the container, it is
 * the completed item now. */
static int attach(etcp_storable_reader *r)
{
    etcp_storable_frame *f = &r->frames[r->depth - 1];
    int rc = 0;

    switch ((etcp_storable_kind)f->kind) {
    case ETCP_FRAME_ARRAY: rc = attach_index(r, f); break;
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
    return --f->left ? ETCP_STEP_MORE : etcp_storable_complete(r);
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
        if (!is_constant_tag(r->tags[i]))
            r->builder->share(r->arg, r->tags[i]);
    }
}

static void release_all(etcp_storable_reader *r)
{
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        if (!is_constant_tag(r->tags[i]))
            r->builder->release(r->arg, r->tags[i]);
    }
}

/* Breaks cycles. Backwards, because whatever owned an item first began before it, so that every value
 * is still alive when its turn comes. */
static void empty_all(etcp_storable_reader *r)
{
    size_t i;

    for (i = r->tag_count; i-- > 0;) {
        if (!is_constant_tag(r->tags[i]))
            r->builder->empty(r->arg, r->tags[i]);
    }
}

static int has_orphans(etcp_storable_reader *r)
{
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        if (!is_constant_tag(r->tags[i]) && r->builder->owners(r->arg, r->tags[i]) == 1)
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
    release_all(r);
    r->tag_count = orphans ? 0 : r->tag_count;
    return orphans ? ETCP_STORABLE_FOREIGN : 0;
}

/* Objects are made last: before, nothing that fails could run a destructor. */
static int finish(etcp_storable_reader *r)
{
    size_t i;
    int rc;

    /* The value that a later duplicate key replaced would be an object when it is dropped. */
    if (r->has_duplicate_keys && r->blessing_count)
        return ETCP_STORABLE_FOREIGN;
    for (i = 0; i < r->class_count; i++) {
        rc = r->builder->class_ready(r->arg, &r->classes[i]);
        if (rc)
            return rc < 0 ? builder_failed(r, rc) : rc;
    }
    if (r->weak_count && (rc = weaken_all(r)) != 0)
        return rc;
    for (i = 0; i < r->blessing_count; i++)
        r->builder->bless(r->arg, r->tags[r->blessings[i].tag],
                          &r->classes[r->blessings[i].class_index]);
    return 0;
}

static void abandon(etcp_storable_reader *r)
{
    if (r->has_backrefs)
        empty_all(r);
    if (r->item)
        r->builder->release(r->arg, r->item);
    r->item = NULL;
    while (r->depth)
        r->builder->release(r->arg, r->frames[--r->depth].value);
}

static void drop_large_tables(etcp_storable_reader *r)
{
    if (r->tag_cap > KEPT_TAGS) {
        etcp_free(r->tags);
        r->tags = NULL;
        r->tag_cap = 0;
    }
    if (r->frame_cap > KEPT_FRAMES) {
        etcp_free(r->frames);
        r->frames = NULL;
        r->frame_cap = 0;
    }
    if (r->class_cap > KEPT_FRAMES) {
        etcp_free(r->classes);
        r->classes = NULL;
        r->class_cap = 0;
    }
    if (r->blessing_cap > KEPT_FRAMES) {
        etcp_free(r->blessings);
        r->blessings = NULL;
        r->blessing_cap = 0;
    }
    if (r->weak_cap > KEPT_FRAMES) {
        etcp_free(r->weak);
        r->weak = NULL;
        r->weak_cap = 0;
    }
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
    etcp_free(r->tags);
    etcp_free(r->frames);
    etcp_free(r->classes);
    etcp_free(r->blessings);
    etcp_free(r->weak);
    etcp_free(r);
}

const char *etcp_storable_reader_error(const etcp_storable_reader *r)
{
    return r->error.text;
}

static void start(etcp_storable_reader *r, const uint8_t *data, size_t len,
                  const etcp_storable_options *options)
{
    /* Nothing may come as NULL, which nothing may be added to. */
    r->start = r->at = len ? data : (const uint8_t *)"";
    r->end = r->start + len;
    r->promised = 0;
    r->is_native = 0;
    r->max_depth = options->max_depth ? options->max_depth : ETCP_STORABLE_DEPTH;
    r->integer_size = options->integer_size;
    r->double_size = options->double_size;
    r->features = 0;
    r->item = NULL;
    r->has_backrefs = r->has_duplicate_keys = 0;
    r->tag_count = r->depth = r->class_count = r->blessing_count = r->weak_count = 0;
    r->error.code = 0;
    r->error.text[0] = '\0';
}

int etcp_storable_run(etcp_storable_reader *r, const uint8_t *data, size_t len,
                      const etcp_storable_options *options)
{
    static const etcp_storable_options defaults;
    int rc;

    if (!options)
        options = &defaults;
    start(r, data, len, options);
    rc = read_header(r, options);
    if (rc == 0)
        rc = read_items(r);
    if (rc == 0)
        rc = finish(r);
    if (rc != 0)
        abandon(r);
    drop_large_tables(r);
    return rc;
}

int etcp_storable_read(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_builder *builder, void *arg,
                       const etcp_storable_options *options, void **root)
{
    int rc;

    r->builder = builder;
    r->arg = arg;
    r->watcher = NULL;
    r->foreign = NULL;
    rc = etcp_storable_run(r, data, len, options);
    if (rc == 0) {
        *root = r->item;
        r->item = NULL;
    }
    return rc;
}
