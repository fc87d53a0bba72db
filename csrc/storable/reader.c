#include "reader.h"

#include <string.h>

#include "base/mem.h"
#include "reader_private.h"

enum {
    FIRST_ENTRIES = 32,
    KEPT_TAGS = 128 * 1024, /* larger tables do not outlive their image */
    KEPT_FRAMES = 1024,     /* of frames, classes and so on */
    SOME_ITEMS = 16 * 1024, /* fewer, and shorter strings, are not worth asking for memory first */
    SOME_BYTES = 64 * 1024,
    FORGOTTEN_AT_ONCE = 1024 * 1024
};

/* ---- failures and tables --------------------------------------------------------------------- */

int etcp_storable_damaged(etcp_storable_reader *r, const char *what)
{
    return etcp_error_set(&r->error, ETCP_EDECODE, "%s at byte %lu of a Storable image of %lu", what,
                          (unsigned long)(r->at - r->start), (unsigned long)(r->end - r->start));
}

int etcp_storable_out_of_memory(etcp_storable_reader *r)
{
    return etcp_error_set(&r->error, ETCP_ENOMEM, "out of memory");
}

int etcp_storable_builder_failed(etcp_storable_reader *r, int code)
{
    if (code == ETCP_ENOMEM)
        return etcp_storable_out_of_memory(r);
    return etcp_storable_damaged(r, "unusable value");
}

/* Makes room for one more entry of size bytes in a table of *cap that is full. 0 or ETCP_ENOMEM. */
static int grow(etcp_storable_reader *r, void *table, size_t *cap, size_t size)
{
    const size_t wanted = *cap ? *cap * 2 : FIRST_ENTRIES;
    void *old;
    void *larger;

    memcpy(&old, table, sizeof old);
    larger = wanted <= SIZE_MAX / 2 / size ? etcp_realloc(old, wanted * size) : NULL;
    if (!larger)
        return etcp_storable_out_of_memory(r);
    memcpy(table, &larger, sizeof larger);
    *cap = wanted;
    return 0;
}

#define RESERVE(r, table, count, cap)                                                              \
    ((r)->count < (r)->cap ? 0 : grow(r, &(r)->table, &(r)->cap, sizeof *(r)->table))

/* Builders may end the process when there is no memory, as Perl does: sizes that an image has chosen
 * are tried before. */
static int try_memory(etcp_storable_reader *r, size_t size)
{
    void *block = etcp_malloc(size);

    etcp_free(block);
    return block ? 0 : etcp_storable_out_of_memory(r);
}

static int too_large(etcp_storable_reader *r)
{
    return etcp_error_set(&r->error, ETCP_EPOLICY, "Structure too large");
}

static void limit_tags(etcp_storable_reader *r)
{
    r->tag_room = r->tag_cap < r->tag_max ? r->tag_cap : r->tag_max;
}

int etcp_storable_grow_tags(etcp_storable_reader *r)
{
    int rc;

    if (r->tag_count >= r->tag_max)
        return too_large(r);
    rc = RESERVE(r, tags, tag_count, tag_cap);
    if (rc == 0 && r->tag_cap >= SOME_ITEMS)
        rc = try_memory(r, r->tag_cap * ETCP_STORABLE_ITEM_SIZE);
    limit_tags(r);
    return rc;
}

/* A hash of so many pairs begins. */
static int count_pairs(etcp_storable_reader *r, size_t count)
{
    if (count > r->tag_max - r->tag_count)
        return too_large(r);
    r->tag_max -= count;
    r->pairs += count;
    limit_tags(r);
    return 0;
}

int etcp_storable_reserve_blessing(etcp_storable_reader *r)
{
    return RESERVE(r, blessings, blessing_count, blessing_cap);
}

int etcp_storable_reserve_tie(etcp_storable_reader *r)
{
    return RESERVE(r, ties, tie_count, tie_cap);
}

int etcp_storable_reserve_referent(etcp_storable_reader *r)
{
    return RESERVE(r, referents, referent_count, referent_cap);
}

int etcp_storable_reserve_frame(etcp_storable_reader *r)
{
    if (r->depth >= r->max_depth)
        return etcp_error_set(&r->error, ETCP_ETOOBIG, "items nest deeper than %lu levels",
                              (unsigned long)r->max_depth);
    return RESERVE(r, frames, depth, frame_cap);
}

/* ---- classes --------------------------------------------------------------------------------- */

/* Perl makes a symbol table for each part, which it never gives back, and takes time for all of them
 * whenever it makes one. */
static int is_class_name(const uint8_t *name, size_t len)
{
    size_t parts = 1;
    size_t i;

    if (len == 0 || len > ETCP_STORABLE_CLASS_MAX)
        return 0;
    for (i = 0; i < len; i++) {
        /* Storable cuts the name at a NUL: what a policy sees must be what is blessed into. */
        if (name[i] == 0)
            return 0;
        if (name[i] == '\'' || (name[i] == ':' && i > 0 && name[i - 1] == ':'))
            parts++;
    }
    return parts <= ETCP_STORABLE_CLASS_PARTS;
}

int etcp_storable_take_class(etcp_storable_reader *r, uint32_t len)
{
    etcp_storable_class *c;
    int rc = RESERVE(r, classes, class_count, class_cap);

    if (rc < 0)
        return rc;
    c = &r->classes[r->class_count];
    memset(c, 0, sizeof *c);
    c->len = len;
    rc = etcp_storable_take_bytes(r, len, &c->name);
    if (rc < 0)
        return rc;
    if (!is_class_name(c->name, len))
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

etcp_storable_blessing *etcp_storable_blessing_of(const etcp_storable_reader *r, size_t tag)
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
    return low < r->blessing_count && r->blessings[low].tag == tag ? &r->blessings[low] : NULL;
}

uint32_t etcp_storable_class_of(const etcp_storable_reader *r, size_t tag)
{
    const etcp_storable_blessing *b = etcp_storable_blessing_of(r, tag);

    return b ? b->class_index : ETCP_STORABLE_NO_CLASS;
}

etcp_storable_tie *etcp_storable_tie_of(const etcp_storable_reader *r, size_t tag)
{
    size_t low = 0;
    size_t high = r->tie_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->ties[middle].tag < tag)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->tie_count && r->ties[low].tag == tag ? &r->ties[low] : NULL;
}

void etcp_storable_bless_all(etcp_storable_reader *r)
{
    for (; r->blessed < r->blessing_count; r->blessed++) {
        const etcp_storable_blessing *b = &r->blessings[r->blessed];
        if (!b->is_hook)
            r->builder->bless(r->arg, r->tags[b->tag], &r->classes[b->class_index]);
    }
}

/* ---- items ----------------------------------------------------------------------------------- */

void etcp_storable_note_tag(etcp_storable_reader *r, void *value)
{
    if (r->pending != ETCP_STORABLE_NO_CLASS) {
        r->blessings[r->blessing_count].tag = r->tag_count;
        r->blessings[r->blessing_count].class_index = r->pending;
        r->blessings[r->blessing_count].is_hook = r->blessings[r->blessing_count].is_replaced = 0;
        r->blessing_count++;
    }
    if (r->holds_tags && !etcp_storable_is_constant(value))
        r->builder->share(r->arg, value);
}

etcp_storable_frame *etcp_storable_push(etcp_storable_reader *r, void *value,
                                        etcp_storable_shape shape, etcp_storable_kind kind,
                                        etcp_storable_op op, size_t items)
{
    etcp_storable_frame *f = &r->frames[r->depth++];

    f->value = value;
    f->object = NULL;
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

int etcp_storable_is_constant(const void *value)
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
    return r->item ? ETCP_STEP_ITEM : etcp_storable_out_of_memory(r);
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
    return etcp_storable_leaf(r, r->builder->constant(r->arg, which, ETCP_STORABLE_FRESH));
}

void etcp_storable_forget_tag(etcp_storable_reader *r, size_t tag)
{
    r->tags[tag] = &constant_tags[ETCP_STORABLE_UNDEF];
}

void *etcp_storable_referent(etcp_storable_reader *r, size_t tag)
{
    void *value = r->tags[tag];
    int which;

    if (!etcp_storable_is_constant(value))
        return r->builder->share(r->arg, value);
    which = (int)((char *)value - constant_tags);
    return r->builder->constant(r->arg, (etcp_storable_constant)which, ETCP_STORABLE_REFERRED);
}

static int is_tie(const etcp_storable_reader *r, size_t tag)
{
    const etcp_storable_tie *tie = r->tie_count ? etcp_storable_tie_of(r, tag) : NULL;

    return tie && tie->state == ETCP_TIE_REFERENCE;
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
    if (etcp_storable_is_constant(r->tags[tag]))
        return place_constant(r, r->tags[tag] == &constant_tags[ETCP_STORABLE_TRUE]
                                     ? ETCP_STORABLE_TRUE
                                     : ETCP_STORABLE_FALSE);
    if (is_tie(r, tag))
        return etcp_storable_damaged(r, "reference to the inside of a tied item");
    if (r->builder->shape(r->arg, r->tags[tag]) == ETCP_STORABLE_BODY &&
        etcp_storable_may_place_body(r) < 0)
        return ETCP_EDECODE;
    r->item = r->builder->share(r->arg, r->tags[tag]);
    return ETCP_STEP_ITEM;
}

static int read_byte(etcp_storable_reader *r)
{
    unsigned byte;
    int rc = etcp_storable_take_byte(r, &byte);

    return rc < 0 ? rc : etcp_storable_leaf(r, r->builder->integer(r->arg, (int32_t)byte - 128));
}

static int read_netint(etcp_storable_reader *r)
{
    uint32_t bits;
    int32_t value;
    int rc = etcp_storable_take_network_u32(r, &bits);

    if (rc < 0)
        return rc;
    memcpy(&value, &bits, sizeof value);
    return etcp_storable_leaf(r, r->builder->integer(r->arg, value));
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
    return rc < 0 ? rc : etcp_storable_leaf(r, r->builder->native(r->arg, op, bytes));
}

/* [-] digits [. digits] [e sign digits]: what a number is printed like. */
static int is_decimal(const uint8_t *at, const uint8_t *end)
{
    static const char *const signs[] = {"-", ".", "e"};
    size_t part;

    for (part = 0; part < 3; part++) {
        const uint8_t *digits;

        if (at < end && *at == (uint8_t)signs[part][0])
            at++;
        else if (part)
            continue;
        if (part == 2 && at < end && (*at == '+' || *at == '-'))
            at++;
        for (digits = at; at < end && *at >= '0' && *at <= '9'; at++) {
        }
        if (at == digits)
            return 0;
    }
    return at == end;
}

/* EXACT_..., only from a peer that was told that we take them. */
static int read_exact(etcp_storable_reader *r, etcp_storable_op op)
{
    size_t len = 8;
    const uint8_t *bytes;
    int rc;

    if (!r->takes_exact || r->is_native)
        return etcp_storable_damaged(r, "unknown item");
    r->features |= ETCP_STORABLE_HAS_EXACT;
    if (op == ETCP_SX_EXACT_DECIMAL)
        rc = etcp_storable_take_text(r, 0, &bytes, &len);
    else
        rc = etcp_storable_take_bytes(r, len, &bytes);
    if (rc < 0)
        return rc;
    if (op == ETCP_SX_EXACT_DECIMAL && !is_decimal(bytes, bytes + len))
        return etcp_storable_damaged(r, "no decimal number");
    return etcp_storable_leaf(r, r->builder->exact(r->arg, op, bytes, len));
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
    if (rc == 0 && len >= SOME_BYTES)
        rc = try_memory(r, len);
    if (rc < 0)
        return rc;
    value = r->builder->string(r->arg, bytes, len, is_utf8);
    if (!value && is_utf8)
        return etcp_storable_damaged(r, "malformed UTF-8");
    return etcp_storable_leaf(r, value);
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
    return rc < 0 ? etcp_storable_builder_failed(r, rc) : ETCP_STEP_ITEM;
}

/* A program that touched an array as the element of another would find memory of other use: Storable
 * writes references there, and its decoder does not ask. */
int etcp_storable_may_place_body(etcp_storable_reader *r)
{
    if (!r->depth || r->frames[r->depth - 1].kind > ETCP_FRAME_FLAG_HASH)
        return 0;
    etcp_storable_damaged(r, "array, hash or code where a scalar must be");
    return ETCP_EDECODE;
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
    int rc = etcp_storable_may_place_body(r);

    if (rc == 0)
        rc = claim(r, count, size);
    if (rc == 0 && kind != ETCP_FRAME_ARRAY)
        rc = count_pairs(r, count);
    if (rc == 0 && count >= SOME_ITEMS)
        rc = try_memory(r, count * 2 * sizeof value);
    if (rc < 0)
        return rc;
    value = kind == ETCP_FRAME_ARRAY ? r->builder->array(r->arg, count)
                                     : r->builder->hash(r->arg, count);
    if (!value || count == 0)
        return etcp_storable_leaf(r, value);
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
        rc = RESERVE(r, weak, weak_count, weak_cap);
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
    case ETCP_SX_EXACT_DOUBLE:
    case ETCP_SX_EXACT_INTEGER:
    case ETCP_SX_EXACT_UNSIGNED:
    case ETCP_SX_EXACT_DECIMAL: return read_exact(r, (etcp_storable_op)op);
    case ETCP_SX_UNDEF:
        return etcp_storable_leaf(
            r, r->builder->constant(r->arg, ETCP_STORABLE_UNDEF, ETCP_STORABLE_FRESH));
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
/* Nothing before the next item is needed any more. */
static void forget_read(etcp_storable_reader *r)
{
    const size_t read = (size_t)(r->at - r->start);
    size_t before;

    if (!r->forgotten)
        return; /* it ends too early */
    before = (size_t)((const uint8_t *)r->forgotten - r->start);
    etcp_forget(r->forgotten, read - before);
    r->forgotten += read - before;
    r->forget_at = etcp_storable_bytes_left(r) > FORGOTTEN_AT_ONCE ? r->at + FORGOTTEN_AT_ONCE : r->end;
}

static int read_item(etcp_storable_reader *r)
{
    unsigned op = 0;
    int rc;

    if (r->at >= r->forget_at)
        forget_read(r);
    if (r->depth)
        r->promised -= r->frames[r->depth - 1].promise;
    r->pending = ETCP_STORABLE_NO_CLASS;
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

static int attach_index(etcp_storable_reader *r, etcp_storable_frame *f)
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

static void release_all(etcp_storable_reader *r)
{
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        if (!etcp_storable_is_constant(r->tags[i]))
            r->builder->release(r->arg, r->tags[i]);
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
    release_all(r);
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

static void drop_table(void *table, size_t *cap)
{
    void *memory;

    memcpy(&memory, table, sizeof memory);
    etcp_free(memory);
    memory = NULL;
    memcpy(table, &memory, sizeof memory);
    *cap = 0;
}

#define DROP(r, table, cap, kept)                                                                  \
    do {                                                                                           \
        if ((r)->cap > (kept))                                                                     \
            drop_table(&(r)->table, &(r)->cap);                                                    \
    } while (0)

static void drop_large_tables(etcp_storable_reader *r)
{
    DROP(r, tags, tag_cap, KEPT_TAGS);
    DROP(r, frames, frame_cap, KEPT_FRAMES);
    DROP(r, classes, class_cap, KEPT_FRAMES);
    DROP(r, blessings, blessing_cap, KEPT_FRAMES);
    DROP(r, ties, tie_cap, KEPT_FRAMES);
    DROP(r, referents, referent_cap, KEPT_FRAMES);
    DROP(r, weak, weak_cap, KEPT_FRAMES);
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
    etcp_free(r->ties);
    etcp_free(r->referents);
    etcp_free(r->weak);
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
    r->promised = 0;
    r->is_native = 0;
    r->max_depth = options->max_depth ? options->max_depth : ETCP_STORABLE_DEPTH;
    r->integer_size = options->integer_size;
    r->double_size = options->double_size;
    r->takes_exact = options->takes_exact;
    r->features = 0;
    r->item = NULL;
    r->has_backrefs = r->has_duplicate_keys = 0;
    r->tag_count = r->depth = r->class_count = r->blessing_count = r->weak_count = 0;
    r->tie_count = r->referent_count = r->blessed = 0;
    r->pairs = r->patterns = 0;
    r->tag_max = items_within(options->max_size, len);
    limit_tags(r);
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
    drop_large_tables(r);
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
