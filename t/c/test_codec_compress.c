/* The compressors: what originals wrote, damage, limits, exhausted memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "codec/compressor.h"
#include "recorded.h"
#include "tap.h"

/* ---- what originals wrote ------------------------------------------------------------------- */

typedef struct fixture {
    etcp_compressor_state *state;
    etcp_buf message;
    etcp_buf packed;
    etcp_buf out;
} fixture;

static void fixture_init(fixture *f)
{
    f->state = NULL;
    etcp_buf_init(&f->message);
    etcp_buf_init(&f->packed);
    etcp_buf_init(&f->out);
}

static void fixture_deinit(fixture *f, const etcp_compressor *row)
{
    row->free_state(f->state);
    etcp_buf_deinit(&f->message);
    etcp_buf_deinit(&f->packed);
    etcp_buf_deinit(&f->out);
}

/* Decompressing in steps, with so much more room for each, must give what rc and expected say, whatever
 * becomes of the bytes that are used, but for the first. */
static void check_steps(const etcp_compressor *row, const uint8_t *bytes, size_t len, size_t more,
                        int rc, const uint8_t *expected, size_t expected_len)
{
    uint8_t *copy = malloc(len + 1);
    etcp_unpack_run run = {0};
    int stepped;

    recorded_need(copy != NULL, "out of memory");
    memcpy(copy, bytes, len);
    do {
        if (run.done > 1)
            memset(copy + 1, 0, run.done - 1);
        run.cap = run.len + more;
        run.out = realloc(run.out, run.cap);
        recorded_need(run.out != NULL, "out of memory");
        stepped = row->decompress_step(&run, copy, len);
        recorded_need(run.len <= run.cap, "more than there is room for");
    } while (stepped == ETCP_AGAIN);
    row->end_steps(&run);
    recorded_need(stepped == rc, "another result in steps");
    recorded_need(rc != 0 || run.len == expected_len, "another length in steps");
    recorded_need(rc != 0 || !run.len || memcmp(run.out, expected, run.len) == 0,
                  "another content in steps");
    free(run.out);
    free(copy);
}

/* Decompresses from a heap block of exactly that size, so that a sanitizer sees one byte too far.
 */
static int unpack(const etcp_compressor *row, etcp_compressor_state **state, const void *bytes,
                  size_t len, size_t max, etcp_buf *out)
{
    uint8_t *exact = malloc(len ? len : 1);

    recorded_need(exact != NULL, "out of memory");
    if (len)
        memcpy(exact, bytes, len);
    const size_t before = etcp_buf_len(out);
    const int rc = row->decompress(state, len ? exact : exact + 1, len, max, out);

    for (size_t more = 300; rc != ETCP_ETOOBIG && more <= 1 << 20; more *= 59)
        check_steps(row, len ? exact : exact + 1, len, more, rc, etcp_buf_bytes(out) + before,
                    etcp_buf_len(out) - before);
    free(exact);
    return rc;
}

/* Compresses the message in so many pieces of about the same size, some of them empty. */
static int pack_pieces(const etcp_compressor *row, fixture *f, int level, size_t count)
{
    const uint8_t *bytes = etcp_buf_bytes(&f->message);
    const size_t len = etcp_buf_len(&f->message);
    etcp_piece *pieces = calloc(2 * count, sizeof *pieces);
    size_t done = 0;
    int rc;

    recorded_need(pieces != NULL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const size_t end = i + 1 == count ? len : len / count * (i + 1);

        pieces[2 * i].bytes = pieces[2 * i + 1].bytes = bytes + done;
        pieces[2 * i].len = end - done;
        done = end;
    }
    rc = row->compress_pieces(&f->state, level, pieces, 2 * count, len, &f->packed);
    free(pieces);
    return rc;
}

/* What was compressed in pieces comes back in one. */
static void test_pieces(const etcp_compressor *row, fixture *f, const char *name)
{
    for (size_t count = 1; count <= 1000; count *= 10) {
        etcp_buf_clear(&f->packed);
        etcp_buf_clear(&f->out);
        const int packed = pack_pieces(row, f, ETCP_LEVEL_OF_ORIGINALS, count);
        const int rc = unpack(row, &f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed),
                              etcp_buf_len(&f->message), &f->out);

        tap_ok(packed == 0 && rc == 0 && recorded_is_content(&f->out, &f->message),
               "%s: %s in %d pieces", row->name, name, (int)count);
    }
}

static int comes_back(const etcp_compressor *row, fixture *f)
{
    etcp_buf_clear(&f->out);
    return row->decompress(&f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed),
                           etcp_buf_len(&f->message), &f->out) == 0 &&
           recorded_is_content(&f->out, &f->message);
}

/* What any level makes can be read. The level changes from one message to the next. */
static void test_levels(const etcp_compressor *row, fixture *f, const char *name)
{
    static const int levels[] = {1, 4, 6, 3, 9};
    int wrong = 0;

    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        etcp_buf_clear(&f->packed);
        wrong += row->compress(&f->state, levels[i], etcp_buf_bytes(&f->message),
                               etcp_buf_len(&f->message), &f->packed) != 0 ||
                 !comes_back(row, f);
        etcp_buf_clear(&f->packed);
        wrong += pack_pieces(row, f, levels[i], 10) != 0 || !comes_back(row, f);
    }
    tap_is_int(wrong, 0, "%s: %s at all levels", row->name, name);
}

/* Our own form comes back whole, and only whole. */
static void test_round_trip(const etcp_compressor *row, fixture *f, const char *name)
{
    const size_t len = etcp_buf_len(&f->message);

    etcp_buf_clear(&f->packed);
    etcp_buf_clear(&f->out);
    tap_is_int(row->compress(&f->state, ETCP_LEVEL_OF_ORIGINALS, etcp_buf_bytes(&f->message), len,
                             &f->packed),
               0, "%s: %s compresses", row->name, name);
    const int rc =
        unpack(row, &f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed), len, &f->out);

    tap_ok(rc == 0 && recorded_is_content(&f->out, &f->message),
           "%s: %s comes back with max = its size", row->name, name);
    if (len == 0)
        return;
    tap_is_int(unpack(row, &f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed), len - 1,
                      &f->out),
               ETCP_ETOOBIG, "%s: %s is too big for max = its size - 1", row->name, name);
    tap_ok(recorded_is_content(&f->out, &f->message), "%s: %s: refused, the output is as it was",
           row->name, name);
}

static void test_written_by_original(const etcp_compressor *row, fixture *f, const char *form,
                                     const char *name)
{
    etcp_buf_clear(&f->packed);
    recorded_append_hex(&f->packed, form, strlen(form));
    etcp_buf_clear(&f->out);
    const int rc = unpack(row, &f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed),
                          SIZE_MAX, &f->out);

    tap_ok(rc == 0 && recorded_is_content(&f->out, &f->message),
           "%s: %s, as written by an original", row->name, name);
}

/* Other releases of zlib may choose other matches, which receivers do not mind. */
static int same_zlib(void)
{
    return strcmp(zlibVersion(), "1.2.13") == 0;
}

static void test_line(fixture *f, const char *module, const char *spec, const char *form)
{
    const int is_lzf = strcmp(module, "lzf") == 0;
    const etcp_compressor *row = etcp_compressor_by_key(is_lzf ? '2' : '1');
    char name[40];

    snprintf(name, sizeof name, "%s", spec);
    if (strcmp(module, "refuse") == 0) {
        etcp_buf_clear(&f->packed);
        etcp_buf_clear(&f->out);
        recorded_append_hex(&f->packed, form, strlen(form) & ~(size_t)1);
        tap_is_int(unpack(row, &f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed),
                          SIZE_MAX, &f->out),
                   ETCP_EDECODE, "zlib: %s is refused", form);
        return;
    }
    recorded_make(&f->message, spec);
    if (form[0] != '=' && form[0] != '-')
        test_written_by_original(row, f, form[0] == 'h' ? "" : form, name);
    if (strcmp(module, "accept") == 0)
        return;
    test_levels(row, f, name);
    test_round_trip(row, f, name);
    test_pieces(row, f, name);
    if (is_lzf)
        return;
    if (!same_zlib()) {
        tap_skip(1, "the recorded bytes are zlib 1.2.13's");
        return;
    }
    if (form[0] == '=') {
        tap_ok(recorded_has_digest(&f->packed, form + 1),
               "zlib: %s gives the bytes of Compress::Zlib", name);
        return;
    }
    etcp_buf_clear(&f->out);
    recorded_append_hex(&f->out, form, strlen(form));
    tap_ok(recorded_is_content(&f->packed, &f->out), "zlib: %s gives the bytes of Compress::Zlib",
           name);
}

/* State is kept over the whole file: a message must not depend on those before it. */
static void test_recorded(void)
{
    static char line[16384];
    FILE *data = fopen("t/data/compress.txt", "r");
    fixture zlib, lzf;
    int lines = 0;

    recorded_need(data != NULL, "t/data/compress.txt is missing: run from the top directory");
    fixture_init(&zlib);
    fixture_init(&lzf);
    while (fgets(line, sizeof line, data)) {
        if (line[0] == '#')
            continue;
        const char *module = strtok(line, " \n");
        const char *spec = strtok(NULL, " \n");
        const char *form = strtok(NULL, " \n");

        recorded_need(module && spec && form, "incomplete line in t/data/compress.txt");
        test_line(strcmp(module, "lzf") == 0 ? &lzf : &zlib, module, spec, form);
        lines++;
    }
    fclose(data);
    tap_ok(lines > 60, "t/data/compress.txt was read (%d lines)", lines);
    fixture_deinit(&zlib, etcp_compressor_by_key('1'));
    fixture_deinit(&lzf, etcp_compressor_by_key('2'));
}

/* ---- damage --------------------------------------------------------------------------------- */

typedef struct lzf_case {
    const char *what;
    const char *hex;
    int code;
    const char *want; /* text that comes out */
} lzf_case;

static const lzf_case lzf_cases[] = {
    {"stored, nothing in it", "00", 0, ""},
    {"stored, three bytes", "00616263", 0, "abc"},
    {"three literals", "0302616263", 0, "abc"},
    {"a length longer than need be", "c08302616263", 0, "abc"},
    {"a length of six bytes", "fc808080808302616263", 0, "abc"},
    {"a match of three, one back", "0400612000", 0, "aaaa"},
    {"an overlapping match, two back", "070161626001", 0, "abababa"},
    {"length zero", "c08002616263", ETCP_EDECODE, ""},
    {"length cut short", "c3", ETCP_EDECODE, ""},
    {"only a length", "03", ETCP_EDECODE, ""},
    {"first byte 80", "8002616263", ETCP_EDECODE, ""},
    {"first byte bf", "bf02616263", ETCP_EDECODE, ""},
    {"first byte fe", "fe80808080808302616263", ETCP_EDECODE, ""},
    {"first byte ff", "ff80808080808302616263", ETCP_EDECODE, ""},
    {"one byte fewer than promised", "0402616263", ETCP_EDECODE, ""},
    {"one byte more than promised", "0202616263", ETCP_EDECODE, ""},
    {"a literal run cut short", "03026162", ETCP_EDECODE, ""},
    {"a match that reaches before the start", "0500612001", ETCP_EDECODE, ""},
    {"a match with nothing before it", "032000", ETCP_EDECODE, ""},
    {"a match without its offset", "04006120", ETCP_EDECODE, ""},
    {"a long match without its length", "0a0061e0", ETCP_EDECODE, ""},
    {"a long match without its offset", "0a0061e000", ETCP_EDECODE, ""},
    {"a match longer than promised", "0300612000", ETCP_EDECODE, ""},
    {"ten bytes promised, thousands there",
     "0a0061e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0f"
     "f00"
     "e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0f"
     "f00",
     ETCP_EDECODE, ""},
    {"2 GB promised, one byte there", "fdbfbfbfbfbf0061", ETCP_EDECODE, ""},
};

static void test_lzf_cases(void)
{
    const etcp_compressor *row = etcp_compressor_by_key('2');
    fixture f;

    fixture_init(&f);
    for (size_t i = 0; i < sizeof lzf_cases / sizeof lzf_cases[0]; i++) {
        const lzf_case *c = &lzf_cases[i];

        etcp_buf_clear(&f.packed);
        recorded_append_hex(&f.packed, c->hex, strlen(c->hex));
        etcp_buf_clear(&f.out);
        const int rc = unpack(row, &f.state, etcp_buf_bytes(&f.packed), etcp_buf_len(&f.packed),
                              SIZE_MAX, &f.out);

        tap_is_int(rc, c->code, "LZF: %s", c->what);
        tap_is_mem(etcp_buf_bytes(&f.out), etcp_buf_len(&f.out), c->want, strlen(c->want),
                   "LZF: %s: what came out", c->what);
        tap_ok(f.out.cap < 4096, "LZF: %s: memory", c->what);
    }
    fixture_deinit(&f, row);
}

static void make_packed(const etcp_compressor *row, fixture *f, const char *spec)
{
    fixture_init(f);
    recorded_make(&f->message, spec);
    recorded_need(row->compress(&f->state, ETCP_LEVEL_OF_ORIGINALS, etcp_buf_bytes(&f->message),
                                etcp_buf_len(&f->message), &f->packed) == 0,
                  "cannot compress");
}

static void test_cut_short(const etcp_compressor *row)
{
    fixture f;
    int wrong = 0;

    make_packed(row, &f, "pcut:40+t200+pcut:40");
    for (size_t len = 1; len < etcp_buf_len(&f.packed); len++) {
        wrong +=
            unpack(row, &f.state, etcp_buf_bytes(&f.packed), len, SIZE_MAX, &f.out) != ETCP_EDECODE;
        wrong += etcp_buf_len(&f.out) != 0;
    }
    tap_is_int(wrong, 0, "%s: refused wherever it is cut", row->name);
    tap_ok(unpack(row, &f.state, etcp_buf_bytes(&f.packed), etcp_buf_len(&f.packed), SIZE_MAX,
                  &f.out) == 0 &&
               recorded_is_content(&f.out, &f.message),
           "%s: and the next whole one is read", row->name);
    fixture_deinit(&f, row);
}

/* Neither form is protected well enough to refuse every changed bit; but none may do harm. */
static void test_flipped_bits(const etcp_compressor *row)
{
    enum { MAX = 5000 };
    fixture f;
    int wrong = 0;

    make_packed(row, &f, "pflip:40+t200+pflip:40");
    for (size_t bit = 0; bit < 8 * etcp_buf_len(&f.packed); bit++) {
        f.packed.data[f.packed.start + bit / 8] ^= (uint8_t)(1u << bit % 8);
        const int rc =
            unpack(row, &f.state, etcp_buf_bytes(&f.packed), etcp_buf_len(&f.packed), MAX, &f.out);

        wrong += rc != 0 && rc != ETCP_EDECODE && rc != ETCP_ETOOBIG;
        wrong += etcp_buf_len(&f.out) > (rc == 0 ? MAX : 0);
        etcp_buf_clear(&f.out);
        f.packed.data[f.packed.start + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    tap_is_int(wrong, 0, "%s: no changed bit does harm", row->name);
    fixture_deinit(&f, row);
}

/* A thousand zeros to one: the memory must follow max, not what the bytes could grow to. */
static void test_bomb(const etcp_compressor *row)
{
    fixture f;

    make_packed(row, &f, "z1000000");
    tap_is_int(
        unpack(row, &f.state, etcp_buf_bytes(&f.packed), etcp_buf_len(&f.packed), 20000, &f.out),
        ETCP_ETOOBIG, "%s: 1 MB of zeros does not pass a limit of 20000", row->name);
    tap_ok(f.out.cap <= 100000, "%s: and took %lu bytes of memory", row->name,
           (unsigned long)f.out.cap);
    fixture_deinit(&f, row);
}

/* ---- the rest ------------------------------------------------------------------------------- */

/* What is in the buffer already stays in front of what is appended. */
static void test_appends(const etcp_compressor *row)
{
    fixture f;

    make_packed(row, &f, "t300");
    recorded_need(etcp_buf_append(&f.out, "before", 6) == 0, "out of memory");
    tap_is_int(
        unpack(row, &f.state, etcp_buf_bytes(&f.packed), etcp_buf_len(&f.packed), 300, &f.out), 0,
        "%s: decompresses behind other content", row->name);
    tap_is_mem(etcp_buf_bytes(&f.out), 6, "before", 6, "%s: which is still there", row->name);
    etcp_buf_consume(&f.out, 6);
    tap_ok(recorded_is_content(&f.out, &f.message), "%s: and so is the message", row->name);

    etcp_buf_clear(&f.out);
    recorded_need(etcp_buf_append(&f.out, "before", 6) == 0, "out of memory");
    tap_is_int(
        row->compress(&f.state, ETCP_LEVEL_OF_ORIGINALS, etcp_buf_bytes(&f.message), 300, &f.out),
        0, "%s: compresses behind other content", row->name);
    tap_is_mem(etcp_buf_bytes(&f.out), 6, "before", 6, "%s: which is still there", row->name);
    etcp_buf_consume(&f.out, 6);
    tap_ok(recorded_is_content(&f.out, &f.packed), "%s: to the same bytes", row->name);
    fixture_deinit(&f, row);
}

static int both_ways(const etcp_compressor *row, fixture *f, int level)
{
    int rc = row->compress(&f->state, level, etcp_buf_bytes(&f->message), etcp_buf_len(&f->message),
                           &f->packed);

    if (rc == 0)
        rc = row->decompress(&f->state, etcp_buf_bytes(&f->packed), etcp_buf_len(&f->packed),
                             SIZE_MAX, &f->out);
    return rc;
}

/* A message of blocks that hold nothing: its steps are as short as those of any other. */
static void test_empty_blocks(void)
{
    enum { BLOCKS = 1000000 };
    const etcp_compressor *row = etcp_compressor_by_key('1');
    static const uint8_t end[] = {1, 0, 0, 0xff, 0xff, 0, 0, 0, 1};
    etcp_unpack_run run = {0};
    uint8_t room[4096];
    unsigned steps = 0;
    etcp_buf message;
    int rc;

    etcp_buf_init(&message);
    recorded_append_hex(&message, "7801", 4);
    for (unsigned i = 0; i < BLOCKS; i++)
        recorded_append_hex(&message, "000000ffff", 10);
    recorded_need(etcp_buf_append(&message, end, sizeof end) == 0, "out of memory");
    run.out = room;
    run.cap = sizeof room;
    do {
        steps++;
        rc = row->decompress_step(&run, etcp_buf_bytes(&message), etcp_buf_len(&message));
    } while (rc == ETCP_AGAIN);
    row->end_steps(&run);
    tap_ok(rc == 0 && run.len == 0, "blocks of nothing are an empty message");
    tap_is_int(steps, 5, "which takes a step for each MiB");
    etcp_buf_deinit(&message);
}

static void test_exhausted_memory(const etcp_compressor *row, int level)
{
    etcp_buf message;
    long n = 0;
    int rc;

    etcp_buf_init(&message);
    recorded_make(&message, "t20000+pmem:3000");
    do {
        fixture f;

        alloc_fail_at(++n);
        fixture_init(&f);
        f.message = message;
        rc = both_ways(row, &f, level);
        if (rc != 0) {
            tap_is_int(rc, ETCP_ENOMEM, "%s: allocation %ld fails", row->name, n);
            tap_is_int((long long)etcp_buf_len(&f.out), 0, "%s: nothing came out", row->name);
            f.packed.end = f.packed.start;
            tap_is_int(both_ways(row, &f, level), 0, "%s: the same objects work again", row->name);
        }
        tap_ok(recorded_is_content(&f.out, &message), "%s: the message comes back", row->name);
        etcp_buf_init(&f.message);
        fixture_deinit(&f, row);
        tap_is_int(alloc_live(), 0, "%s: no block is left", row->name);
    } while (rc != 0 && n < 100);
    tap_ok(n > 2, "%s: %ld allocations were made to fail", row->name, n - 1);
    alloc_reset();
    etcp_buf_deinit(&message);
}

static void test_table(void)
{
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);

    tap_is_int((long long)count, 2, "two compressors");
    tap_is_str(rows[0].name, "Compress::Zlib", "zlib first");
    tap_is_str(rows[1].name, "Compress::LZF", "then LZF");
    for (size_t i = 0; i < count; i++)
        tap_ok(etcp_compressor_by_key(rows[i].key) == &rows[i], "%s is found by its key",
               rows[i].name);
    tap_ok(etcp_compressor_by_key('3') == NULL, "no row has key 3");
    tap_ok(etcp_compressor_by_key('\0') == NULL, "nor NUL");
}

int main(void)
{
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);

    test_table();
    test_recorded();
    test_lzf_cases();
    test_empty_blocks();
    for (size_t i = 0; i < count; i++) {
        test_cut_short(&rows[i]);
        test_flipped_bits(&rows[i]);
        test_bomb(&rows[i]);
        test_appends(&rows[i]);
        test_exhausted_memory(&rows[i], ETCP_LEVEL_OF_ORIGINALS);
        test_exhausted_memory(&rows[i], 6);
    }
    return tap_done();
}
