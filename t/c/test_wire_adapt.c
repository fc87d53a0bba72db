/* The choice of a compressor: the estimator by looks made by hand, then whole links in numbers. */
#include "wire/adapt.h"

#include <string.h>

#include "link_model.h"
#include "tap.h"

enum { ALL = ETCP_CODECS_LZF | ETCP_CODECS_ZLIB, START_US = 5000000 };

/* An estimator that has seen a link of this rate, with so many bytes queued. */
static void at_rate(etcp_adapt *a, uint64_t rate, uint64_t queued)
{
    etcp_adapt_init(a, START_US, 0, 1, NULL);
    a->rate = rate;
    a->known = 1;
    a->queued = queued;
    etcp_adapt_sent(a, 1);
    etcp_adapt_look(a, START_US, queued, 0, 0);
}

/* ---- decisions ------------------------------------------------------------------------------- */

static const struct decision {
    const char *name;
    uint64_t rate; /* 0: the same host */
    uint64_t queued;
    size_t n;
    unsigned allowed;
    etcp_codec codec;
} decisions[] = {
    {"nothing is allowed", 250000, 1 << 20, 65536, 0, ETCP_CODEC_NONE},
    {"the same host, idle", 0, 0, 262144, ALL, ETCP_CODEC_NONE},
    {"the same host, a line", 0, 0, 240, ALL, ETCP_CODEC_NONE},
    {"the same host, a queue", 0, 1 << 20, 262144, ALL, ETCP_CODEC_NONE},
    {"2 Mbit/s, idle", 250000, 0, 262144, ALL, ETCP_CODEC_ZLIB6},
    {"2 Mbit/s, a queue", 250000, 1 << 17, 16384, ALL, ETCP_CODEC_ZLIB6},
    {"2 Mbit/s, a line", 250000, 1 << 17, 240, ALL, ETCP_CODEC_ZLIB1},
    {"20 Mbit/s, a queue", 2500000, 1 << 18, 262144, ALL, ETCP_CODEC_ZLIB6},
    {"20 Mbit/s, idle", 2500000, 0, 262144, ALL, ETCP_CODEC_ZLIB4},
    {"100 Mbit/s, a queue", 12500000, 1 << 18, 262144, ALL, ETCP_CODEC_ZLIB6},
    {"100 Mbit/s, half as much", 12500000, 1 << 16, 262144, ALL, ETCP_CODEC_ZLIB3},
    {"100 Mbit/s, idle", 12500000, 0, 262144, ALL, ETCP_CODEC_LZF},
    {"1 Gbit/s, a long queue", 125000000, 1 << 21, 262144, ALL, ETCP_CODEC_ZLIB4},
    {"1 Gbit/s, a queue", 125000000, 1 << 18, 262144, ALL, ETCP_CODEC_LZF},
    {"1 Gbit/s, idle", 125000000, 0, 262144, ALL, ETCP_CODEC_NONE},
    {"1 Gbit/s, a line", 125000000, 1 << 18, 240, ALL, ETCP_CODEC_NONE},
    {"10 Gbit/s, idle", 1250000000, 0, 262144, ALL, ETCP_CODEC_NONE},
    {"1 Gbit/s, an old peer with zlib", 125000000, 1 << 16, 262144, ETCP_CODECS_ZLIB,
     ETCP_CODEC_NONE},
    {"20 Mbit/s, an old peer with LZF", 2500000, 1 << 18, 262144, ETCP_CODECS_LZF, ETCP_CODEC_LZF},
    {"more bytes than can be counted", 125000000, 0, SIZE_MAX, ALL, ETCP_CODEC_NONE},
};

static void test_decisions(void)
{
    for (size_t i = 0; i < sizeof decisions / sizeof decisions[0]; i++) {
        const struct decision *d = &decisions[i];
        etcp_adapt a;

        at_rate(&a, d->rate ? d->rate : 4000000000u, d->queued);
        if (!d->rate)
            etcp_adapt_init(&a, START_US, 1, 1, NULL);
        const etcp_codec first = etcp_adapt_choose(&a, ETCP_CONTENT_RECORDS, d->n, d->allowed);

        tap_is_int(first, d->codec, "%s", d->name);
        tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_RECORDS, d->n, d->allowed), first,
                   "%s: the same again", d->name);
        etcp_adapt_deinit(&a);
    }
}

static void test_price(void)
{
    etcp_adapt a;
    unsigned price = ETCP_ADAPT_PRICE_MIN;

    at_rate(&a, 12500000, 1 << 18);
    a.price = ETCP_ADAPT_PRICE_MAX;
    tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 262144, ALL), ETCP_CODEC_NONE,
               "what is worth less than its work goes plain");
    a.price = 2 * ETCP_ADAPT_PRICE_ONE;
    tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 262144, ALL), ETCP_CODEC_LZF,
               "or is compressed with less work");
    price = etcp_adapt_next_price(price, 50000, 25000, 50000);
    tap_is_int(price, 2 * ETCP_ADAPT_PRICE_MIN, "a busy loop raises its price");
    tap_is_int(etcp_adapt_next_price(price, 45000, 25000, 50000), price,
               "a well used one keeps it");
    tap_ok(etcp_adapt_next_price(price, 50000, 1000, 50000) < price,
           "one that is busy with other things does not");
    price = etcp_adapt_next_price(price, 25000, 20000, 50000);
    tap_ok(price < 2 * ETCP_ADAPT_PRICE_MIN, "an idle one lowers it");
    for (int i = 0; i < 100; i++)
        price = etcp_adapt_next_price(price, UINT64_MAX, UINT64_MAX, 1);
    tap_is_int(price, ETCP_ADAPT_PRICE_MAX, "never above a limit");
    for (int i = 0; i < 100; i++)
        price = etcp_adapt_next_price(price, 0, 0, 0);
    tap_is_int(price, ETCP_ADAPT_PRICE_MIN, "nor below one");
    a.share = 256;
    tap_is_int(etcp_adapt_own_price(&a, ETCP_ADAPT_PRICE_MAX), ETCP_ADAPT_PRICE_MIN,
               "whose work is all there is pays the least");
    a.share = 0;
    tap_is_int(etcp_adapt_own_price(&a, 1000), 1000, "whose is none pays all");
    etcp_adapt_deinit(&a);
}

/* ---- the rate -------------------------------------------------------------------------------- */

/* For ms milliseconds a link carries rate bytes a second; the queue is kept filled, or not. */
static void run_looks(etcp_adapt *a, uint64_t *now, uint64_t rate, unsigned ms, uint64_t queue,
                      int blocked)
{
    for (unsigned i = 0; i < ms; i++) {
        const uint64_t gone = rate / 1000;

        *now += 1000;
        etcp_adapt_sent(a, (size_t)(queue > a->queued ? queue - a->queued + gone : gone));
        etcp_adapt_look(a, *now, queue, 0, blocked);
    }
}

static int is_near(uint64_t rate, uint64_t want)
{
    return rate > want - want / 5 && rate < want + want / 5;
}

static void test_rates(void)
{
    static const uint64_t rates[] = {250000, 2500000, 12500000, 125000000};

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        etcp_adapt a;
        uint64_t now = START_US;

        etcp_adapt_init(&a, now, 0, 1, NULL);
        run_looks(&a, &now, rates[i], 800, 100000, 1);
        tap_ok(is_near(a.rate, rates[i]), "refused bytes: %lu is measured as %lu",
               (unsigned long)rates[i], (unsigned long)a.rate);
        run_looks(&a, &now, rates[i] / 50, 1000, 100000, 1);
        tap_ok(is_near(a.rate, rates[i] / 50), "and a fiftieth of it a second later");
        run_looks(&a, &now, rates[i], 1500, 100000, 1);
        tap_ok(is_near(a.rate, rates[i]), "and the old rate after another");
        etcp_adapt_deinit(&a);
    }
}

static void test_what_is_no_limit(void)
{
    etcp_path_info info;
    etcp_adapt a;
    uint64_t now = START_US, rate;

    memset(&info, 0, sizeof info);
    info.min_rtt_us = 50000;
    etcp_adapt_init(&a, now, 0, 1, &info);
    rate = a.rate;
    tap_ok(is_near(rate, 65536 * 20), "the start knows the round trip");
    run_looks(&a, &now, 1000000, 1000, 1000000 / 20, 0);
    tap_is_int((long long)a.rate, (long long)rate, "what is in flight is no queue");
    tap_is_int((long long)a.hidden_ns, 0, "and hides nothing");
    run_looks(&a, &now, 4000000, 1000, 4000000 / 20, 0);
    tap_ok(a.rate >= 3900000, "but the link carries at least what it has carried");
    rate = a.rate;
    for (int i = 0; i < 20; i++)
        etcp_adapt_look(&a, now += 500000, 0, 0, 0);
    tap_is_int((long long)a.rate, (long long)rate, "ten idle seconds change nothing");
    run_looks(&a, &now, 2000000, 2000, 2000000, 0);
    tap_ok(is_near(a.rate, 2000000), "a queue that stands proves a limit");
    etcp_adapt_deinit(&a);
}

static void test_hope(void)
{
    etcp_adapt a;
    uint64_t now = START_US;

    at_rate(&a, 2500000, 0);
    for (int i = 0; i < 40; i++) {
        etcp_adapt_packed(&a, ETCP_CODEC_ZLIB6, ETCP_CONTENT_TEXT, 262144, 100000, 9000);
        etcp_adapt_sent(&a, 100000);
        etcp_adapt_look(&a, now += 10000, 0, 0, 0);
    }
    tap_ok(a.rate > 40000000, "a link that waits for the compressor may be faster: %lu",
           (unsigned long)a.rate);
    etcp_adapt_deinit(&a);
}

static void test_same_host(void)
{
    etcp_adapt a;
    uint64_t now = START_US;

    etcp_adapt_init(&a, now, 1, 0, NULL);
    run_looks(&a, &now, 500000000, 2000, 1 << 20, 1);
    tap_ok(a.same_host, "a peer on this host that takes much is no link");
    run_looks(&a, &now, 2500000, 400, 1 << 20, 1);
    tap_ok(a.same_host, "nor one that stops for less than half a second");
    etcp_adapt_look(&a, now += 1000, 0, 0, 0);
    run_looks(&a, &now, 2500000, 1200, 1 << 20, 1);
    tap_ok(!a.same_host && is_near(a.rate, 2500000), "one that is slow for longer is measured");
    tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 262144, ALL), ETCP_CODEC_ZLIB6,
               "and its bytes are counted");
    run_looks(&a, &now, 2500000, 1600, 1 << 20, 1);
    tap_ok(a.same_host, "after two seconds it is tried again");
    run_looks(&a, &now, 2500000, 1000, 1 << 20, 1);
    tap_ok(!a.same_host, "and found as slow as before");
    run_looks(&a, &now, 2500000, 2900, 1 << 20, 1);
    tap_ok(!a.same_host, "for longer this time");
    run_looks(&a, &now, 2500000, 500, 1 << 20, 1);
    tap_ok(a.same_host, "but not for ever");
    run_looks(&a, &now, 500000000, 2000, 1 << 20, 1);
    tap_ok(a.same_host, "one that reads again is no link any more");
    etcp_adapt_deinit(&a);
}

static void test_path(void)
{
    etcp_path_info info;
    etcp_adapt a;

    at_rate(&a, 125000000, 0);
    memset(&info, 0, sizeof info);
    info.busy_us = 100000;
    info.limited_us = 60000;
    etcp_adapt_path(&a, &info);
    tap_ok(a.receiver_limited, "a receiver that is slower than the link is known");
    a.queued = 1 << 20;
    tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 262144, ALL), ETCP_CODEC_NONE,
               "and gets no more work");
    info.busy_us = 200000;
    etcp_adapt_path(&a, &info);
    tap_ok(!a.receiver_limited, "until it is faster");
    etcp_adapt_deinit(&a);

    at_rate(&a, 40000000, 0);
    etcp_adapt_sent(&a, 100000);
    info.min_rtt_us = 10000;
    info.delivery_rate = 2000000; /* 50 ms for 100000 bytes, of which 10 for the way */
    for (int i = 0; i < 8; i++)
        etcp_adapt_path(&a, &info);
    tap_ok(is_near(a.rate, 2500000), "what a kernel measured of a single message counts");
    tap_ok(!etcp_adapt_wants_path(&a), "it is not asked again at once");
    etcp_adapt_deinit(&a);
}

/* No input may divide by zero, overflow or turn time back. */
static void test_extremes(void)
{
    static const uint64_t values[] = {0, 1, 1000, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX - 1};
    const size_t count = sizeof values / sizeof values[0];
    int wrong = 0;

    for (size_t i = 0; i < count * count * count; i++) {
        etcp_adapt a;
        const uint64_t x = values[i % count], y = values[i / count % count];
        const uint64_t z = values[i / count / count];
        etcp_path_info info = {x, y, z, x};

        etcp_adapt_init(&a, x, 0, 1, &info);
        etcp_adapt_sent(&a, (size_t)y);
        etcp_adapt_look(&a, z, x, y, 1);
        etcp_adapt_packed(&a, ETCP_CODEC_LZF, ETCP_CONTENT_TEXT, (size_t)y, (size_t)z, x);
        etcp_adapt_sealed(&a, (size_t)z, y);
        etcp_adapt_look(&a, z, ETCP_QUEUED_UNKNOWN, x, 0);
        etcp_adapt_path(&a, &info);
        etcp_adapt_look(&a, y, z, 0, 1);
        wrong += etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, (size_t)z, ALL) >= ETCP_CODECS;
        wrong += a.rate < 1000 || a.rate > 4000000000u;
        etcp_adapt_deinit(&a);
    }
    tap_is_int(wrong, 0, "extreme values give legal decisions");
}

/* Looks without a word from the kernel still follow the rate. */
static void test_unknown_queue(void)
{
    etcp_adapt a;
    uint64_t now = START_US;

    etcp_adapt_init(&a, now, 0, 1, NULL);
    for (int i = 0; i < 400; i++) {
        now += 10000;
        etcp_adapt_sent(&a, 25000);
        etcp_adapt_look(&a, now, ETCP_QUEUED_UNKNOWN, 0, 1);
    }
    tap_ok(a.rate > 1000000 && a.rate < 6000000, "without a count of the kernel: %lu for 2500000",
           (unsigned long)a.rate);
    etcp_adapt_deinit(&a);
}

/* ---- learning -------------------------------------------------------------------------------- */

static void test_learning(void)
{
    etcp_adapt a;
    int explored = 0;

    at_rate(&a, 2500000, 1 << 18);
    for (int i = 0; i < 20; i++)
        etcp_adapt_packed(&a, ETCP_CODEC_ZLIB6, ETCP_CONTENT_TEXT, 65536, 65000, 2300);
    tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 65536, ALL), ETCP_CODEC_NONE,
               "what does not shrink goes plain");
    tap_is_int(etcp_adapt_choose(&a, ETCP_CONTENT_MIXED, 65536, ALL), ETCP_CODEC_ZLIB6,
               "other kinds of content are not judged by it");
    for (int i = 0; i < 480; i++)
        explored += etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 65536, ALL) != ETCP_CODEC_NONE;
    tap_ok(explored > 0 && explored <= 10, "but one message in 48 tries (%d of 480)", explored);
    for (int i = 0; i < 4; i++)
        etcp_adapt_packed(&a, ETCP_CODEC_ZLIB1, ETCP_CONTENT_TEXT, 65536, 2000, 300);
    tap_ok(etcp_adapt_choose(&a, ETCP_CONTENT_TEXT, 65536, ALL) != ETCP_CODEC_NONE,
           "and a jump of the ratio is believed at once");
    etcp_adapt_deinit(&a);
}

static void test_looks_wanted(void)
{
    etcp_adapt a;

    at_rate(&a, 2500000, 0);
    tap_ok(!etcp_adapt_wants_look(&a, 240), "a small message needs no look");
    tap_ok(etcp_adapt_wants_look(&a, ETCP_ADAPT_LARGE), "a large one does");
    for (int i = 0; i < 64; i++)
        etcp_adapt_sent(&a, 100);
    tap_ok(etcp_adapt_wants_look(&a, 240), "and so do many");
    etcp_adapt_deinit(&a);
}

static void test_content(void)
{
    uint8_t bytes[4096];
    uint32_t random = 1;

    memset(bytes, 0, sizeof bytes);
    tap_is_int(etcp_adapt_content(bytes, 32), ETCP_CONTENT_RUNS, "zeros");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((random = random * 1103515245u + 12345u) >> 16);
    tap_is_int(etcp_adapt_content(bytes, sizeof bytes), ETCP_CONTENT_DENSE, "noise");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) "the quick brown fox jumps over the lazy dog "[i % 44];
    tap_is_int(etcp_adapt_content(bytes, sizeof bytes), ETCP_CONTENT_TEXT, "text");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) "12:34:56 GET 200 9241 "[i % 22];
    tap_is_int(etcp_adapt_content(bytes, sizeof bytes), ETCP_CONTENT_RECORDS, "records");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i % 4 ? (uint8_t)(i % 7) : 'x';
    tap_is_int(etcp_adapt_content(bytes, sizeof bytes), ETCP_CONTENT_MIXED, "a structure");
}

/* ---- links ----------------------------------------------------------------------------------- */

/* Throughput of the choices as a percentage of the best fixed codec's, and of zlib 6's, which is
 * what all messages went through before there was a choice. */
static void compare(const model *m, unsigned *best, unsigned *before)
{
    model_result adaptive, fixed;
    uint64_t most = 1;

    model_run(m, MODEL_ADAPTIVE, &adaptive);
    for (int c = 0; c < ETCP_CODECS; c++) {
        model_run(m, c, &fixed);
        if (fixed.bytes > most)
            most = fixed.bytes;
    }
    *best = (unsigned)(adaptive.bytes * 100 / most);
    *before = (unsigned)(adaptive.bytes * 100 / (fixed.bytes ? fixed.bytes : 1));
}

static const struct link_case {
    const char *name;
    uint64_t rate, rtt_us;
    int same_host;
    model_kind kinds[2];
    size_t size;
    unsigned best; /* percent, at least */
    int fast_zlib;
} links[] = {
    {"same host, log", 4000000000u, 20, 1, {MODEL_LOG, MODEL_LOG}, 262144, 97, 0},
    {"same host, lines", 4000000000u, 20, 1, {MODEL_LOG, MODEL_LOG}, 240, 97, 0},
    {"1 Gbit/s, log", 125000000, 300, 0, {MODEL_LOG, MODEL_LOG}, 262144, 100, 0},
    {"1 Gbit/s, log of 16 KiB", 125000000, 300, 0, {MODEL_LOG, MODEL_LOG}, 16384, 110, 0},
    {"1 Gbit/s, text", 125000000, 300, 0, {MODEL_TEXT, MODEL_TEXT}, 262144, 97, 0},
    {"1 Gbit/s, noise", 125000000, 300, 0, {MODEL_NOISE, MODEL_NOISE}, 262144, 97, 0},
    {"100 Mbit/s, log", 12500000, 5000, 0, {MODEL_LOG, MODEL_LOG}, 262144, 97, 0},
    {"100 Mbit/s, text", 12500000, 5000, 0, {MODEL_TEXT, MODEL_TEXT}, 16384, 97, 0},
    {"100 Mbit/s, lines", 12500000, 5000, 0, {MODEL_LOG, MODEL_LOG}, 240, 95, 0},
    {"20 Mbit/s, log", 2500000, 20000, 0, {MODEL_LOG, MODEL_LOG}, 262144, 97, 0},
    {"20 Mbit/s, structures", 2500000, 20000, 0, {MODEL_JSON, MODEL_JSON}, 1024, 95, 0},
    {"20 Mbit/s, log and text in turn", 2500000, 100, 0, {MODEL_LOG, MODEL_TEXT}, 65536, 93, 0},
    {"20 Mbit/s, log and zeros in turn", 2500000, 100, 0, {MODEL_LOG, MODEL_ZEROS}, 65536, 95, 0},
    {"2 Mbit/s, log", 250000, 20000, 0, {MODEL_LOG, MODEL_LOG}, 16384, 97, 0},
    {"2 Mbit/s, log and noise in turn", 250000, 20000, 0, {MODEL_LOG, MODEL_NOISE}, 16384, 95, 0},
    {"1 Gbit/s, log, libdeflate", 125000000, 300, 0, {MODEL_LOG, MODEL_LOG}, 262144, 99, 1},
    {"1 Gbit/s, text, libdeflate", 125000000, 300, 0, {MODEL_TEXT, MODEL_TEXT}, 262144, 97, 1},
    {"1 Gbit/s, log and noise in turn", 125000000, 300, 0, {MODEL_LOG, MODEL_NOISE}, 65536, 97, 1},
    {"100 Mbit/s, log, libdeflate", 12500000, 5000, 0, {MODEL_LOG, MODEL_LOG}, 262144, 97, 1},
    {"100 Mbit/s, log of 1 KiB", 12500000, 5000, 0, {MODEL_LOG, MODEL_LOG}, 1024, 97, 1},
    {"20 Mbit/s, log, libdeflate", 2500000, 20000, 0, {MODEL_LOG, MODEL_LOG}, 262144, 97, 1},
};

static void test_links(void)
{
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        const struct link_case *l = &links[i];
        unsigned best, before;
        model m;

        memset(&m, 0, sizeof m);
        m.steps[0].rate = l->rate;
        m.rtt_us = l->rtt_us;
        m.same_host = l->same_host;
        m.kinds[0] = l->kinds[0];
        m.kinds[1] = l->kinds[1];
        m.size = l->size;
        m.seconds = l->rate < 1000000 ? 20 : l->rate < 100000000 ? 4 : 2;
        m.send_cost = 20;
        if (l->fast_zlib) { /* measured on a newer machine */
            m.fast_zlib = 1;
            m.send_cost = 8;
            m.receiver_factor = 6;
        }
        compare(&m, &best, &before);
        tap_ok(best >= l->best, "%s: %u%% of the best fixed choice, want %u", l->name, best,
               l->best);
        tap_ok(before >= 93, "%s: %u%% of before", l->name, before);
    }
}

/* 1 Gbit/s, then 20 Mbit/s: two seconds later it is within a fifth of the best, and back. */
static void test_change(void)
{
    model_result adaptive, fixed;
    uint64_t best[MODEL_WINDOWS_MAX] = {0};
    int behind = 0;
    model m;

    memset(&m, 0, sizeof m);
    m.steps[0].rate = 125000000;
    m.steps[1].at_us = 3000000; /* the model begins at one second */
    m.steps[1].rate = 2500000;
    m.steps[2].at_us = 7000000;
    m.steps[2].rate = 125000000;
    m.rtt_us = 1000;
    m.size = 65536;
    m.seconds = 10;
    m.send_cost = 20;
    model_run(&m, MODEL_ADAPTIVE, &adaptive);
    for (int c = 0; c < ETCP_CODECS; c++) {
        model_run(&m, c, &fixed);
        for (int i = 0; i < 20; i++)
            if (fixed.windows[i] > best[i])
                best[i] = fixed.windows[i];
    }
    for (int i = 0; i < 19; i++) { /* the last one is not whole */
        const int is_new = (i >= 4 && i < 6) || (i >= 12 && i < 14);

        behind += !is_new && adaptive.windows[i] * 10 < best[i] * 8;
    }
    tap_is_int(behind, 0, "a link that changes is followed within a second");
}

int main(void)
{
    test_decisions();
    test_price();
    test_rates();
    test_what_is_no_limit();
    test_hope();
    test_same_host();
    test_path();
    test_extremes();
    test_unknown_queue();
    test_learning();
    test_looks_wanted();
    test_content();
    test_links();
    test_change();
    return tap_done();
}
