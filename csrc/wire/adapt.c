#include "adapt.h"

#include <string.h>

#include "base/mem.h"

enum {
    RATIO_ONE = 4096,
    RATIO_MAX = RATIO_ONE + RATIO_ONE / 20,
    COST_ONE = 128,
    PLAIN_COST = COST_ONE * 7 / 10, /* the kernel's copy */
    SEALED_COST = COST_ONE * 2,     /* with a cipher of hardware */
    WIDEST = 0x7fffffff,            /* larger messages cost as if they had so many bytes */
    SAMPLE_US = 10000,
    FIRST_SAMPLE_US = 2000,
    SHARE_US = 20000,
    PATH_US = 100000,
    RATE_MEMORY_US = 150000, /* how long what was measured counts as much as what is new */
    DOUBLING_US = 60000,
    STANDING = 48 << 10, /* a queue of more than that, beyond what is in flight, stands */
    STALE_MS = 1000,
    LOOK_BYTES = 16384,
    LOOK_BYTES_SAME_HOST = 65536,
    LOOK_MESSAGES = 64,
    EXPLORE_AFTER = 48,
    EXPLORE_AGAIN = 24,
    PATH_WIRE_MIN = 8192,
    GUESSED_BUFFER = 64 << 10,
    REFUSED_US = 500000,
    DOUBT_US = 2000000, /* at first; each time it was right, twice as long */
    DOUBT_MAX_US = 64000000,
    RECEIVER_NS = 8000 /* what a receiver in Perl does for any message */
};

#define RATE_MIN UINT64_C(1000)
#define RATE_MAX UINT64_C(4000000000)
#define RATE_START UINT64_C(40000000) /* more would fill the buffer of a slow link unpacked */
#define FIRST_WINDOW UINT64_C(65536)

/* A peer that takes less is a link, wherever it is: a tunnel may begin there. */
#define SLOW_READER UINT64_C(20000000)

/* ---- what codecs cost before they were measured ---------------------------------------------- */

typedef struct guess {
    uint16_t ratio[ETCP_ADAPT_SIZES];  /* in 1/100 */
    uint16_t cost[ETCP_ADAPT_SIZES];   /* nanoseconds a byte, in 1/10 */
    uint16_t unpack[ETCP_ADAPT_SIZES]; /* the same, at the peer's */
    uint16_t fixed_ns;                 /* for each message */
} guess;

/* Lines of a log on a machine of 2025: others differ by a factor that is soon learnt. */
static const guess guesses[ETCP_CODEC_ZLIB1] = {
    {{100, 100, 100}, {0, 0, 0}, {0, 0, 0}, 0},
    {{77, 59, 43}, {40, 33, 47}, {40, 30, 20}, 300},
};

/* By zlib, and by libdeflate. */
static const guess zlib_guesses[2][ETCP_CODECS - ETCP_CODEC_ZLIB1] = {
    {
        {{62, 39, 32}, {130, 120, 130}, {120, 60, 30}, 6000},
        {{62, 38, 30}, {135, 130, 170}, {120, 60, 30}, 6000},
        {{62, 37, 28}, {140, 180, 200}, {120, 60, 30}, 6000},
        {{62, 37, 26}, {150, 230, 310}, {120, 60, 30}, 6000},
    },
    {
        {{62, 37, 28}, {32, 31, 34}, {120, 60, 30}, 4800},
        {{62, 37, 27}, {52, 52, 56}, {120, 60, 30}, 5900},
        {{62, 36, 25}, {60, 65, 91}, {120, 60, 30}, 5900},
        {{62, 36, 24}, {65, 70, 187}, {120, 60, 30}, 5900},
    },
};

static const guess *guess_of(const etcp_adapt *a, int codec)
{
    return codec < ETCP_CODEC_ZLIB1 ? &guesses[codec]
                                    : &zlib_guesses[a->fast_zlib][codec - ETCP_CODEC_ZLIB1];
}

static unsigned size_class(size_t n)
{
    return n < 512 ? 0 : n < ETCP_ADAPT_LARGE ? 1 : 2;
}

static uint32_t now_ms(const etcp_adapt *a)
{
    return (uint32_t)(a->at_us / 1000);
}

static int is_stale(const etcp_adapt *a, const etcp_estimate *e)
{
    return !e->used_ms || (uint32_t)(now_ms(a) - e->used_ms) > STALE_MS;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The logarithm to the base of 2 in 1/65536, straight between the powers; and the way back. */
static uint64_t log_of(uint64_t n)
{
    unsigned power = 0;

    while (n >> power > 1)
        power++;
    const uint64_t rest = n - (UINT64_C(1) << power);

    return ((uint64_t)power << 16) + (power > 16 ? rest >> (power - 16) : rest << (16 - power));
}

static uint64_t power_of(uint64_t log)
{
    const unsigned power = (unsigned)(log >> 16);
    const uint64_t fraction = (log & 0xffff) | 0x10000;

    return power > 16 ? fraction << (power - 16) : fraction >> (16 - power);
}

/* Moves from a to b by weight/65536 of the way, as factors go. */
static uint64_t blend(uint64_t a, uint64_t b, uint64_t weight)
{
    const uint64_t from = log_of(a);
    const uint64_t to = log_of(b);

    return power_of((from * (65536 - weight) + to * weight) >> 16);
}

static uint64_t clamp(uint64_t n, uint64_t least, uint64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* a * b / c without overflow, as long as the result fits; 0 / 0 is 0. */
static uint64_t scaled(uint64_t a, uint64_t b, uint64_t c)
{
    if (!c)
        return a && b ? UINT64_MAX : 0;
    while (a && b > UINT64_MAX / a) {
        if (a > b)
            a >>= 1;
        else
            b >>= 1;
        c = c > 1 ? c >> 1 : 1;
    }
    return a * b / c;
}

static uint64_t bytes_in(uint64_t rate, uint64_t us)
{
    return scaled(rate, us, 1000000);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* No link at all: only work counts. */
static int has_no_link(const etcp_adapt *a)
{
    return a->same_host || a->receiver_limited;
}

void etcp_adapt_init(etcp_adapt *a, uint64_t now_us, int same_host, int is_sealed,
                     const etcp_path_info *info)
{
    memset(a, 0, sizeof *a);
    a->at_us = now_us;
    a->share_since_us = now_us;
    a->same_host = same_host != 0;
    a->price = ETCP_ADAPT_PRICE_MIN;
    a->send_cost = is_sealed ? SEALED_COST : PLAIN_COST;
    a->rate = same_host ? RATE_MAX : RATE_START;
    if (info && info->min_rtt_us) {
        a->min_rtt_us = info->min_rtt_us;
        if (!same_host)
            a->rate = clamp(FIRST_WINDOW * 1000000 / info->min_rtt_us, RATE_MIN, RATE_START);
    }
    if (info) {
        a->path_us = now_us;
        a->busy_us = info->busy_us;
        a->limited_us = info->limited_us;
    }
}

void etcp_adapt_expect_fast_zlib(etcp_adapt *a)
{
    a->fast_zlib = 1;
}

void etcp_adapt_deinit(etcp_adapt *a)
{
    etcp_free(a->sorts);
    a->sorts = NULL;
    a->sort_count = 0;
}

/* ---- sorts of messages ----------------------------------------------------------------------- */

static etcp_sort *find_sort(const etcp_adapt *a, etcp_content content, unsigned size)
{
    for (unsigned i = 0; i < a->sort_count; i++)
        if (a->sorts[i].content == content && a->sorts[i].size == size)
            return &a->sorts[i];
    return NULL;
}

/* The same, with guesses for one that was not met before; NULL: there is no memory. */
static etcp_sort *get_sort(etcp_adapt *a, etcp_content content, unsigned size)
{
    etcp_sort *sort = find_sort(a, content, size);
    etcp_sort *more;

    if (sort)
        return sort;
    more = etcp_realloc(a->sorts, (a->sort_count + 1u) * sizeof *more);
    if (!more)
        return NULL;
    a->sorts = more;
    sort = &more[a->sort_count++];
    memset(sort, 0, sizeof *sort);
    sort->content = (uint8_t)content;
    sort->size = (uint8_t)size;
    for (int c = 1; c < ETCP_CODECS; c++) {
        sort->estimates[c - 1].ratio = (uint16_t)(guess_of(a, c)->ratio[size] * RATIO_ONE / 100);
        sort->estimates[c - 1].cost = (uint16_t)(guess_of(a, c)->cost[size] * COST_ONE / 10);
    }
    return sort;
}

/* ---- content --------------------------------------------------------------------------------- */

etcp_content etcp_adapt_content(const uint8_t *bytes, size_t len)
{
    enum { PAIRS = 16 };
    const size_t step = (len - 2) / (PAIRS - 1);
    unsigned same = 0, printable = 0, digits = 0, high = 0;

    for (size_t i = 0; i < PAIRS; i++) {
        const uint8_t *pair = bytes + i * step;

        same += pair[0] == pair[1] && pair[0] == bytes[0];
        for (int j = 0; j < 2; j++) {
            printable += (pair[j] >= ' ' && pair[j] < 0x7f) || pair[j] == '\n';
            digits += pair[j] >= '0' && pair[j] <= '9';
            high += pair[j] >= 0x80;
        }
    }
    if (same > PAIRS * 3 / 4)
        return ETCP_CONTENT_RUNS;
    if (printable > PAIRS * 2 * 7 / 8)
        return digits > PAIRS / 8 ? ETCP_CONTENT_RECORDS : ETCP_CONTENT_TEXT;
    return high > PAIRS * 2 * 5 / 16 ? ETCP_CONTENT_DENSE : ETCP_CONTENT_MIXED;
}

/* ---- the link -------------------------------------------------------------------------------- */

int etcp_adapt_wants_look(const etcp_adapt *a, size_t n)
{
    if (a->same_host)
        return a->written >= LOOK_BYTES_SAME_HOST || a->messages >= LOOK_MESSAGES;
    return n >= ETCP_ADAPT_LARGE || a->written >= LOOK_BYTES || a->messages >= LOOK_MESSAGES;
}

static void set_rate(etcp_adapt *a, uint64_t rate)
{
    a->rate = clamp(rate, RATE_MIN, RATE_MAX);
}

/* Counts a rate measured for us microseconds while the link was the limit. */
static void take_rate(etcp_adapt *a, uint64_t rate, uint64_t us)
{
    uint64_t weight =
        65536 - scaled(RATE_MEMORY_US, 65536, clamp(us, 1, 1u << 30) + RATE_MEMORY_US);

    if (rate < a->rate / 4 && weight < 32768)
        weight = 32768;
    /* Nothing acknowledged for once is no proof of a link that carries nothing. */
    set_rate(a, blend(a->rate, clamp(rate, a->rate / 16 + RATE_MIN, RATE_MAX), weight));
    a->known = 1;
}

/* Whether the queue is more than what a link of this rate has in flight. */
static int stands(const etcp_adapt *a, uint64_t queued, uint64_t rate)
{
    const uint64_t flight = bytes_in(rate, a->min_rtt_us);

    return queued > flight + flight / 4 + STANDING;
}

static void forget_sample(etcp_adapt *a)
{
    a->sample_bytes = 0;
    a->sample_us = 0;
    a->sample_idle_us = 0;
    a->sample_blocked = 0;
}

/* Adds an interval to the sample. Returns for how many microseconds the link was not the limit. */
static uint64_t add_sample(etcp_adapt *a, uint64_t done, uint64_t passed, uint64_t queued,
                           int was_blocked)
{
    uint64_t rate, us;

    a->sample_bytes += done;
    a->sample_us += passed;
    if (was_blocked)
        a->sample_blocked = 1;
    if (!a->queued && done < a->written)
        a->sample_idle_us = a->min_rtt_us; /* so long no acknowledgement can have come */
    if (a->sample_us < (a->known ? SAMPLE_US : FIRST_SAMPLE_US) + a->sample_idle_us)
        return 0;
    us = a->sample_us;
    rate = scaled(a->sample_bytes, 1000000, us - a->sample_idle_us);
    const int is_limit = a->sample_blocked || stands(a, queued, rate);

    if (!is_limit)
        rate = scaled(a->sample_bytes, 1000000, us);
    forget_sample(a);
    if (is_limit) {
        take_rate(a, rate, us);
        return 0;
    }
    if (rate > a->rate)
        set_rate(a, rate);
    return us;
}

/* Nothing says that the link is the limit, and compressing takes most of the time: perhaps the link
 * waits for us. */
static void hope(etcp_adapt *a, uint64_t us)
{
    if (us > DOUBLING_US)
        us = DOUBLING_US;
    if (a->share > 128)
        set_rate(a, a->rate + scaled(a->rate, us, DOUBLING_US));
}

static void note_share(etcp_adapt *a, uint64_t now_us)
{
    const uint64_t passed = now_us - a->share_since_us;

    if (passed < SHARE_US)
        return;
    a->share = (uint32_t)clamp(scaled(a->share_work_us, 256, passed), 0, 256);
    a->share_since_us = now_us;
    a->share_work_us = 0;
}

/* Either a tunnel begins here, or the machine is so busy that nobody reads. Nothing tells them
 * apart but trying again, less and less often. */
static void doubt_same_host(etcp_adapt *a, uint64_t rate)
{
    a->same_host = 0;
    a->known = 0;
    a->doubt_us = clamp(2 * a->doubt_us, DOUBT_US, DOUBT_MAX_US);
    a->doubt_until_us = a->at_us + a->doubt_us;
    set_rate(a, rate);
}

static void end_doubt(etcp_adapt *a)
{
    a->same_host = 1;
    a->doubt_until_us = 0;
    set_rate(a, RATE_MAX);
}

/* A link within this host is no link; but what reads from it may be the end of a tunnel. */
static void watch_same_host(etcp_adapt *a, uint64_t done, uint64_t passed, uint64_t queued,
                            int was_blocked)
{
    if (!was_blocked || !queued || !a->queued) {
        a->refused_us = 0;
        a->refused_bytes = 0;
        return;
    }
    a->refused_us += passed;
    a->refused_bytes += done;
    if (a->refused_us < REFUSED_US)
        return;
    const uint64_t rate = scaled(a->refused_bytes, 1000000, a->refused_us);

    if (a->same_host && rate < SLOW_READER)
        doubt_same_host(a, rate);
    a->refused_us = 0;
    a->refused_bytes = 0;
}

/* The kernel does not say what it holds: what the estimate has not carried away yet. */
static uint64_t guess_queued(const etcp_adapt *a, uint64_t passed, uint64_t own, int was_blocked)
{
    const uint64_t gone = bytes_in(a->rate, passed);
    const uint64_t all = a->queued + a->written;
    const uint64_t least = was_blocked ? own + GUESSED_BUFFER : own;

    return clamp(all > gone ? all - gone : 0, least < all ? least : all, all);
}

static void update_hidden(etcp_adapt *a)
{
    const uint64_t busy_us = scaled(a->queued, 1000000, a->rate);

    a->hidden_ns = 0;
    if (!has_no_link(a) && busy_us > a->min_rtt_us)
        a->hidden_ns = clamp(busy_us - a->min_rtt_us, 0, 10000000) * 900;
}

void etcp_adapt_look(etcp_adapt *a, uint64_t now_us, uint64_t queued, uint64_t own, int was_blocked)
{
    const uint64_t passed = now_us > a->at_us ? now_us - a->at_us : 0;

    if (queued == ETCP_QUEUED_UNKNOWN)
        queued = guess_queued(a, passed, own, was_blocked);
    const uint64_t all = a->queued + a->written;
    const uint64_t done = all > queued ? all - queued : 0;
    uint64_t idle_us = queued ? 0 : passed;

    note_share(a, now_us > a->share_since_us ? now_us : a->share_since_us);
    watch_same_host(a, done, passed, queued, was_blocked);
    if (a->doubt_until_us && now_us > a->doubt_until_us)
        end_doubt(a);
    if ((a->queued || !a->known) && queued) {
        idle_us = add_sample(a, done, passed, queued, was_blocked);
    } else {
        forget_sample(a);
        if (passed >= SAMPLE_US && scaled(done, 1000000, passed) > a->rate)
            set_rate(a, scaled(done, 1000000, passed));
    }
    hope(a, idle_us);
    a->at_us += passed;
    a->queued = queued;
    a->written = 0;
    a->messages = 0;
    update_hidden(a);
    for (unsigned i = 0; i < a->sort_count; i++)
        a->sorts[i].cached = 0;
}

int etcp_adapt_wants_path(const etcp_adapt *a)
{
    return a->at_us - a->path_us >= PATH_US;
}

void etcp_adapt_path(etcp_adapt *a, const etcp_path_info *info)
{
    const uint64_t busy = info->busy_us > a->busy_us ? info->busy_us - a->busy_us : 0;
    const uint64_t limited =
        info->limited_us > a->limited_us ? info->limited_us - a->limited_us : 0;

    a->path_us = a->at_us;
    if (info->min_rtt_us)
        a->min_rtt_us = info->min_rtt_us;
    if (busy > SHARE_US) {
        a->receiver_limited = limited > busy / 2 && a->rate > SLOW_READER;
        a->busy_us = info->busy_us;
        a->limited_us = info->limited_us;
    }
    /* A message that went alone: the time it took less the way. The kernel's own rate is the
     * highest it has seen, round trips included, and proves nothing while bytes are queued. */
    if (!a->queued && info->delivery_rate && a->last_wire >= PATH_WIRE_MIN) {
        const uint64_t us = scaled(a->last_wire, 1000000, info->delivery_rate);

        if (us > a->min_rtt_us) {
            const uint64_t rate = scaled(a->last_wire, 1000000, us - a->min_rtt_us);

            set_rate(a, blend(a->rate, clamp(rate, RATE_MIN, RATE_MAX), 32768));
        }
    }
    update_hidden(a);
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* What is asked: everything of a decision but the codec. */
typedef struct question {
    const etcp_adapt *a;
    uint64_t n;
    unsigned size;
    unsigned price;
    uint64_t link; /* nanoseconds for each byte on the wire, in 1/1024 */
    uint64_t hidden_ns;
} question;

/* The cost in nanoseconds; e is NULL for NONE. */
static uint64_t cost_of(const question *q, int codec, uint64_t ratio, uint64_t cost)
{
    const guess *g = guess_of(q->a, codec);
    const uint64_t wire = (q->n * ratio) / RATIO_ONE;
    const uint64_t work = g->fixed_ns + q->n * cost / COST_ONE + wire * q->a->send_cost / COST_ONE;
    const uint64_t link = (wire * q->link) >> 10;
    uint64_t sum =
        (work > q->hidden_ns ? work : q->hidden_ns) + work * q->price / ETCP_ADAPT_PRICE_ONE;

    if (!q->hidden_ns)
        sum += q->n * g->unpack[q->size] / 10;
    /* Between equals the plain bytes win. */
    return sum + (codec ? link : link - link / 32);
}

static uint64_t cost_by_estimate(const question *q, const etcp_estimate *e, int codec)
{
    return cost_of(q, codec, e->ratio, e->cost);
}

/* What it might be at best, if the estimate is that wrong. */
static uint64_t cost_at_best(const question *q, const etcp_estimate *e, int codec)
{
    return cost_of(q, codec, e->ratio / 4u, e->cost * 2u / 5u);
}

/* A stale codec that may be better than its estimate says and best then; NONE: there is none. */
static etcp_codec find_hopeful(const question *q, const etcp_sort *sort, unsigned allowed,
                               etcp_codec best, uint64_t least)
{
    for (int c = 1; c < ETCP_CODECS; c++) {
        const etcp_estimate *e = &sort->estimates[c - 1];

        if ((allowed >> c & 1) && c != (int)best && is_stale(q->a, e) &&
            cost_at_best(q, e, c) < least)
            return (etcp_codec)c;
    }
    return ETCP_CODEC_NONE;
}

static etcp_codec find_best(const question *q, const etcp_sort *sort, unsigned allowed,
                            uint64_t *least)
{
    etcp_codec best = ETCP_CODEC_NONE;

    *least = cost_of(q, ETCP_CODEC_NONE, RATIO_ONE, 0);
    for (int c = 1; c < ETCP_CODECS; c++) {
        if (!(allowed >> c & 1))
            continue;
        const uint64_t cost = cost_by_estimate(q, &sort->estimates[c - 1], c);

        if (cost < *least) {
            *least = cost;
            best = (etcp_codec)c;
        }
    }
    return best;
}

/* What is decided for a small message goes for all until the next look, who share what is hidden.
 * If the link carries it faster than a receiver takes a message, the queue is the receiver's. */
static uint64_t hidden_for(const question *q, const etcp_adapt *a)
{
    const uint64_t fit = LOOK_BYTES / q->n;

    if (q->n >= ETCP_ADAPT_LARGE)
        return a->hidden_ns;
    if (q->size == 0 && (q->n * q->link) >> 10 < RECEIVER_NS)
        return 0;
    return a->hidden_ns / (fit < LOOK_MESSAGES ? fit : LOOK_MESSAGES);
}

static void ask(question *q, const etcp_adapt *a, size_t n)
{
    q->a = a;
    q->n = clamp(n, 1, WIDEST);
    q->size = size_class(n);
    q->price = a->price > ETCP_ADAPT_PRICE_MAX ? ETCP_ADAPT_PRICE_MAX : a->price;
    q->link = has_no_link(a) ? 0 : (UINT64_C(1000000000) << 10) / a->rate;
    q->hidden_ns = hidden_for(q, a);
}

etcp_codec etcp_adapt_choose(etcp_adapt *a, etcp_content content, size_t n, unsigned allowed)
{
    etcp_sort *sort = get_sort(a, content, size_class(n));
    uint64_t least;
    question q;

    if (!sort)
        return ETCP_CODEC_NONE;
    if (sort->cached)
        return (etcp_codec)(sort->cached - 1);
    ask(&q, a, n);
    const etcp_codec best = find_best(&q, sort, allowed, &least);

    if (++sort->count >= EXPLORE_AFTER) {
        const etcp_codec hopeful = find_hopeful(&q, sort, allowed, best, least);

        sort->count = hopeful ? 0 : EXPLORE_AGAIN;
        if (hopeful)
            return hopeful;
    }
    if (n < ETCP_ADAPT_LARGE)
        sort->cached = (uint8_t)(best + 1);
    return best;
}

/* ---- learning -------------------------------------------------------------------------------- */

/* The new value of an estimate, weight in 1/10. */
static uint64_t learn(uint64_t old, uint64_t now, unsigned weight)
{
    return (old * (10 - weight) + now * weight + 5) / 10;
}

/* How much a new measurement counts: all if it is the first, much if the old one is stale and after
 * a jump. */
static unsigned weight_of(const etcp_adapt *a, const etcp_estimate *e, uint64_t old, uint64_t now)
{
    if (!e->used_ms)
        return 10;
    return is_stale(a, e) || 2 * now > 3 * old || 2 * old > 3 * now ? 6 : 2;
}

/* The new cost. One message that took long may have waited for the processor; believed, it would keep a
 * good codec from being used, and so from being measured. If it is true the next ones take as long. */
static uint64_t learn_cost(const etcp_adapt *a, const etcp_estimate *e, uint64_t cost)
{
    const uint64_t old = e->cost;

    if (e->used_ms && cost > old + old / 2)
        return learn(old, old + old / 2, is_stale(a, e) ? 6 : 2);
    return learn(old, cost, weight_of(a, e, old, cost));
}

/* Codecs not used of late change as the one in use did. */
static void follow(const etcp_adapt *a, etcp_sort *sort, const etcp_estimate *before,
                   const etcp_estimate *after)
{
    for (int c = 1; c < ETCP_CODECS; c++) {
        etcp_estimate *e = &sort->estimates[c - 1];

        if (e == after || !is_stale(a, e))
            continue;
        e->ratio = (uint16_t)clamp(scaled(e->ratio, after->ratio, before->ratio), 1, RATIO_MAX);
        e->cost = (uint16_t)clamp(scaled(e->cost, after->cost, before->cost), 1, UINT16_MAX);
    }
}

void etcp_adapt_packed(etcp_adapt *a, etcp_codec codec, etcp_content content, size_t n, size_t wire,
                       uint64_t work_us)
{
    etcp_sort *sort = get_sort(a, content, size_class(n));
    etcp_estimate *e;
    etcp_estimate before;

    if (codec == ETCP_CODEC_NONE || n == 0 || !sort)
        return;
    e = &sort->estimates[codec - 1];
    before = *e;
    const uint64_t ratio = clamp(scaled(wire, RATIO_ONE, n), 1, RATIO_MAX);

    e->ratio = (uint16_t)learn(e->ratio, ratio, weight_of(a, e, before.ratio, ratio));
    if (work_us) {
        const uint64_t ns = work_us * 1000;
        const uint64_t fixed = guess_of(a, (int)codec)->fixed_ns;
        const uint64_t cost =
            clamp(scaled(ns > fixed ? ns - fixed : 0, COST_ONE, n), 1, UINT16_MAX);

        e->cost = (uint16_t)clamp(learn_cost(a, e, cost), 1, UINT16_MAX);
    } else {
        work_us = (guess_of(a, (int)codec)->fixed_ns + n * e->cost / COST_ONE) / 1000;
    }
    a->share_work_us += work_us;
    a->packed_us += work_us;
    e->used_ms = now_ms(a) ? now_ms(a) : 1;
    follow(a, sort, &before, e);
}

void etcp_adapt_sent(etcp_adapt *a, size_t wire)
{
    a->written += wire;
    a->last_wire = wire;
    a->messages++;
}

void etcp_adapt_sealed(etcp_adapt *a, size_t n, uint64_t work_us)
{
    const uint64_t cost = clamp(scaled(work_us * 1000, COST_ONE, n), 1, UINT16_MAX);

    a->send_cost = (uint32_t)learn(a->send_cost, cost + PLAIN_COST, 2);
}

/* ---- price ----------------------------------------------------------------------------------- */

unsigned etcp_adapt_next_price(unsigned price, uint64_t busy_us, uint64_t packed_us,
                               uint64_t passed_us)
{
    const uint64_t busy = scaled(busy_us, 100, passed_us);
    const uint64_t packed = scaled(packed_us, 100, passed_us);

    if (busy > 95 && packed > 20)
        return (unsigned)clamp((uint64_t)price * 2, ETCP_ADAPT_PRICE_MIN, ETCP_ADAPT_PRICE_MAX);
    if (busy < 85 || packed < 10)
        return (unsigned)clamp((uint64_t)price * 4 / 5, ETCP_ADAPT_PRICE_MIN, ETCP_ADAPT_PRICE_MAX);
    return price;
}

unsigned etcp_adapt_own_price(const etcp_adapt *a, unsigned price)
{
    const unsigned own = (price * (256 - a->share)) >> 8;

    return own < ETCP_ADAPT_PRICE_MIN ? ETCP_ADAPT_PRICE_MIN : own;
}
