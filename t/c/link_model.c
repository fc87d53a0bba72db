#include "link_model.h"

#include <string.h>

/* ---- what codecs really cost: measured, and then fixed --------------------------------------- */

enum { ROWS = 4 };
static const size_t row_size[ROWS] = {240, 1024, 16384, 262144};

/* Log lines: ratio in 1/1000, cost in 1/10 ns a byte, for messages of these sizes. First by zlib, then, on
 * a faster machine, by libdeflate. */
static const uint16_t log_ratio[2][ROWS][ETCP_CODECS] = {
    {
        {1000, 770, 620, 620, 620, 620},
        {1000, 590, 390, 380, 370, 370},
        {1000, 440, 320, 310, 290, 270},
        {1000, 420, 320, 290, 280, 260},
    },
    {
        {1000, 763, 621, 621, 621, 621},
        {1000, 583, 369, 365, 360, 360},
        {1000, 441, 287, 277, 265, 260},
        {1000, 422, 281, 267, 252, 243},
    },
};
static const uint16_t log_cost[2][ROWS][ETCP_CODECS] = {
    {
        {0, 44, 390, 360, 380, 380},
        {0, 34, 170, 180, 240, 290},
        {0, 49, 130, 150, 180, 270},
        {0, 46, 130, 190, 220, 350},
    },
    {
        {0, 15, 232, 298, 301, 302},
        {0, 26, 78, 110, 123, 131},
        {0, 25, 35, 56, 85, 120},
        {0, 25, 34, 56, 91, 187},
    },
};

/* The other kinds, at the largest size: smaller ones differ as log lines do. */
static const uint16_t kind_ratio[2][MODEL_KINDS][ETCP_CODECS] = {
    {
        {1000, 420, 320, 290, 280, 260},
        {1000, 640, 430, 420, 400, 390},
        {1000, 360, 260, 240, 230, 220},
        {1000, 1000, 1000, 1000, 1000, 1000},
        {1000, 11, 4, 4, 1, 1},
    },
    {
        {1000, 422, 281, 267, 252, 243},
        {1000, 647, 398, 381, 380, 378},
        {1000, 306, 182, 169, 155, 148},
        {1000, 1000, 1000, 1000, 1000, 1000},
        {1000, 11, 1, 1, 1, 1},
    },
};
static const uint16_t kind_cost[2][MODEL_KINDS][ETCP_CODECS] = {
    {
        {0, 46, 130, 190, 220, 350},
        {0, 63, 120, 180, 210, 340},
        {0, 30, 78, 100, 130, 200},
        {0, 77, 190, 190, 220, 260},
        {0, 10, 20, 18, 53, 51},
    },
    {
        {0, 25, 34, 56, 91, 187},
        {0, 53, 50, 90, 130, 200},
        {0, 17, 23, 35, 65, 120},
        {0, 45, 60, 70, 80, 90},
        {0, 10, 5, 5, 5, 5},
    },
};
static const etcp_content contents[MODEL_KINDS] = {ETCP_CONTENT_RECORDS, ETCP_CONTENT_TEXT,
                                                   ETCP_CONTENT_RECORDS, ETCP_CONTENT_DENSE,
                                                   ETCP_CONTENT_RUNS};

static unsigned row_of(size_t n)
{
    unsigned row = 0;

    while (row + 1 < ROWS && n >= row_size[row + 1])
        row++;
    return row;
}

/* What is packed: a message's wire bytes and the ns that it takes. */
static void pack(const model *m, model_kind kind, int codec, uint64_t *wire, uint64_t *ns)
{
    const int fast = m->fast_zlib;
    const size_t n = m->size;
    const unsigned row = row_of(n);
    uint64_t ratio = kind_ratio[fast][kind][codec];
    uint64_t cost = kind_cost[fast][kind][codec];

    *wire = n;
    *ns = 0;
    if (codec == ETCP_CODEC_NONE)
        return;
    if (kind == MODEL_NOISE && n >= 1024) {
        *ns = 500 + n / 2; /* a look at it is enough to see that it does not pay */
        return;
    }
    ratio = ratio * log_ratio[fast][row][codec] / log_ratio[fast][ROWS - 1][codec];
    cost = cost * log_cost[fast][row][codec] / log_cost[fast][ROWS - 1][codec];
    *wire = n * ratio / 1000 + (codec == ETCP_CODEC_LZF ? 3 : 11);
    *ns = n * cost / 10;
    if (*wire >= n)
        *wire = n;
}

static uint64_t unpack_ns(int codec, size_t n)
{
    if (codec == ETCP_CODEC_NONE)
        return 0;
    return codec == ETCP_CODEC_LZF ? n * 3 : n * (n < 4096 ? 8 : 3);
}

/* ---- the link -------------------------------------------------------------------------------- */

enum { PIECE = 16384, RING = 65536, BUFFER_MIN = 384 << 10, WINDOW = 3 << 20 };

/* A piece of a message on its way. */
typedef struct piece {
    uint64_t bytes;
    uint64_t left;  /* ns: when its last bit leaves the sender */
    uint64_t acked; /* when the sender's kernel forgets it */
    uint64_t taken; /* when the receiver has worked on it */
} piece;

typedef struct world {
    const model *m;
    uint64_t now; /* ns, of the sender */
    piece ring[RING];
    uint64_t head, tail; /* of those not acknowledged */
    uint64_t held;       /* bytes of them */
    uint64_t unread,
        oldest_unread; /* bytes sent that the receiver did not take; where they begin */
    uint64_t link_free;
    uint64_t receiver_free;
    uint64_t buffer;
    uint64_t busy_ns, limited_ns;
    uint64_t delivery_rate; /* of the last message, as a kernel would see it */
    uint64_t random;
} world;

static uint64_t rate_at(const model *m, uint64_t ns)
{
    uint64_t rate = m->steps[0].rate;

    for (int i = 1; i < MODEL_STEPS_MAX && m->steps[i].rate; i++)
        if (ns >= m->steps[i].at_us * 1000)
            rate = m->steps[i].rate;
    return rate;
}

/* Forgets what was acknowledged until now. */
static void settle(world *w)
{
    while (w->head < w->tail && w->ring[w->head % RING].acked <= w->now) {
        w->held -= w->ring[w->head % RING].bytes;
        w->head++;
    }
}

/* When the receiver's window lets bytes more leave: it holds what was sent and not taken. */
static uint64_t window_opens(world *w, uint64_t bytes)
{
    uint64_t opens = 0;

    while ((w->unread + bytes > WINDOW || w->tail - w->oldest_unread >= RING - 1) &&
           w->oldest_unread < w->tail) {
        const piece *old = &w->ring[w->oldest_unread++ % RING];

        w->unread -= old->bytes;
        opens = old->taken + w->m->rtt_us * 500;
    }
    return opens;
}

static uint64_t slower(const world *w, uint64_t ns)
{
    return w->m->receiver_factor ? ns * w->m->receiver_factor / 10 : ns;
}

static void send_piece(world *w, uint64_t bytes, uint64_t work)
{
    const uint64_t rate = rate_at(w->m, w->now > w->link_free ? w->now : w->link_free);
    const uint64_t opens = window_opens(w, bytes);
    uint64_t start = w->now > w->link_free ? w->now : w->link_free;
    piece *p = &w->ring[w->tail % RING];
    uint64_t arrives;

    w->busy_ns += bytes * 1000000000 / rate;
    if (opens > start) {
        w->limited_ns += opens - start;
        w->busy_ns += opens - start;
        start = opens;
    }
    p->bytes = bytes;
    p->left = start + bytes * 1000000000 / rate;
    p->acked = p->left + w->m->rtt_us * 1000;
    arrives = p->left + w->m->rtt_us * 500;
    p->taken = (arrives > w->receiver_free ? arrives : w->receiver_free) + work;
    w->link_free = p->left;
    w->receiver_free = p->taken;
    w->held += bytes;
    w->unread += bytes;
    w->tail++;
}

/* Writes a message as a blocking client does. Returns whether the kernel refused bytes. */
static int write_message(world *w, uint64_t wire, uint64_t n, int codec)
{
    const uint64_t all = wire, from = w->now;
    int was_blocked = 0;

    w->now += 1000 + wire * w->m->send_cost / 10;
    while (wire) {
        const uint64_t part = wire < PIECE ? wire : PIECE;
        uint64_t work = slower(w, part * w->m->send_cost / 10);

        settle(w);
        while (w->held + part > w->buffer || w->tail - w->head >= RING - 1) {
            was_blocked = 1;
            w->now = w->ring[w->head % RING].acked;
            settle(w);
        }
        wire -= part;
        if (!wire)
            work += slower(w, 1000 + unpack_ns(codec, (size_t)n)) + n * w->m->receiver_ns;
        send_piece(w, part, work);
    }
    w->delivery_rate = all * 1000000000 / (w->ring[(w->tail - 1) % RING].acked - from);
    settle(w);
    return was_blocked;
}

static void begin(world *w, const model *m)
{
    memset(w, 0, sizeof *w);
    w->m = m;
    w->random = 88172645463325252u;
    w->now = 1000000000;
    for (int i = 0; i < MODEL_STEPS_MAX; i++) {
        const uint64_t product = m->steps[i].rate * m->rtt_us / 1000000 * 4;

        if (product > w->buffer)
            w->buffer = product;
    }
    if (w->buffer < BUFFER_MIN)
        w->buffer = m->same_host ? 8 * BUFFER_MIN : BUFFER_MIN;
}

/* 1000 give or take a tenth: no two measurements are the same. Now and then the processor does something
 * else meanwhile. */
static uint64_t jitter(world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (900 + w->random % 201) * ((w->random >> 32) % 40 ? 1 : 4);
}

/* ---- the sender ------------------------------------------------------------------------------ */

static model_kind kind_now(const world *w, uint64_t number)
{
    const model *m = w->m;

    if (m->alternate_us)
        return m->kinds[w->now / 1000 / m->alternate_us & 1];
    return m->kinds[number & 1];
}

static void tell_path(const world *w, etcp_adapt *a)
{
    etcp_path_info info;

    memset(&info, 0, sizeof info);
    info.min_rtt_us = w->m->rtt_us;
    info.delivery_rate = w->delivery_rate;
    info.busy_us = w->busy_ns / 1000;
    info.limited_us = w->limited_ns / 1000;
    etcp_adapt_path(a, &info);
}

/* A look costs a clock and a system call. */
static void look(world *w, etcp_adapt *a, int *blocked)
{
    w->now += 420;
    settle(w);
    etcp_adapt_look(a, w->now / 1000, w->held, 0, *blocked);
    *blocked = 0;
    if (etcp_adapt_wants_path(a)) {
        w->now += 920;
        tell_path(w, a);
    }
}

static int choose(world *w, etcp_adapt *a, int codec, model_kind kind, int *blocked)
{
    const unsigned all = ETCP_CODECS_LZF | ETCP_CODECS_ZLIB;
    const model *m = w->m;

    if (codec != MODEL_ADAPTIVE)
        return codec;
    if (etcp_adapt_wants_look(a, m->size))
        look(w, a, blocked);
    w->now += 20;
    return (int)etcp_adapt_choose(a, contents[kind], m->size, m->allowed ? m->allowed : all);
}

/* Compresses, and tells a of it. Returns the wire bytes. */
static uint64_t pack_message(world *w, etcp_adapt *a, int codec, model_kind kind, int *blocked)
{
    const size_t n = w->m->size;
    uint64_t wire, ns;

    pack(w->m, kind, codec, &wire, &ns);
    ns = ns * jitter(w) / 1000;
    w->now += ns;
    if (!a || codec == ETCP_CODEC_NONE || (kind == MODEL_NOISE && n >= 1024))
        return wire;
    etcp_adapt_packed(a, (etcp_codec)codec, contents[kind], n, (size_t)wire,
                      n >= ETCP_ADAPT_TIMED ? (w->now - (w->now - ns) / 1000 * 1000) / 1000 : 0);
    if (ns > 200000)
        look(w, a, blocked);
    return wire;
}

static void wait_until(world *w, uint64_t ns)
{
    if (w->now < ns)
        w->now = ns;
}

void model_run(const model *m, int codec, model_result *out)
{
    static world w;
    etcp_adapt adapt;
    etcp_path_info start;
    uint64_t number = 0, latency = 0;
    int blocked = 0;

    begin(&w, m);
    memset(out, 0, sizeof *out);
    memset(&start, 0, sizeof start);
    start.min_rtt_us = m->rtt_us;
    const uint64_t began = w.now, end = w.now + m->seconds * 1000000000;

    etcp_adapt_init(&adapt, w.now / 1000, m->same_host, m->send_cost > 10, &start);
    if (m->fast_zlib)
        etcp_adapt_expect_fast_zlib(&adapt);
    while (w.now < end && w.receiver_free < end) {
        const model_kind kind = kind_now(&w, number++);
        const uint64_t from = m->pause_us ? began + number * m->pause_us * 1000 : w.now;

        wait_until(&w, from);
        const int c = choose(&w, &adapt, codec, kind, &blocked);
        const uint64_t wire =
            pack_message(&w, codec == MODEL_ADAPTIVE ? &adapt : NULL, c, kind, &blocked);

        blocked |= write_message(&w, wire, m->size, wire < m->size ? c : ETCP_CODEC_NONE);
        etcp_adapt_sent(&adapt, (size_t)wire);
        out->used[c]++;
        latency += w.receiver_free - from;
        if (m->is_dialogue)
            wait_until(&w, w.receiver_free + m->rtt_us * 500);
        settle(&w);
        out->bytes += m->size;
        if ((w.receiver_free - began) / 500000000 < MODEL_WINDOWS_MAX)
            out->windows[(w.receiver_free - began) / 500000000] += m->size;
    }
    etcp_adapt_deinit(&adapt);
    out->latency_us = latency / 1000 / number;
    out->messages = number;
    /* What is still on its way took longer than the rest. */
    const uint64_t last = w.receiver_free > w.now ? w.receiver_free : w.now;

    out->bytes = out->bytes * (m->seconds * 1000) / ((last - began) / 1000000);
}
