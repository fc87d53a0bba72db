/* A builder that only checks. */
#include "reader.h"
#include "reader_private.h"

/* Values are one of these: the reader keeps the tags and the classes, little else matters. */
static char any_value;
static char any_constant;
static char any_body;

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

static void *scan_exact(void *arg, etcp_storable_op op, const uint8_t *bytes, size_t len)
{
    (void)len;
    return scan_native(arg, op, bytes);
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
    return value == &any_body ? ETCP_STORABLE_BODY : ETCP_STORABLE_SCALAR;
}

static void scan_bless(void *arg, void *value, etcp_storable_class *c)
{
    scan_touch(arg, value);
    scan_touch(arg, c);
}

static void *scan_tied(void *arg, etcp_storable_op op)
{
    (void)arg;
    return op == ETCP_SX_TIED_ARRAY || op == ETCP_SX_TIED_HASH ? &any_body : &any_value;
}

static int scan_tie(void *arg, void *tied, etcp_storable_op op, void *object, void *key, uint32_t index)
{
    scan_touch(arg, tied);
    scan_touch(arg, object);
    scan_touch(arg, key);
    (void)op;
    (void)index;
    return 0;
}

static void *scan_code(void *arg, void *text)
{
    scan_touch(arg, text);
    return &any_body;
}

static void *scan_regexp(void *arg, const uint8_t *pattern, size_t len, const uint8_t *modifiers,
                         size_t modifiers_len)
{
    (void)pattern;
    (void)len;
    (void)modifiers;
    (void)modifiers_len;
    return scan_share(arg, &any_value);
}

static int scan_thaw(void *arg, void **object, etcp_storable_class *c, const uint8_t *frozen,
                     size_t len, void *const *referents, size_t count)
{
    scan_touch(arg, object);
    scan_touch(arg, c);
    (void)frozen;
    (void)len;
    (void)referents;
    (void)count;
    return 0;
}

/* Who watches the classes, as arg of the builder. */
typedef struct scan_watch {
    const etcp_storable_watcher *watcher;
    void *arg;
} scan_watch;

static int scan_class_named(void *arg, etcp_storable_class *c)
{
    const scan_watch *watch = arg;

    return watch->watcher->class_named(watch->arg, c);
}

static int scan_class_ready(void *arg, etcp_storable_class *c)
{
    const scan_watch *watch = arg;

    return watch->watcher->class_ready(watch->arg, c);
}

static const etcp_storable_builder scanner = {
    scan_constant,  scan_integer,   scan_native,    scan_exact, scan_string,   NULL /* forgets none */,
    scan_container, scan_container, scan_reference, scan_array_put, scan_hash_put, scan_reference_put,
    scan_vstring,   scan_share,     scan_touch,     scan_owners,   scan_shape,
    scan_touch,     scan_tied,      scan_tie,       scan_touch,    scan_code,
    scan_regexp,    scan_thaw,      scan_class_named, scan_class_ready, scan_touch,
    scan_bless};

/* Reads the image with a builder that makes nothing. */
static int scan(etcp_storable_reader *r, const uint8_t *data, size_t len, scan_watch *watch,
                const etcp_storable_options *options, const etcp_storable_foreign *foreign)
{
    int rc;

    r->holds_tags = 0;
    rc = etcp_storable_run(r, data, len, &scanner, watch, options, foreign);
    r->item = NULL;
    r->builder = NULL;
    return rc;
}

static int refuse_class(void *arg, etcp_storable_class *c)
{
    scan_touch(arg, c);
    return ETCP_EPOLICY;
}

int etcp_storable_is_plain(etcp_storable_reader *r, const uint8_t *data, size_t len,
                           const etcp_storable_options *options)
{
    static const etcp_storable_watcher refusing = {refuse_class, refuse_class};
    scan_watch watch = {&refusing, NULL};

    return scan(r, data, len, &watch, options, NULL) == 0 && r->weak_count == 0;
}

int etcp_storable_scan(etcp_storable_reader *r, const uint8_t *data, size_t len,
                       const etcp_storable_watcher *watcher, void *arg,
                       const etcp_storable_options *options, unsigned *features)
{
    scan_watch watch = {watcher, arg};
    int rc = scan(r, data, len, &watch, options, etcp_storable_foreign_items());

    *features = r->features;
    return rc;
}
