/* Items without inner items: constants, numbers, strings, and references back to what has been met. */
#include "reader.h"

#include <string.h>

#include "reader_private.h"

enum {
    LONG_STRING = 64 * 1024, /* shorter ones are not worth asking for memory first */
    COPIED_AT_ONCE = 1 << 20 /* of a string whose image is forgotten */
};

static const etcp_storable_frame *top_frame(const etcp_storable_reader *r)
{
    return r->depth ? &r->frames[r->depth - 1] : NULL;
}

static int in_array(const etcp_storable_reader *r)
{
    return r->depth && r->frames[r->depth - 1].kind == ETCP_FRAME_ARRAY;
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

int etcp_storable_read_constant(etcp_storable_reader *r, unsigned op)
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
    etcp_storable_tag(r, &etcp_storable_constant_tags[which]);
    return op == ETCP_SX_SV_UNDEF ? absent(r) : place_constant(r, which);
}

int etcp_storable_read_boolean(etcp_storable_reader *r, etcp_storable_constant which)
{
    r->features |= ETCP_STORABLE_HAS_BOOLEAN;
    return etcp_storable_leaf(r, r->builder->constant(r->arg, which, ETCP_STORABLE_FRESH));
}

static int is_tie(const etcp_storable_reader *r, size_t tag)
{
    const etcp_storable_tie *tie = r->tie_count ? etcp_storable_tie_of(r, tag) : NULL;

    return tie && tie->state == ETCP_TIE_REFERENCE;
}

int etcp_storable_read_object(etcp_storable_reader *r)
{
    uint32_t tag;
    int rc = etcp_storable_take_network_u32(r, &tag);

    if (rc < 0)
        return rc;
    if (tag >= r->tag_count)
        return etcp_storable_damaged(r, "reference to an item not yet met");
    r->has_backrefs = 1;
    r->item_tag = tag;
    if (r->tags[tag] == &etcp_storable_constant_tags[ETCP_STORABLE_UNDEF])
        return absent(r);
    if (etcp_storable_is_constant(r->tags[tag]))
        return place_constant(r, r->tags[tag] == &etcp_storable_constant_tags[ETCP_STORABLE_TRUE]
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

int etcp_storable_read_byte(etcp_storable_reader *r)
{
    unsigned byte;
    int rc = etcp_storable_take_byte(r, &byte);

    return rc < 0 ? rc : etcp_storable_leaf(r, r->builder->integer(r->arg, (int32_t)byte - 128));
}

int etcp_storable_read_netint(etcp_storable_reader *r)
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
int etcp_storable_read_native(etcp_storable_reader *r, etcp_storable_op op)
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
int etcp_storable_read_exact(etcp_storable_reader *r, etcp_storable_op op)
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

/* A string in an image. */
typedef struct text {
    const uint8_t *bytes;
    size_t len;
    int is_utf8;
} text;

static int take_string(etcp_storable_reader *r, unsigned op, text *t)
{
    int is_long = op == ETCP_SX_LSCALAR || op == ETCP_SX_LUTF8STR;
    int rc;

    t->is_utf8 = op == ETCP_SX_UTF8STR || op == ETCP_SX_LUTF8STR;
    if (!is_long && !t->is_utf8 && op != ETCP_SX_SCALAR)
        return etcp_storable_damaged(r, "no string where one must be");
    rc = etcp_storable_take_text(r, is_long, &t->bytes, &t->len);
    if (rc == 0 && t->len >= LONG_STRING)
        rc = etcp_storable_try_memory(r, t->len);
    return rc;
}

static int place_string(etcp_storable_reader *r, const text *t, void *value)
{
    if (!value && t->is_utf8)
        return etcp_storable_damaged(r, "malformed UTF-8");
    return etcp_storable_leaf(r, value);
}

static void *make_string(etcp_storable_reader *r, const text *t)
{
    return r->builder->string(r->arg, t->bytes, t->len, t->is_utf8);
}

/* The string takes the place of its image, which may hold little else. */
static void *make_by_parts(etcp_storable_reader *r, const text *t)
{
    uint8_t *to;
    void *value = r->builder->blank(r->arg, t->bytes, t->len, t->is_utf8, &to);
    size_t done = 0;

    while (value && done < t->len) {
        const size_t some = t->len - done < COPIED_AT_ONCE ? t->len - done : COPIED_AT_ONCE;

        memcpy(to + done, t->bytes + done, some);
        done += some;
        etcp_storable_forget_until(r, t->bytes + done);
    }
    return value;
}

int etcp_storable_read_string(etcp_storable_reader *r, unsigned op)
{
    text t;
    int rc = take_string(r, op, &t);

    if (rc < 0)
        return rc;
    return place_string(r, &t, r->forgotten && t.len > COPIED_AT_ONCE ? make_by_parts(r, &t)
                                                                       : make_string(r, &t));
}

/* The literal comes first, then the string. Storable takes any item there and writes strings only. */
int etcp_storable_read_vstring(etcp_storable_reader *r, int is_long)
{
    const uint8_t *literal; /* in the image, which must stay until it is used */
    size_t len;
    unsigned op = 0;
    text t;
    int rc = etcp_storable_take_text(r, is_long, &literal, &len);

    if (rc == 0)
        rc = etcp_storable_take_byte(r, &op);
    if (rc == 0)
        rc = take_string(r, op, &t);
    if (rc == 0)
        rc = place_string(r, &t, make_string(r, &t));
    if (rc == 0)
        rc = r->builder->vstring(r->arg, r->item, literal, len);
    return rc < 0 ? etcp_storable_builder_failed(r, rc) : ETCP_STEP_ITEM;
}
