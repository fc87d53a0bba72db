/* Sessions that choose for every message whether and how to compress it: what they tell each other,
 * what then goes over the wire, and what they refuse. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "tap.h"
#include "wire/frame.h"
#include "wire/session.h"
#include "wire_peer.h"

enum { LONG = 65536 };

/* ---- a link that says what the test wants ---------------------------------------------------- */

typedef struct link {
    uint64_t now_us;
    uint64_t queued;
    int same_host;
    int asked[3]; /* by question */
} link;

static void ask_link(void *arg, etcp_path_question question, etcp_path *out)
{
    link *l = arg;

    l->asked[question]++;
    memset(out, 0, sizeof *out);
    out->now_us = l->now_us += 10;
    out->queued = l->queued;
    out->price = ETCP_ADAPT_PRICE_MIN;
    out->same_host = l->same_host;
    out->info.min_rtt_us = l->same_host ? 20 : 30000;
}

typedef struct end {
    unsigned flags;
    const char *forbidden; /* a compressor; NULL: none */
    etcp_compress compress;
    const char *version; /* NULL: 1.10 */
} end;

typedef struct pair {
    etcp_config *configs[2];
    peer server, client;
    link link; /* of both */
} pair;

static etcp_config *configure(etcp_role role, const end *e)
{
    etcp_config *config = etcp_config_new(role);

    if (!config)
        abort();
    config->flags = e->flags | ETCP_DONOT_ENCRYPT;
    config->compress = e->compress;
    if (e->forbidden)
        etcp_config_forbid(config, e->forbidden);
    if (e->version)
        snprintf(config->version, sizeof config->version, "%s", e->version);
    return config;
}

static void pair_init(pair *p, const end *server, const end *client)
{
    memset(p, 0, sizeof *p);
    p->link.now_us = 1000000;
    p->configs[0] = configure(ETCP_ROLE_SERVER, server);
    p->configs[1] = configure(ETCP_ROLE_CLIENT, client);
    if (peer_init(&p->server, p->configs[0]) < 0 || peer_init(&p->client, p->configs[1]) < 0)
        abort();
    etcp_session_set_path(p->server.s, ask_link, &p->link);
    etcp_session_set_path(p->client.s, ask_link, &p->link);
    peer_negotiate(&p->server, &p->client, 0);
}

static void pair_deinit(pair *p)
{
    peer_deinit(&p->server);
    peer_deinit(&p->client);
    etcp_config_unref(p->configs[0]);
    etcp_config_unref(p->configs[1]);
}

/* ---- what goes over the wire ----------------------------------------------------------------- */

static uint8_t text[LONG];

static void make_text(void)
{
    size_t len = 0;

    for (unsigned i = 0; len < LONG; i++) {
        char line[80];
        const int n = snprintf(line, sizeof line, "%u: host%u took request %x in %u ms\n", i,
                               i * 7919 % 50, i * 2654435761u, i * 31 % 977);
        const size_t part = LONG - len < (size_t)n ? LONG - len : (size_t)n;

        memcpy(text + len, line, part);
        len += part;
    }
}

/* Sends a message; returns the first byte of its packet's payload if it was compressed, -1 if not.
 * Checks that it arrives. */
static int form_of(peer *from, peer *to, size_t len, const char *name)
{
    etcp_packet packet;
    etcp_frame frame;
    uint8_t packet_bytes[ETCP_FRAME_HEADER_MAX];
    int form = -1;

    if (etcp_session_encode(from->s, 0, text, len, &packet) < 0)
        return -2;
    memcpy(packet_bytes, packet.header, packet.header_len);
    if (etcp_frame_parse(packet_bytes, packet.header_len, &frame) == 0 &&
        (frame.flags & ETCP_FLAG_COMPRESSED))
        form = packet.body[0];
    etcp_buf_clear(&to->data);
    (void)peer_feed(to, packet.header, packet.header_len);
    (void)peer_feed(to, packet.body, packet.body_len);
    tap_is_mem(etcp_buf_bytes(&to->data), etcp_buf_len(&to->data), text, len,
               "%s: the message arrives", name);
    return form;
}

#define MIX ETCP_MIX_COMPRESSORS
#define LZF "Compress::LZF"
#define ZLIB "Compress::Zlib"

static const struct forms {
    const char *name;
    end server, client;
    int idle, queue; /* what goes to the server over a slow link without and with a queue: first
                        byte; 'x': zlib without a mark, 'c': LZF's container without one */
} forms[] = {
    {"both mix",
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     '1',
     '1'},
    {"one forbids zlib",
     {MIX, ZLIB, ETCP_COMPRESS_AUTO, NULL},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     '2',
     '2'},
    {"the server does not mix",
     {0, NULL, ETCP_COMPRESS_AUTO, NULL},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     'x',
     'x'},
    {"the client does not mix",
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     {0, NULL, ETCP_COMPRESS_AUTO, NULL},
     'x',
     'x'},
    {"an original",
     {MIX, NULL, ETCP_COMPRESS_AUTO, "0.26"},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     'x',
     'x'},
    {"an original with LZF",
     {MIX, ZLIB, ETCP_COMPRESS_AUTO, "0.26"},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     -3,
     -3},
    {"always",
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     {MIX, NULL, ETCP_COMPRESS_ALWAYS, NULL},
     '1',
     '1'},
    {"never",
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     {MIX, NULL, ETCP_COMPRESS_NEVER, NULL},
     -1,
     -1},
    {"the other never",
     {MIX, NULL, ETCP_COMPRESS_NEVER, NULL},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     '1',
     '1'},
    {"donotcompress",
     {MIX | ETCP_DONOT_COMPRESS, NULL, ETCP_COMPRESS_AUTO, NULL},
     {MIX, NULL, ETCP_COMPRESS_AUTO, NULL},
     -1,
     -1},
};

static void test_forms(void)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const struct forms *f = &forms[i];
        pair p;

        pair_init(&p, &f->server, &f->client);
        if (f->idle == -3) { /* LZF's length comes first */
            tap_is_int(form_of(&p.client, &p.server, LONG, f->name), 0xf0, "%s", f->name);
        } else {
            tap_is_int(form_of(&p.client, &p.server, LONG, f->name), f->idle, "%s, idle", f->name);
            p.link.queued = 1 << 20;
            tap_is_int(form_of(&p.client, &p.server, LONG, f->name), f->queue, "%s, a queue",
                       f->name);
        }
        tap_is_int(form_of(&p.client, &p.server, 31, f->name), -1, "%s: a short message", f->name);
        (void)form_of(&p.server, &p.client, LONG, f->name);
        pair_deinit(&p);
    }
}

/* On one host nothing is compressed, and little is asked. */
static void test_same_host(void)
{
    const end both = {MIX, NULL, ETCP_COMPRESS_AUTO, NULL};
    int compressed = 0;
    pair p;

    pair_init(&p, &both, &both);
    p.link.same_host = 1;
    for (int i = 0; i < 100; i++)
        compressed += form_of(&p.client, &p.server, 240, "same host") != -1;
    tap_is_int(compressed, 0, "the same host: no line is compressed");
    tap_is_int(p.link.asked[ETCP_PATH_ALL], 1, "the kernel was asked once");
    tap_ok(p.link.asked[ETCP_PATH_QUEUE] <= 2 && p.link.asked[ETCP_PATH_TIME] == 0,
           "and hardly anything of the queue");
    pair_deinit(&p);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static const struct refusal {
    const char *name;
    const char *forbidden; /* by the receiver */
    const char *payload;
    int code;
} refusals[] = {
    {"an empty payload", NULL, "", ETCP_EDECODE},
    {"only a mark", NULL, "1", ETCP_EDECODE},
    {"a mark of nothing", NULL, "3abc", ETCP_EDECODE},
    {"no mark", NULL, "x\x9c\x03", ETCP_EDECODE},
    {"a compressor that was not listed", LZF,
     "2\x03\x02"
     "abc",
     ETCP_EDECODE},
    {"one that was", NULL,
     "2\x03\x02"
     "abc",
     0},
};

static void test_refusals(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        const end server = {MIX, r->forbidden, ETCP_COMPRESS_AUTO, NULL};
        const end client = {MIX, NULL, ETCP_COMPRESS_AUTO, NULL};
        uint8_t header[ETCP_FRAME_HEADER_MAX];
        const size_t len = strlen(r->payload);
        pair p;

        pair_init(&p, &server, &client);
        (void)peer_feed(&p.server, header,
                        etcp_frame_encode(header, ETCP_FLAG_REAL | ETCP_FLAG_COMPRESSED, len));
        (void)peer_feed(&p.server, (const uint8_t *)r->payload, len);
        tap_is_int(etcp_session_error(p.server.s)->code, r->code, "%s", r->name);
        tap_is_int(p.server.messages, r->code ? 0 : 1, "%s: messages", r->name);
        pair_deinit(&p);
    }
}

/* ---- copies and memory ----------------------------------------------------------------------- */

static void test_clone(void)
{
    const end both = {MIX, NULL, ETCP_COMPRESS_ALWAYS, NULL};
    etcp_session *copy = NULL;
    peer other;
    pair p;

    pair_init(&p, &both, &both);
    tap_is_int(etcp_session_clone(p.client.s, &copy), 0, "a copy");
    memset(&other, 0, sizeof other);
    etcp_buf_init(&other.data);
    other.s = copy;
    tap_is_int(form_of(&other, &p.server, LONG, "from a copy"), '1', "a copy mixes too");
    tap_is_int(form_of(&p.server, &other, LONG, "to a copy"), '1', "and is sent a mixture");
    peer_deinit(&other);
    pair_deinit(&p);
}

static void test_exhausted_memory(void)
{
    const end both = {MIX, NULL, ETCP_COMPRESS_AUTO, NULL};
    etcp_packet packet;
    long n = 0;
    int has_failed;

    do {
        pair p;
        int rc;

        pair_init(&p, &both, &both);
        alloc_fail_at(++n);
        rc = etcp_session_encode(p.client.s, 0, text, LONG, &packet);
        has_failed = alloc_count() >= n;
        alloc_reset();
        /* What cannot be learnt is no reason not to send. */
        tap_ok(rc == 0 || (has_failed && rc == ETCP_ENOMEM), "allocation %ld fails", n);
        tap_is_int(form_of(&p.client, &p.server, LONG, "afterwards"), '1', "and the next works");
        pair_deinit(&p);
    } while (has_failed && n < 100);
    tap_ok(n > 3, "%ld allocations were made to fail", n - 1);
    tap_is_int(alloc_live(), 0, "no block is left");
}

int main(void)
{
    make_text();
    test_forms();
    test_same_host();
    test_refusals();
    test_clone();
    test_exhausted_memory();
    return tap_done();
}
