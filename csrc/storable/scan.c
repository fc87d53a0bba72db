#include <string.h>

#include "reader.h"
#include "reader_private.h"

/* ---- a builder of nothing -------------------------------------------------------------------- */

/* Values are one of these: the reader keeps the tags and the classes, little else matters. */
static char any_value;
static char any_constant;

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
    return &any_value;
}

static void *scan_reference(void *arg)
{
    return scan_container(arg, 1);
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

static void scan_bless(void *arg, void *value, etcp_storable_class *c)
{
    scan_touch(arg, value);
    scan_touch(arg, c);
}

/* ---- items that only Storable builds --------------------------------------------------------- */

static int open_tied(etcp_storable_reader *r, unsigned op)
{
    etcp_storable_kind kind = op == ETCP_SX_TIED_IDX ? ETCP_FRAME_TIED_INDEX : ETCP_FRAME_TIED;
    int rc = etcp_storable_reserve_frame(r);

    if (rc < 0)
        return rc;
    r->features |= ETCP_STORABLE_HAS_TIE;
    etcp_storable_tag(r, &any_value);
    etcp_storable_push(r, &any_value, kind, (etcp_storable_op)op, op == ETCP_SX_TIED_KEY ? 2 : 1);
    return ETCP_STEP_MORE;
}

static int read_code(etcp_storable_reader *r)
{
    unsigned op;
    int rc;

    r->features |= ETCP_STORABLE_HAS_CODE;
    etcp_storable_tag(r, &any_value);
    /* The text has a tag of its own, and is no object. */
    r->pending = ETCP_STORABLE_NO_CLASS;
    rc = etcp_storable_reserve_tag(r);
    if (rc == 0)
        rc = etcp_storable_take_byte(r, &op);
    if (rc == 0)
        rc = etcp_storable_read_string(r, op);
    r->item_tag--;
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
        if (rc == 0 && tag >= r->tag_count)
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

/* A flag byte has been read: another item, or the rest. f waits for one item at first; each further
 * one is added. */
static int go_on_with_hook(etcp_storable_reader *r, etcp_storable_frame *f, unsigned flags)
{
    int rc;

    if (flags & ETCP_SX_HOOK_RECURSE) {
        f->left++;
        return 0;
    }
    rc = read_hook_body(r, f, flags);
    if (rc == 0 && (f->flags & ETCP_SX_HOOK_KIND) == ETCP_SX_HOOK_TIED) {
        f->kind = ETCP_FRAME_HOOK_MAGIC;
        f->left++;
    }
    return rc;
}

static int read_hook(etcp_storable_reader *r)
{
    etcp_storable_frame *f;
    unsigned flags;
    unsigned extra;
    int rc = etcp_storable_take_byte(r, &flags);

    if (rc == 0 && (flags & ETCP_SX_HOOK_KIND) == ETCP_SX_HOOK_TIED) {
        rc = etcp_storable_take_byte(r, &extra);
        if (rc == 0 && (extra < 4 || extra > 6))
            rc = etcp_storable_damaged(r, "hooked object of unknown kind");
    }
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
    etcp_storable_tag(r, &any_value);
    f = etcp_storable_push(r, &any_value, ETCP_FRAME_HOOK, ETCP_SX_HOOK, 0);
    f->flags = (uint8_t)flags;
    f->index = r->blessing_count - 1;
    rc = go_on_with_hook(r, f, flags);
    if (rc < 0 || f->left)
        return rc < 0 ? rc : ETCP_STEP_MORE;
    r->item = &any_value;
    r->item_tag = f->tag;
    r->depth--;
    return ETCP_STEP_ITEM;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

int etcp_storable_read_foreign(etcp_storable_reader *r, unsigned op)
{
    switch (op) {
    case ETCP_SX_TIED_ARRAY:
    case ETCP_SX_TIED_HASH:
    case ETCP_SX_TIED_SCALAR:
    case ETCP_SX_TIED_KEY:
    case ETCP_SX_TIED_IDX: return r->watcher ? open_tied(r, op) : ETCP_STORABLE_FOREIGN;
    case ETCP_SX_HOOK: return r->watcher ? read_hook(r) : ETCP_STORABLE_FOREIGN;
    case ETCP_SX_CODE: return r->watcher ? read_code(r) : ETCP_STORABLE_FOREIGN;
    case ETCP_SX_REGEXP: return r->watcher ? read_regexp(r) : ETCP_STORABLE_FOREIGN;
    case ETCP_SX_LOBJECT: return etcp_storable_damaged(r, "item beyond 2 GB");
    default: return etcp_storable_damaged(r, "unknown item");
    }
}

int etcp_storable_attach_foreign(etcp_storable_reader *r, etcp_storable_frame *f)
{
    uint32_t index;
    unsigned flags;
    int rc;

    r->item = NULL;
    if (f->kind == ETCP_FRAME_TIED_INDEX)
        return etcp_storable_take_length(r, &index);
    if (f->kind != ETCP_FRAME_HOOK)
        return 0;
    rc = etcp_storable_take_byte(r, &flags);
    return rc < 0 ? rc : go_on_with_hook(r, f, flags);
}

int etcp_storable_scan(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_watcher *watcher, void *arg,
                       const etcp_storable_options *options, unsigned *features)
{
    static const etcp_storable_builder template = {
        scan_constant, scan_integer,  scan_native,    scan_string,        scan_container,
        scan_container, scan_reference, scan_array_put, scan_hash_put,      scan_reference_put,
        scan_vstring,  scan_share,    scan_touch,     scan_owners,        scan_touch,
        NULL,          NULL,          scan_touch,     scan_bless};
    etcp_storable_builder builder = template;
    int rc;

    builder.class_named = watcher->class_named;
    builder.class_ready = watcher->class_ready;
    r->builder = &builder;
    r->arg = arg;
    r->watcher = watcher;
    rc = etcp_storable_run(r, data, len, options);
    r->item = NULL;
    r->builder = NULL;
    *features = r->features;
    return rc;
}
