/* What the reader keeps while it reads an image, and how it fails. */
#include "reader.h"

#include <string.h>

#include "base/mem.h"
#include "reader_private.h"

enum {
    FIRST_ENTRIES = 32,
    KEPT_TAGS = 128 * 1024, /* larger tables do not outlive their image */
    KEPT_FRAMES = 1024,     /* of frames, classes and so on */
    MANY_TAGS = 16 * 1024   /* fewer are not worth asking for memory first */
};

char etcp_storable_constant_tags[3];

/* ---- failures -------------------------------------------------------------------------------- */

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

/* ---- room ------------------------------------------------------------------------------------ */

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
    if (wanted > KEPT_FRAMES)
        r->has_large_tables = 1;
    return 0;
}

#define RESERVE(r, table, count, cap)                                                              \
    ((r)->count < (r)->cap ? 0 : grow(r, &(r)->table, &(r)->cap, sizeof *(r)->table))

int etcp_storable_try_memory(etcp_storable_reader *r, size_t size)
{
    return etcp_is_to_be_had(size) ? 0 : etcp_storable_out_of_memory(r);
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
    if (rc == 0 && r->tag_cap >= MANY_TAGS)
        rc = etcp_storable_try_memory(r, r->tag_cap * ETCP_STORABLE_ITEM_SIZE);
    limit_tags(r);
    return rc;
}

int etcp_storable_count_pairs(etcp_storable_reader *r, size_t count)
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

int etcp_storable_reserve_weak(etcp_storable_reader *r)
{
    return RESERVE(r, weak, weak_count, weak_cap);
}

static void limit_frames(etcp_storable_reader *r)
{
    r->frame_room = r->frame_cap < r->max_depth ? r->frame_cap : r->max_depth;
}

int etcp_storable_grow_frames(etcp_storable_reader *r)
{
    int rc;

    if (r->depth >= r->max_depth)
        return etcp_error_set(&r->error, ETCP_ETOOBIG, "items nest deeper than %lu levels",
                              (unsigned long)r->max_depth);
    rc = RESERVE(r, frames, depth, frame_cap);
    limit_frames(r);
    return rc;
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

/* The row of a tag, in a table of rows that begin with theirs, in order; NULL: there is none. */
static void *row_of(void *table, size_t count, size_t size, size_t tag)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        void *row = (char *)table + middle * size;
        size_t found = *(const size_t *)row;
        if (found == tag)
            return row;
        if (found < tag)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

etcp_storable_blessing *etcp_storable_blessing_of(const etcp_storable_reader *r, size_t tag)
{
    return row_of(r->blessings, r->blessing_count, sizeof *r->blessings, tag);
}

uint32_t etcp_storable_class_of(const etcp_storable_reader *r, size_t tag)
{
    const etcp_storable_blessing *b = etcp_storable_blessing_of(r, tag);

    return b ? b->class_index : ETCP_STORABLE_NO_CLASS;
}

etcp_storable_tie *etcp_storable_tie_of(const etcp_storable_reader *r, size_t tag)
{
    return row_of(r->ties, r->tie_count, sizeof *r->ties, tag);
}

void etcp_storable_bless_all(etcp_storable_reader *r)
{
    for (; r->blessed < r->blessing_count; r->blessed++) {
        const etcp_storable_blessing *b = &r->blessings[r->blessed];
        if (!b->is_hook)
            r->builder->bless(r->arg, r->tags[b->tag], &r->classes[b->class_index]);
    }
}

/* ---- tags and frames ------------------------------------------------------------------------- */

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

void etcp_storable_forget_tag(etcp_storable_reader *r, size_t tag)
{
    r->tags[tag] = &etcp_storable_constant_tags[ETCP_STORABLE_UNDEF];
}

void *etcp_storable_referent(etcp_storable_reader *r, size_t tag)
{
    void *value = r->tags[tag];
    int which;

    if (!etcp_storable_is_constant(value))
        return r->builder->share(r->arg, value);
    which = (int)((char *)value - etcp_storable_constant_tags);
    return r->builder->constant(r->arg, (etcp_storable_constant)which, ETCP_STORABLE_REFERRED);
}

void etcp_storable_release_tags(etcp_storable_reader *r)
{
    size_t i;

    for (i = 0; i < r->tag_count; i++) {
        if (!etcp_storable_is_constant(r->tags[i]))
            r->builder->release(r->arg, r->tags[i]);
    }
}

/* ---- from image to image --------------------------------------------------------------------- */

void etcp_storable_clear_tables(etcp_storable_reader *r, size_t tag_max)
{
    r->tag_count = r->depth = r->class_count = r->blessing_count = r->weak_count = 0;
    r->tie_count = r->referent_count = r->blessed = 0;
    r->pairs = 0;
    r->tag_max = tag_max;
    limit_tags(r);
    limit_frames(r);
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

void etcp_storable_drop_large_tables(etcp_storable_reader *r)
{
    if (!r->has_large_tables)
        return;
    r->has_large_tables = 0;
    DROP(r, tags, tag_cap, KEPT_TAGS);
    DROP(r, frames, frame_cap, KEPT_FRAMES);
    DROP(r, classes, class_cap, KEPT_FRAMES);
    DROP(r, blessings, blessing_cap, KEPT_FRAMES);
    DROP(r, ties, tie_cap, KEPT_FRAMES);
    DROP(r, referents, referent_cap, KEPT_FRAMES);
    DROP(r, weak, weak_cap, KEPT_FRAMES);
}

void etcp_storable_free_tables(etcp_storable_reader *r)
{
    etcp_free(r->tags);
    etcp_free(r->frames);
    etcp_free(r->classes);
    etcp_free(r->blessings);
    etcp_free(r->ties);
    etcp_free(r->referents);
    etcp_free(r->weak);
}
