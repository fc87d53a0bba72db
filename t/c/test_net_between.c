/* What somebody between two peers can do, who changes, cuts, adds, repeats, swaps and plays what he
 * likes. No message but the true one ever arrives, no end is taken for a regular one that is not,
 * and the server serves others afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "between.h"
#include "policy.h"
#include "tap.h"
#include "tls_make.h"
#include "wire/frame.h"
#include "wire/session.h"

#define ALPN                                                                                       \
    "\x09"                                                                                         \
    "easytcp/1"

typedef struct attack {
    world w;
    between b;
    unsigned heard; /* by the server: the true message */
    unsigned wrong; /* at either end: any other */
    int end_code;   /* of the server's last connection */
    char end_text[ETCP_ERROR_TEXT_MAX];
    /* What the change functions need. */
    int from;
    uint64_t place;
    const struct unit_attack *how;
    etcp_buf seen[2]; /* all that an honest one has handed on */
    etcp_buf held[2]; /* the unit that is not complete */
    unsigned units[2];
    unsigned connections; /* when units was set to 0 */
} attack;

static etcp_tls *server_tls, *client_tls, *direct_server_tls, *direct_client_tls;

static const char word[] = "the true message";

static void judge(world *w, etcp_server_event *e)
{
    attack *a = w->arg;

    if (e->type == ETCP_SERVER_DISCONNECT) {
        a->end_code = etcp_conn_error(e->conn)->code;
        strcpy(a->end_text, etcp_conn_error(e->conn)->text);
    }
    if (e->type != ETCP_SERVER_MESSAGE)
        return;
    if (e->message.len == strlen(word) && !memcmp(e->message.data, word, strlen(word)))
        a->heard++;
    else
        a->wrong++;
    (void)etcp_conn_send(e->conn, 0, e->message.data, e->message.len, NULL, NULL);
}

static void set_password(etcp_config *config, const char *password)
{
    if (password &&
        etcp_config_set_password(config, (const uint8_t *)password, strlen(password)) < 0)
        abort();
}

static void start(attack *a, etcp_tls *server, etcp_tls *client, const char *password)
{
    etcp_server_options options = world_options();

    memset(a, 0, sizeof *a);
    options.tls = server;
    world_start(&a->w, &options);
    a->w.client_tls = client;
    a->w.on_event = judge;
    a->w.arg = a;
    a->w.server_config->flags |= ETCP_ALLOW_TLS;
    a->w.client_config->flags |= ETCP_ALLOW_TLS;
    set_password(a->w.server_config, password);
    set_password(a->w.client_config, password);
    etcp_buf_init(&a->seen[0]);
    etcp_buf_init(&a->seen[1]);
    etcp_buf_init(&a->held[0]);
    etcp_buf_init(&a->held[1]);
}

static void stop(attack *a)
{
    between_stop(&a->b);
    world_stop(&a->w);
    etcp_buf_deinit(&a->seen[0]);
    etcp_buf_deinit(&a->seen[1]);
    etcp_buf_deinit(&a->held[0]);
    etcp_buf_deinit(&a->held[1]);
}

/* How a client that says one word, and goes, has fared. */
typedef struct fate {
    int is_connected;
    int is_answered; /* by the true message */
    int end_code;    /* of a client that waited for more */
    char text[ETCP_ERROR_TEXT_MAX];
} fate;

static fate converse(attack *a)
{
    etcp_event event;
    etcp_conn *c;
    int rc;
    fate f;

    memset(&f, 0, sizeof f);
    a->end_code = 0;
    a->end_text[0] = '\0';
    c = world_dial(&a->w);
    strcpy(f.text, world_error.text);
    f.end_code = world_error.code;
    if (!c)
        return f;
    f.is_connected = 1;
    rc = world_send(c, word);
    if (rc == 0)
        rc = world_wait(c, 1000, &event);
    if (rc == 1) {
        f.is_answered = event.len == strlen(word) && !memcmp(event.data, word, strlen(word));
        a->wrong += !f.is_answered;
        etcp_conn_close(c);
    } else {
        f.end_code = rc;
        strcpy(f.text, etcp_conn_error(c)->text);
    }
    etcp_conn_unref(c);
    world_pump(&a->w);
    return f;
}

/* That the server serves whoever comes without somebody in between. */
static void serves_others(attack *a, const char *name)
{
    char port[8];
    fate f;

    memcpy(port, a->w.port, sizeof port);
    memcpy(a->w.port, a->b.server_port, sizeof port);
    world_pass(300000); /* guesses are forgiven */
    world_pump(&a->w);
    f = converse(a);
    tap_ok(f.is_answered && a->end_code == ETCP_ECLOSED, "%s: the server serves others: %s", name,
           f.text);
    memcpy(a->w.port, port, sizeof port);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static int listen_only(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;

    return etcp_buf_append(&a->seen[from], etcp_buf_bytes(bytes), etcp_buf_len(bytes));
}

static void lie_in_wait(attack *a, int (*change)(between *b, int from, etcp_buf *bytes))
{
    between_start(&a->b, &a->w, NULL, NULL);
    a->b.arg = a;
    a->b.change = change;
}

/* The honest conversation that all attacks on bytes begin with: leaves in seen what was said. */
static void listen_first(attack *a, const char *password)
{
    fate f;

    start(a, server_tls, client_tls, password);
    lie_in_wait(a, listen_only);
    f = converse(a);
    tap_ok(f.is_answered && a->end_code == ETCP_ECLOSED, "handed on as it is: %s", f.text);
    a->b.by_byte = 1;
    a->b.change = NULL;
    f = converse(a);
    tap_ok(f.is_answered && a->end_code == ETCP_ECLOSED, "byte by byte: %s", f.text);
    a->b.by_byte = 0;
}

/* The size of the unit at the front: the packet in clear, or a record of TLS. 0: not complete. */
static size_t unit_size(const uint8_t *p, size_t len, int is_first)
{
    size_t size;

    if (len < 5)
        return 0;
    if (is_first)
        size = 2u + p[1] + (p[1] == 1 ? p[2] : (size_t)p[2] << 8 | p[3]);
    else
        size = 5u + ((size_t)p[3] << 8 | p[4]);
    return size <= len ? size : 0;
}

/* Where the unit that holds this place begins. */
static size_t unit_at(const etcp_buf *stream, size_t place)
{
    const uint8_t *p = etcp_buf_bytes(stream);
    size_t len = etcp_buf_len(stream);
    size_t at = 0;
    size_t size = unit_size(p, len, 1);

    while (size && at + size <= place) {
        at += size;
        size = unit_size(p + at, len - at, 0);
    }
    return at;
}

/* RFC 8446 ignores the version of a record, and all of a change_cipher_spec but its value. */
static int is_without_effect(const etcp_buf *stream, size_t place)
{
    size_t at = unit_at(stream, place);

    return at > 0 && (place - at == 1 || place - at == 2);
}

static int flip(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;
    size_t len = etcp_buf_len(bytes);

    if (a->connections != b->connections) {
        a->connections = b->connections;
        etcp_buf_clear(&a->held[0]);
        etcp_buf_clear(&a->held[1]);
    }
    if (etcp_buf_append(&a->held[from], etcp_buf_bytes(bytes), len) < 0)
        abort(); /* what was said this time: signatures have several lengths */
    if (from == a->from && a->place >= b->passed[from] && a->place - b->passed[from] < len)
        bytes->data[bytes->start + (size_t)(a->place - b->passed[from])] ^= 0x20;
    return 0;
}

static void test_flips(const char *password)
{
    const char *name = password ? "with a password" : "without one";
    unsigned unseen = 0;
    unsigned early = 0;
    attack a;

    listen_first(&a, password);
    a.b.change = flip;
    for (a.from = 0; a.from < 2; a.from++)
        for (a.place = 0; a.place < etcp_buf_len(&a.seen[a.from]); a.place++) {
            fate f = converse(&a);

            unseen += f.is_answered && a.end_code == ETCP_ECLOSED &&
                      a.place < etcp_buf_len(&a.held[a.from]) &&
                      !is_without_effect(&a.held[a.from], (size_t)a.place);
            /* What is in clear is found out inside, by the server: that ends regularly. */
            early += f.is_connected && f.end_code == ETCP_ECLOSED &&
                     unit_at(&a.held[a.from], (size_t)a.place) > 0;
            world_pass(60000);
        }
    tap_is_int((int)unseen, 0, "%s: no flipped byte is overlooked", name);
    tap_is_int((int)early, 0, "%s: nor taken for the end", name);
    tap_is_int((int)a.wrong, 0, "%s: nor changes a message", name);
    serves_others(&a, "flips");
    stop(&a);
}

static int cut(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;

    if (from != a->from || a->place >= b->passed[from] + etcp_buf_len(bytes))
        return 0;
    etcp_buf_truncate(bytes, (size_t)(a->place - b->passed[from]));
    b->is_cut = 1;
    return 0;
}

/* After each byte, so before each record. The last record of either end is close_notify. */
static void test_cuts(void)
{
    unsigned regular = 0;
    unsigned early = 0;
    attack a;

    listen_first(&a, "secret");
    a.b.change = cut;
    for (a.from = 0; a.from < 2; a.from++)
        for (a.place = 0; a.place + 24 < etcp_buf_len(&a.seen[a.from]); a.place++) {
            fate f = converse(&a);

            regular += a.from == BETWEEN_CLIENT && a.end_code == ETCP_ECLOSED;
            early += f.is_connected && f.end_code == ETCP_ECLOSED;
            world_pass(60000);
        }
    tap_is_int((int)regular, 0, "a client that is cut off has not left");
    tap_is_int((int)early, 0, "nor has a server");
    tap_is_int((int)a.wrong, 0, "no message is cut");
    serves_others(&a, "cuts");
    stop(&a);
}

/* ---- units ----------------------------------------------------------------------------------- */

typedef enum unit_action { INSERT, DROP, TWICE, SWAP, MERGE } unit_action;

/* What is done at one unit of a direction: the packet in clear is number 0, then come records. */
typedef struct unit_attack {
    const char *name;
    unit_action action;
    const char *bytes; /* inserted in front of the unit */
    size_t len;
    int may_pass; /* 1: without effect, as RFC 8446 has it, in front of a unit of the handshake; 2: see
                   * skips_late_ccs, too */
} unit_attack;

static const unit_attack unit_attacks[] = {
    {"a message in clear", INSERT, "\x05\x01\x08injected", 11, 0},
    {"a negotiation packet in clear", INSERT,
     "\x01\x01\x02"
     "EN",
     5, 0},
    {"one byte", INSERT, "\x17", 1, 0},
    {"data in clear", INSERT, "\x17\x03\x03\x00\x0b\x05\x01\x08injected", 16, 0},
    {"an empty record", INSERT, "\x17\x03\x03\x00\x00", 5, 0},
    {"sealed zeros", INSERT, "\x17\x03\x03\x00\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, 0},
    {"close_notify in clear", INSERT, "\x15\x03\x03\x00\x02\x01\x00", 7, 0},
    {"user_canceled in clear", INSERT, "\x15\x03\x03\x00\x02\x01\x5a", 7, 1},
    {"a fatal alert in clear", INSERT, "\x15\x03\x03\x00\x02\x02\x28", 7, 0},
    {"change_cipher_spec", INSERT, "\x14\x03\x03\x00\x01\x01", 6, 2},
    {"change_cipher_spec of another value", INSERT, "\x14\x03\x03\x00\x01\x02", 6, 0},
    {"HelloRequest", INSERT, "\x16\x03\x03\x00\x04\0\0\0\0", 9, 1},
    {"KeyUpdate in clear", INSERT, "\x16\x03\x03\x00\x05\x18\0\0\x01\x01", 10, 0},
    {"a record too long", INSERT, "\x17\x03\x03\x48\x01", 5, 0},
    {"a record of SSL 2", INSERT, "\x80\x2e\x01\x00\x02", 5, 0},
    {"dropped", DROP, NULL, 0, 0},
    {"sent twice", TWICE, NULL, 0, 0},
    {"sent behind the next one", SWAP, NULL, 0, 0},
};

/* A change_cipher_spec of ours may be missing, come twice or elsewhere. */
static int is_ccs(const uint8_t *unit)
{
    return unit[0] == 0x14;
}

static int was_ccs; /* the unit that was attacked */

/* Up to these units the handshake lasts: ClientHello, change_cipher_spec, Finished of the client;
 * five of the server. Later nothing in clear may be without effect. */
static unsigned handshake_units(int from)
{
    return from == BETWEEN_CLIENT ? 3 : 6;
}

static unsigned count_units(const etcp_buf *stream)
{
    const uint8_t *p = etcp_buf_bytes(stream);
    size_t len = etcp_buf_len(stream);
    unsigned count = 0;
    size_t at = 0;
    size_t size;

    while ((size = unit_size(p + at, len - at, count == 0)) > 0) {
        at += size;
        count++;
    }
    return count;
}

static void add(etcp_buf *to, const void *bytes, size_t len)
{
    if (etcp_buf_append(to, bytes, len) < 0)
        abort();
}

/* Takes the unit at the front of held and puts what becomes of it into bytes. Returns 0: the next
 * one is waited for. */
static int act(attack *a, int from, size_t size, etcp_buf *bytes)
{
    etcp_buf *held = &a->held[from];
    const uint8_t *unit = etcp_buf_bytes(held);
    int is_here = from == a->from && a->units[from] == a->place;
    unit_action action = is_here ? a->how->action : INSERT;
    size_t next;

    was_ccs |= is_here && a->units[from] && is_ccs(unit);
    if (action == SWAP) {
        next = unit_size(unit + size, etcp_buf_len(held) - size, 0);
        if (!next)
            return 0;
        was_ccs |= is_ccs(unit + size);
        add(bytes, unit + size, next);
        add(bytes, unit, size);
        a->units[from]++;
        size += next;
    } else {
        if (is_here && action == INSERT)
            add(bytes, a->how->bytes, a->how->len);
        if (action != DROP)
            add(bytes, unit, size);
        if (action == TWICE)
            add(bytes, unit, size);
    }
    a->units[from]++;
    etcp_buf_consume(held, size);
    return 1;
}

static int change_units(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;
    etcp_buf *held = &a->held[from];
    size_t size;

    if (a->connections != b->connections) {
        a->connections = b->connections;
        a->units[0] = a->units[1] = 0;
        etcp_buf_clear(&a->held[0]);
        etcp_buf_clear(&a->held[1]);
    }
    add(held, etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    etcp_buf_clear(bytes);
    while ((size = unit_size(etcp_buf_bytes(held), etcp_buf_len(held), a->units[from] == 0)) > 0)
        if (!act(a, from, size, bytes))
            break;
    return 0;
}

/* OpenSSL 3.5 as a client drops what 3.0 refuses: a change_cipher_spec behind the server's Finished. It
 * is without effect, and nothing else is. */
static int skips_late_ccs(void)
{
    return OpenSSL_version_num() >= 0x30200000UL; /* which has new code for records */
}

/* Whether the attack was overlooked, where it must not be. */
static int is_overlooked(const attack *a, const fate *f, unsigned last)
{
    if (!f->is_answered || a->end_code != ETCP_ECLOSED)
        return 0;
    if (a->how->may_pass && a->place <= handshake_units(a->from))
        return 0;
    if (a->how->may_pass == 2 && a->from == BETWEEN_SERVER && skips_late_ccs())
        return 0;
    if (a->place == last && a->how->action != INSERT)
        return 0; /* close_notify, which is as good twice or never if the client has gone */
    return !was_ccs;
}

/* At every unit of both directions. */
static void attack_units(attack *a, const unit_attack *how)
{
    unsigned unseen = 0;
    unsigned early = 0;
    unsigned wrong = a->wrong;

    a->how = how;
    for (a->from = 0; a->from < 2; a->from++) {
        unsigned count = count_units(&a->seen[a->from]);

        for (a->place = 0; a->place < count; a->place++) {
            fate f;

            was_ccs = 0;
            f = converse(a);
            if (is_overlooked(a, &f, count - 1)) {
                unseen++;
                tap_note("%s: unit %u of the %s", how->name, (unsigned)a->place,
                         a->from ? "server" : "client");
            }
            early += f.end_code == ETCP_ECLOSED && f.is_connected && !f.is_answered;
            world_pass(60000);
        }
    }
    tap_is_int((int)unseen, 0, "%s: is never overlooked", how->name);
    tap_is_int((int)early, 0, "%s: is not taken for the end", how->name);
    tap_is_int((int)(a->wrong - wrong), 0, "%s: no message but the true one", how->name);
}

static void test_units(const char *password)
{
    unsigned i;
    attack a;

    listen_first(&a, password);
    a.b.change = change_units;
    for (i = 0; i < sizeof unit_attacks / sizeof unit_attacks[0]; i++)
        attack_units(&a, &unit_attacks[i]);
    serves_others(&a, "units");
    stop(&a);
}

/* ---- TLS on both sides ----------------------------------------------------------------------- */

/* Begins a field of the packet at the front of bytes, which is one whole packet. NULL: there are
 * not so many. */
static uint8_t *field_of(etcp_buf *bytes, unsigned number, size_t *len)
{
    uint8_t *p = bytes->data + bytes->start;
    uint8_t *end = p + etcp_buf_len(bytes);
    uint8_t *next;

    p += 2 + p[1];
    while (number-- > 0) {
        p = memchr(p, 0, (size_t)(end - p));
        if (!p)
            return NULL;
        p++;
    }
    next = memchr(p, 0, (size_t)(end - p));
    *len = (size_t)((next ? next : end) - p);
    return p;
}

static int is_tag(etcp_buf *bytes, const char *tag)
{
    size_t len;
    const uint8_t *p = etcp_buf_len(bytes) > 4 ? field_of(bytes, 0, &len) : NULL;

    return p && len == strlen(tag) && !memcmp(p, tag, len);
}

/* A packet of these fields, in place of bytes. */
static void put_packet(etcp_buf *bytes, const etcp_buf *const *fields, unsigned count)
{
    etcp_buf text;
    uint8_t header[ETCP_FRAME_HEADER_MAX];
    unsigned i;

    etcp_buf_init(&text);
    for (i = 0; i < count; i++) {
        if (i)
            add(&text, "", 1);
        add(&text, etcp_buf_bytes(fields[i]), etcp_buf_len(fields[i]));
    }
    etcp_buf_clear(bytes);
    add(bytes, header, etcp_frame_encode(header, ETCP_FLAG_ALWAYS_ON, etcp_buf_len(&text)));
    add(bytes, etcp_buf_bytes(&text), etcp_buf_len(&text));
    etcp_buf_deinit(&text);
}

/* One field replaced by that of another packet. */
static void replace_field(etcp_buf *bytes, unsigned number, etcp_buf *other, unsigned other_number)
{
    etcp_buf fields[8];
    const etcp_buf *list[8];
    size_t len;
    uint8_t *p;
    unsigned count = 0;
    unsigned i;

    while (count < 8 && (p = field_of(bytes, count, &len)) != NULL) {
        etcp_buf_init(&fields[count]);
        if (count == number)
            p = field_of(other, other_number, &len);
        add(&fields[count], p, len);
        list[count] = &fields[count];
        count++;
    }
    put_packet(bytes, list, count);
    for (i = 0; i < count; i++)
        etcp_buf_deinit(&fields[i]);
}

static int remember_inside(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;

    if (is_tag(bytes, "HI") && !etcp_buf_len(&a->seen[0]))
        add(&a->seen[0], etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    if (is_tag(bytes, "EN") && !etcp_buf_len(&a->seen[1]))
        add(&a->seen[1], etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    (void)from;
    return 0;
}

/* A client's own share as the server's, with the server's proof. */
static int reflect_share(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;

    (void)remember_inside(b, from, bytes);
    if (is_tag(bytes, "EN"))
        replace_field(bytes, 4, &a->seen[0], 5);
    return 0;
}

/* The server's own proof as the client's. */
static int reflect_proof(between *b, int from, etcp_buf *bytes)
{
    static const uint8_t cp[] = "\x01\x01\x05"
                                "CP\0x";
    attack *a = b->arg;
    etcp_buf proof;

    (void)remember_inside(b, from, bytes);
    if (!is_tag(bytes, "EN"))
        return 0;
    etcp_buf_init(&proof);
    add(&proof, cp, sizeof cp - 1);
    replace_field(&proof, 1, &a->seen[1], 5);
    add(&proof, "\x05\x01\x08injected", 11);
    between_whisper(b, BETWEEN_SERVER, etcp_buf_bytes(&proof), etcp_buf_len(&proof));
    etcp_buf_deinit(&proof);
    etcp_buf_clear(bytes);
    return 0;
}

/* A message in front of the proof. */
static int speak_early(between *b, int from, etcp_buf *bytes)
{
    (void)b;
    if (from == BETWEEN_CLIENT && is_tag(bytes, "HI"))
        add(bytes, "\x05\x01\x08injected", 11);
    return 0;
}

/* The client's HI of an earlier connection. */
static int replay_hello(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;

    (void)from;
    if (is_tag(bytes, "HI")) {
        etcp_buf_clear(bytes);
        add(bytes, etcp_buf_bytes(&a->seen[0]), etcp_buf_len(&a->seen[0]));
    }
    return 0;
}

/* The same, with the right P, and so the share of an earlier connection. */
static int replay_share(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;

    (void)from;
    if (is_tag(bytes, "HI"))
        replace_field(bytes, 5, &a->seen[0], 5);
    return 0;
}

/* 33 renewals of keys for an end that sends nothing. */
static int flood(between *b, int from, etcp_buf *bytes, int to)
{
    unsigned i;

    (void)bytes;
    if (from == BETWEEN_SERVER)
        for (i = 0; i < 33; i++) {
            (void)SSL_key_update(b->ssl[to], SSL_KEY_UPDATE_REQUESTED);
            (void)SSL_do_handshake(b->ssl[to]);
        }
    return 0;
}

static int flood_server(between *b, int from, etcp_buf *bytes)
{
    return flood(b, from, bytes, BETWEEN_SERVER);
}

static int flood_client(between *b, int from, etcp_buf *bytes)
{
    return flood(b, from, bytes, BETWEEN_CLIENT);
}

static const char NOT_KNOWN[] = "The server does not know the password";

static const struct relay_case {
    const char *name;
    const char *password;
    int is_pinned;
    int client_max, server_max;
    const char *client_alpn, *server_alpn;
    int (*change)(between *b, int from, etcp_buf *bytes);
    int first_is_remembered; /* an earlier connection, whose packets are kept */
    int is_heard, is_answered;
    const char *client_text; /* how it begins; NULL: not looked at */
    const char *server_text; /* of the server; NULL: not looked at */
} relays[] = {
    {"nothing is asked for", NULL, 0, 0, 0, ALPN, ALPN, NULL, 0, 1, 1, NULL, NULL},
    {"a password", "secret", 0, 0, 0, ALPN, ALPN, NULL, 0, 0, 0, NOT_KNOWN, NULL},
    {"a key", NULL, 1, 0, 0, ALPN, ALPN, NULL, 0, 0, 0,
     "The server's key is not the expected one: ", NULL},
    {"a key and a password", "secret", 1, 0, 0, ALPN, ALPN, NULL, 0, 0, 0,
     "The server's key is not the expected one: ", NULL},
    {"another protocol for the client", NULL, 0, 0, 0, "\x02h2", ALPN, NULL, 0, 0, 0, "", NULL},
    {"no protocol for the client", NULL, 0, 0, 0, NULL, ALPN, NULL, 0, 0, 0,
     "TLS: the peer does not speak easytcp/1", NULL},
    {"another protocol for the server", NULL, 0, 0, 0, ALPN, "\x02h2", NULL, 0, 0, 0, NULL, NULL},
    {"no protocol for the server", NULL, 0, 0, 0, ALPN, NULL, NULL, 0, 0, 0, NULL, NULL},
    {"TLS 1.2 for the client", NULL, 0, TLS1_2_VERSION, 0, ALPN, ALPN, NULL, 0, 0, 0, "", NULL},
    {"TLS 1.2 for the server", NULL, 0, 0, TLS1_2_VERSION, ALPN, ALPN, NULL, 0, 0, 0, NULL, NULL},
    {"the client's share for the client", "secret", 0, 0, 0, ALPN, ALPN, reflect_share, 0, 0, 0,
     NOT_KNOWN, NULL},
    {"the server's proof for the server", "secret", 0, 0, 0, ALPN, ALPN, reflect_proof, 0, 0, 0,
     NULL, NULL},
    {"a message before the proof", "secret", 0, 0, 0, ALPN, ALPN, speak_early, 0, 0, 0, NULL, NULL},
    {"an old HI", "secret", 0, 0, 0, ALPN, ALPN, replay_hello, 1, 0, 0, NULL, NULL},
    {"an old share", "secret", 0, 0, 0, ALPN, ALPN, replay_share, 1, 0, 0, NOT_KNOWN, NULL},
    {"a flood of renewals for the server", NULL, 0, 0, 0, ALPN, ALPN, flood_server, 0, 1, 1, NULL,
     "The peer renews its keys too often"},
    {"a flood of renewals for the client", NULL, 0, 0, 0, ALPN, ALPN, flood_client, 0, 1, 0,
     "The peer renews its keys too often", NULL},
};

/* Two sessions of TLS, one with each end, and what is inside handed on or changed. */
static void test_relay(const struct relay_case *c)
{
    uint8_t print[ETCP_FINGERPRINT];
    etcp_tls *pinned;
    attack a;
    fate f;

    (void)etcp_fingerprint_parse(etcp_tls_fingerprint(server_tls), 71, print);
    pinned = tls_make(0, (const uint8_t(*)[ETCP_FINGERPRINT])print);
    start(&a, server_tls, c->is_pinned ? pinned : client_tls, c->password);
    between_start(&a.b, &a.w, between_to_client(c->client_max, c->client_alpn),
                  between_to_server(c->server_max, c->server_alpn));
    a.b.arg = &a;
    if (c->first_is_remembered) {
        a.b.change = remember_inside;
        (void)converse(&a);
        a.heard = 0;
        world_pump(&a.w);
    }
    a.b.change = c->change;
    f = converse(&a);
    tap_is_int(f.is_answered, c->is_answered, "%s: whether it goes through: %s", c->name, f.text);
    tap_is_int((int)a.heard, c->is_heard, "%s: what the server heard", c->name);
    tap_is_int((int)a.wrong, 0, "%s: nothing else", c->name);
    tap_is_int(SSL_CTX_sess_number(a.b.tls[1]), 0, "%s: no session to resume", c->name);
    if (c->client_text)
        tap_ok(!strncmp(f.text, c->client_text, strlen(c->client_text)) && f.text[0],
               "%s: the client says: %s", c->name, f.text);
    if (c->server_text)
        tap_is_str(a.end_text, c->server_text, "%s: the server says", c->name);
    serves_others(&a, c->name);
    stop(&a);
    etcp_tls_unref(pinned);
}

static void test_relays(void)
{
    unsigned i;

    for (i = 0; i < sizeof relays / sizeof relays[0]; i++)
        test_relay(&relays[i]);
}

/* ---- another kind of port, another connection ------------------------------------------------ */

static const uint8_t WELCOME[] = "\x01\x01\x17"
                                 "hello\0ETCP1\0"
                                 "1.10\0\0\0\0\0T1";
static const uint8_t ANSWER[] = "\x01\x01\x17"
                                "NO\0xx\0ETCP1\0"
                                "1.10\0\0\0\0\0T1";

/* Swallows the first packet of an end; a greeting was its other half. */
static int swallow_first(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;
    size_t size;

    if (a->connections != b->connections) {
        a->connections = b->connections;
        a->units[0] = 0;
        etcp_buf_clear(&a->held[0]);
    }
    if (from != a->from || a->units[0])
        return 0;
    add(&a->held[0], etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    etcp_buf_clear(bytes);
    size = unit_size(etcp_buf_bytes(&a->held[0]), etcp_buf_len(&a->held[0]), 1);
    if (!size)
        return 0;
    a->units[0] = 1;
    if (from == BETWEEN_SERVER)
        between_say(b, BETWEEN_SERVER, ANSWER, sizeof ANSWER - 1);
    add(bytes, etcp_buf_bytes(&a->held[0]) + size, etcp_buf_len(&a->held[0]) - size);
    return 0;
}

/* TLS from the first byte at one end, and behind a negotiation at the other. */
static void test_opossum(int client_is_direct)
{
    const char *name = client_is_direct ? "direct to upgrade" : "upgrade to direct";
    attack a;
    fate f;

    start(&a, client_is_direct ? server_tls : direct_server_tls,
          client_is_direct ? direct_client_tls : client_tls, NULL);
    lie_in_wait(&a, swallow_first);
    a.from = client_is_direct ? BETWEEN_SERVER : BETWEEN_CLIENT;
    if (!client_is_direct)
        add(&a.b.greeting, WELCOME, sizeof WELCOME - 1);
    f = converse(&a);
    tap_ok(!f.is_answered, "%s: no answer: %s", name, f.text);
    tap_is_int((int)(a.heard + a.wrong), 0, "%s: no message arrives", name);
    tap_ok(a.units[0] == 1, "%s: both spoke", name);
    stop(&a);
}

/* What the client says comes back to it, with and without the answer in clear. */
static int echo_back(between *b, int from, etcp_buf *bytes)
{
    (void)swallow_first(b, from, bytes);
    between_say(b, BETWEEN_CLIENT, etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    etcp_buf_clear(bytes);
    return 0;
}

static void test_reflected_client(void)
{
    int tries;
    attack a;

    start(&a, server_tls, client_tls, NULL);
    lie_in_wait(&a, echo_back);
    a.b.is_deaf = 1;
    add(&a.b.greeting, WELCOME, sizeof WELCOME - 1);
    for (tries = 0; tries < 2; tries++) {
        fate f;

        a.from = tries ? BETWEEN_SERVER : BETWEEN_CLIENT; /* whose first packet is swallowed */
        f = converse(&a);
        tap_ok(!f.is_connected && f.text[0], "a client that hears itself: %s", f.text);
    }
    tap_is_int((int)a.wrong, 0, "it takes nothing of it for a message");
    stop(&a);
}

/* Moves what one raw connection to the server gets to the other. */
static void splice(int from, int to)
{
    uint8_t bytes[4096];
    ssize_t got = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);

    if (got > 0)
        (void)send(to, bytes, (size_t)got, MSG_NOSIGNAL);
}

/* One without a password lets everybody in, itself included. */
static void test_reflected_server(void)
{
    int one, two;
    int round;
    attack a;

    start(&a, server_tls, client_tls, "secret");
    one = world_connect_raw(&a.w);
    two = world_connect_raw(&a.w);
    for (round = 0; round < 300; round++) {
        world_pump(&a.w);
        splice(one, two);
        splice(two, one);
    }
    tap_ok(strstr(a.w.log, "A2") && !strchr(a.w.log, 'C') && !strchr(a.w.log, 'M'),
           "a server that hears itself accepts nobody: %s", a.w.log);
    (void)close(one);
    (void)close(two);
    world_pump(&a.w);
    world_stop(&a.w);
}

/* All that a client once said, again. */
static void test_replayed_client(const char *password)
{
    int again;
    int fd;
    attack a;

    listen_first(&a, password);
    for (again = 0; again < 2; again++) {
        const uint8_t *bytes = etcp_buf_bytes(&a.seen[0]);
        size_t len = etcp_buf_len(&a.seen[0]);
        size_t at = 0;

        world_forget(&a.w);
        a.heard = 0;
        fd = world_connect_raw(&a.w);
        world_pump(&a.w);
        while (at < len) {
            size_t size = again ? unit_size(bytes + at, len - at, at == 0) : len;

            if (send(fd, bytes + at, size, MSG_NOSIGNAL) < 0)
                break;
            world_pump(&a.w);
            at += size;
        }
        world_pump(&a.w);
        tap_ok(!strchr(a.w.log, 'C') && !strchr(a.w.log, 'M') && !a.heard && !a.wrong,
               "a client's bytes played again, %s: %s", again ? "one by one" : "at once", a.w.log);
        (void)close(fd);
        world_pump(&a.w);
    }
    serves_others(&a, "replay");
    stop(&a);
}

/* All that a server once said, again. */
static int play_server(between *b, int from, etcp_buf *bytes)
{
    attack *a = b->arg;
    size_t size = unit_size(etcp_buf_bytes(&a->seen[1]), etcp_buf_len(&a->seen[1]), 1);

    (void)from;
    if (a->connections != b->connections)
        between_say(b, BETWEEN_CLIENT, etcp_buf_bytes(&a->seen[1]) + size,
                    etcp_buf_len(&a->seen[1]) - size);
    a->connections = b->connections;
    etcp_buf_clear(bytes);
    return 0;
}

static void test_replayed_server(const char *password)
{
    attack a;
    fate f;

    listen_first(&a, password);
    a.b.is_deaf = 1;
    a.b.change = play_server;
    add(&a.b.greeting, etcp_buf_bytes(&a.seen[1]),
        unit_size(etcp_buf_bytes(&a.seen[1]), etcp_buf_len(&a.seen[1]), 1));
    f = converse(&a);
    tap_ok(!f.is_connected && f.text[0], "a server's bytes played again: %s", f.text);
    etcp_buf_clear(&a.b.greeting);
    add(&a.b.greeting, etcp_buf_bytes(&a.seen[1]), etcp_buf_len(&a.seen[1]));
    a.b.change = NULL;
    f = converse(&a);
    tap_is_str(f.text, "Clear text behind the offer of TLS", "and all at once");
    stop(&a);
}

/* A handshake that claims 100 000 bytes, in records of 16 000. */
static void test_endless_handshake(void)
{
    uint8_t record[5 + 16000] = {22, 3, 3, 16000 >> 8, 16000 & 255, 1, 1, 0x86, 0xa0};
    size_t size;
    unsigned sent;
    attack a;
    int fd;

    listen_first(&a, NULL);
    world_forget(&a.w);
    fd = world_connect_raw(&a.w);
    world_pump(&a.w);
    size = unit_size(etcp_buf_bytes(&a.seen[0]), etcp_buf_len(&a.seen[0]), 1);
    (void)send(fd, etcp_buf_bytes(&a.seen[0]), size, MSG_NOSIGNAL);
    for (sent = 0; sent < 20; sent++) {
        uint8_t bytes[4096];

        if (send(fd, record, sizeof record, MSG_NOSIGNAL) < (ssize_t)sizeof record)
            break;
        memset(record + 5, 0, 16000);
        world_pump(&a.w);
        while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            continue;
    }
    tap_ok(sent <= 6, "a handshake without end is cut after %u records", sent);
    (void)close(fd);
    world_pump(&a.w);
    serves_others(&a, "endless");
    stop(&a);
}

int main(void)
{
    if (!policy_leaves_sha256())
        return tap_done();
    server_tls = tls_make(ETCP_TLS_SERVER, NULL);
    client_tls = tls_make(0, NULL);
    direct_server_tls = tls_make(ETCP_TLS_SERVER | ETCP_TLS_DIRECT, NULL);
    direct_client_tls = tls_make(ETCP_TLS_DIRECT, NULL);
    test_flips("secret");
    test_flips(NULL);
    test_cuts();
    test_units("secret");
    test_units(NULL);
    test_relays();
    test_opossum(0);
    test_opossum(1);
    test_reflected_client();
    test_reflected_server();
    test_replayed_client(NULL);
    test_replayed_client("secret");
    test_replayed_server(NULL);
    test_replayed_server("secret");
    test_endless_handshake();
    etcp_tls_unref(server_tls);
    etcp_tls_unref(client_tls);
    etcp_tls_unref(direct_server_tls);
    etcp_tls_unref(direct_client_tls);
    return tap_done();
}
