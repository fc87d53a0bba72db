/* csrc/wire/frame.c: packet headers. */
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tap.h"

/* Parses an exact heap block, so that a look one byte too far is seen. */
static int parse(const void *bytes, size_t len, etcp_frame *frame)
{
    uint8_t *block = malloc(len ? len : 1);
    int rc;

    if (len)
        memcpy(block, bytes, len);
    rc = etcp_frame_parse(block, len, frame);
    free(block);
    return rc;
}

static const struct parse_case {
    const char *name;
    uint8_t bytes[8];
    size_t bytes_len;
    int rc;
    unsigned flags;
    size_t header_len;
    size_t len;
} parse_cases[] = {
    {"nothing", {0}, 0, ETCP_AGAIN, 0, 0, 0},
    {"flag byte only", {0x05}, 1, ETCP_AGAIN, 0, 0, 0},
    {"always-on bit clear", {0x04}, 1, ETCP_EPROTO, 0, 0, 0},
    {"length bytes missing", {0x05, 2, 1}, 3, ETCP_AGAIN, 0, 0, 0},
    {"empty payload", {0x05, 0}, 2, 0, 5, 2, 0},
    {"one length byte", {0x05, 1, 5}, 3, 0, 5, 3, 5},
    {"three length bytes", {0x05, 3, 1, 0x90, 0}, 5, 0, 5, 5, 102400},
    {"not minimal", {0x05, 4, 0, 0, 0, 5}, 6, 0, 5, 6, 5},
    {"the largest length", {0x1f, 4, 255, 255, 255, 255}, 6, 0, 0x1f, 6, 0xffffffffu},
    {"five length bytes", {0x05, 5}, 2, ETCP_EPROTO, 0, 0, 0},
    {"255 length bytes", {0x05, 255}, 2, ETCP_EPROTO, 0, 0, 0},
    {"reserved bits", {0xe5, 1, 1}, 3, 0, 5, 3, 1},
};

static void test_parse(void)
{
    size_t i;

    for (i = 0; i < sizeof parse_cases / sizeof parse_cases[0]; i++) {
        const struct parse_case *c = &parse_cases[i];
        etcp_frame frame = {0, 0, 0};
        int rc = parse(c->bytes, c->bytes_len, &frame);

        tap_is_int(rc, c->rc, "parse: %s", c->name);
        if (rc != 0)
            continue;
        tap_is_int((long long)frame.flags, (long long)c->flags, "parse: %s: flags", c->name);
        tap_is_int((long long)frame.header_len, (long long)c->header_len, "parse: %s: header",
                   c->name);
        tap_is_int((long long)frame.len, (long long)c->len, "parse: %s: length", c->name);
    }
}

static void check_round_trip(const char *what, const uint8_t *header, size_t header_len, size_t len)
{
    etcp_frame frame = {0, 0, 0};
    size_t cut;

    for (cut = 0; cut < header_len; cut++)
        if (parse(header, cut, &frame) != ETCP_AGAIN)
            break;
    tap_is_int((long long)cut, (long long)header_len, "%s %lu: no result before its last byte",
               what, (unsigned long)len);
    tap_ok(parse(header, header_len, &frame) == 0 && frame.len == len &&
               frame.header_len == header_len && frame.flags == 0x0d,
           "%s %lu: read back", what, (unsigned long)len);
}

static void test_encode(void)
{
    static const struct {
        size_t len;
        size_t header_len;
    } cases[] = {{0, 2},     {1, 3},        {255, 3},       {256, 4},        {65535, 4},
                 {65536, 5}, {0xffffff, 5}, {0x1000000, 6}, {0xffffffffu, 6}};
    uint8_t header[ETCP_FRAME_HEADER_MAX];
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = etcp_frame_encode(header, ETCP_FLAG_REAL | ETCP_FLAG_ENCRYPTED, cases[i].len);

        tap_is_int((long long)n, (long long)cases[i].header_len, "encode %lu: size",
                   (unsigned long)cases[i].len);
        check_round_trip("encode", header, n, cases[i].len);
    }
}

/* Every length near a multiple of 4096, up to where the header itself grows. */
static void test_uneven(void)
{
    uint8_t header[ETCP_FRAME_HEADER_MAX];
    etcp_frame frame;
    size_t len;
    unsigned wrong = 0;
    unsigned longer = 0;

    for (len = 0; len < 300000; len++) {
        size_t n = etcp_frame_encode_uneven(header, ETCP_FLAG_REAL, len);

        if (len > 5000 && (len + 8) % 4096 > 16)
            continue;
        if ((n + len) % 4096 == 0 || etcp_frame_parse(header, n, &frame) != 0 || frame.len != len)
            wrong++;
        if (n != etcp_frame_encode(header, ETCP_FLAG_REAL, len))
            longer++;
    }
    tap_is_int(wrong, 0, "uneven: no packet is a multiple of 4096 bytes, all are read back");
    tap_is_int(longer, 300000 / 4096, "uneven: only those that need it have longer headers");
    len = 0x1000000u + 4096 - 6;
    tap_is_int((long long)etcp_frame_encode_uneven(header, ETCP_FLAG_REAL, len), 7,
               "uneven: four length bytes get a fifth that originals skip");
    tap_is_mem(header, 7, "\x05\x05\x01\x00\x0f\xfa\x00", 7, "uneven: its first four count");
}

static void test_long(void)
{
    static const uint8_t want[10] = {0x09, 8, 0, 0, 0x0f, 0xf6, 0, 0, 0, 0};
    uint8_t header[ETCP_FRAME_LONG_HEADER_MAX];

    etcp_frame_encode_long(header, 10, ETCP_FLAG_ENCRYPTED, 4086);
    tap_is_mem(header, 10, want, 10, "long: length first, zeros after it");
    etcp_frame_encode_long(header, ETCP_FRAME_LONG_HEADER_MAX, 0, 1);
    tap_is_int(header[1], 255, "long: the longest");
    etcp_frame_encode_long(header, ETCP_FRAME_LONG_HEADER_MIN, ETCP_FLAG_REAL | ETCP_FLAG_ENCRYPTED,
                           70000);
    check_round_trip("long", header, ETCP_FRAME_LONG_HEADER_MIN, 70000);
}

int main(void)
{
    test_parse();
    test_encode();
    test_uneven();
    test_long();
    return tap_done();
}
