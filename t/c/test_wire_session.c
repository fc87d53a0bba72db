/* csrc/wire/session*.c: messages in and out once the negotiation is over. */
#include "wire_peer.h"

#include "alloc.h"
#include "tap.h"
#include "wire/config.h"

/* A session whose negotiation with a peer of this version (NULL: one that knows no VE) is over. */
static void make_ready(peer *p, etcp_config *config, const char *version)
{
    char command[32] = "VE|";

    strcat(command, version ? version : "");
    if (peer_init(p, config) < 0)
        abort();
    if (config->role == ETCP_ROLE_SERVER)
        (void)peer_command(p, "NO");
    (void)peer_command(p, version ? command : "NO");
    (void)peer_command(p, "EN");
    (void)peer_answer(p);
    if (!p->ready)
        abort();
}

static etcp_config *plain_config(etcp_role role)
{
    etcp_config *config = etcp_config_new(role);

    if (!config)
        abort();
    config->flags = ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS;
    return config;
}

/* ---- in place ------------------------------------------------------------------------------- */

static void test_in_place(void)
{
    static const uint8_t input[] = {5, 0, 5, 1, 1, '0', 7, 1, 2, 'a', 'b', 5, 1, 3, 'x'};
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    const uint8_t *at = input;
    etcp_event event;
    peer p;

    make_ready(&p, config, "0.26");
    alloc_fail_at(0);
    tap_ok(etcp_session_next(p.s, &at, input + sizeof input, &event) == 1 && event.len == 0 &&
               event.flags == 0 && event.type == ETCP_EVENT_MESSAGE,
           "in place: an empty message");
    tap_ok(etcp_session_next(p.s, &at, input + sizeof input, &event) == 1 &&
               event.data == input + 5 && event.len == 1 && event.payload == NULL,
           "in place: a message lies in the caller's input");
    tap_ok(etcp_session_next(p.s, &at, input + sizeof input, &event) == 1 &&
               event.flags == ETCP_MESSAGE_COMPLEX && event.data == input + 9,
           "in place: a complex message");
    tap_is_int(alloc_count(), 0, "in place: without any allocation");
    tap_is_int(etcp_session_next(p.s, &at, input + sizeof input, &event), 0, "in place: no more");
    tap_ok(at == input + sizeof input, "in place: the rest is kept");
    tap_is_int(alloc_count(), 1, "in place: in one allocation");
    at = (const uint8_t *)"yz";
    tap_ok(etcp_session_next(p.s, &at, at + 2, &event) == 1 && event.len == 3 &&
               memcmp(event.data, "xyz", 3) == 0,
           "in place: the kept one is completed");
    tap_is_int(etcp_session_next(p.s, &at, at, &event), 0, "in place: nothing else");
    tap_is_int(alloc_live(), 0, "in place: an idle session keeps no memory for it");
    alloc_reset();
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* What is handed out the short way is what the long way hands out. */
static void compare_ways(etcp_config *config, const uint8_t *input, size_t len, const char *name,
                         int is_usual)
{
    const uint8_t *at[2];
    etcp_event event[2];
    peer p[2];
    int rc[2];
    int i;

    for (i = 0; i < 2; i++) {
        make_ready(&p[i], config, "0.26");
        memset(&event[i], 0, sizeof event[i]);
        at[i] = input;
    }
    rc[0] = etcp_session_next_usual(p[0].s, &at[0], input + len, &event[0]);
    rc[1] = etcp_session_next(p[1].s, &at[1], input + len, &event[1]);
    tap_is_int(rc[0], is_usual, "%s: the short way", name);
    if (rc[0])
        tap_ok(rc[1] == 1 && at[0] == at[1] && event[0].type == event[1].type &&
                   event[0].flags == event[1].flags && event[0].data == event[1].data &&
                   event[0].len == event[1].len && event[0].payload == event[1].payload,
               "%s: both ways give the same", name);
    else
        tap_ok(at[0] == input, "%s: nothing is taken", name);
    for (i = 0; i < 2; i++)
        peer_deinit(&p[i]);
}

static void test_usual(void)
{
    static const uint8_t text[] = {5, 1, 2, 'a', 'b', 5};
    static const uint8_t complex[] = {7, 1, 2, 'a', 'b'};
    static const uint8_t empty[] = {5, 1, 0};
    static const uint8_t no_length[] = {5, 0};
    static const uint8_t two_bytes[] = {5, 2, 0, 2, 'a', 'b'};
    static const uint8_t internal[] = {1, 1, 1, '0'};
    static const uint8_t not_ours[] = {4, 1, 1, 'a'};
    static const uint8_t encrypted[] = {13, 1, 1, 'a'};
    static const uint8_t compressed[] = {21, 1, 1, 'a'};
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);

    compare_ways(config, text, sizeof text, "text", 1);
    compare_ways(config, complex, sizeof complex, "complex", 1);
    compare_ways(config, empty, sizeof empty, "empty", 1);
    compare_ways(config, text, 0, "no input", 0);
    compare_ways(config, text, 2, "half a header", 0);
    compare_ways(config, text, 4, "half a message", 0);
    compare_ways(config, no_length, sizeof no_length, "no length", 0);
    compare_ways(config, two_bytes, sizeof two_bytes, "a long header", 0);
    compare_ways(config, internal, sizeof internal, "not for the user", 0);
    compare_ways(config, not_ours, sizeof not_ours, "no packet", 0);
    compare_ways(config, encrypted, sizeof encrypted, "encrypted", 0);
    compare_ways(config, compressed, sizeof compressed, "compressed", 0);
    config->message_max = 1;
    compare_ways(config, text, sizeof text, "too large", 0);
    etcp_config_unref(config);
}

static void test_usual_between(void)
{
    static const uint8_t input[] = {5, 1, 2, 'a', 'b', 5, 1, 1, 'c'};
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    const uint8_t *at = input;
    etcp_event event;
    peer p;

    make_ready(&p, config, "0.26");
    tap_is_int(etcp_session_next(p.s, &at, input + 4, &event), 0, "usual: a part is kept");
    tap_is_int(etcp_session_next_usual(p.s, &at, input + sizeof input, &event), 0,
               "usual: not while a message is under way");
    tap_is_int(etcp_session_next(p.s, &at, input + sizeof input, &event), 1, "usual: it is completed");
    tap_is_int(etcp_session_next_usual(p.s, &at, input + sizeof input, &event), 0,
               "usual: not while it is held");
    tap_ok(etcp_session_next(p.s, &at, input + sizeof input, &event) == 1 && *event.data == 'c',
           "usual: the next one");
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_encode_in_place(void)
{
    static const uint8_t payload[] = "hello";
    etcp_config *config = plain_config(ETCP_ROLE_CLIENT);
    etcp_packet packet;
    peer p;

    make_ready(&p, config, "1.00");
    alloc_fail_at(0);
    tap_is_int(etcp_session_encode(p.s, 0, payload, 5, &packet), 0, "encode");
    tap_ok(packet.body == payload && packet.body_len == 5, "encode: the body is the caller's");
    tap_is_mem(packet.header, packet.header_len, "\x05\x01\x05", 3, "encode: header");
    tap_is_int(etcp_session_encode(p.s, ETCP_MESSAGE_COMPLEX, payload, 0, &packet), 0,
               "encode: empty");
    tap_is_mem(packet.header, packet.header_len, "\x07\x00", 2, "encode: empty, complex: header");
    tap_is_int(alloc_count(), 0, "encode: without any allocation");
    alloc_reset();
    peer_deinit(&p);
    (void)peer_init(&p, config);
    tap_is_int(etcp_session_encode(p.s, 0, payload, 5, &packet), ETCP_EINVAL,
               "encode: not before READY");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- cut everywhere ------------------------------------------------------------------------- */

static uint8_t long_text[700];

/* Three messages with internal packets between them, cut in two at every place. */
static void test_cuts(void)
{
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    etcp_buf input;
    etcp_buf want;
    size_t cut;
    unsigned wrong = 0;

    memset(long_text, 'L', sizeof long_text);
    etcp_buf_init(&input);
    etcp_buf_init(&want);
    (void)etcp_buf_append_str(&want, "one");
    (void)etcp_buf_append(&want, long_text, sizeof long_text);
    (void)etcp_buf_append_str(&want, "three");
    add_packet(&input, ETCP_FLAG_REAL, "one", 3);
    add_packet(&input, 0, "NO\0late", 7);
    add_packet(&input, ETCP_FLAG_REAL, long_text, sizeof long_text);
    add_packet(&input, 0, "PF", 2);
    add_packet(&input, ETCP_FLAG_REAL, "", 0);
    add_packet(&input, 0, "", 0);
    add_packet(&input, ETCP_FLAG_REAL, "three", 5);
    for (cut = 0; cut <= etcp_buf_len(&input); cut++) {
        const uint8_t *bytes = etcp_buf_bytes(&input);
        peer p;

        make_ready(&p, config, "0.26");
        (void)peer_feed(&p, bytes, cut);
        (void)peer_feed(&p, bytes + cut, etcp_buf_len(&input) - cut);
        if (p.messages != 4 || p.rc != 0 || etcp_buf_len(&p.data) != etcp_buf_len(&want) ||
            memcmp(etcp_buf_bytes(&p.data), etcp_buf_bytes(&want), etcp_buf_len(&want)) != 0)
            wrong++;
        peer_deinit(&p);
    }
    tap_is_int(wrong, 0, "cuts: %lu places; late internal packets change nothing",
               (unsigned long)cut);
    etcp_buf_deinit(&want);
    etcp_buf_deinit(&input);
    etcp_config_unref(config);
}

static void test_ready_and_data_in_one_read(void)
{
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    etcp_buf input;
    peer p;

    etcp_buf_init(&input);
    (void)peer_init(&p, config);
    (void)peer_command(&p, "NO");
    (void)peer_command(&p, "VE|0.26");
    add_packet(&input, 0, "EN", 2);
    add_packet(&input, ETCP_FLAG_REAL, "quick", 5);
    (void)peer_feed(&p, etcp_buf_bytes(&input), etcp_buf_len(&input));
    tap_ok(p.ready == 1 && p.messages == 1, "EN and data in one read: both are events");
    tap_is_mem(etcp_buf_bytes(&p.data), etcp_buf_len(&p.data), "quick", 5,
               "EN and data in one read: the data");
    peer_deinit(&p);
    etcp_buf_deinit(&input);
    etcp_config_unref(config);
}

/* ---- has_packet ----------------------------------------------------------------------------- */

static void test_has_packet(void)
{
    etcp_config *config = plain_config(ETCP_ROLE_CLIENT);
    static const uint8_t packet[] = {5, 2, 1, 0};
    uint8_t rest[256];
    peer p;

    memset(rest, 'r', sizeof rest);
    make_ready(&p, config, "1.00");
    tap_ok(!etcp_session_has_packet(p.s, packet, packet), "has_packet: nothing");
    tap_ok(!etcp_session_has_packet(p.s, packet, packet + 4), "has_packet: a header");
    (void)peer_feed(&p, packet, 3);
    tap_ok(!etcp_session_has_packet(p.s, packet + 3, packet + 4), "has_packet: kept header");
    (void)peer_feed(&p, packet + 3, 1);
    tap_ok(!etcp_session_has_packet(p.s, rest, rest + 255), "has_packet: one byte is missing");
    tap_ok(etcp_session_has_packet(p.s, rest, rest + 256), "has_packet: whole");
    (void)peer_feed(&p, rest, 256);
    tap_ok(p.messages == 1 && !etcp_session_has_packet(p.s, rest, rest), "has_packet: taken");
    rest[0] = 0;
    tap_ok(etcp_session_has_packet(p.s, rest, rest + 1),
           "has_packet: what cannot be a packet counts as one, so that its error is met");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- large payloads ------------------------------------------------------------------------- */

/* Payload memory that notes what was asked for. */
typedef struct account {
    unsigned created;
    unsigned destroyed;
    size_t largest;
    int fail;
} account;

typedef struct holder {
    uint8_t *data;
    size_t cap;
} holder;

static void *create_payload(void *arg, size_t cap, uint8_t **data)
{
    account *a = arg;
    holder *h;

    if (a->fail)
        return NULL;
    h = malloc(sizeof *h);
    h->data = malloc(cap);
    h->cap = cap;
    a->created++;
    if (cap > a->largest)
        a->largest = cap;
    *data = h->data;
    return h;
}

static uint8_t *grow_payload(void *arg, void *handle, size_t cap)
{
    account *a = arg;
    holder *h = handle;

    if (a->fail)
        return NULL;
    h->data = realloc(h->data, cap);
    h->cap = cap;
    if (cap > a->largest)
        a->largest = cap;
    return h->data;
}

static void destroy_payload(void *arg, void *handle)
{
    account *a = arg;
    holder *h = handle;

    a->destroyed++;
    free(h->data);
    free(h);
}

static const etcp_payload_ops payload_ops = {create_payload, grow_payload, destroy_payload};

static uint8_t large[300000];

/* Feeds the packet: part of it as input, the rest through the window where there is one. Returns
 * whether the message came out right, in memory of its own. */
static int receive_large(peer *p, const etcp_buf *packet, size_t first, size_t step,
                         int through_window)
{
    const uint8_t *at = etcp_buf_bytes(packet);
    const uint8_t *end = at + etcp_buf_len(packet);
    etcp_event event;
    int rc;
    int right;

    for (;;) {
        const uint8_t *input = at;
        uint8_t *where = NULL;
        size_t part = (size_t)(end - at) < first ? (size_t)(end - at) : first;
        size_t room = through_window ? etcp_session_window(p->s, &where) : 0;

        if (room) {
            part = part < room ? part : room;
            memcpy(where, at, part);
            etcp_session_commit(p->s, part);
            rc = etcp_session_next(p->s, &input, input, &event);
        } else {
            rc = etcp_session_next(p->s, &input, input + part, &event);
        }
        at += part;
        first = step;
        if (rc != 0 || part == 0)
            break;
    }
    if (rc != 1)
        return 0;
    right = event.len == sizeof large && event.payload != NULL &&
            memcmp(event.data, large, sizeof large) == 0 &&
            ((holder *)event.payload)->data == event.data;
    destroy_payload(&(account){0, 0, 0, 0}, event.payload);
    return right;
}

static void test_large(void)
{
    static const size_t firsts[] = {1, 2, 4, 5, 6, 100, 65536, 299999};
    static const size_t steps[] = {1, 4097, 100000};
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    account books = {0, 0, 0, 0};
    etcp_buf packet;
    unsigned wrong = 0;
    unsigned runs = 0;
    size_t i;
    peer p;

    for (i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 7 + (i >> 8));
    config->payload_ops = &payload_ops;
    config->payload_arg = &books;
    etcp_buf_init(&packet);
    add_packet(&packet, ETCP_FLAG_REAL, large, sizeof large);
    make_ready(&p, config, "0.26");
    for (i = 0; i < sizeof firsts / sizeof firsts[0] * 6; i++) {
        runs++;
        wrong += !receive_large(&p, &packet, firsts[i / 6], steps[i % 3], i % 6 > 2);
    }
    tap_is_int(wrong, 0, "large: %u ways to receive one", runs);
    tap_is_int((long long)books.created, runs, "large: each in memory of the user");
    tap_is_int((long long)books.largest, sizeof large, "large: never more than it needs");
    peer_deinit(&p);
    tap_is_int((long long)books.destroyed, 0, "large: none destroyed by the session");
    etcp_buf_deinit(&packet);
    etcp_config_unref(config);
}

/* What a header claims must not be allocated before it comes. */
static void test_large_claims(void)
{
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    account books = {0, 0, 0, 0};
    etcp_session *copy;
    uint8_t *where;
    peer p;

    config->payload_ops = &payload_ops;
    config->payload_arg = &books;
    make_ready(&p, config, "0.26");
    (void)peer_feed(&p, (const uint8_t *)"\x05\x04\x1f\xff\xff\x00", 6);
    (void)peer_feed(&p, large, 1000);
    tap_ok(books.created == 1 && books.largest <= 65536, "claims: 512 MB claimed, 64 KB allocated");
    tap_ok(etcp_session_window(p.s, &where) == 65536 - 1000, "claims: the window is what is there");
    tap_is_int(etcp_session_clone(p.s, &copy), 0, "claims: a copy in the middle");
    tap_is_int((long long)books.created, 1, "claims: the copy has memory of its own");
    etcp_session_free(copy);
    peer_deinit(&p);
    tap_is_int((long long)books.destroyed, 1, "claims: destroyed with the session");
    books.fail = 1;
    make_ready(&p, config, "0.26");
    tap_is_int(peer_feed(&p, (const uint8_t *)"\x05\x03\x0f\xff\xff", 5), ETCP_ENOMEM,
               "claims: the user's memory is exhausted");
    peer_deinit(&p);
    config->payload_ops = NULL;
    make_ready(&p, config, "0.26");
    (void)peer_feed(&p, (const uint8_t *)"\x05\x04\x1f\xff\xff\x00", 6);
    tap_ok(etcp_session_window(p.s, &where) > 0,
           "claims: without such memory there is a window, too");
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_limits(void)
{
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    etcp_packet packet;
    peer p;

    tap_is_int((long long)config->message_max, 1 << 30, "limit: 1 GiB by default");
    config->message_max = 100;
    make_ready(&p, config, "0.26");
    tap_is_int(etcp_session_encode(p.s, 0, large, 101, &packet), ETCP_ETOOBIG, "limit: encode");
    tap_is_int(etcp_session_encode(p.s, 0, large, 100, &packet), 0, "limit: encode, not sticky");
    tap_is_int(peer_feed(&p, (const uint8_t *)"\x05\x01\x64", 3), 0, "limit: 100 bytes are fine");
    (void)peer_feed(&p, large, 100);
    tap_is_int((long long)p.messages, 1, "limit: and come");
    tap_is_int(peer_feed(&p, (const uint8_t *)"\x05\x01\x65", 3), ETCP_ETOOBIG,
               "limit: 101 are refused by the header");
    peer_deinit(&p);
    make_ready(&p, config, "0.26");
    tap_is_int(peer_feed(&p, (const uint8_t *)"\x01\x03\x01\x00\x01", 5), ETCP_ETOOBIG,
               "limit: internal packets that will be ignored have one, too");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* Who negotiates with us may make us work for so many bytes. */
static void test_packet_limits(void)
{
    static const struct limit {
        etcp_role role;
        const char *longest, *longer; /* headers */
    } limits[] = {
        {ETCP_ROLE_SERVER, "\x01\x02\x10\x00", "\x01\x02\x10\x01"},
        {ETCP_ROLE_CLIENT, "\x01\x03\x01\x00\x00", "\x01\x03\x01\x00\x01"},
    };
    size_t i;

    for (i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        size_t len = limits[i].role == ETCP_ROLE_SERVER ? 4 : 5;
        etcp_config *config = plain_config(limits[i].role);
        peer p;

        (void)peer_init(&p, config);
        tap_is_int(peer_feed(&p, (const uint8_t *)limits[i].longest, len), 0,
                   "limit: the longest packet of a negotiation, role %d", (int)limits[i].role);
        peer_deinit(&p);
        (void)peer_init(&p, config);
        tap_is_int(peer_feed(&p, (const uint8_t *)limits[i].longer, len), ETCP_ETOOBIG,
                   "limit: one byte more");
        peer_deinit(&p);
        etcp_config_unref(config);
    }
}

/* ---- old clients ---------------------------------------------------------------------------- */

static void test_uneven_packets(void)
{
    etcp_config *config = plain_config(ETCP_ROLE_SERVER);
    etcp_packet packet;
    peer p;

    make_ready(&p, config, "0.26");
    (void)etcp_session_encode(p.s, 0, large, 4092, &packet);
    tap_is_int((long long)packet.header_len, 5, "to 0.26: never a multiple of 4096 bytes");
    peer_deinit(&p);
    make_ready(&p, config, "1.00");
    (void)etcp_session_encode(p.s, 0, large, 4092, &packet);
    tap_is_int((long long)packet.header_len, 4, "to 1.00: as short as can be");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- compression ---------------------------------------------------------------------------- */

static void negotiate_compression(peer *p, etcp_config *config, const char *version)
{
    char command[32] = "VE|";

    strcat(command, version);
    (void)peer_init(p, config);
    (void)peer_command(p, command);
    (void)peer_command(p, "CA|1");
    (void)peer_command(p, "EN");
    (void)peer_answer(p);
}

static void test_compression(void)
{
    static const uint8_t noise[40] = "\x93\x1f\xd0\x8b\x5c\x20\xe7\x71\x9a\x04\xbd\x66\x3e\xf8\x15";
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);
    etcp_packet packet;
    peer p;

    negotiate_compression(&p, config, "0.26");
    tap_ok(p.ready && etcp_session_compressor(p.s), "compression: agreed");
    (void)etcp_session_encode(p.s, 0, long_text, sizeof long_text, &packet);
    tap_ok(packet.header[0] == 0x15 && packet.body_len < 100, "compression: a long message");
    (void)etcp_session_encode(p.s, 0, long_text, 31, &packet);
    tap_ok(packet.header[0] == 0x05 && packet.body == long_text, "compression: a short message");
    (void)etcp_session_encode(p.s, 0, noise, 15, &packet);
    tap_ok(packet.header[0] == 0x05, "compression: nothing to gain");
    (void)etcp_session_encode(p.s, 0, (const uint8_t *)"0", 1, &packet);
    tap_ok(packet.header[0] == 0x05, "compression: \"0\" as it is");
    tap_is_int(peer_feed(&p, (const uint8_t *)"\x15\x02\x00\x02xy", 6), ETCP_EDECODE,
               "compression: damage");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* No compressor was even tried: it would have needed memory. */
static void test_noise(void)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);
    uint8_t noise[4096];
    etcp_packet packet;
    uint32_t x = 1;
    peer p;

    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    negotiate_compression(&p, config, "0.26");
    alloc_fail_at(0);
    (void)etcp_session_encode(p.s, 0, noise, sizeof noise, &packet);
    tap_ok(packet.header[0] == 0x05 && packet.body == noise, "compression: noise goes as it is");
    tap_is_int(alloc_count(), 0, "compression: untried");
    alloc_reset();
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_inflation_limit(void)
{
    etcp_config *big = etcp_config_new(ETCP_ROLE_CLIENT);
    etcp_config *small = etcp_config_new(ETCP_ROLE_CLIENT);
    etcp_packet packet;
    peer from;
    peer to;

    small->message_max = sizeof long_text - 1;
    negotiate_compression(&from, big, "1.00");
    negotiate_compression(&to, small, "1.00");
    (void)etcp_session_encode(from.s, 0, long_text, sizeof long_text, &packet);
    (void)peer_feed(&to, packet.header, packet.header_len);
    (void)peer_feed(&to, packet.body, packet.body_len);
    tap_is_int(to.rc, ETCP_ETOOBIG, "inflated size has a limit");
    peer_deinit(&from);
    peer_deinit(&to);
    etcp_config_unref(big);
    etcp_config_unref(small);
}

/* What a large message was decompressed from is given back as it is used, and gone when the message is
 * handed out. */
static void test_memory_of_compressed(void)
{
    enum { LEN = 3000000 };
    uint8_t *digits = malloc(LEN); /* of which zlib makes half */
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);
    account books = {0, 0, 0, 0};
    uint32_t x = 1;
    etcp_packet packet;
    const uint8_t *at;
    etcp_event event = {0};
    etcp_buf wire;
    int steps = 0;
    peer p;
    int rc;

    for (size_t i = 0; i < LEN; i++)
        digits[i] = (uint8_t)"0123456789abcdef"[(x = x * 1664525 + 1013904223) >> 28];
    config->payload_ops = &payload_ops;
    config->payload_arg = &books;
    negotiate_compression(&p, config, "1.00");
    (void)etcp_session_encode(p.s, 0, digits, LEN, &packet);
    etcp_buf_init(&wire);
    (void)etcp_buf_append(&wire, packet.header, packet.header_len);
    (void)etcp_buf_append(&wire, packet.body, packet.body_len);
    at = etcp_buf_bytes(&wire);
    do {
        steps++;
        rc = etcp_session_next(p.s, &at, etcp_buf_bytes(&wire) + etcp_buf_len(&wire), &event);
    } while (rc == ETCP_AGAIN);
    tap_ok(rc == 1 && etcp_buf_len(&wire) > LEN / 3 && steps > 2, "memory: of %lu bytes, in %d steps",
           (unsigned long)etcp_buf_len(&wire), steps);
    tap_ok(event.len == LEN && memcmp(event.data, digits, LEN) == 0, "memory: the message");
    tap_is_int((long long)etcp_session_held(p.s), 0, "memory: and nothing else is held");
    if (event.payload)
        destroy_payload(&books, event.payload);
    etcp_buf_deinit(&wire);
    peer_deinit(&p);
    etcp_config_unref(config);
    free(digits);
}

/* ---- encryption ----------------------------------------------------------------------------- */

/* A server's session with a client of this version that chose CipherSaber and the key "k". */
static void negotiate_encryption(peer *p, etcp_config *config, const char *version)
{
    char command[32] = "VE|";

    strcat(command, version);
    (void)peer_init(p, config);
    (void)peer_command(p, "NO");
    (void)peer_command(p, command);
    (void)peer_command(p, "EU|2|1.0");
    if (strstr(peer_answer(p), "EU|2")) /* 0.23 to 0.26 are asked again */
        (void)peer_command(p, "EU|2");
    (void)peer_command(p, "EK|k");
    (void)peer_command(p, "EN");
    (void)peer_answer(p);
}

static const struct plain_case {
    const char *version;
    unsigned flags;
    unsigned zero_flags; /* of a packet with "0" */
    int plain_rc;        /* of receiving an unencrypted message */
} plain_cases[] = {
    {"0.22", 0, 0x0d, 0},
    {"0.23", 0, 0x05, 0},
    {"0.26", 0, 0x05, 0},
    {"0.26", ETCP_REFUSE_PLAINTEXT, 0x05, ETCP_EPOLICY},
    {"1.00", 0, 0x0d, ETCP_EPOLICY},
};

static void test_encryption(void)
{
    size_t i;

    for (i = 0; i < sizeof plain_cases / sizeof plain_cases[0]; i++) {
        const struct plain_case *c = &plain_cases[i];
        etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
        etcp_packet packet;
        peer p;

        config->flags = c->flags | ETCP_DONOT_COMPRESS;
        negotiate_encryption(&p, config, c->version);
        tap_ok(p.ready && etcp_session_cipher(p.s), "%s: encryption agreed", c->version);
        (void)etcp_session_encode(p.s, 0, (const uint8_t *)"x", 1, &packet);
        tap_is_int(packet.header[0], 0x0d, "%s: \"x\" is encrypted", c->version);
        (void)etcp_session_encode(p.s, 0, (const uint8_t *)"0", 1, &packet);
        tap_is_int(packet.header[0], (long long)c->zero_flags, "%s: \"0\"", c->version);
        (void)etcp_session_encode(p.s, 0, NULL, 0, &packet);
        tap_is_int(packet.header[0], (long long)c->zero_flags, "%s: \"\"", c->version);
        tap_is_int(peer_feed(&p, (const uint8_t *)"\x01\x02NO", 2), 0,
                   "%s: internal packets are no messages", c->version);
        peer_deinit(&p);
        negotiate_encryption(&p, config, c->version);
        tap_is_int(peer_feed(&p, (const uint8_t *)"\x05\x01\x01x", 4), c->plain_rc,
                   "%s: unencrypted message", c->version);
        peer_deinit(&p);
        negotiate_encryption(&p, config, c->version);
        tap_ok(peer_feed(&p, (const uint8_t *)"\x0d\x01\x01x", 4) < 0, "%s: damage", c->version);
        tap_ok(etcp_session_error(p.s)->code == p.rc, "%s: damage: sticky", c->version);
        peer_deinit(&p);
        etcp_config_unref(config);
    }
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void test_born_ready(void)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    const uint8_t *at = (const uint8_t *)"\x05\x01\x02hi";
    etcp_session *s;
    etcp_event event;
    etcp_packet packet;

    tap_is_int(etcp_session_new_ready(config, &s), 0, "born ready");
    tap_ok(etcp_session_is_ready(s) && etcp_buf_len(etcp_session_output(s)) == 0,
           "born ready: nothing to say");
    tap_ok(etcp_session_next(s, &at, at + 5, &event) == 1 && event.len == 2,
           "born ready: receives");
    tap_is_int(etcp_session_encode(s, 0, at, 0, &packet), 0, "born ready: sends");
    etcp_session_free(s);
    etcp_session_free(NULL);
    etcp_config_unref(config);
    etcp_config_unref(NULL);
}

static void test_config(void)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    etcp_config *copy;
    static char text[70000];

    memset(text, 'x', sizeof text - 1);
    tap_is_int(etcp_config_set_welcome(config, text), ETCP_EINVAL, "config: welcome too long");
    tap_is_int(etcp_config_set_class_name(config, text), ETCP_EINVAL, "config: class too long");
    tap_is_int(etcp_config_set_password(config, (const uint8_t *)text, sizeof text), ETCP_EINVAL,
               "config: password too long");
    tap_is_str(config->class_name, "Net::EasyTCP", "config: class by default");
    tap_ok(config->password == NULL, "config: no password by default");
    (void)etcp_config_set_welcome(config, "hi");
    (void)etcp_config_set_password(config, (const uint8_t *)"a\0b", 3);
    etcp_config_forbid(config, "Compress::Zlib");
    etcp_config_forbid(config, "No::Such::Module");
    copy = etcp_config_clone(config);
    etcp_config_unref(config);
    tap_is_str(copy->welcome, "hi", "config: copy of the welcome text");
    tap_is_mem(copy->password, copy->password_len, "a\0b", 3, "config: copy of the password");
    tap_ok((copy->compressors & 1) == 0 && (copy->compressors & 2) != 0,
           "config: forbidden module");
    etcp_config_unref(etcp_config_ref(copy));
    tap_is_str(copy->class_name, "Net::EasyTCP", "config: counted");
    etcp_config_unref(copy);
}

int main(void)
{
    test_in_place();
    test_usual();
    test_usual_between();
    test_encode_in_place();
    test_cuts();
    test_ready_and_data_in_one_read();
    test_has_packet();
    test_large();
    test_large_claims();
    test_limits();
    test_packet_limits();
    test_uneven_packets();
    test_compression();
    test_noise();
    test_inflation_limit();
    test_memory_of_compressed();
    test_encryption();
    test_born_ready();
    test_config();
    return tap_done();
}
