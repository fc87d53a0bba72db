/* The Storable reader with a builder that checks what it is told: every kind of item, what must be
 * refused, every truncation and single changed byte, every failing allocation. */
#include "storable/reader.h"
#include "storable/writer.h"

#include "alloc.h"
#include "storable_tree.h"
#include "tap.h"

enum { IMAGE_MAX = 4096 };

/* The local freeze of the tests' machine: sizes 4 and 8, as storable_tree.h takes native numbers. */
static const etcp_storable_options options = {
    50, 0, (const uint8_t *)"\004abcd\004\010\010\010", 9, 4, 8, 0, NULL};

static size_t unhex(const char *hex, uint8_t *bytes)
{
    size_t len = 0;
    unsigned byte;

    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        sscanf(hex, "%2x", &byte);
        bytes[len++] = (uint8_t)byte;
        hex++;
    }
    return len;
}

/* ---- what is built ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *hex;
    const char *printed;
} sound[] = {
    {"a small number", "050b 08 81", "1"},
    {"the smallest small numbers", "050b 02 00000002 08 00 08 ff", "[-128,127]"},
    {"numbers of 32 bits", "050b 02 00000003 09 80000000 09 7fffffff 09 ffffffff",
     "[-2147483648,2147483647,-1]"},
    {"undef", "050b 05", "undef"},
    {"the undef constant", "050b 0e", "#1=Undef"},
    {"constants referred to", "050b 02 00000003 04 0e 04 0f 04 10",
     "[\\#1=Undef,\\#2=Yes,\\#3=No]"},
    {"constants as elements", "050b 02 00000005 0f 10 22 23 1f", "[yes,no,yes,no,undef]"},
    {"constants as values", "050b 03 00000002 0e 00000001 61 0f 00000001 62", "{a=>undef,b=>yes}"},
    {"constants as elements, met again",
     "050b 02 00000006 0f 10 00 00000001 00 00000002 04 00 00000001 1f",
     "[yes,no,yes,no,\\#1=Yes,undef]"},
    {"constants as values, met again", "050b 03 00000002 0f 00000001 61 00 00000001 00000001 62",
     "{a=>yes,b=>yes}"},
    {"booleans referred to", "050b 02 00000002 04 22 04 23", "[\\yes,\\no]"},
    {"strings", "050b 02 00000004 0a 00 0a 03 616263 01 00000002 6162 0a 01 00",
     "[\"\",\"abc\",\"ab\",\"%00\"]"},
    {"strings of UTF-8", "050b 02 00000002 17 03 e298ba 18 00000001 61", "[u\"%e2%98%ba\",u\"a\"]"},
    {"an empty array", "050b 02 00000000", "[]"},
    {"an array with absent elements", "050b 02 00000004 0e 08 81 0e 05", "[-,1,-,undef]"},
    {"an empty hash", "050b 03 00000000", "{}"},
    {"a hash", "050b 03 00000002 08 81 00000001 61 0a 01 78 00000000", "{a=>1,=>\"x\"}"},
    {"a key that comes twice", "050b 03 00000002 08 81 00000001 61 08 82 00000001 61", "{a=>2}"},
    {"a value that a duplicate key replaces is still there to be referred to",
     "050b 03 00000003 04 05 00000001 61 08 82 00000001 61 00 00000001 00000001 62",
     "{a=>2,b=>\\undef}"},
    {"a hash with flags",
     "050b 19 00 00000003 08 81 00 00000001 61 08 82 01 00000003 e298ba 08 83 02 00000001 e9",
     "{a=>1,%e2%98%ba/1=>2,%e9/2=>3}"},
    {"an empty hash with flags", "050b 19 00 00000000", "{}"},
    {"references", "050b 04 04 08 81", "\\\\1"},
    {"a shared array", "050b 02 00000002 04 02 00000001 08 81 04 00 00000002",
     "[\\#1=[1],\\#1]"},
    {"a cycle", "050b 02 00000001 04 00 00000000", "#1=[\\#1]"},
    {"the root referred to by itself", "050b 04 00 00000000", "#1=\\#1"},
    {"an absent element met again is absent again",
     "050b 02 00000003 0e 00 00000001 04 00 00000001", "[-,-,\\#1=Undef]"},
    {"an object", "050b 11 03 466f6f 03 00000000", "Foo({})"},
    {"objects of classes by number",
     "050b 02 00000004 04 11 01 41 03 00000000 04 11 01 42 02 00000000 04 12 00 05 04 12 01 0a 00",
     "[\\A({}),\\B([]),\\A(undef),\\B(\"\")]"},
    {"long forms of class length and number",
     "050b 02 00000002 11 80 00000001 41 05 12 ff 00000000 05", "[A(undef),A(undef)]"},
    {"an object that refers to itself", "050b 11 01 41 03 00000001 04 00 00000000 00000002 6d65",
     "#1=A({me=>\\#1})"},
    {"of two classes the inner one counts", "050b 11 01 41 11 01 42 05", "B(undef)"},
    {"a class before a back reference means nothing", "050b 02 00000002 05 11 01 41 00 00000001",
     "[#1=undef,#1]"},
    {"a reference to an object that overloads", "050b 04 14 11 01 41 03 00000000", "\\\\A*({})"},
    {"and to one met before",
     "050b 02 00000002 04 11 01 41 03 00000000 14 00 00000002", "[\\#1=A*({}),\\#1]"},
    {"a weak reference", "050b 03 00000001 1b 00 00000000 00000002 7570", "#1={up=>~#1}"},
    {"a weak reference before the strong one",
     "050b 02 00000002 1b 02 00000000 04 00 00000002", "[~#1=[],\\#1]"},
    {"a weak overloaded reference",
     "050b 11 01 41 02 00000001 1c 00 00000000", "#1=A*([~#1])"},
    {"a version string", "050b 1d 06 76312e322e33 0a 03 010203", "v<v1.2.3>\"%01%02%03\""},
    {"a long version string", "050b 1e 00000002 7631 17 01 01", "v<v1>u\"%01\""},
    {"bytes behind the root are ignored", "050b 05 ffff", "undef"},
    {"another minor version", "0503 05", "undef"},
    {"a later minor version", "05ff 05", "undef"},
    {"native order", "040b 04 61626364 04 08 08 08 06 01020304", "n:01020304"},
    {"native order before minor 2", "0401 04 61626364 04 08 08 07 0102030405060708",
     "n:0102030405060708"},
    {"a tag is big-endian in native order, too",
     "040b 04 61626364 04 08 08 08 04 04 00 00000001", "\\#1=\\#1"},
};

static void test_sound(etcp_storable_reader *r)
{
    uint8_t image[IMAGE_MAX];
    etcp_buf out;
    size_t i;

    etcp_buf_init(&out);
    for (i = 0; i < sizeof sound / sizeof *sound; i++) {
        size_t len = unhex(sound[i].hex, image);
        tree_node *root;
        tree t;
        int rc;

        tree_init(&t, len);
        rc = tree_read(&t, r, image, len, &options, &root);
        if (tap_is_int(rc, 0, "%s", sound[i].name)) {
            etcp_buf_clear(&out);
            tree_visit(root);
            tree_print(&t, root, &out);
            etcp_buf_append_byte(&out, 0);
            tap_is_str((const char *)etcp_buf_bytes(&out), sound[i].printed, "%s: value",
                       sound[i].name);
        } else {
            tap_note("%s", etcp_storable_reader_error(r));
        }
        tree_deinit(&t);
    }
    etcp_buf_deinit(&out);
}

/* Plain is what can be read without keeping it: nothing of it is left to foreign code. */
static void test_plain(etcp_storable_reader *r)
{
    static const struct {
        const char *hex;
        int is_plain;
        const char *name;
    } images[] = {
        {"050b0200000002088105", 1, "an array"},
        {"050b03000000010881000000016b", 1, "a hash"},
        {"050b110143050b02", 0, "an object"},
        {"050b020000000108", 0, "what is cut off"},
        {"050b02000000011b0881", 0, "a weak reference"},
        {"050b0b02000000", 0, "what is tied"},
    };
    uint8_t image[IMAGE_MAX];

    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        size_t len = unhex(images[i].hex, image);

        tap_is_int(etcp_storable_is_plain(r, image, len, &options), images[i].is_plain, "plain: %s",
                   images[i].name);
    }
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++) {
        size_t len = unhex(sound[i].hex, image);
        etcp_storable_options forgetting = options;
        tree_node *root;
        tree t;

        if (!etcp_storable_is_plain(r, image, len, &options))
            continue;
        forgetting.forgets = image;
        tree_init(&t, len);
        tap_is_int(tree_read(&t, r, image, len, &forgetting, &root), 0, "%s: is read at once",
                   sound[i].name);
        tree_deinit(&t);
    }
}

/* Appends a string of len letters, and for a version string its literal before. */
static uint8_t *put_long(uint8_t *at, const char *literal, uint8_t letter, uint32_t len)
{
    if (literal) {
        *at++ = ETCP_SX_VSTRING;
        *at++ = (uint8_t)strlen(literal);
        memcpy(at, literal, strlen(literal));
        at += strlen(literal);
    }
    *at++ = ETCP_SX_LSCALAR;
    etcp_storable_store_u32(at, len);
    memset(at + 4, letter, len);
    return at + 4 + len;
}

static int consists_of(const tree_node *n, uint8_t letter, size_t len)
{
    return n->len == len && n->bytes[0] == letter && memcmp(n->bytes, n->bytes + 1, len - 1) == 0;
}

/* Strings that are longer than what is copied at once take the place of an image that is forgotten. */
static void test_long_strings(etcp_storable_reader *r)
{
    enum { LONG = 3 << 20, LONGER = 5 << 20 };
    uint8_t *image = malloc(2 * LONG + LONGER);
    etcp_storable_options forgetting = options;
    size_t len = unhex("050b02 00000002", image);
    uint8_t *end = put_long(put_long(image + len, NULL, 'a', LONGER), "v1.2", 'b', LONG);
    tree_node *root;
    tree t;

    len = (size_t)(end - image);
    forgetting.forgets = image;
    tree_init(&t, len);
    tap_is_int(etcp_storable_is_plain(r, image, len, &options), 1, "long strings are plain");
    tap_is_int(tree_read(&t, r, image, len, &forgetting, &root), 0, "and read");
    tap_ok(consists_of(root->items[0], 'a', LONGER) && consists_of(root->items[1], 'b', LONG),
           "as they were");
    tap_ok(root->items[1]->literal_len == 4 && memcmp(root->items[1]->literal, "v1.2", 4) == 0,
           "a literal, too, which stands before its string");
    tree_deinit(&t);
    free(image);
}

/* ---- what is refused ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *hex;
    int result;
} refused[] = {
    {"nothing", "", ETCP_EDECODE},
    {"half a header", "05", ETCP_EDECODE},
    {"a header alone", "050b", ETCP_EDECODE},
    {"major version 1", "03 05", ETCP_EDECODE},
    {"major version 3", "070b 05", ETCP_EDECODE},
    {"native order of another machine", "040b 04 64636261 04 08 08 08 05", ETCP_EDECODE},
    {"native order with other sizes", "040b 04 61626364 04 04 08 08 05", ETCP_EDECODE},
    {"an unknown item", "050b 24", ETCP_EDECODE},
    {"the last byte as an item", "050b ff", ETCP_EDECODE},
    {"an item beyond 2 GB", "050b 21 02 0000000000000001 05", ETCP_EDECODE},
    {"a back reference to nothing", "050b 00 00000000", ETCP_EDECODE},
    {"a back reference ahead", "050b 02 00000002 00 00000002 05", ETCP_EDECODE},
    {"a back reference to the largest tag", "050b 02 00000001 00 ffffffff", ETCP_EDECODE},
    {"an array longer than the image", "050b 02 00000002 05", ETCP_EDECODE},
    {"an array of negative length", "050b 02 ffffffff 05", ETCP_EDECODE},
    {"arrays that together claim too much",
     "050b 02 00000008 02 00000004 05 05 05 05 05 05 05", ETCP_EDECODE},
    {"a hash longer than the image", "050b 03 00000002 05 00000001 61 05", ETCP_EDECODE},
    {"a hash of negative length", "050b 03 80000000 05 00000000", ETCP_EDECODE},
    {"a string longer than the image", "050b 01 00000002 61", ETCP_EDECODE},
    {"a string of negative length", "050b 01 ffffffff 61", ETCP_EDECODE},
    {"a key longer than the image", "050b 03 00000001 05 00000002 61", ETCP_EDECODE},
    {"broken UTF-8", "050b 17 01 c0", ETCP_EDECODE},
    {"a class number before any class", "050b 12 00 05", ETCP_EDECODE},
    {"a class number too large", "050b 02 00000002 11 01 41 05 12 01 05", ETCP_EDECODE},
    {"a negative class number", "050b 02 00000002 11 01 41 05 12 80 ffffffff 05", ETCP_EDECODE},
    {"an empty class name", "050b 11 00 05", ETCP_EDECODE},
    {"a class name with a NUL", "050b 11 03 410042 05", ETCP_EDECODE},
    {"an object made of the undef constant", "050b 11 01 41 0e", ETCP_EDECODE},
    {"an object made of the true constant", "050b 11 01 41 0f", ETCP_EDECODE},
    {"an object made of an array element", "050b 02 00000001 11 01 41 1f", ETCP_EDECODE},
    {"an array element outside an array", "050b 04 1f", ETCP_EDECODE},
    {"an array element as a hash value", "050b 03 00000001 1f 00000001 61", ETCP_EDECODE},
    {"overloading of what is no object", "050b 14 0a 01 61", ETCP_EDECODE},
    {"overloading of what is no object, met before", "050b 02 00000002 05 14 00 00000001",
     ETCP_EDECODE},
    {"overloading of a back reference with a class", "050b 02 00000002 05 14 11 01 41 00 00000001",
     ETCP_EDECODE},
    {"a weak reference to a constant", "050b 1b 0f", ETCP_EDECODE},
    {"a weak reference to a constant met before", "050b 02 00000002 04 0f 1b 00 00000002",
     ETCP_EDECODE},
    {"a weak reference to an element that is a constant", "050b 02 00000002 0f 1b 00 00000001",
     ETCP_EDECODE},
    {"a version string on an array", "050b 1d 01 31 02 00000000", ETCP_EDECODE},
    {"a version string on another", "050b 1d 01 31 1d 01 31 0a 00", ETCP_EDECODE},
    {"a key that is an item", "050b 19 00 00000001 05 08 0a 01 61 00000000", ETCP_EDECODE},
    {"a placeholder in a hash that is not restricted", "050b 19 00 00000001 0e 10 00000001 61",
     ETCP_EDECODE},
    {"a forbidden class", "050b 11 02 4e6f 05", ETCP_EPOLICY},
    {"a forbidden class without an object", "050b 02 00000002 05 11 02 4e6f 00 00000001",
     ETCP_EPOLICY},
    {"a restricted hash", "050b 19 01 00000000", ETCP_STORABLE_FOREIGN},
    {"a tied array", "050b 0b 05", ETCP_STORABLE_FOREIGN},
    {"a tied hash", "050b 0c 05", ETCP_STORABLE_FOREIGN},
    {"a tied scalar", "050b 0d 05", ETCP_STORABLE_FOREIGN},
    {"a tied key", "050b 15 05 05", ETCP_STORABLE_FOREIGN},
    {"a tied element", "050b 16 05 00000000", ETCP_STORABLE_FOREIGN},
    {"a hooked object", "050b 13 00 01 41 00", ETCP_STORABLE_FOREIGN},
    {"code", "050b 1a 0a 00", ETCP_STORABLE_FOREIGN},
    {"a regular expression", "050b 20 00 00 00", ETCP_STORABLE_FOREIGN},
    {"a class that the builder leaves to Storable", "050b 11 03 466f72 05", ETCP_STORABLE_FOREIGN},
    {"a weak reference to what nothing else owns", "050b 02 00000001 1b 02 00000000",
     ETCP_STORABLE_FOREIGN},
    {"two weak references to what nothing else owns",
     "050b 02 00000002 1b 02 00000000 1b 00 00000002", ETCP_STORABLE_FOREIGN},
    {"objects and a duplicate key",
     "050b 03 00000002 11 01 41 05 00000001 61 08 82 00000001 61", ETCP_STORABLE_FOREIGN},
};

/* Numbers of our own, for peers that were told that we take them. */
static const struct {
    const char *name;
    const char *hex;
    int result;
} exact[] = {
    {"a double", "050b c0 3ff8000000000000", 0},
    {"a double that is no number", "050b c0 7ff8000000000001", 0},
    {"an integer", "050b c1 8000000000000000", 0},
    {"an unsigned integer", "050b c2 ffffffffffffffff", 0},
    {"all kinds in an array, and after them",
     "050b 02 00000004 c0 3ff8000000000000 c1 0000000080000000 c3 01 31 08 81", 0},
    {"one met again", "050b 02 00000002 04 c0 3ff8000000000000 04 00 00000002", 0},
    {"a blessed one", "050b 11 03 466f6f c0 3ff8000000000000", 0},
    {"a decimal number", "050b c3 01 30", 0},
    {"a negative one with all parts", "050b c3 0b 2d31322e3530652b343030", 0},
    {"one with an exponent alone", "050b c3 04 31652d35", 0},
    {"no digits", "050b c3 00", ETCP_EDECODE},
    {"a sign alone", "050b c3 01 2d", ETCP_EDECODE},
    {"no digits before the point", "050b c3 02 2e35", ETCP_EDECODE},
    {"nor behind", "050b c3 02 352e", ETCP_EDECODE},
    {"an exponent without digits", "050b c3 03 35652b", ETCP_EDECODE},
    {"a space", "050b c3 02 2031", ETCP_EDECODE},
    {"a NUL", "050b c3 02 3100", ETCP_EDECODE},
    {"two points", "050b c3 05 312e312e31", ETCP_EDECODE},
    {"words", "050b c3 03 4e614e", ETCP_EDECODE},
    {"hexadecimal", "050b c3 04 30783130", ETCP_EDECODE},
    {"a double cut short", "050b c0 3ff80000000000", ETCP_EDECODE},
    {"an integer cut short", "050b c1", ETCP_EDECODE},
    {"a decimal number cut short", "050b c3 02 31", ETCP_EDECODE},
    {"an item beyond those", "050b c4 0000000000000000", ETCP_EDECODE},
    {"one in native order", "040b 04 61626364 04 08 08 08 c0 3ff8000000000000", ETCP_EDECODE},
};

static void test_exact(etcp_storable_reader *r)
{
    etcp_storable_options told = options;
    uint8_t image[IMAGE_MAX];
    size_t i;

    told.takes_exact = 1;
    for (i = 0; i < sizeof exact / sizeof *exact; i++) {
        size_t len = unhex(exact[i].hex, image);
        tree_node *root;
        tree t;

        tree_init(&t, len);
        tap_is_int(tree_read(&t, r, image, len, &told, &root), exact[i].result, "exact: %s",
                   exact[i].name);
        tap_is_int(tree_read(&t, r, image, len, &options, &root), ETCP_EDECODE,
                   "exact: %s: not from others", exact[i].name);
        tree_deinit(&t);
    }
}

static void test_refused(etcp_storable_reader *r)
{
    uint8_t image[IMAGE_MAX];
    size_t i;

    for (i = 0; i < sizeof refused / sizeof *refused; i++) {
        size_t len = unhex(refused[i].hex, image);
        tree_node *root;
        tree t;

        tree_init(&t, len);
        t.forbidden = "No";
        t.foreign = "For";
        tap_is_int(tree_read(&t, r, image, len, &options, &root), refused[i].result, "%s",
                   refused[i].name);
        tap_ok(t.live == 0 && t.blessed == 0, "%s: nothing is left", refused[i].name);
        if (refused[i].result < 0)
            tap_ok(etcp_storable_reader_error(r)[0] != '\0', "%s: it says why", refused[i].name);
        tree_deinit(&t);
    }
}

/* Without a local header and sizes nothing native is read. */
static void test_network_only(etcp_storable_reader *r)
{
    static const char *const images[] = {"040b 04 61626364 04 08 08 08 05", "050b 06 01020304",
                                         "050b 07 0102030405060708"};
    uint8_t image[IMAGE_MAX];
    size_t i;

    for (i = 0; i < 3; i++) {
        size_t len = unhex(images[i], image);
        tree_node *root;
        tree t;

        tree_init(&t, len);
        tap_is_int(tree_read(&t, r, image, len, NULL, &root), ETCP_EDECODE,
                   "without options, native form %d is damage", (int)i);
        tree_deinit(&t);
    }
}

/* ---- limits ------------------------------------------------------------------------------------------- */

static int read_nested(etcp_storable_reader *r, size_t levels, const etcp_storable_options *o)
{
    uint8_t *image = malloc(levels + 3);
    tree_node *root;
    tree t;
    int rc;

    image[0] = 5;
    image[1] = 11;
    memset(image + 2, ETCP_SX_REF, levels);
    image[levels + 2] = ETCP_SX_UNDEF;
    tree_init(&t, levels + 3);
    rc = tree_read(&t, r, image, levels + 3, o, &root);
    tree_deinit(&t);
    free(image);
    return rc;
}

static void test_depth(etcp_storable_reader *r)
{
    etcp_storable_options deep = options;

    tap_is_int(read_nested(r, 50, &options), 0, "50 levels of 50");
    tap_is_int(read_nested(r, 51, &options), ETCP_ETOOBIG, "51 levels of 50");
    deep.max_depth = 0;
    tap_is_int(read_nested(r, ETCP_STORABLE_DEPTH, &deep), 0, "the default depth");
    tap_is_int(read_nested(r, ETCP_STORABLE_DEPTH + 1, &deep), ETCP_ETOOBIG, "one level more");
    tap_ok(strstr(etcp_storable_reader_error(r), "20000") != NULL, "the text names the limit");
}

/* Each level claims all that is left: if claims were not added up, 1000 levels of 5 bytes would make
 * the builder allocate 2.5 million elements. storable_tree.h asserts what it is told. */
static void test_nested_claims(etcp_storable_reader *r)
{
    enum { LEVELS = 1000, LEN = 2 + LEVELS * 5 };
    static uint8_t image[LEN];
    etcp_storable_options deep = options;
    tree_node *root;
    tree t;
    size_t i;

    image[0] = 5;
    image[1] = 11;
    for (i = 0; i < LEVELS; i++) {
        size_t left = LEN - 2 - (i + 1) * 5;
        image[2 + i * 5] = ETCP_SX_ARRAY;
        image[5 + i * 5] = (uint8_t)(left >> 8);
        image[6 + i * 5] = (uint8_t)left;
    }
    deep.max_depth = 0;
    tree_init(&t, LEN);
    tap_is_int(tree_read(&t, r, image, LEN, &deep, &root), ETCP_EDECODE,
               "containers cannot claim the same bytes twice");
    tap_ok(t.claimed <= LEN, "and no more was allocated than the image could hold");
    tree_deinit(&t);
}

/* An image of one object whose class has this name. */
static int read_class_name(etcp_storable_reader *r, const char *name, size_t len)
{
    uint8_t image[1024] = {5, 11, ETCP_SX_BLESS, ETCP_SX_LONG_CLASS, 0, 0};
    tree_node *root;
    tree t;
    int rc;

    image[6] = (uint8_t)(len >> 8);
    image[7] = (uint8_t)len;
    memcpy(image + 8, name, len);
    image[8 + len] = ETCP_SX_UNDEF;
    tree_init(&t, len + 9);
    rc = tree_read(&t, r, image, len + 9, &options, &root);
    tree_deinit(&t);
    return rc;
}

static void test_class_names(etcp_storable_reader *r)
{
    static const char parts[] = "a::b::c::d::e::f::g::h::i::j::k::l::m::n::o::p";
    char name[300];

    memset(name, 'a', sizeof name);
    tap_is_int(read_class_name(r, name, 255), 0, "a class name of 255 bytes");
    tap_is_int(read_class_name(r, name, 256), ETCP_EDECODE, "one byte more");
    tap_is_int(read_class_name(r, parts, sizeof parts - 1), 0, "a class name of 16 parts");
    tap_is_int(read_class_name(r, strcat(strcpy(name, parts), "::q"), sizeof parts + 2), ETCP_EDECODE,
               "one part more");
    tap_is_int(read_class_name(r, strcat(strcpy(name, parts), "'q"), sizeof parts + 1), ETCP_EDECODE,
               "by the old separator, too");
    tap_is_int(read_class_name(r, "::::", 4), 0, "separators alone");
}

/* Limits on what a structure becomes: 64 bytes for each item, and the image for its strings. */
static void test_size(etcp_storable_reader *r)
{
    uint8_t image[IMAGE_MAX];
    const size_t len = unhex("050b 02 00000003 0e 05 0a 01 61", image);
    etcp_storable_options limited = options;
    unsigned features;
    tree_node *root;
    tree t;

    limited.max_size = 4 * ETCP_STORABLE_ITEM_SIZE + len;
    tree_init(&t, len);
    tap_is_int(tree_read(&t, r, image, len, &limited, &root), 0, "four items of four");
    tree_deinit(&t);
    limited.max_size--;
    tree_init(&t, len);
    tap_is_int(tree_read(&t, r, image, len, &limited, &root), ETCP_EPOLICY, "a byte less");
    tap_is_str(etcp_storable_reader_error(r), "Structure too large", "it says why");
    tap_is_int((long)t.live, 0, "nothing is left");
    tap_is_int(tree_scan(&t, r, image, len, &limited, &features), ETCP_EPOLICY, "the scan agrees");
    limited.max_size = 1;
    tap_is_int(tree_read(&t, r, image, len, &limited, &root), ETCP_EPOLICY, "the smallest limit");
    tree_deinit(&t);
}

/* ---- damage ------------------------------------------------------------------------------------------- */

/* Reads it, and scans it if Storable would get it. Either it is sound or nothing is left. */
static int is_survived(etcp_storable_reader *r, const uint8_t *image, size_t len)
{
    unsigned features;
    tree_node *root;
    tree t;
    int rc;
    int is_clean;

    tree_init(&t, len);
    rc = tree_read(&t, r, image, len, &options, &root);
    is_clean = rc == 0 || (t.live == 0 && t.blessed == 0);
    tree_deinit(&t);
    if (rc == ETCP_STORABLE_FOREIGN)
        rc = tree_scan(&t, r, image, len, &options, &features);
    return is_clean && rc <= 0 && tree_is_sound_whole(r, image, len, &options, NULL);
}

static void test_damage(etcp_storable_reader *r, const char *name, const char *hex)
{
    uint8_t image[IMAGE_MAX];
    size_t len = unhex(hex, image);
    size_t i;
    int value;
    long bad = 0;

    for (i = 0; i < len; i++)
        bad += !is_survived(r, image, i);
    for (i = 0; i < len; i++) {
        uint8_t old = image[i];
        for (value = 0; value < 256; value++) {
            image[i] = (uint8_t)value;
            bad += !is_survived(r, image, len);
        }
        image[i] = old;
    }
    tap_is_int(bad, 0, "%s: every truncation and every changed byte", name);
}

/* ---- scanning ------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    const char *hex;
    int result;
    unsigned features;
} scanned[] = {
    {"plain data", "050b 02 00000002 0a 01 61 0e", 0, 0},
    {"a hook", "050b 13 02 03 54486b 08 646174613a616263", 0, ETCP_STORABLE_HAS_HOOK},
    {"a hook with references",
     "050b 13 42 13 02 03 54486b 07 646174613a696e 42 02 00000001 08 82 82 04 54486b52 01 52 02"
     " 00000001 00000002",
     0, ETCP_STORABLE_HAS_HOOK},
    {"long forms of a hook", "050b 13 9c 00000001 41 00000001 62 00000001 00000000", 0,
     ETCP_STORABLE_HAS_HOOK},
    {"a hook by class number", "050b 02 00000002 11 01 41 05 13 20 00 00", 0,
     ETCP_STORABLE_HAS_HOOK},
    {"a hooked tied hash", "050b 13 03 06 01 41 00 04 11 01 42 05", 0, ETCP_STORABLE_HAS_HOOK},
    {"ties",
     "050b 02 00000004 04 0b 04 11 01 41 05 15 04 12 00 05 05 16 14 12 00 05 00000007"
     " 04 0c 04 11 01 42 03 00000001 0d 00 00000003 00000001 61",
     0, ETCP_STORABLE_HAS_TIE | ETCP_STORABLE_HAS_OVERLOAD},
    {"code", "050b 1a 0a 01 78", 0, ETCP_STORABLE_HAS_CODE},
    {"a regular expression", "050b 11 06 526567657870 20 00 03 616263 01 69", 0,
     ETCP_STORABLE_HAS_REGEXP},
    {"a long regular expression", "050b 20 01 00000003 616263 00", 0, ETCP_STORABLE_HAS_REGEXP},
    {"booleans behind a tie", "050b 0b 04 11 01 41 02 00000002 22 23", 0,
     ETCP_STORABLE_HAS_TIE | ETCP_STORABLE_HAS_BOOLEAN},
    {"a restricted hash", "050b 19 01 00000002 08 81 04 00000001 61 0e 10 00000001 62", 0,
     ETCP_STORABLE_HAS_RESTRICTED},
    {"overloading of a hooked object", "050b 14 13 00 01 41 00", 0,
     ETCP_STORABLE_HAS_HOOK | ETCP_STORABLE_HAS_OVERLOAD},
    {"overloading within the object's own hook", "050b 13 40 14 00 00000000 00 01 41 00",
     ETCP_EDECODE, ETCP_STORABLE_HAS_HOOK},
    {"a forbidden class in a hook", "050b 13 00 02 4e6f 00", ETCP_EPOLICY, ETCP_STORABLE_HAS_HOOK},
    {"a forbidden class in a hook's references", "050b 13 40 11 02 4e6f 05 00 01 41 00",
     ETCP_EPOLICY, ETCP_STORABLE_HAS_HOOK},
    {"a tie to a string, which may name a class", "050b 0c 0a 01 41", ETCP_EDECODE,
     ETCP_STORABLE_HAS_TIE},
    {"a tie to undef", "050b 0d 05", ETCP_EDECODE, ETCP_STORABLE_HAS_TIE},
    {"a tie to what has no class", "050b 0c 04 03 00000000", ETCP_EDECODE, ETCP_STORABLE_HAS_TIE},
    {"a tie to an object itself", "050b 0c 11 01 41 04 03 00000000", ETCP_EDECODE,
     ETCP_STORABLE_HAS_TIE},
    {"a tie to a reference that may be changed from outside",
     "050b 02 00000002 04 11 01 41 05 0d 00 00000001", ETCP_EDECODE, ETCP_STORABLE_HAS_TIE},
    {"an element that is the reference of a tie",
     "050b 02 00000002 0d 04 11 01 41 05 00 00000002", ETCP_EDECODE, ETCP_STORABLE_HAS_TIE},
    {"a hook that gets the reference of a tie", "050b 13 c0 0d 04 11 01 41 05 80 01 41 00 01 00000002",
     ETCP_EDECODE, ETCP_STORABLE_HAS_TIE | ETCP_STORABLE_HAS_HOOK},
    {"a hash tied to itself", "050b 11 01 41 0c 04 00 00000000", ETCP_EDECODE,
     ETCP_STORABLE_HAS_TIE},
    {"two hashes tied to each other", "050b 11 01 41 0c 04 12 00 0c 04 00 00000000", ETCP_EDECODE,
     ETCP_STORABLE_HAS_TIE},
    {"a hooked array tied to itself", "050b 13 03 05 01 41 00 04 00 00000000", ETCP_EDECODE,
     ETCP_STORABLE_HAS_HOOK},
    {"a tied scalar as its own key", "050b 15 04 11 01 41 05 00 00000000", ETCP_EDECODE,
     ETCP_STORABLE_HAS_TIE},
    {"a tied element without a key", "050b 15 04 11 01 41 05", ETCP_EDECODE, ETCP_STORABLE_HAS_TIE},
    {"a tie of an element to a string", "050b 15 0a 01 41 05", ETCP_EDECODE,
     ETCP_STORABLE_HAS_TIE},
    {"a hooked tied hash, tied to a string", "050b 13 03 06 01 41 00 0a 01 41", ETCP_EDECODE,
     ETCP_STORABLE_HAS_HOOK},
    {"a forbidden class behind a tie", "050b 0c 04 11 02 4e6f 05", ETCP_EPOLICY,
     ETCP_STORABLE_HAS_TIE},
    {"a hook of a class number too large", "050b 13 20 00 00", ETCP_EDECODE,
     ETCP_STORABLE_HAS_HOOK},
    {"a hook of unknown kind", "050b 13 03 07 01 41 00 05", ETCP_EDECODE, 0},
    {"a hook that refers ahead", "050b 13 80 01 41 00 01 00000001", ETCP_EDECODE,
     ETCP_STORABLE_HAS_HOOK},
    {"a hook with a list longer than the image", "050b 13 90 01 41 00 01000000 00000000",
     ETCP_EDECODE, ETCP_STORABLE_HAS_HOOK},
    {"a hook with a negative list", "050b 13 90 01 41 00 ffffffff 00000000", ETCP_EDECODE,
     ETCP_STORABLE_HAS_HOOK},
    {"code that is no string", "050b 1a 05", ETCP_EDECODE, ETCP_STORABLE_HAS_CODE},
    {"a weak reference to an element that is a constant",
     "050b 02 00000002 0f 1b 00 00000001", ETCP_EDECODE, 0},
};

static void test_scan(etcp_storable_reader *r)
{
    uint8_t image[IMAGE_MAX];
    tree t;
    size_t i;

    for (i = 0; i < sizeof scanned / sizeof *scanned; i++) {
        size_t len = unhex(scanned[i].hex, image);
        unsigned features = 0;

        tree_init(&t, len);
        t.forbidden = "No";
        tap_is_int(tree_scan(&t, r, image, len, &options, &features),
                   scanned[i].result, "scan: %s", scanned[i].name);
        tap_is_int(features, scanned[i].features, "scan: %s: what was met", scanned[i].name);
        if (i > 0)
            test_damage(r, scanned[i].name, scanned[i].hex);
    }
    tree_init(&t, 100);
    t.forbidden = "Regexp";
    i = unhex("050b 20 00 00 00", image);
    tap_is_int(tree_scan(&t, r, image, i, &options, &(unsigned){0}),
               ETCP_EPOLICY, "scan: an expression without a class is of class Regexp");
}

/* ---- images read whole --------------------------------------------------------------------------------- */

/* What classes do here: see tree_thaw. */
static const struct {
    const char *name;
    const char *hex;
    const char *printed; /* NULL: it fails */
} whole[] = {
    {"plain data", "050b 02 00000002 0a 01 61 04 00 00000000", "#1=[\"a\",\\#1]"},
    {"a hook", "050b 13 02 03 54486b 08 646174613a616263", "THk({hook<data:abc>()})"},
    {"a hook with references",
     "050b 13 42 02 00000001 08 82 42 04 11 01 42 03 00000000 02 01 41 01 52",
     "A({hook<R>()})"},
    {"and a list of them, an item met before and the object itself among them",
     "050b 02 00000003 0a 01 78 0e 04 13 40 11 01 42 03 00000000 80 01 41 00 04 00000005 00000001"
     " 00000002 00000004",
     "[#1=\"x\",-,\\#2=A(hook<>(\\B({}),\\#1,\\#3=Undef,\\#2))]"},
    {"hooks of all kinds", "050b 02 00000004 04 13 00 01 41 01 31 04 13 21 00 01 32 04 13 22 00 01 33"
     " 04 13 23 04 00 01 34 04 11 01 42 05",
     "[\\A(hook<1>()),\\A([hook<2>()]),\\A({hook<3>()}),\\A(tied(B(undef))hook<4>())]"},
    {"a hook that puts an array in the place of the object", "050b 04 13 00 01 58 01 61",
     "\\X([hook<a>()])"},
    {"or a string", "050b 02 00000002 13 00 01 59 01 61 00 00000001", "[#1=Y(hook<a>()),#1]"},
    {"but no array as an element", "050b 02 00000001 13 00 01 58 01 61", NULL},
    {"or as a value", "050b 03 00000001 13 00 01 58 00 00000001 61", NULL},
    {"or for a tied object", "050b 04 13 03 06 01 58 00 04 11 01 42 05", NULL},
    {"a hook that empties what is still being read",
     "050b 02 00000002 04 13 80 01 45 00 01 00000000 05", "[\\E(hook<>()),undef]"},
    {"ties",
     "050b 02 00000004 04 0b 04 11 01 41 05 15 04 12 00 05 0a 01 6b 16 14 12 00 05 00000007"
     " 04 0c 04 11 01 42 03 00000001 0d 00 00000003 00000001 61",
     "[\\tied(#1=A(undef))[],tied(A(undef):\"k\")undef,tied(A*(undef):7)undef,"
     "\\tied(B({a=>tied(#1)undef})){}]"},
    {"code", "050b 04 11 01 41 1a 0a 01 78", "\\A(code(x))"},
    {"code, and what comes behind its text", "050b 02 00000003 04 1a 0a 01 78 0a 01 79 00 00000004",
     "[\\code(x),#1=\"y\",#1]"},
    {"the text of code, met again", "050b 02 00000002 04 1a 0a 01 78 00 00000003",
     "[\\code(x),-]"},
    {"regular expressions", "050b 02 00000002 04 11 01 41 20 00 03 616263 01 69 20 01 00000001 61 00",
     "[\\A(qr(abc)i),qr(a)]"},
    {"a restricted hash", "050b 19 01 00000002 08 81 04 00000001 61 0e 10 00000001 62",
     "!{a/4=>1,b/10=>undef}"},
    {"an empty restricted hash, which is none", "050b 19 01 00000000", "{}"},
    {"a weak reference to what nothing else owns", "050b 02 00000001 1b 02 00000000", NULL},
    {"objects and a duplicate key",
     "050b 03 00000002 11 01 41 05 00000001 61 08 82 00000001 61", "{a=>2}"},
    {"a class that dies", "050b 02 00000002 04 11 01 41 02 00000001 04 00 00000000 04 13 00 01 44 00",
     NULL},
    {"a class that dies when others have kept each other",
     "050b 02 00000002 04 13 40 13 80 01 41 00 01 00000002 a0 00 00 01 00000003 04 13 00 01 44 00",
     NULL},
    {"a class that dies inside a tied object", "050b 0c 04 11 01 41 03 00000001 04 13 00 01 44 00", NULL},
    {"a class that dies behind a key", "050b 15 04 13 00 01 44 00 0a 00", NULL},
};

static void test_whole_image(etcp_storable_reader *r, size_t i, etcp_buf *out)
{
    uint8_t image[IMAGE_MAX];
    const size_t len = unhex(whole[i].hex, image);
    tree_node *root;
    tree t;
    int rc;

    tree_init(&t, len);
    rc = tree_read_all(&t, r, image, len, &options, &root);
    if (!whole[i].printed) {
        tap_ok(rc != 0 ? t.live == 0 : whole[i].printed == NULL, "%s: nothing is left", whole[i].name);
    } else if (tap_is_int(rc, 0, "%s", whole[i].name)) {
        etcp_buf_clear(out);
        tree_visit(root);
        tree_print(&t, root, out);
        etcp_buf_append_byte(out, 0);
        tap_is_str((const char *)etcp_buf_bytes(out), whole[i].printed, "%s: value", whole[i].name);
    } else {
        tap_note("%s", etcp_storable_reader_error(r));
    }
    tree_deinit(&t);
    test_damage(r, whole[i].name, whole[i].hex);
}

static void test_whole(etcp_storable_reader *r)
{
    etcp_buf out;
    size_t i;

    etcp_buf_init(&out);
    for (i = 0; i < sizeof whole / sizeof *whole; i++)
        test_whole_image(r, i, &out);
    etcp_buf_deinit(&out);
}

/* ---- shapes ------------------------------------------------------------------------------------------- */

/* What only references may lead to. All come with a class A of number 0 named before, and begin with
 * tag 1 or later. */
static const char *const bodies[] = {
    "02 00000000", "02 00000001 05", "03 00000000", "03 00000001 05 00000001 61", "19 00 00000000",
    "19 00 00000001 05 00 00000001 61", "19 01 00000000", "11 01 42 02 00000000", "0b 04 12 00 05",
    "0c 04 12 00 05", "13 21 00 00", "13 22 00 00", "13 23 05 00 00 04 12 00 05",
    "13 23 06 00 00 04 12 00 05", "1a 0a 01 78",
};

/* Places for a scalar, and those where anything may be. The first item is an object of class A. */
static const struct {
    const char *before;
    const char *behind;
    int result;
} places[] = {
    {"02 00000002 11 01 41 05", "", ETCP_EDECODE},
    {"03 00000002 11 01 41 05 00000001 61", "00000001 62", ETCP_EDECODE},
    {"19 00 00000002 11 01 41 05 00 00000001 61", "00 00000001 62", ETCP_EDECODE},
    {"19 01 00000002 11 01 41 05 00 00000001 61", "04 00000001 62", ETCP_EDECODE},
    {"04 11 01 41 02 00000001", "", ETCP_EDECODE},
    {"15 04 11 01 41 05", "", ETCP_EDECODE},
    {"02 00000002 11 01 41 05 04", "", 0},
    {"02 00000002 11 01 41 05 14 12 00", "", 0},
    {"02 00000003 11 01 41 05 04 00 00000000 13 60", "20 00 00", 0},
};

static int shape_of_place(etcp_storable_reader *r, const char *before, const char *item,
                          const char *behind)
{
    char hex[256];
    uint8_t image[IMAGE_MAX];
    unsigned features;
    tree_node *root;
    tree t;
    size_t len;
    int rc;

    sprintf(hex, "050b %s %s %s", before, item, behind);
    len = unhex(hex, image);
    tree_init(&t, len);
    rc = tree_read(&t, r, image, len, &options, &root);
    tree_deinit(&t);
    return rc == ETCP_STORABLE_FOREIGN ? tree_scan(&t, r, image, len, &options, &features) : rc;
}

static void test_shapes(etcp_storable_reader *r)
{
    size_t i;
    size_t k;

    for (k = 0; k < sizeof places / sizeof *places; k++) {
        const int overloads = strstr(places[k].before, "14 12") != NULL;
        for (i = 0; i < sizeof bodies / sizeof *bodies; i++) {
            /* A class before a hook means nothing, nor does one before another. */
            if (overloads && (strncmp(bodies[i], "13", 2) == 0 || strncmp(bodies[i], "11", 2) == 0))
                continue;
            tap_is_int(shape_of_place(r, places[k].before, bodies[i], places[k].behind),
                       places[k].result, "%s behind %s", bodies[i], places[k].before);
        }
        if (!overloads)
            tap_is_int(shape_of_place(r, places[k].before, "0a 01 78", places[k].behind), 0,
                       "a string behind %s", places[k].before);
    }
    tap_is_int(shape_of_place(r, "02 00000002 04 02 00000000", "00 00000002", ""), ETCP_EDECODE,
               "an array met again as an element");
    tap_is_int(shape_of_place(r, "02 00000001", "00 00000000", ""), ETCP_EDECODE,
               "an array that is its own element");
    tap_is_int(shape_of_place(r, "03 00000001", "00 00000000", "00000001 61"), ETCP_EDECODE,
               "a hash that is its own value");
    tap_is_int(shape_of_place(r, "02 00000002 04 0c 04 11 01 41 05", "00 00000002", ""),
               ETCP_EDECODE, "a tied hash met again as an element");
    tap_is_int(shape_of_place(r, "13 42", "02 00000001 00 00000000", "02 01 41 00"), ETCP_EDECODE,
               "a hooked hash met again as an element of what it refers to");
    tap_is_int(shape_of_place(r, "13 40", "02 00000001 00 00000000", "00 01 41 00"), 0,
               "a hooked scalar met again as an element of what it refers to");
}

/* What the watcher is told: which classes have hooks or overload. */
static void test_watcher(etcp_storable_reader *r)
{
    uint8_t image[IMAGE_MAX];
    unsigned features;
    tree t;
    size_t len = unhex("050b 02 00000004 13 00 01 41 00 04 14 11 01 42 05 13 20 00 00"
                       " 20 00 03 616263 01 69",
                       image);

    tree_init(&t, len);
    tap_is_int(tree_scan(&t, r, image, len, &options, &features), 0, "scan: a bit of everything");
    tap_is_int(t.hooked, 1, "scan: one class has hooks");
    tap_is_int(t.overloads, 1, "scan: one overloads");
}

/* ---- allocation ---------------------------------------------------------------------------------------- */

static void test_allocation(const char *name, const char *hex)
{
    uint8_t image[IMAGE_MAX];
    size_t len = unhex(hex, image);
    long n;

    for (n = 1;; n++) {
        etcp_storable_reader *r;
        tree_node *root;
        tree t;
        int rc = ETCP_ENOMEM;
        int is_clean;

        alloc_fail_at(n);
        tree_init(&t, len);
        r = etcp_storable_reader_new();
        if (r)
            rc = tree_read(&t, r, image, len, &options, &root);
        /* The builder of a string cannot say whether memory or its UTF-8 was bad. */
        is_clean = rc == 0 || ((rc == ETCP_ENOMEM || rc == ETCP_EDECODE) && t.live == 0);
        tree_deinit(&t);
        etcp_storable_reader_free(r);
        if (!is_clean || alloc_live() != 0)
            break;
        if (alloc_count() < n)
            break;
    }
    tap_ok(n > 3 && alloc_live() == 0 && alloc_count() < n,
           "%s: each of %ld allocations may fail", name, n - 1);
    alloc_reset();
}

/* A large array, so that the tables of the reader grow and are given back. */
static void test_large(void)
{
    enum { COUNT = 300000 };
    uint8_t *image = malloc(7 + COUNT);
    etcp_storable_reader *r;
    tree_node *root;
    tree t;

    image[0] = 5;
    image[1] = 11;
    image[2] = ETCP_SX_ARRAY;
    image[3] = 0;
    image[4] = COUNT >> 16 & 255;
    image[5] = COUNT >> 8 & 255;
    image[6] = COUNT & 255;
    memset(image + 7, ETCP_SX_SV_UNDEF, COUNT);
    alloc_fail_at(0);
    r = etcp_storable_reader_new();
    tree_init(&t, 7 + COUNT);
    tap_is_int(tree_read(&t, r, image, 7 + COUNT, &options, &root), 0, "300000 absent elements");
    tree_deinit(&t);
    tap_is_int(alloc_live(), 2, "the reader keeps its frames, but no large table");
    etcp_storable_reader_free(r);
    etcp_storable_reader_free(NULL);
    tap_is_int(alloc_live(), 0, "and nothing once it is freed");
    alloc_reset();
    free(image);
}

int main(void)
{
    etcp_storable_reader *r = etcp_storable_reader_new();
    size_t i;

    test_sound(r);
    test_plain(r);
    test_long_strings(r);
    test_exact(r);
    test_refused(r);
    test_network_only(r);
    test_depth(r);
    test_nested_claims(r);
    test_scan(r);
    test_watcher(r);
    test_class_names(r);
    test_size(r);
    test_whole(r);
    test_shapes(r);
    for (i = 0; i < sizeof sound / sizeof *sound; i++)
        test_damage(r, sound[i].name, sound[i].hex);
    etcp_storable_reader_free(r);
    for (i = 0; i < sizeof sound / sizeof *sound; i++)
        test_allocation(sound[i].name, sound[i].hex);
    test_large();
    return tap_done();
}
