/* The Storable writer: the bytes of each item, what is met twice, and growing. */
#include "storable/writer.h"

#include <stdio.h>
#include <stdlib.h>

#include "alloc.h"
#include "tap.h"

static void hex_of(const etcp_storable_writer *w, char *hex, size_t room)
{
    const uint8_t *bytes = etcp_buf_bytes(&w->out);
    size_t i;

    for (i = 0; i < etcp_buf_len(&w->out) && i * 2 + 3 < room; i++)
        sprintf(hex + i * 2, "%02x", bytes[i]);
    hex[i * 2] = '\0';
}

static void is_image(const etcp_storable_writer *w, const char *want, const char *name)
{
    char hex[2048];

    hex_of(w, hex, sizeof hex);
    tap_is_str(hex, want, "%s", name);
}

static const struct {
    int is_negative;
    uint64_t magnitude;
    int with_netint;
    const char *image;
} integers[] = {
    {0, 0, 1, "050b0880"},
    {1, 0, 1, "050b0880"},
    {0, 127, 1, "050b08ff"},
    {1, 128, 1, "050b0800"},
    {0, 128, 1, "050b0900000080"},
    {1, 129, 1, "050b09ffffff7f"},
    {0, 255, 1, "050b09000000ff"},
    {0, 2147483647, 1, "050b097fffffff"},
    {1, UINT64_C(2147483648), 1, "050b0980000000"},
    {0, UINT64_C(2147483648), 1, "050b0a0a32313437343833363438"},
    {1, UINT64_C(2147483649), 1, "050b0a0b2d32313437343833363439"},
    {0, UINT64_C(4294967168), 1, "050b0a0a34323934393637313638"}, /* -128 modulo 2^32 */
    {0, UINT64_MAX, 1, "050b0a143138343436373434303733373039353531363135"},
    {1, UINT64_C(9223372036854775808), 1, "050b0a142d39323233333732303336383534373735383038"},
    {0, 127, 0, "050b08ff"},
    {0, 300, 0, "050b0a03333030"},
    {1, 300, 0, "050b0a042d333030"},
};

static void test_integers(etcp_storable_writer *w)
{
    size_t i;

    for (i = 0; i < sizeof integers / sizeof *integers; i++) {
        char name[64];
        etcp_storable_begin(w, 11);
        etcp_storable_put_integer(w, integers[i].is_negative, integers[i].magnitude,
                                  integers[i].with_netint);
        sprintf(name, "integer %s%llu", integers[i].is_negative ? "-" : "",
                (unsigned long long)integers[i].magnitude);
        is_image(w, integers[i].image, name);
    }
}

static void test_exact_numbers(etcp_storable_writer *w)
{
    etcp_storable_begin(w, 11);
    etcp_storable_put_exact_double(w, 1.5);
    etcp_storable_put_exact_double(w, -0.0);
    is_image(w, "050bc03ff8000000000000c08000000000000000", "doubles");
    etcp_storable_begin(w, 11);
    etcp_storable_put_exact_integer(w, 0, 5);
    etcp_storable_put_exact_integer(w, 1, UINT64_C(2147483648));
    is_image(w, "050b08850980000000", "integers of 32 bits are written as ever");
    etcp_storable_begin(w, 11);
    etcp_storable_put_exact_integer(w, 0, UINT64_C(2147483648));
    etcp_storable_put_exact_integer(w, 1, UINT64_C(2147483649));
    etcp_storable_put_exact_integer(w, 1, UINT64_C(9223372036854775808));
    etcp_storable_put_exact_integer(w, 0, UINT64_C(9223372036854775807));
    etcp_storable_put_exact_integer(w, 0, UINT64_C(9223372036854775808));
    etcp_storable_put_exact_integer(w, 0, UINT64_MAX);
    is_image(w,
             "050bc10000000080000000c1ffffffff7fffffffc18000000000000000"
             "c17fffffffffffffffc28000000000000000c2ffffffffffffffff",
             "larger ones");
    etcp_storable_begin(w, 11);
    etcp_storable_put_exact_decimal(w, "-1.5e+400", 9);
    is_image(w, "050bc3092d312e35652b343030", "what no double equals");
}

static void test_strings(etcp_storable_writer *w)
{
    static char text[300];
    const uint8_t *image;

    memset(text, 'x', sizeof text);
    etcp_storable_begin(w, 11);
    etcp_storable_put_string(w, text, 0, 0);
    etcp_storable_put_string(w, text, 2, 1);
    is_image(w, "050b0a0017027878", "short strings");
    etcp_storable_begin(w, 11);
    etcp_storable_put_string(w, text, 255, 0);
    tap_is_int((long long)etcp_buf_len(&w->out), 2 + 2 + 255, "255 bytes are short");
    etcp_storable_begin(w, 11);
    etcp_storable_put_string(w, text, 256, 0);
    etcp_storable_put_string(w, text, 300, 1);
    image = etcp_buf_bytes(&w->out);
    tap_is_mem(image, 7, "\005\013\001\0\0\001\0", 7, "256 are not");
    tap_is_mem(image + 7 + 256, 6, "\030\0\0\001\054x", 6, "nor are 300 of UTF-8");
    tap_is_int((long long)etcp_buf_len(&w->out), 2 + 5 + 256 + 5 + 300, "and all are there");
}

static void test_structures(etcp_storable_writer *w)
{
    etcp_storable_begin(w, 3);
    etcp_storable_put_container(w, ETCP_SX_HASH, 1);
    etcp_storable_put_op(w, ETCP_SX_REF);
    etcp_storable_put_container(w, ETCP_SX_ARRAY, 0x01020304);
    etcp_storable_put_key(w, "key", 3);
    is_image(w, "05030300000001040201020304000000036b6579", "containers and keys");
    etcp_storable_begin(w, 11);
    etcp_storable_put_flag_hash(w, 0, 2);
    etcp_storable_put_op(w, ETCP_SX_UNDEF);
    etcp_storable_put_flag_key(w, ETCP_SX_KEY_UTF8, "\xe2\x98\xba", 3);
    etcp_storable_put_op(w, ETCP_SX_SV_UNDEF);
    etcp_storable_put_flag_key(w, 0, "", 0);
    is_image(w, "050b190000000002050100000003e298ba0e0000000000", "a hash with flags");
    etcp_storable_begin(w, 11);
    etcp_storable_put_flag_hash(w, ETCP_SX_HASH_RESTRICTED, 0);
    is_image(w, "050b190100000000", "a restricted hash");
}

static void test_classes(etcp_storable_writer *w)
{
    static uint8_t name[200];

    memset(name, 'C', sizeof name);
    etcp_storable_begin(w, 11);
    etcp_storable_put_class(w, (const uint8_t *)"Foo", 3);
    etcp_storable_put_class_index(w, 0);
    etcp_storable_put_class_index(w, 127);
    etcp_storable_put_class_index(w, 128);
    is_image(w, "050b1103466f6f1200127f128000000080", "classes");
    etcp_storable_begin(w, 11);
    etcp_storable_put_class(w, name, 127);
    tap_is_mem(etcp_buf_bytes(&w->out) + 2, 3, "\021\177C", 3, "a name of 127 bytes is short");
    etcp_storable_begin(w, 11);
    etcp_storable_put_class(w, name, 128);
    tap_is_mem(etcp_buf_bytes(&w->out) + 2, 7, "\021\200\0\0\0\200C", 7, "one of 128 is not");
    tap_is_int((long long)etcp_buf_len(&w->out), 2 + 6 + 128, "and is whole");
}

/* The literals of version strings. */
static void test_literals(etcp_storable_writer *w)
{
    static uint8_t literal[256];

    memset(literal, 'v', sizeof literal);
    etcp_storable_begin(w, 11);
    etcp_storable_put_literal(w, (const uint8_t *)"v1.2", 4);
    etcp_storable_put_literal(w, NULL, 0);
    is_image(w, "050b1d0476312e321d00", "literals");
    etcp_storable_begin(w, 11);
    etcp_storable_put_literal(w, literal, 255);
    tap_is_mem(etcp_buf_bytes(&w->out) + 2, 3, "\035\377v", 3, "a literal of 255 bytes is short");
    etcp_storable_begin(w, 11);
    etcp_storable_put_literal(w, literal, 256);
    tap_is_mem(etcp_buf_bytes(&w->out) + 2, 6, "\036\0\0\1\0v", 6, "one of 256 is not");
    tap_is_int((long long)etcp_buf_len(&w->out), 2 + 5 + 256, "and is whole");
}

/* Items by address: tags in order, back references, and nothing of the last image. */
static void test_meeting(etcp_storable_writer *w)
{
    static char places[5000];
    int is_right = 1;
    size_t i;

    etcp_storable_begin(w, 11);
    tap_is_int(etcp_storable_meet(w, &places[0]), 0, "new");
    etcp_storable_pass(w);
    tap_is_int(etcp_storable_meet(w, &places[1]), 0, "new, too");
    tap_is_int(etcp_storable_meet(w, &places[1]), 1, "met before");
    tap_is_int(etcp_storable_meet(w, &places[0]), 1, "met before, too");
    is_image(w, "050b00000000020000000000", "references back: what passed has a tag as well");
    etcp_storable_begin(w, 11);
    tap_is_int(etcp_storable_meet(w, &places[1]), 0, "another image knows nothing of it");
    etcp_storable_begin(w, 11);
    for (i = 0; i < sizeof places; i++)
        is_right = is_right && etcp_storable_meet(w, &places[i]) == 0;
    for (i = 0; i < sizeof places; i++)
        is_right = is_right && etcp_storable_meet(w, &places[i]) == 1;
    tap_ok(is_right, "5000 items are new once");
    tap_is_mem(etcp_buf_bytes(&w->out) + 2 + 5 * 4999, 5, "\0\0\0\023\207", 5,
               "the last one has tag 4999");
}

/* Tags of what was met, without writing anything. */
static void test_finding(etcp_storable_writer *w)
{
    int here = 0;
    int there = 0;
    uint32_t tag = 99;
    etcp_storable_writer fresh;

    etcp_storable_writer_init(&fresh);
    tap_is_int(etcp_storable_find(&fresh, &here, &tag), 0, "nothing was met by a new writer");
    etcp_storable_begin(w, 11);
    etcp_storable_pass(w);
    etcp_storable_meet(w, &here);
    tap_is_int(etcp_storable_find(w, &there, &tag), 0, "what was not met");
    tap_is_int(etcp_storable_find(w, &here, &tag), 1, "what was");
    tap_is_int(tag, 1, "has its tag");
    is_image(w, "050b", "and nothing was written");
    etcp_storable_begin(w, 11);
    tap_is_int(etcp_storable_find(w, &here, &tag), 0, "not in the next image");
}

static const uint8_t long_bytes[300];

/* Written by Storable 3.26 for objects of such sizes. */
static const struct {
    const char *name;
    etcp_storable_hook hook;
    const char *start; /* of the image, behind the header */
    size_t len;
} hooks[] = {
    {"a string",
     {2, 0, 0, (const uint8_t *)"THk", 3, 0, (const uint8_t *)"data:5", 6, 0},
     "13020354486b06646174613a35",
     13},
    {"a class by number", {0, 0, 0, NULL, 0, 1, (const uint8_t *)"s", 1, 0}, "1320010173", 5},
    {"a high number", {1, 0, 0, NULL, 0, 256, NULL, 0, 0}, "13250000010000", 7},
    {"references",
     {2, 0, 0, (const uint8_t *)"R", 1, 0, (const uint8_t *)"x", 1, 2},
     "1382015201780200000007000000"
     "07",
     15},
    {"one that has begun",
     {2, 0, 1, (const uint8_t *)"R", 1, 0, NULL, 0, 1},
     "820152000100000007",
     9},
    {"a tied hash", {3, 6, 0, (const uint8_t *)"T", 1, 0, NULL, 0, 0}, "130306015400", 6},
    {"a long class", {0, 0, 0, long_bytes, 256, 0, NULL, 0, 0}, "13040000010000", 6 + 256 + 1},
    {"a long string", {0, 0, 0, NULL, 0, 0, long_bytes, 256, 0}, "1328000000010000", 3 + 4 + 256},
    {"many references",
     {0, 0, 0, NULL, 0, 0, NULL, 0, 256},
     "13b000000000010000000007",
     4 + 4 + 4 * 256},
};

static void test_hooks(etcp_storable_writer *w)
{
    etcp_storable_hook nested = {3, 5, 0, NULL, 0, 0, NULL, 0, 0};
    size_t i;
    size_t tag;

    for (i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        char hex[4096];
        etcp_storable_begin(w, 11);
        etcp_storable_put_hook(w, &hooks[i].hook);
        for (tag = 0; tag < hooks[i].hook.tag_count; tag++)
            etcp_storable_put_u32(w, 7);
        hex_of(w, hex, sizeof hex);
        tap_is_mem(hex + 4, strlen(hooks[i].start), hooks[i].start, strlen(hooks[i].start),
                   "hook: %s", hooks[i].name);
        tap_is_int((long long)etcp_buf_len(&w->out), (long long)hooks[i].len + 2, "and is whole");
    }
    etcp_storable_begin(w, 11);
    etcp_storable_begin_hook(w, &nested);
    etcp_storable_put_op(w, ETCP_SX_UNDEF);
    etcp_storable_begin_hook(w, &nested);
    etcp_storable_put_op(w, ETCP_SX_UNDEF);
    etcp_storable_put_hook(w, &nested);
    is_image(w, "050b134305054305230000",
             "items before a hook: the opcode and what is tied come once");
}

static void test_last_tag(etcp_storable_writer *w)
{
    int here = 0;

    etcp_storable_begin(w, 11);
    w->next_tag = INT32_MAX;
    tap_is_int(etcp_storable_meet(w, &here), ETCP_ETOOBIG, "no tags beyond 2^31 - 1");
}

/* Image numbers are 32 bits: after the last one, old slots must not come back to life. */
static void test_image_numbers(etcp_storable_writer *w)
{
    int here = 0;
    int there = 0;

    etcp_storable_begin(w, 11);
    w->image = 1;
    etcp_storable_meet(w, &here);
    w->image = UINT32_MAX;
    etcp_storable_begin(w, 11);
    tap_is_int(etcp_storable_meet(w, &there), 0, "image numbers start again");
    tap_is_int(etcp_storable_meet(w, &here), 0, "without the memory of the first time");
}

static void test_lending(etcp_storable_writer *w)
{
    static const char text[] = "lent";
    int owner;

    etcp_storable_begin(w, 11);
    etcp_storable_put_op(w, ETCP_SX_UNDEF);
    tap_is_int(etcp_storable_lend_string(w, text, 300, 1, &owner), 0, "a string is lent");
    etcp_storable_put_op(w, ETCP_SX_UNDEF);
    is_image(w, "050b05180000012c05", "what stands around it is written, and its length");
    tap_is_int((long long)w->loan_count, 1, "one loan");
    tap_ok(w->loans[0].at == 8 && w->loans[0].len == 300 && w->loans[0].bytes == text &&
               w->loans[0].owner == &owner,
           "which stands behind its length");
    for (int i = 0; i < 100; i++)
        etcp_storable_lend_string(w, text, 4, 0, &owner);
    tap_ok(w->loan_count == 101 && w->loans[100].at == 9 + 100 * 5, "many of them");
    etcp_storable_begin(w, 11);
    tap_is_int((long long)w->loan_count, 0, "none in the next image");
}

static void test_memory(void)
{
    etcp_storable_writer w;
    size_t large = 2 * 1024 * 1024;
    char *bytes = malloc(large);
    long n;

    memset(bytes, 'x', large);
    alloc_fail_at(0);
    etcp_storable_writer_init(&w);
    etcp_storable_begin(&w, 11);
    etcp_storable_put_string(&w, bytes, large, 0);
    etcp_storable_begin(&w, 11);
    tap_ok(w.out.cap >= large, "a large buffer is kept for the next image");
    etcp_storable_begin(&w, 11);
    tap_ok(w.out.cap < large, "unless that was small");
    etcp_storable_writer_deinit(&w);
    tap_is_int(alloc_live(), 0, "nothing is left");
    for (n = 1;; n++) {
        int rc;
        alloc_fail_at(n);
        etcp_storable_writer_init(&w);
        rc = etcp_storable_begin(&w, 11);
        if (rc == 0)
            rc = etcp_storable_meet(&w, &w);
        if (rc == 0)
            rc = etcp_storable_lend_string(&w, bytes, 100000, 0, NULL);
        if (rc == 0)
            rc = etcp_storable_put_string(&w, bytes, 100000, 0);
        etcp_storable_writer_deinit(&w);
        if (rc != ETCP_ENOMEM || alloc_live() != 0)
            break;
    }
    tap_ok(n == 5 && alloc_live() == 0, "each allocation may fail");
    alloc_reset();
    free(bytes);
}

int main(void)
{
    etcp_storable_writer w;

    etcp_storable_writer_init(&w);
    test_integers(&w);
    test_exact_numbers(&w);
    test_strings(&w);
    test_structures(&w);
    test_classes(&w);
    test_literals(&w);
    test_meeting(&w);
    test_finding(&w);
    test_hooks(&w);
    test_last_tag(&w);
    test_image_numbers(&w);
    test_lending(&w);
    etcp_storable_writer_deinit(&w);
    test_memory();
    return tap_done();
}
