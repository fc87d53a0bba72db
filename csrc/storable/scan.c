#include <string.h>

#include "reader.h"
#include "reader_private.h"

/* ---- a builder of nothing -------------------------------------------------------------------- */

/* Values are one of these: the reader keeps the tags and the classes, little else matters. */
static char any_value;
static char any_constant;
static char any_body;
static char any_tie;
static char any_open_tied; /* a tied array or hash whose object is being read */

static void *scan_constant(void *arg, etcp_storable_constant which, etcp_storable_place place)
{
    (void)arg;
    (void)which;
    return place == ETCP_STORABLE_FRESH ? &any_value : &any_constant;
}

static void *scan_integer(void *arg, int32_t value)
{
    (void)arg;
    (void)value;
    return &any_value;
}

static void *scan_native(void *arg, etcp_storable_op op, const uint8_t *bytes)
{
    (void)arg;
    (void)op;
    (void)bytes;
    return &any_value;
}

static void *scan_string(void *arg, const uint8_t *bytes, size_t len, int is_utf8)
{
    (void)arg;
    (void)bytes;
    (void)len;
    (void)is_utf8;
    return &any_value;
}

static void *scan_container(void *arg, size_t count)
{
    (void)arg;
    (void)count;
    return &any_body;
}

static void *scan_reference(void *arg)
{
    (void)arg;
    return &any_value;
}

static int scan_array_put(void *arg, void *array, size_t index, void *value)
{
    (void)arg;
    (void)array;
    (void)index;
    (void)value;
    return 0;
}

static int scan_hash_put(void *arg, void *hash, const uint8_t *key, size_t len, unsigned key_flags,
                         void *value)
{
    (void)arg;
    (void)hash;
    (void)key;
    (void)len;
    (void)key_flags;
    (void)value;
    return 0;
}

/* Storable would hang the backward reference on the constant, for the whole process. */
static int scan_reference_put(void *arg, void *reference, void *value, etcp_storable_op op)
{
    int is_weak = op == ETCP_SX_WEAKREF || op == ETCP_SX_WEAKOVERLOAD;

    (void)arg;
    (void)reference;
    return is_weak && value == &any_constant ? ETCP_EDECODE : 0;
}

static int scan_vstring(void *arg, void *string, const uint8_t *literal, size_t len)
{
    return scan_hash_put(arg, string, literal, len, 0, NULL);
}

static void *scan_share(void *arg, void *value)
{
    (void)arg;
    return value;
}

static void scan_touch(void *arg, void *value)
{
    (void)arg;
    (void)value;
}

static size_t scan_owners(void *arg, void *value)
{
    scan_touch(arg, value);
    return 2;
}

static etcp_storable_shape scan_shape(void *arg, const void *value)
{
    (void)arg;
    if (value == &any_tie)
        return ETCP_STORABLE_TIE;
    return value == &any_body || value == &any_open_tied ? ETCP_STORABLE_BODY
                                                         : ETCP_STORABLE_SCALAR;
}

static void scan_bless(void *arg, void *value, etcp_storable_class *c)
{
    scan_touch(arg, value);
    scan_touch(arg, c);
}

/* ---- items that only Storable builds --------------------------------------------------------- */

/* The object behind a tied item: only a reference to an item with a class will do, since Perl calls
 * methods of whatever it finds there, of a class that a mere string may name. */
static int open_tie(etcp_storable_reader *r)
{
    unsigned op;
    uint32_t tag;
    int rc = etcp_storable_take_byte(r, &op);

    if (rc < 0)
        return rc;
    if (op == ETCP_SX_OBJECT) {
        rc = etcp_storable_take_network_u32(r, &tag);
        if (rc == 0 && (tag >= r->tag_count || r->tags[tag] != &any_tie))
            rc = etcp_storable_damaged(r, "tied to what is no object");
        return rc < 0 ? rc : ETCP_STEP_ITEM;
    }
    if (op != ETCP_SX_REF && op != ETCP_SX_OVERLOAD)
        return etcp_storable_damaged(r, "tied to what is no object");
    rc = etcp_storable_reserve_tag(r);
    if (rc == 0)
        rc = etcp_storable_reserve_frame(r);
    if (rc < 0)
        return rc;
    r->pending = ETCP_STORABLE_NO_CLASS;
    etcp_storable_tag(r, &any_tie);
    etcp_storable_push(r, &any_tie, ETCP_STORABLE_TIE, ETCP_FRAME_TIE, (etcp_storable_op)op, 1);
    return ETCP_STEP_MORE;
}

/* Perl refuses to tie arrays and hashes to themselves: their methods would not end. */
static int attach_tie(etcp_storable_reader *r, const etcp_storable_frame *f)
{
    if (r->tags[r->item_tag] == &any_open_tied)
        return etcp_storable_damaged(r, "tied to itself");
    if (f->op == ETCP_SX_OVERLOAD)
        return etcp_storable_overload(r);
    return etcp_storable_class_of(r, r->item_tag) == ETCP_STORABLE_NO_CLASS
               ? etcp_storable_damaged(r, "tied to what is no object")
               : 0;
}

static int open_tied(etcp_storable_reader *r, unsigned op)
{
    const int is_body = op == ETCP_SX_TIED_ARRAY || op == ETCP_SX_TIED_HASH;
    const etcp_storable_kind kind = op == ETCP_SX_TIED_IDX   ? ETCP_FRAME_TIED_INDEX
                                    : op == ETCP_SX_TIED_KEY ? ETCP_FRAME_TIED_KEY
                                                             : ETCP_FRAME_TIED;
    void *value = is_body ? &any_open_tied : &any_value;
    int rc = etcp_storable_reserve_frame(r);

    if (rc < 0)
        return rc;
    r->features |= ETCP_STORABLE_HAS_TIE;
    etcp_storable_tag(r, value);
    etcp_storable_push(r, value, is_body ? ETCP_STORABLE_BODY : ETCP_STORABLE_SCALAR, kind,
                       (etcp_storable_op)op, 1);
    return open_tie(r);
}

static int read_code(etcp_storable_reader *r)
{
    unsigned op;
    int rc;

    r->features |= ETCP_STORABLE_HAS_CODE;
    etcp_storable_tag(r, &any_body);
    /* The text has a tag of its own, and is no object. */
    r->pending = ETCP_STORABLE_NO_CLASS;
    rc = etcp_storable_reserve_tag(r);
    if (rc == 0)
        rc = etcp_storable_take_byte(r, &op);
    if (rc == 0)
        rc = etcp_storable_read_string(r, op);
    r->item_tag--;
    r->item_shape = ETCP_STORABLE_BODY;
    return rc;
}

static int read_regexp(etcp_storable_reader *r)
{
    const uint8_t *start = r->at - 1;
    etcp_storable_class regexp;
    const uint8_t *text;
    size_t len;
    unsigned flags;
    int rc = etcp_storable_take_byte(r, &flags);

    if (rc == 0)
        rc = etcp_storable_take_text(r, flags & ETCP_SX_REGEXP_LARGE, &text, &len);
    if (rc == 0)
        rc = etcp_storable_take_text(r, 0, &text, &len);
    if (rc < 0)
        return rc;
    /* Whatever it is blessed into, it is an object of this class before. */
    memset(&regexp, 0, sizeof regexp);
    regexp.name = (const uint8_t *)"Regexp";
    regexp.len = 6;
    rc = r->builder->class_named(r->arg, &regexp);
    if (rc < 0)
        return etcp_error_set(&r->error, rc, "class Regexp is not allowed");
    rc = r->watcher->regexp(r->arg, start, (size_t)(r->at - start));
    if (rc < 0)
        return etcp_storable_damaged(r, "unusable expression");
    r->features |= ETCP_STORABLE_HAS_REGEXP;
    r->item = &any_value;
    r->item_tag = r->tag_count;
    etcp_storable_tag(r, &any_value);
    return ETCP_STEP_ITEM;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static int read_hook_class(etcp_storable_reader *r, unsigned flags, uint32_t *class_index)
{
    unsigned byte = 0;
    uint32_t number;
    int rc;

    if (flags & ETCP_SX_HOOK_LARGE_CLASS) {
        rc = etcp_storable_take_length(r, &number);
    } else {
        rc = etcp_storable_take_byte(r, &byte);
        number = byte;
    }
    if (rc < 0)
        return rc;
    if (flags & ETCP_SX_HOOK_CLASS_INDEX) {
        *class_index = number;
        return number < r->class_count ? 0 : etcp_storable_damaged(r, "unknown class number");
    }
    *class_index = (uint32_t)r->class_count;
    return etcp_storable_take_class(r, number);
}

/* The tags of the items that the hook's references lead to. */
static int read_hook_list(etcp_storable_reader *r, unsigned flags)
{
    unsigned byte;
    uint32_t count;
    uint32_t tag;
    int rc;

    if (flags & ETCP_SX_HOOK_LARGE_LIST) {
        rc = etcp_storable_take_length(r, &count);
    } else {
        rc = etcp_storable_take_byte(r, &byte);
        count = byte;
    }
    if (rc == 0 && count > etcp_storable_bytes_left(r) / 4)
        return etcp_storable_damaged(r, "unexpected end of a list");
    while (rc == 0 && count-- > 0) {
        rc = etcp_storable_take_network_u32(r, &tag);
        if (rc == 0 && (tag >= r->tag_count || r->tags[tag] == &any_tie))
            rc = etcp_storable_damaged(r, "reference to an item not yet met");
    }
    return rc;
}

/* What follows the last flag byte: class, string, list. */
static int read_hook_body(etcp_storable_reader *r, etcp_storable_frame *f, unsigned flags)
{
    const uint8_t *text;
    size_t len;
    uint32_t class_index;
    int rc = read_hook_class(r, flags, &class_index);

    if (rc == 0)
        rc = etcp_storable_take_text(r, flags & ETCP_SX_HOOK_LARGE_STRING, &text, &len);
    if (rc == 0 && (flags & ETCP_SX_HOOK_LIST))
        rc = read_hook_list(r, flags);
    if (rc < 0)
        return rc;
    r->blessings[f->index].class_index = class_index;
    r->classes[class_index].hooked = 1;
    return 0;
}

/* What a hook makes, by the kind in its flags, or by the byte behind them for tied ones. */
static etcp_storable_shape hook_shape(unsigned flags, unsigned extra)
{
    const unsigned kind = flags & ETCP_SX_HOOK_KIND;
    const int is_scalar = kind == ETCP_SX_HOOK_TIED ? extra == ETCP_SX_HOOK_TIED_SCALAR
                                                    : kind == ETCP_SX_HOOK_SCALAR;

    return is_scalar ? ETCP_STORABLE_SCALAR : ETCP_STORABLE_BODY;
}

/* A flag byte has been read: another item follows, or the rest. */
static int go_on_with_hook(etcp_storable_reader *r, unsigned flags)
{
    etcp_storable_frame *f = &r->frames[r->depth - 1];
    int rc;

    if (flags & ETCP_SX_HOOK_RECURSE)
        return ETCP_STEP_MORE;
    rc = read_hook_body(r, f, flags);
    if (rc < 0)
        return rc;
    if ((f->flags & ETCP_SX_HOOK_KIND) != ETCP_SX_HOOK_TIED)
        return etcp_storable_complete(r);
    f->kind = ETCP_FRAME_HOOK_MAGIC;
    if (f->shape == ETCP_STORABLE_BODY)
        r->tags[f->tag] = &any_open_tied;
    return open_tie(r);
}

/* The flags of a hook, and what kind of object it makes. */
static int read_hook_kind(etcp_storable_reader *r, unsigned *flags, etcp_storable_shape *shape)
{
    unsigned extra = 0;
    int rc = etcp_storable_take_byte(r, flags);

    if (rc == 0 && (*flags & ETCP_SX_HOOK_KIND) == ETCP_SX_HOOK_TIED) {
        rc = etcp_storable_take_byte(r, &extra);
        if (rc == 0 && (extra < ETCP_SX_HOOK_TIED_SCALAR || extra > ETCP_SX_HOOK_TIED_HASH))
            rc = etcp_storable_damaged(r, "hooked object of unknown kind");
    }
    if (rc < 0)
        return rc;
    *shape = hook_shape(*flags, extra);
    return 0;
}

static int read_hook(etcp_storable_reader *r)
{
    etcp_storable_frame *f;
    etcp_storable_shape shape = ETCP_STORABLE_SCALAR;
    unsigned flags = 0;
    void *value;
    int rc = read_hook_kind(r, &flags, &shape);

    if (rc == 0)
        rc = etcp_storable_reserve_frame(r);
    if (rc == 0)
        rc = etcp_storable_reserve_blessing(r);
    if (rc < 0)
        return rc;
    r->features |= ETCP_STORABLE_HAS_HOOK;
    /* Its class comes later, and a BLESS before it means nothing. */
    r->pending = ETCP_STORABLE_NO_CLASS;
    r->blessings[r->blessing_count].tag = r->tag_count;
    r->blessings[r->blessing_count].class_index = ETCP_STORABLE_NO_CLASS;
    r->blessing_count++;
    value = shape == ETCP_STORABLE_BODY ? &any_body : &any_value;
    etcp_storable_tag(r, value);
    f = etcp_storable_push(r, value, shape, ETCP_FRAME_HOOK, ETCP_SX_HOOK, 0);
    f->flags = (uint8_t)flags;
    f->index = r->blessing_count - 1;
    return go_on_with_hook(r, flags);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static int read_foreign(etcp_storable_reader *r, unsigned op)
{
    switch (op) {
    case ETCP_SX_TIED_ARRAY:
    case ETCP_SX_TIED_HASH:
    case ETCP_SX_TIED_SCALAR:
    case ETCP_SX_TIED_KEY:
    case ETCP_SX_TIED_IDX: return open_tied(r, op);
    case ETCP_SX_HOOK: return read_hook(r);
    case ETCP_SX_CODE: return read_code(r);
    default: return read_regexp(r);
    }
}

/* The key of an element of a tied hash: what Storable writes there. A tied scalar as its own key would
 * be asked for its value for ever. */
static int expect_key(etcp_storable_reader *r)
{
    switch (r->at < r->end ? *r->at : ETCP_SX_OBJECT) {
    case ETCP_SX_SCALAR:
    case ETCP_SX_LSCALAR:
    case ETCP_SX_UTF8STR:
    case ETCP_SX_LUTF8STR:
    case ETCP_SX_BYTE:
    case ETCP_SX_NETINT:
    case ETCP_SX_INTEGER:
    case ETCP_SX_DOUBLE:
    case ETCP_SX_UNDEF: return ETCP_STEP_MORE;
    default: return etcp_storable_damaged(r, "no key where one must be");
    }
}

static int attach_foreign(etcp_storable_reader *r)
{
    etcp_storable_frame *f = &r->frames[r->depth - 1];
    uint32_t index;
    unsigned flags;
    int rc = 0;

    switch ((etcp_storable_kind)f->kind) {
    case ETCP_FRAME_ARRAY:
    case ETCP_FRAME_HASH:
    case ETCP_FRAME_FLAG_HASH:
    case ETCP_FRAME_REFERENCE:
    case ETCP_FRAME_KEY: break;
    case ETCP_FRAME_HOOK_MAGIC:
    case ETCP_FRAME_TIED:
        if (f->shape == ETCP_STORABLE_BODY)
            r->tags[f->tag] = &any_body;
        break;
    case ETCP_FRAME_TIED_KEY:
        f->kind = ETCP_FRAME_KEY;
        return expect_key(r);
    case ETCP_FRAME_TIED_INDEX: rc = etcp_storable_take_length(r, &index); break;
    case ETCP_FRAME_TIE: rc = attach_tie(r, f); break;
    case ETCP_FRAME_HOOK:
        rc = etcp_storable_take_byte(r, &flags);
        return rc < 0 ? rc : go_on_with_hook(r, flags);
    }
    return rc < 0 ? rc : etcp_storable_complete(r);
}

static const etcp_storable_foreign foreign = {read_foreign, attach_foreign};

int etcp_storable_scan(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_watcher *watcher, void *arg,
                       const etcp_storable_options *options, unsigned *features)
{
    static const etcp_storable_builder template = {
        scan_constant, scan_integer,  scan_native,    scan_string,        scan_container,
        scan_container, scan_reference, scan_array_put, scan_hash_put,      scan_reference_put,
        scan_vstring,  scan_share,    scan_touch,     scan_owners,  scan_shape,      scan_touch,
        NULL,          NULL,          scan_touch,     scan_bless};
    etcp_storable_builder builder = template;
    int rc;

    builder.class_named = watcher->class_named;
    builder.class_ready = watcher->class_ready;
    r->builder = &builder;
    r->arg = arg;
    r->watcher = watcher;
    r->foreign = &foreign;
    rc = etcp_storable_run(r, data, len, options);
    r->item = NULL;
    r->builder = NULL;
    *features = r->features;
    return rc;
}
