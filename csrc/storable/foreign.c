/* Items that take more than making and filling: ties, hooks, code, regular expressions. */
#include <string.h>

#include "reader.h"
#include "reader_private.h"

/* ---- ties ------------------------------------------------------------------------------------ */

/* Notes what is special about the tag that comes next. */
static int note_tie(etcp_storable_reader *r, int state)
{
    int rc = etcp_storable_reserve_tie(r);

    if (rc < 0)
        return rc;
    r->ties[r->tie_count].tag = r->tag_count;
    r->ties[r->tie_count].state = state == ETCP_TIE_REFERENCE ? ETCP_TIE_REFERENCE
                                  : state == ETCP_TIE_OPEN    ? ETCP_TIE_OPEN
                                                              : ETCP_TIE_DONE;
    r->tie_count++;
    return 0;
}

/* The object behind a tied item, met before. */
static int share_tie(etcp_storable_reader *r)
{
    const etcp_storable_tie *tie;
    uint32_t tag;
    int rc = etcp_storable_take_network_u32(r, &tag);

    if (rc < 0)
        return rc;
    tie = etcp_storable_tie_of(r, tag);
    if (!tie || tie->state != ETCP_TIE_REFERENCE)
        return etcp_storable_damaged(r, "tied to what is no object");
    r->item = r->builder->share(r->arg, r->tags[tag]);
    r->item_tag = tag;
    return ETCP_STEP_ITEM;
}

/* The object behind a tied item: only a reference to an item with a class will do, since Perl calls
 * methods of whatever it finds there, of a class that a mere string may name. */
static int open_tie(etcp_storable_reader *r)
{
    void *value;
    unsigned op;
    int rc = etcp_storable_take_byte(r, &op);

    if (rc < 0)
        return rc;
    if (op == ETCP_SX_OBJECT)
        return share_tie(r);
    if (op != ETCP_SX_REF && op != ETCP_SX_OVERLOAD)
        return etcp_storable_damaged(r, "tied to what is no object");
    rc = etcp_storable_reserve_tag(r);
    if (rc == 0)
        rc = etcp_storable_reserve_frame(r);
    if (rc == 0)
        rc = note_tie(r, ETCP_TIE_REFERENCE);
    if (rc < 0)
        return rc;
    value = r->builder->reference(r->arg);
    if (!value)
        return etcp_storable_builder_failed(r, ETCP_ENOMEM);
    r->pending = ETCP_STORABLE_NO_CLASS;
    etcp_storable_tag(r, value);
    etcp_storable_push(r, value, ETCP_STORABLE_TIE, ETCP_FRAME_TIE, (etcp_storable_op)op, 1);
    return ETCP_STEP_MORE;
}

/* Perl refuses to tie arrays and hashes to themselves: their methods would not end. */
static int attach_tie(etcp_storable_reader *r, const etcp_storable_frame *f)
{
    const etcp_storable_tie *tie = etcp_storable_tie_of(r, r->item_tag);
    int rc = 0;

    if (tie && tie->state == ETCP_TIE_OPEN)
        return etcp_storable_damaged(r, "tied to itself");
    if (f->op == ETCP_SX_OVERLOAD)
        rc = etcp_storable_overload(r);
    else if (etcp_storable_class_of(r, r->item_tag) == ETCP_STORABLE_NO_CLASS)
        rc = etcp_storable_damaged(r, "tied to what is no object");
    if (rc < 0)
        return rc;
    rc = r->builder->reference_put(r->arg, f->value, r->item, (etcp_storable_op)f->op);
    if (rc < 0)
        return etcp_storable_builder_failed(r, rc);
    r->item = NULL;
    return etcp_storable_complete(r);
}

static int open_tied(etcp_storable_reader *r, unsigned op)
{
    const int is_body = op == ETCP_SX_TIED_ARRAY || op == ETCP_SX_TIED_HASH;
    const etcp_storable_kind kind = op == ETCP_SX_TIED_IDX   ? ETCP_FRAME_TIED_INDEX
                                    : op == ETCP_SX_TIED_KEY ? ETCP_FRAME_TIED_KEY
                                                             : ETCP_FRAME_TIED;
    void *value;
    int rc = is_body ? etcp_storable_may_place_body(r) : 0;

    if (rc == 0)
        rc = etcp_storable_reserve_frame(r);
    if (rc == 0 && is_body)
        rc = note_tie(r, ETCP_TIE_OPEN);
    if (rc < 0)
        return rc;
    value = r->builder->tied(r->arg, (etcp_storable_op)op);
    if (!value)
        return etcp_storable_builder_failed(r, ETCP_ENOMEM);
    r->features |= ETCP_STORABLE_HAS_TIE;
    etcp_storable_tag(r, value);
    etcp_storable_push(r, value, is_body ? ETCP_STORABLE_BODY : ETCP_STORABLE_SCALAR, kind,
                       (etcp_storable_op)op, 1);
    return open_tie(r);
}

/* The key of an element of a tied hash: what Storable writes there. A tied scalar as its own key
 * would be asked for its value for ever. */
static int expect_key(etcp_storable_reader *r, etcp_storable_frame *f)
{
    f->kind = ETCP_FRAME_KEY;
    f->object = r->item;
    r->item = NULL;
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

/* Everything that belongs to a tied item is there. */
static int tie(etcp_storable_reader *r, etcp_storable_frame *f, etcp_storable_op op, void *object,
               void *key, uint32_t index)
{
    etcp_storable_tie *noted = etcp_storable_tie_of(r, f->tag);
    int rc;

    if (r->holds_tags)
        etcp_storable_bless_all(r);
    rc = r->builder->tie(r->arg, f->value, op, object, key, index);
    if (rc < 0)
        return etcp_storable_builder_failed(r, rc);
    if (noted)
        noted->state = ETCP_TIE_DONE;
    if (f->object)
        r->builder->release(r->arg, f->object);
    f->object = NULL;
    r->builder->release(r->arg, r->item);
    return etcp_storable_complete(r);
}

static int tie_element(etcp_storable_reader *r, etcp_storable_frame *f)
{
    uint32_t index;
    int rc = etcp_storable_take_length(r, &index);

    return rc < 0 ? rc : tie(r, f, ETCP_SX_TIED_IDX, r->item, NULL, index);
}

/* ---- code and regular expressions ------------------------------------------------------------ */

/* The text has a tag of its own, and is no object. A reference back to it, which nobody writes, is
 * undef because it does not last. */
static int read_code(etcp_storable_reader *r)
{
    const uint32_t class_index = r->pending;
    void *text;
    void *code;
    unsigned op = 0;
    int rc = etcp_storable_may_place_body(r);

    if (rc == 0)
        rc = etcp_storable_take_byte(r, &op);
    r->features |= ETCP_STORABLE_HAS_CODE;
    r->pending = ETCP_STORABLE_NO_CLASS;
    if (rc == 0)
        rc = etcp_storable_read_string(r, op);
    if (rc < 0)
        return rc;
    text = r->item;
    r->item = NULL;
    code = r->builder->code(r->arg, text);
    r->tag_count--;
    if (r->holds_tags)
        r->builder->release(r->arg, text);
    r->builder->release(r->arg, text);
    if (!code)
        return etcp_storable_damaged(r, "unusable code");
    r->pending = class_index;
    rc = etcp_storable_leaf(r, code);
    if (etcp_storable_reserve_tag(r) < 0)
        return ETCP_ENOMEM;
    etcp_storable_forget_tag(r, r->tag_count++);
    return rc;
}

/* A regular expression of len bytes comes. */
static int count_pattern(etcp_storable_reader *r, size_t len)
{
    const size_t left = ETCP_STORABLE_PATTERNS_MAX - r->patterns;

    if (left < ETCP_STORABLE_PATTERN_SIZE || len > left - ETCP_STORABLE_PATTERN_SIZE)
        return etcp_error_set(&r->error, ETCP_EPOLICY, "Regular expressions too large");
    r->patterns += ETCP_STORABLE_PATTERN_SIZE + len;
    return 0;
}

static int read_regexp(etcp_storable_reader *r)
{
    etcp_storable_class regexp;
    const uint8_t *pattern;
    const uint8_t *modifiers;
    size_t len;
    size_t modifiers_len;
    unsigned flags;
    void *value;
    int rc = etcp_storable_take_byte(r, &flags);

    if (rc == 0)
        rc = etcp_storable_take_text(r, flags & ETCP_SX_REGEXP_LARGE, &pattern, &len);
    if (rc == 0)
        rc = etcp_storable_take_text(r, 0, &modifiers, &modifiers_len);
    if (rc == 0)
        rc = count_pattern(r, len);
    if (rc < 0)
        return rc;
    r->features |= ETCP_STORABLE_HAS_REGEXP;
    /* Whatever it is blessed into, it is an object of this class before. */
    memset(&regexp, 0, sizeof regexp);
    regexp.name = (const uint8_t *)"Regexp";
    regexp.len = 6;
    rc = r->builder->class_named(r->arg, &regexp);
    if (rc < 0)
        return etcp_error_set(&r->error, rc, "class Regexp is not allowed");
    value = r->builder->regexp(r->arg, pattern, len, modifiers, modifiers_len);
    return value ? etcp_storable_leaf(r, value) : etcp_storable_damaged(r, "unusable expression");
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

/* An item that the hook's references lead to, by its tag. */
static int take_referent(etcp_storable_reader *r)
{
    const etcp_storable_tie *tie;
    uint32_t tag;
    int rc = etcp_storable_take_network_u32(r, &tag);

    if (rc < 0)
        return rc;
    tie = etcp_storable_tie_of(r, tag);
    if (tag >= r->tag_count || (tie && tie->state == ETCP_TIE_REFERENCE))
        return etcp_storable_damaged(r, "reference to an item not yet met");
    rc = etcp_storable_reserve_referent(r);
    if (rc < 0)
        return rc;
    r->referents[r->referent_count] = etcp_storable_referent(r, tag);
    if (!r->referents[r->referent_count])
        return etcp_storable_builder_failed(r, ETCP_ENOMEM);
    r->referent_count++;
    return 0;
}

static int read_hook_list(etcp_storable_reader *r, unsigned flags)
{
    unsigned byte;
    uint32_t count;
    int rc;

    if (flags & ETCP_SX_HOOK_LARGE_LIST) {
        rc = etcp_storable_take_length(r, &count);
    } else {
        rc = etcp_storable_take_byte(r, &byte);
        count = byte;
    }
    if (rc == 0 && count > etcp_storable_bytes_left(r) / 4)
        return etcp_storable_damaged(r, "unexpected end of a list");
    while (rc == 0 && count-- > 0)
        rc = take_referent(r);
    return rc;
}

static void drop_referents(etcp_storable_reader *r)
{
    while (r->referent_count)
        r->builder->release(r->arg, r->referents[--r->referent_count]);
}

/* Has the class make the object. */
static int thaw(etcp_storable_reader *r, etcp_storable_frame *f, uint32_t class_index,
                const uint8_t *frozen, size_t len)
{
    etcp_storable_blessing *b = &r->blessings[f->index];
    void *object = f->value;
    int rc;

    etcp_storable_bless_all(r);
    b->class_index = class_index;
    r->classes[class_index].hooked = 1;
    rc = r->builder->thaw(r->arg, &object, &r->classes[class_index], frozen, len, r->referents,
                          r->referent_count);
    if (object != f->value) {
        b->is_replaced = 1;
        f->value = object;
        if (r->holds_tags) {
            r->builder->release(r->arg, r->tags[f->tag]);
            r->builder->share(r->arg, object);
        }
        r->tags[f->tag] = object;
    }
    drop_referents(r);
    return rc < 0 ? etcp_storable_builder_failed(r, rc) : 0;
}

/* What follows the last flag byte: class, string, list. */
static int read_hook_body(etcp_storable_reader *r, etcp_storable_frame *f, unsigned flags)
{
    const uint8_t *frozen = NULL;
    size_t len = 0;
    uint32_t class_index;
    int rc = read_hook_class(r, flags, &class_index);

    if (rc == 0)
        rc = etcp_storable_take_text(r, flags & ETCP_SX_HOOK_LARGE_STRING, &frozen, &len);
    if (rc == 0 && (flags & ETCP_SX_HOOK_LIST))
        rc = read_hook_list(r, flags);
    return rc < 0 ? rc : thaw(r, f, class_index, frozen, len);
}

/* A flag byte has been read: another item follows, or the rest. */
static int go_on_with_hook(etcp_storable_reader *r, unsigned flags)
{
    etcp_storable_frame *f = &r->frames[r->depth - 1];
    etcp_storable_tie *noted;
    int rc;

    if (flags & ETCP_SX_HOOK_RECURSE)
        return ETCP_STEP_MORE;
    rc = read_hook_body(r, f, flags);
    if (rc < 0)
        return rc;
    if ((f->flags & ETCP_SX_HOOK_KIND) != ETCP_SX_HOOK_TIED) {
        etcp_storable_complete(r);
        /* The class may have put something of another shape there. */
        return r->holds_tags && r->builder->shape(r->arg, r->item) == ETCP_STORABLE_BODY
                   ? etcp_storable_may_place_body(r)
                   : ETCP_STEP_ITEM;
    }
    if (r->blessings[f->index].is_replaced)
        return etcp_storable_damaged(r, "tied object that is attached");
    f->kind = ETCP_FRAME_HOOK_MAGIC;
    noted = etcp_storable_tie_of(r, f->tag);
    if (noted)
        noted->state = ETCP_TIE_OPEN;
    return open_tie(r);
}

static void *make_hooked(etcp_storable_reader *r, unsigned kind)
{
    switch (kind) {
    case ETCP_SX_HOOK_SCALAR:
        return r->builder->constant(r->arg, ETCP_STORABLE_UNDEF, ETCP_STORABLE_FRESH);
    case ETCP_SX_HOOK_ARRAY: return r->builder->array(r->arg, 0);
    case ETCP_SX_HOOK_HASH: return r->builder->hash(r->arg, 0);
    case ETCP_SX_HOOK_TIED_SCALAR: return r->builder->tied(r->arg, ETCP_SX_TIED_SCALAR);
    case ETCP_SX_HOOK_TIED_ARRAY: return r->builder->tied(r->arg, ETCP_SX_TIED_ARRAY);
    default: return r->builder->tied(r->arg, ETCP_SX_TIED_HASH);
    }
}

/* The flags of a hook, and what kind of object it makes: one of ETCP_SX_HOOK_..., never TIED. */
static int read_hook_kind(etcp_storable_reader *r, unsigned *flags, unsigned *kind)
{
    int rc = etcp_storable_take_byte(r, flags);

    *kind = *flags & ETCP_SX_HOOK_KIND;
    if (rc < 0 || *kind != ETCP_SX_HOOK_TIED)
        return rc;
    rc = etcp_storable_take_byte(r, kind);
    if (rc == 0 && (*kind < ETCP_SX_HOOK_TIED_SCALAR || *kind > ETCP_SX_HOOK_TIED_HASH))
        rc = etcp_storable_damaged(r, "hooked object of unknown kind");
    return rc;
}

/* Its class comes later, and a BLESS before it means nothing. */
static void note_hook(etcp_storable_reader *r)
{
    etcp_storable_blessing *b = &r->blessings[r->blessing_count++];

    r->pending = ETCP_STORABLE_NO_CLASS;
    b->tag = r->tag_count;
    b->class_index = ETCP_STORABLE_NO_CLASS;
    b->is_hook = 1;
    b->is_replaced = 0;
}

static int read_hook(etcp_storable_reader *r)
{
    etcp_storable_frame *f;
    unsigned flags = 0;
    unsigned kind;
    int is_scalar;
    void *value;
    int rc = read_hook_kind(r, &flags, &kind);

    if (rc < 0)
        return rc;
    is_scalar = kind == ETCP_SX_HOOK_SCALAR || kind == ETCP_SX_HOOK_TIED_SCALAR;
    rc = is_scalar ? 0 : etcp_storable_may_place_body(r);
    if (rc == 0)
        rc = etcp_storable_reserve_frame(r);
    if (rc == 0)
        rc = etcp_storable_reserve_blessing(r);
    if (rc == 0 && kind >= ETCP_SX_HOOK_TIED_ARRAY)
        rc = note_tie(r, ETCP_TIE_DONE);
    if (rc < 0)
        return rc;
    value = make_hooked(r, kind);
    if (!value)
        return etcp_storable_builder_failed(r, ETCP_ENOMEM);
    r->features |= ETCP_STORABLE_HAS_HOOK;
    note_hook(r);
    etcp_storable_tag(r, value);
    f = etcp_storable_push(r, value, is_scalar ? ETCP_STORABLE_SCALAR : ETCP_STORABLE_BODY,
                           ETCP_FRAME_HOOK, ETCP_SX_HOOK, 0);
    f->flags = (uint8_t)flags;
    f->index = r->blessing_count - 1;
    return go_on_with_hook(r, flags);
}

/* An item that the hook may refer to: its tag keeps it. */
static int attach_to_hook(etcp_storable_reader *r)
{
    unsigned flags;
    int rc;

    r->builder->release(r->arg, r->item);
    r->item = NULL;
    rc = etcp_storable_take_byte(r, &flags);
    return rc < 0 ? rc : go_on_with_hook(r, flags);
}

static etcp_storable_op op_of_hook(const etcp_storable_frame *f)
{
    return f->shape == ETCP_STORABLE_SCALAR ? ETCP_SX_TIED_SCALAR : ETCP_SX_TIED_HASH;
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

static int attach_foreign(etcp_storable_reader *r)
{
    etcp_storable_frame *f = &r->frames[r->depth - 1];

    switch ((etcp_storable_kind)f->kind) {
    case ETCP_FRAME_ARRAY:
    case ETCP_FRAME_HASH:
    case ETCP_FRAME_FLAG_HASH:
    case ETCP_FRAME_REFERENCE: break;
    case ETCP_FRAME_TIED: return tie(r, f, (etcp_storable_op)f->op, r->item, NULL, 0);
    case ETCP_FRAME_TIED_KEY: return expect_key(r, f);
    case ETCP_FRAME_KEY: return tie(r, f, ETCP_SX_TIED_KEY, f->object, r->item, 0);
    case ETCP_FRAME_TIED_INDEX: return tie_element(r, f);
    case ETCP_FRAME_TIE: return attach_tie(r, f);
    case ETCP_FRAME_HOOK: return attach_to_hook(r);
    case ETCP_FRAME_HOOK_MAGIC: return tie(r, f, op_of_hook(f), r->item, NULL, 0);
    }
    return etcp_storable_damaged(r, "unknown container");
}

/* ---- the end --------------------------------------------------------------------------------- */

/* What only weak references lead to vanishes with its tag, as an object, so that its class
 * notices. */
static int finish_foreign(etcp_storable_reader *r)
{
    size_t i;
    int rc;

    for (i = 0; i < r->class_count; i++) {
        rc = r->builder->class_ready(r->arg, &r->classes[i]);
        if (rc)
            return etcp_storable_builder_failed(r, rc);
    }
    etcp_storable_bless_all(r);
    for (i = 0; i < r->weak_count; i++)
        r->builder->weaken(r->arg, r->tags[r->weak[i]]);
    if (r->holds_tags)
        etcp_storable_release_tags(r);
    return 0;
}

static int is_replaced(const etcp_storable_reader *r, size_t tag)
{
    const etcp_storable_blessing *b = etcp_storable_blessing_of(r, tag);

    return b && b->is_replaced;
}

/* Releases what only its tag holds by now, from the outside to the inside, since objects are to be
 * whole when they are destroyed. Returns how much that was. */
static size_t release_loose(etcp_storable_reader *r)
{
    size_t count = 0;
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        void *value = r->tags[i];
        if (etcp_storable_is_constant(value) || r->builder->owners(r->arg, value) > 1)
            continue;
        etcp_storable_forget_tag(r, i);
        r->builder->release(r->arg, value);
        count++;
    }
    return count;
}

/* Everything goes. What references further back hold takes several rounds; what is left then is in
 * cycles, or somebody has kept it: it is emptied, unless its class made it. */
static void release_failed(etcp_storable_reader *r)
{
    int rounds = 10;
    size_t i;

    while (release_loose(r) && --rounds)
        ;
    for (i = 0; i < r->tag_count; i++) {
        void *value = r->tags[i];
        if (etcp_storable_is_constant(value))
            continue;
        if (r->builder->owners(r->arg, value) > 1 && !is_replaced(r, i))
            r->builder->empty(r->arg, value);
        etcp_storable_forget_tag(r, i);
        r->builder->release(r->arg, value);
    }
}

static void abandon_foreign(etcp_storable_reader *r)
{
    drop_referents(r);
    if (r->item)
        r->builder->release(r->arg, r->item);
    r->item = NULL;
    while (r->depth) {
        const etcp_storable_frame *f = &r->frames[--r->depth];
        if (f->object)
            r->builder->release(r->arg, f->object);
        r->builder->release(r->arg, f->value);
    }
    if (r->holds_tags)
        release_failed(r);
}

/* ---- the public face ------------------------------------------------------------------------- */

const etcp_storable_foreign *etcp_storable_foreign_items(void)
{
    static const etcp_storable_foreign items = {read_foreign, attach_foreign, finish_foreign,
                                                abandon_foreign};

    return &items;
}

int etcp_storable_read_all(etcp_storable_reader *r, const uint8_t *data, size_t len,
                           const etcp_storable_builder *builder, void *arg,
                           const etcp_storable_options *options, void **root)
{
    int rc;

    r->holds_tags = 1;
    rc = etcp_storable_run(r, data, len, builder, arg, options, etcp_storable_foreign_items());
    if (rc == 0) {
        *root = r->item;
        r->item = NULL;
    }
    return rc;
}
