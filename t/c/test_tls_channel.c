/* Channels of both roles against each other: the handshake, messages, and what goes wrong. */
#include "tls_pair.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "alloc.h"
#include "base/mem.h"
#include "policy.h"
#include "tap.h"
#include "tls_make.h"

static etcp_tls *server_tls, *client_tls;

typedef struct pair {
    tls_end client, server;
} pair;

static int pair_init(pair *p)
{
    int rc = tls_end_init(&p->client, client_tls, "localhost", "localhost:1");

    return rc < 0 ? rc : tls_end_init(&p->server, server_tls, NULL, NULL);
}

static void pair_deinit(pair *p)
{
    tls_end_deinit(&p->client);
    tls_end_deinit(&p->server);
}

static void pair_shake(pair *p, size_t step)
{
    (void)pair_init(p);
    tls_shake(&p->client, &p->server, step);
}

static int is_up(const pair *p)
{
    return etcp_channel_is_established(p->client.ch) && etcp_channel_is_established(p->server.ch);
}

static uint8_t big[200000];

/* Sends a message and says whether exactly this arrived. */
static int passes(tls_end *from, tls_end *to, size_t head_len, size_t len, size_t step)
{
    int rc = etcp_channel_seal(from->ch, big, head_len, big + head_len, len, &from->out);

    etcp_buf_clear(&to->clear);
    (void)tls_move(from, to, step);
    return rc == 0 && etcp_buf_len(&to->clear) == head_len + len &&
           memcmp(etcp_buf_bytes(&to->clear), big, head_len + len) == 0;
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void test_handshake(void)
{
    static const size_t steps[] = {0, 1, 7, 1000};
    unsigned i;

    for (i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint8_t a[ETCP_BINDING], b[ETCP_BINDING];
        char text[ETCP_FINGERPRINT_TEXT];
        unsigned step = (unsigned)steps[i];
        pair p;

        (void)pair_init(&p);
        tap_is_int(etcp_channel_binding(p.client.ch, a), ETCP_EINVAL, "no binding before");
        tap_is_int(etcp_channel_seal(p.client.ch, big, 1, NULL, 0, &p.client.out), ETCP_EINVAL,
                   "nothing is sealed before");
        tls_shake(&p.client, &p.server, steps[i]);
        tap_ok(is_up(&p), "step %u: established", step);
        tap_ok(etcp_channel_is_easytcp(p.client.ch) && etcp_channel_is_easytcp(p.server.ch),
               "step %u: both named the protocol", step);
        tap_ok(etcp_channel_binding(p.client.ch, a) == 0 &&
                   etcp_channel_binding(p.server.ch, b) == 0 && memcmp(a, b, sizeof a) == 0,
               "step %u: the same binding", step);
        etcp_channel_peer_fingerprint(p.client.ch, text);
        tap_is_str(text, etcp_tls_fingerprint(server_tls), "step %u: the server's key", step);
        etcp_channel_peer_fingerprint(p.server.ch, text);
        tap_is_str(text, "", "step %u: the client has none", step);
        tap_is_int(etcp_channel_trust(p.client.ch), ETCP_TRUST_NONE, "step %u: no trust", step);
        pair_deinit(&p);
    }
}

/* A server's exporter gives a value over ClientHello alone: ours must not. */
static void test_early_binding(void)
{
    uint8_t binding[ETCP_BINDING];
    pair p;

    (void)pair_init(&p);
    (void)tls_feed(&p.client, NULL, 0, 1000);
    (void)tls_move(&p.client, &p.server, 0);
    tap_is_int(etcp_channel_binding(p.server.ch, binding), ETCP_EINVAL, "not before Finished");
    tap_is_int(etcp_channel_seal(p.server.ch, big, 1, NULL, 0, &p.server.out), ETCP_EINVAL,
               "nor is anything sealed");
    pair_deinit(&p);
}

static void test_bindings_differ(void)
{
    uint8_t a[ETCP_BINDING], b[ETCP_BINDING];
    pair p, q;

    pair_shake(&p, 0);
    pair_shake(&q, 0);
    (void)etcp_channel_binding(p.client.ch, a);
    (void)etcp_channel_binding(q.client.ch, b);
    tap_ok(memcmp(a, b, sizeof a) != 0, "each channel has its own binding");
    pair_deinit(&p);
    pair_deinit(&q);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void test_messages(void)
{
    static const size_t sizes[] = {0, 1, 59, 1000, 16381, 16382, 16383, 16384, 32768, 150000};
    unsigned lost = 0;
    unsigned i;
    pair p;

    for (i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7 + (i >> 8));
    pair_shake(&p, 0);
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lost += !passes(&p.client, &p.server, 3, sizes[i], 0);
        lost += !passes(&p.server, &p.client, 0, sizes[i], 5000);
        if (sizes[i] < 2000)
            lost += !passes(&p.server, &p.client, 2, sizes[i], 1);
    }
    tap_is_int((int)lost, 0, "messages of all sizes arrive");
    (void)etcp_channel_seal(p.client.ch, big, 3, big, 1000, &p.client.out);
    tap_is_int((int)etcp_buf_len(&p.client.out), 1003 + 22, "head and body are one record");
    pair_deinit(&p);
}

/* A record cut at every place. */
static void test_cuts(void)
{
    unsigned lost = 0;
    size_t at;
    pair p;

    pair_shake(&p, 0);
    for (at = 1; at < 100 + 22; at++) {
        uint8_t record[200];

        etcp_buf_clear(&p.server.clear);
        (void)etcp_channel_seal(p.client.ch, NULL, 0, big, 100, &p.client.out);
        memcpy(record, etcp_buf_bytes(&p.client.out), etcp_buf_len(&p.client.out));
        lost += tls_feed(&p.server, record, at, 200) != 0 || etcp_buf_len(&p.server.clear) != 0;
        lost += tls_feed(&p.server, record + at, 122 - at, 200) != 0;
        lost += etcp_buf_len(&p.server.clear) != 100;
        etcp_buf_clear(&p.client.out);
    }
    tap_is_int((int)lost, 0, "a record may come in two pieces");
    pair_deinit(&p);
}

/* Little room: what is left must be noticed without further input. */
static void test_room(void)
{
    const uint8_t *at;
    uint8_t out[64];
    ptrdiff_t got;
    pair p;

    pair_shake(&p, 0);
    (void)etcp_channel_seal(p.client.ch, NULL, 0, big, 100, &p.client.out);
    at = etcp_buf_bytes(&p.client.out);
    got = etcp_channel_open(p.server.ch, &at, at + etcp_buf_len(&p.client.out), out, 64,
                            &p.server.out);
    tap_is_int((int)got, 64, "as much as there is room");
    tap_ok(etcp_channel_has_more(p.server.ch), "more may wait inside");
    got = etcp_channel_open(p.server.ch, &at, at, out, 64, &p.server.out);
    tap_is_int((int)got, 36, "the rest comes without input");
    tap_ok(!etcp_channel_has_more(p.server.ch), "nothing waits inside");
    pair_deinit(&p);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Flips a byte of what comes to one end, at this place of the whole stream. */
static void shake_flipped(pair *p, int to_server, size_t place)
{
    tls_end *from = to_server ? &p->client : &p->server;
    size_t seen = 0;
    size_t moved;

    (void)tls_feed(&p->client, NULL, 0, 1000);
    do {
        size_t len = etcp_buf_len(&from->out);

        if (place >= seen && place - seen < len)
            from->out.data[from->out.start + place - seen] ^= 0x20;
        seen += len;
        moved =
            to_server ? tls_move(&p->client, &p->server, 0) : tls_move(&p->server, &p->client, 0);
        if (from == &p->client)
            moved += tls_move(&p->server, &p->client, 0);
        else
            moved += tls_move(&p->client, &p->server, 0);
    } while (moved);
}

static size_t flight_len(int to_server)
{
    size_t len;
    pair p;

    (void)pair_init(&p);
    (void)tls_feed(&p.client, NULL, 0, 1000);
    len = etcp_buf_len(&p.client.out);
    (void)tls_move(&p.client, &p.server, 0);
    if (!to_server)
        len = etcp_buf_len(&p.server.out);
    pair_deinit(&p);
    return len;
}

/* Every byte of the first flights. Bytes of the record header's version are ignored by RFC 8446;
 * all others must show at one end at least. */
static void test_flips(void)
{
    int to_server;

    for (to_server = 0; to_server < 2; to_server++) {
        size_t len = flight_len(to_server);
        unsigned unseen = 0;
        unsigned silent = 0;
        size_t place;

        for (place = 0; place < len; place++) {
            pair p;

            (void)pair_init(&p);
            shake_flipped(&p, to_server, place);
            unseen += (unsigned)is_up(&p);
            silent += !is_up(&p) && p.client.rc == 0 && p.server.rc == 0;
            pair_deinit(&p);
        }
        tap_ok(unseen <= 12, "%s: a flipped byte ends the handshake (%u of %u passed)",
               to_server ? "to the server" : "to the client", unseen, (unsigned)len);
        tap_ok(silent <= 12, "and is told, or waited for (%u)", silent);
    }
}

static void test_flipped_record(void)
{
    unsigned wrong = 0;
    size_t place;

    for (place = 0; place < 32 + 22; place++) {
        pair p;
        int rc;

        pair_shake(&p, 0);
        (void)etcp_channel_seal(p.client.ch, NULL, 0, big, 32, &p.client.out);
        p.client.out.data[p.client.out.start + place] ^= 0x01;
        (void)tls_move(&p.client, &p.server, 0);
        rc = p.server.rc;
        /* A longer length is only waited for. */
        if (rc == 0 && place == 3)
            rc = ETCP_EPROTO;
        wrong += rc != ETCP_EPROTO || etcp_buf_len(&p.server.clear) != 0;
        wrong += place != 3 && strncmp(etcp_channel_error(p.server.ch)->text, "TLS: ", 5) != 0;
        if (place == 20) {
            tap_is_int(tls_feed(&p.server, big, 5, 100), ETCP_EPROTO, "the error is sticky");
            tap_is_int(etcp_channel_seal(p.server.ch, big, 1, NULL, 0, &p.server.out), ETCP_EPROTO,
                       "and ends sealing");
            (void)tls_move(&p.server, &p.client, 0);
            tap_ok(strncmp(etcp_channel_error(p.client.ch)->text, "The peer ended TLS: ", 20) == 0,
                   "the peer is told: %s", etcp_channel_error(p.client.ch)->text);
        }
        pair_deinit(&p);
    }
    tap_is_int((int)wrong, 0, "a flipped byte of a record is never delivered");
}

static void test_error_queue(void)
{
    pair p;

    (void)pair_init(&p);
    (void)BIO_new_file("no such file", "r"); /* leaves an entry */
    tls_shake(&p.client, &p.server, 1);
    tap_ok(is_up(&p), "a foreign entry in the error queue does not harm the handshake");
    (void)BIO_new_file("no such file", "r"); /* leaves an entry */
    tap_ok(passes(&p.client, &p.server, 0, 1000, 10), "nor messages");
    tap_ok(ERR_peek_error() == 0, "and is gone");
    (void)BIO_new_file("no such file", "r");
    big[0] ^= 1; /* no record, then */
    tap_is_int(tls_feed(&p.server, big, 100, 100), ETCP_EPROTO, "what is no record is refused");
    big[0] ^= 1;
    tap_ok(!strstr(etcp_channel_error(p.server.ch)->text, "file"), "for a reason of TLS: %s",
           etcp_channel_error(p.server.ch)->text);
    tap_ok(ERR_peek_error() == 0, "which is not left to others");
    pair_deinit(&p);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_close(void)
{
    pair p;

    pair_shake(&p, 0);
    (void)etcp_channel_seal(p.client.ch, NULL, 0, big, 10, &p.client.out);
    tap_is_int(etcp_channel_close(p.client.ch, &p.client.out), 0, "close");
    (void)etcp_channel_close(p.client.ch, &p.client.out);
    tap_is_int((int)etcp_buf_len(&p.client.out), 10 + 22 + 24, "close_notify is said once");
    tap_is_int(etcp_channel_seal(p.client.ch, big, 1, NULL, 0, &p.client.out), ETCP_EINVAL,
               "nothing may follow it");
    (void)tls_move(&p.client, &p.server, 0);
    tap_is_int((int)etcp_buf_len(&p.server.clear), 10, "what came before is delivered");
    tap_is_int(p.server.rc, ETCP_ECLOSED, "then the input ends");
    etcp_channel_end_of_input(p.server.ch);
    tap_is_int(tls_feed(&p.server, NULL, 0, 10), ETCP_ECLOSED, "by more than the stream");
    tap_ok(passes(&p.server, &p.client, 1, 100, 0), "the other direction goes on");
    pair_deinit(&p);
}

static void test_cut_off(void)
{
    pair p;

    pair_shake(&p, 0);
    (void)etcp_channel_seal(p.client.ch, NULL, 0, big, 10, &p.client.out);
    (void)tls_move(&p.client, &p.server, 0);
    etcp_channel_end_of_input(p.server.ch);
    tap_is_int(tls_feed(&p.server, NULL, 0, 10), ETCP_EPROTO, "an end without close_notify");
    tap_is_str(etcp_channel_error(p.server.ch)->text, "The connection was cut off", "is told");
    tap_is_int(tls_feed(&p.server, big, 5, 10), ETCP_EPROTO, "and stays");
    tap_ok(!etcp_channel_has_failed(p.server.ch) && passes(&p.server, &p.client, 1, 100, 0),
           "the other direction goes on");
    (void)etcp_channel_close(p.server.ch, &p.server.out);
    (void)tls_move(&p.server, &p.client, 0);
    tap_is_int(p.client.rc, ETCP_ECLOSED, "and ends in good order");
    pair_deinit(&p);
    (void)pair_init(&p);
    etcp_channel_end_of_input(p.client.ch);
    tap_is_int(tls_feed(&p.client, NULL, 0, 10), ETCP_EPROTO, "an end in the handshake");
    tap_ok(etcp_channel_has_failed(p.client.ch), "ends both directions");
    pair_deinit(&p);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void test_endless_handshake(void)
{
    /* A handshake message that claims 100 000 bytes, in records of 16 000. */
    uint8_t record[5 + 16000];
    unsigned i;
    pair p;

    memset(record, 0, sizeof record);
    record[0] = 22;
    record[1] = record[2] = 3;
    record[3] = 16000 >> 8;
    record[4] = 16000 & 255;
    record[5] = 1;
    record[6] = 1;
    record[7] = 0x86;
    record[8] = 0xa0;
    (void)pair_init(&p);
    for (i = 0; i < 6 && p.server.rc == 0; i++) {
        (void)tls_feed(&p.server, record, sizeof record, 100);
        memset(record + 5, 0, 16000);
    }
    tap_ok(p.server.rc == ETCP_ETOOBIG || p.server.rc == ETCP_EPROTO,
           "a handshake without end is given up (%d after %u records)", p.server.rc, i);
    tap_ok(i <= 5, "within 64 KiB and a record");
    pair_deinit(&p);
}

/* A bare OpenSSL client: does what our own never would. */
typedef struct bare {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
} bare;

static void bare_init(bare *b, int max_version, const char *alpn)
{
    b->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(b->ctx, max_version);
    b->ssl = SSL_new(b->ctx);
    b->in = BIO_new(BIO_s_mem());
    b->out = BIO_new(BIO_s_mem());
    SSL_set_bio(b->ssl, b->in, b->out);
    SSL_set_connect_state(b->ssl);
    if (alpn)
        (void)SSL_set_alpn_protos(b->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
}

static void bare_deinit(bare *b)
{
    SSL_free(b->ssl);
    SSL_CTX_free(b->ctx);
    ERR_clear_error();
}

/* Moves bytes between the two until nothing moves. */
static void bare_talk(bare *b, tls_end *server)
{
    int moved;

    do {
        uint8_t bytes[4096];
        uint8_t clear[4096];
        int len;

        moved = 0;
        (void)SSL_do_handshake(b->ssl);
        while (SSL_read(b->ssl, clear, sizeof clear) > 0)
            continue;
        while ((len = BIO_read(b->out, bytes, sizeof bytes)) > 0) {
            (void)tls_feed(server, bytes, (size_t)len, 20000);
            moved = 1;
        }
        len = (int)etcp_buf_len(&server->out);
        if (len) {
            (void)BIO_write(b->in, etcp_buf_bytes(&server->out), len);
            moved = 1;
        }
        etcp_buf_clear(&server->out);
    } while (moved);
}

static void test_protocols(void)
{
    etcp_tls *direct = tls_make(ETCP_TLS_SERVER | ETCP_TLS_DIRECT, NULL);
    static const struct {
        const char *name;
        const char *alpn;
        int version;
        int upgrade_up, direct_up, easytcp;
    } cases[] = {
        {"ours",
         "\x09"
         "easytcp/1",
         TLS1_3_VERSION, 1, 1, 1},
        {"ours among others",
         "\x02h2\x09"
         "easytcp/1",
         TLS1_3_VERSION, 1, 1, 1},
        {"none", NULL, TLS1_3_VERSION, 0, 1, 0},
        {"another", "\x02h2", TLS1_3_VERSION, 0, 0, 0},
        {"a longer one",
         "\x0a"
         "easytcp/10",
         TLS1_3_VERSION, 0, 0, 0},
        {"TLS 1.2",
         "\x09"
         "easytcp/1",
         TLS1_2_VERSION, 0, 0, 0},
    };
    unsigned i;

    for (i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        int is_direct = (int)(i & 1);
        tls_end server;
        bare b;

        (void)tls_end_init(&server, is_direct ? direct : server_tls, NULL, NULL);
        bare_init(&b, cases[i / 2].version, cases[i / 2].alpn);
        bare_talk(&b, &server);
        tap_is_int(etcp_channel_is_established(server.ch),
                   is_direct ? cases[i / 2].direct_up : cases[i / 2].upgrade_up, "%s, %s: %s",
                   cases[i / 2].name, is_direct ? "direct" : "upgrade",
                   etcp_channel_error(server.ch)->text);
        if (is_direct)
            tap_is_int(etcp_channel_is_easytcp(server.ch), cases[i / 2].easytcp, "%s: who it is",
                       cases[i / 2].name);
        bare_deinit(&b);
        tls_end_deinit(&server);
    }
    etcp_tls_unref(direct);
}

static void key_updates(bare *b, unsigned count, int type, size_t data)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        (void)SSL_key_update(b->ssl, type);
        (void)SSL_do_handshake(b->ssl);
        if (data)
            (void)SSL_write(b->ssl, big, (int)data);
    }
}

static void test_key_updates(void)
{
    static const struct {
        const char *name;
        unsigned count;
        int type;
        size_t data;
        int rc;
    } cases[] = {
        {"32 renewals", 32, SSL_KEY_UPDATE_NOT_REQUESTED, 0, 0},
        {"33 renewals", 33, SSL_KEY_UPDATE_NOT_REQUESTED, 0, ETCP_EPROTO},
        {"1000 renewals", 1000, SSL_KEY_UPDATE_NOT_REQUESTED, 0, ETCP_EPROTO},
        {"1000 requests", 1000, SSL_KEY_UPDATE_REQUESTED, 0, ETCP_EPROTO},
        {"100 renewals in 10 MB", 100, SSL_KEY_UPDATE_REQUESTED, 100000, 0},
    };
    unsigned i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *bytes = malloc(16 << 20);
        size_t answer;
        tls_end server;
        int len;
        bare b;

        (void)tls_end_init(&server, server_tls, NULL, NULL);
        bare_init(&b, TLS1_3_VERSION,
                  "\x09"
                  "easytcp/1");
        bare_talk(&b, &server);
        key_updates(&b, cases[i].count, cases[i].type, cases[i].data);
        len = BIO_read(b.out, bytes, 16 << 20);
        (void)tls_feed(&server, bytes, (size_t)len, 20000);
        answer = etcp_buf_len(&server.out);
        tap_is_int(server.rc, cases[i].rc, "%s in %d bytes: %s", cases[i].name, len,
                   etcp_channel_error(server.ch)->text);
        tap_ok(cases[i].rc == 0 || answer < 2000, "%s: %u bytes of answer", cases[i].name,
               (unsigned)answer);
        bare_deinit(&b);
        tls_end_deinit(&server);
        free(bytes);
    }
}

/* A flood with a message behind it, which one call would take: nothing is left to show it later. */
static void test_flood_before_data(void)
{
    uint8_t bytes[4096], clear[4096];
    const uint8_t *at = bytes;
    tls_end server;
    ptrdiff_t got;
    int len;
    bare b;

    (void)tls_end_init(&server, server_tls, NULL, NULL);
    bare_init(&b, TLS1_3_VERSION,
              "\x09"
              "easytcp/1");
    bare_talk(&b, &server);
    key_updates(&b, 33, SSL_KEY_UPDATE_NOT_REQUESTED, 0);
    (void)SSL_write(b.ssl, "x", 1);
    len = BIO_read(b.out, bytes, sizeof bytes);
    got = etcp_channel_open(server.ch, &at, bytes + len, clear, sizeof clear, &server.out);
    tap_is_int((int)got, ETCP_EPROTO, "a byte behind 33 renewals is too late");
    bare_deinit(&b);
    tls_end_deinit(&server);
}

/* Our own keys are renewed, and the peer takes it. */
static void test_renewal(void)
{
    etcp_tls_options o;
    etcp_error error;
    etcp_tls *tls = NULL;
    unsigned lost = 0;
    tls_end client, server;
    unsigned i;

    memset(&o, 0, sizeof o);
    memset(&error, 0, sizeof error);
    o.renew_records = 10;
    (void)etcp_tls_new(&o, &tls, &error);
    (void)tls_end_init(&client, tls, "localhost", NULL);
    (void)tls_end_init(&server, server_tls, NULL, NULL);
    tls_shake(&client, &server, 0);
    for (i = 0; i < 25; i++)
        lost += !passes(&client, &server, 0, 16000, 0);
    tap_is_int((int)lost, 0, "messages pass while keys are renewed");
    for (i = 0; i < 5; i++)
        (void)etcp_channel_seal(client.ch, NULL, 0, big, 10, &client.out);
    tap_is_int((int)etcp_buf_len(&client.out), 5 * 32, "not before it is due");
    (void)etcp_channel_seal(client.ch, NULL, 0, big, 10, &client.out);
    tap_is_int((int)etcp_buf_len(&client.out), 6 * 32 + 5 + 5 + 17, "then in front of a record");
    tls_end_deinit(&client);
    tls_end_deinit(&server);
    etcp_tls_unref(tls);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int whole_life(void)
{
    pair p;
    int rc;

    memset(&p, 0, sizeof p);
    rc = tls_end_init(&p.client, client_tls, "localhost", "localhost:1");
    if (rc == 0)
        rc = tls_end_init(&p.server, server_tls, NULL, NULL);
    if (rc == 0) {
        tls_shake(&p.client, &p.server, 0);
        rc = is_up(&p) ? 0 : ETCP_ENOMEM;
    }
    if (rc == 0)
        rc = passes(&p.client, &p.server, 2, 100, 0) ? 0 : ETCP_ENOMEM;
    if (rc == 0)
        rc = etcp_channel_close(p.client.ch, &p.client.out);
    pair_deinit(&p);
    return rc;
}

static void test_out_of_memory(void)
{
    long live;
    unsigned leaks = 0;
    long n;
    int rc;

    alloc_fail_at(0);
    live = alloc_live();
    for (n = 1;; n++) {
        alloc_fail_at(n);
        rc = whole_life();
        leaks += alloc_live() != live;
        if (rc == 0 || !alloc_has_failed())
            break;
    }
    tap_is_int(rc, 0, "without a failure all is well");
    tap_is_int((int)leaks, 0, "each of %ld failures is clean", n - 1);
    alloc_reset();
}

int main(void)
{
    if (!policy_leaves_sha256())
        return tap_done();
    server_tls = tls_make(ETCP_TLS_SERVER, NULL);
    client_tls = tls_make(0, NULL);
    if (!tap_ok(server_tls && client_tls, "contexts"))
        return tap_done();
    test_handshake();
    test_early_binding();
    test_bindings_differ();
    test_messages();
    test_cuts();
    test_room();
    test_flips();
    test_flipped_record();
    test_error_queue();
    test_close();
    test_cut_off();
    test_endless_handshake();
    test_protocols();
    test_key_updates();
    test_flood_before_data();
    test_renewal();
    test_out_of_memory();
    etcp_tls_unref(server_tls);
    etcp_tls_unref(client_tls);
    return tap_done();
}
