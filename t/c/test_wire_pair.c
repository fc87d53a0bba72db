/* Our client and our server, talking to each other without a network. */
#include "wire_peer.h"

#include <stdio.h>

#include "alloc.h"
#include "tap.h"
#include "wire/config.h"

typedef struct pair {
    etcp_config *server_config;
    etcp_config *client_config;
    peer server;
    peer client;
} pair;

static int pair_configure(pair *p)
{
    memset(p, 0, sizeof *p);
    p->server_config = etcp_config_new(ETCP_ROLE_SERVER);
    p->client_config = etcp_config_new(ETCP_ROLE_CLIENT);
    return p->server_config && p->client_config ? 0 : ETCP_ENOMEM;
}

static int pair_negotiate(pair *p, size_t step)
{
    int rc = peer_init(&p->server, p->server_config);

    if (rc == 0)
        rc = peer_init(&p->client, p->client_config);
    if (rc == 0)
        peer_negotiate(&p->server, &p->client, step);
    return rc;
}

static void pair_deinit(pair *p)
{
    peer_deinit(&p->server);
    peer_deinit(&p->client);
    etcp_config_unref(p->server_config);
    etcp_config_unref(p->client_config);
}

static void set_password(etcp_config *config, const char *password)
{
    if (password &&
        etcp_config_set_password(config, (const uint8_t *)password, strlen(password)) < 0)
        abort();
}

/* ---- messages ------------------------------------------------------------------------------- */

static uint8_t big[100000];

static void fill_big(void)
{
    size_t i;

    for (i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(7 * i + (i >> 8));
}

static unsigned check_message(peer *from, peer *to, const void *data, size_t len, size_t step)
{
    unsigned before = to->messages;
    int ok;

    etcp_buf_clear(&to->data);
    ok = peer_say(from, to, ETCP_MESSAGE_COMPLEX, data, len, step) == 0 &&
         to->messages == before + 1 && to->flags == ETCP_MESSAGE_COMPLEX &&
         etcp_buf_len(&to->data) == len &&
         (len == 0 || memcmp(etcp_buf_bytes(&to->data), data, len) == 0);
    return !ok;
}

/* Messages of many sizes in both directions. Returns how many got lost or changed. */
static unsigned lost_messages(pair *p, size_t step)
{
    static const size_t sizes[] = {0, 1, 5, 31, 32, 63, 255, 256, 4092, 4093, 16384, 65536, 100000};
    unsigned lost = 0;
    size_t i;

    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (step == 1 && sizes[i] > 5000)
            continue; /* one byte at a time takes too long for these */
        lost += check_message(&p->client, &p->server, big, sizes[i], step);
        lost += check_message(&p->server, &p->client, big, sizes[i], step);
    }
    lost += check_message(&p->client, &p->server, "0", 1, step);
    lost += check_message(&p->server, &p->client, "0", 1, step);
    return lost;
}

/* ---- what is agreed ------------------------------------------------------------------------- */

static const char *name_of_cipher(const peer *p)
{
    const etcp_cipher *row = etcp_session_cipher(p->s);

    return row ? row->name : NULL;
}

static const char *name_of_compressor(const peer *p)
{
    const etcp_compressor *row = etcp_session_compressor(p->s);

    return row ? row->name : NULL;
}

static void check_agreed(pair *p, const char *cipher, const char *compressor, size_t step,
                         const char *name)
{
    tap_ok(p->client.ready == 1 && p->server.ready == 1, "%s, step %lu: both ready once", name,
           (unsigned long)step);
    tap_is_str(name_of_cipher(&p->client), cipher, "%s: client's cipher", name);
    tap_is_str(name_of_cipher(&p->server), cipher, "%s: server's cipher", name);
    tap_is_str(name_of_compressor(&p->client), compressor, "%s: client's compressor", name);
    tap_is_str(name_of_compressor(&p->server), compressor, "%s: server's compressor", name);
    tap_is_int(lost_messages(p, step), 0, "%s: all messages arrive", name);
    tap_ok(!etcp_session_wants_gap(p->client.s), "%s: no gap needed between 1.x peers", name);
}

static const struct agreement {
    const char *name;
    unsigned server_flags;
    unsigned client_flags;
    const char *server_password;
    const char *client_password;
    const char *cipher; /* the only one allowed to the server; NULL: none */
    const char *compressor;
} agreements[] = {
    {"rijndael, zlib", 0, 0, NULL, NULL, "Crypt::Rijndael", "Compress::Zlib"},
    {"blowfish, password", 0, ETCP_DONOT_COMPRESS, "secret", "secret", "Crypt::Blowfish", NULL},
    {"ciphersaber, long password", 0, 0, "a very long password, longer than any key string is",
     "a very long password, longer than any key string is", "Crypt::CipherSaber", "Compress::LZF"},
    {"punctuation password", 0, 0, "!!!", "!!!", "Crypt::Rijndael", "Compress::LZF"},
    {"empty password", 0, 0, "", NULL, "Crypt::Rijndael", NULL},
    {"server does not encrypt", ETCP_DONOT_ENCRYPT, 0, NULL, NULL, NULL, "Compress::Zlib"},
    {"client does not encrypt", 0, ETCP_DONOT_ENCRYPT, "x", "x", NULL, "Compress::Zlib"},
    {"client does not compress", 0, ETCP_DONOT_COMPRESS, NULL, NULL, "Crypt::Rijndael", NULL},
    {"policies satisfied", ETCP_REQUIRE_ENCRYPTION | ETCP_REFUSE_PLAINTEXT,
     ETCP_REQUIRE_ENCRYPTION | ETCP_REQUIRE_PASSWORD, "pw", "pw", "Crypt::Rijndael", NULL},
};

/* Leaves the server one cipher and one compressor. */
static void allow_only(etcp_config *config, const char *cipher, const char *compressor)
{
    size_t count;
    size_t i;
    const etcp_cipher *ciphers = etcp_ciphers(&count);
    const etcp_compressor *compressors;

    for (i = 0; i < count; i++)
        if (!cipher || strcmp(ciphers[i].name, cipher) != 0)
            etcp_config_forbid(config, ciphers[i].name);
    compressors = etcp_compressors(&count);
    for (i = 0; i < count; i++)
        if (!compressor || strcmp(compressors[i].name, compressor) != 0)
            etcp_config_forbid(config, compressors[i].name);
}

static int start_agreement(pair *p, const struct agreement *a, size_t step)
{
    int rc = pair_configure(p);

    if (rc < 0)
        return rc;
    p->server_config->flags = a->server_flags;
    p->client_config->flags = a->client_flags;
    set_password(p->server_config, a->server_password);
    set_password(p->client_config, a->client_password);
    allow_only(p->server_config, a->cipher, a->compressor);
    return pair_negotiate(p, step);
}

static void test_agreements(void)
{
    static const size_t steps[] = {0, 1, 3, 1000};
    size_t i;
    size_t j;

    for (i = 0; i < sizeof agreements / sizeof agreements[0]; i++) {
        for (j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            pair p;

            if (start_agreement(&p, &agreements[i], steps[j]) == 0)
                check_agreed(&p, agreements[i].cipher, agreements[i].compressor, steps[j],
                             agreements[i].name);
            pair_deinit(&p);
        }
    }
}

/* Every cipher and compressor there is, one after the other. */
static void test_modules(void)
{
    size_t count;
    const etcp_cipher *ciphers = etcp_ciphers(&count);
    size_t i;

    for (i = 0; i < count; i++) {
        struct agreement a;
        pair p;

        memset(&a, 0, sizeof a);
        a.name = a.cipher = ciphers[i].name;
        a.server_password = a.client_password = "open sesame";
        if (!(ciphers[i].flags & ETCP_CIPHER_SYMMETRIC))
            continue; /* needs the server's key pair: test_rsa */
        (void)start_agreement(&p, &a, 0);
        check_agreed(&p, a.cipher, NULL, 0, a.name);
        pair_deinit(&p);
    }
}

/* Crypt::RSA serves old peers, as which both ends pose here; as such old ones that neither needs the
 * packets we send for later releases, which we do not accept. */
static void test_rsa(void)
{
    pair p;

    (void)pair_configure(&p);
    strcpy(p.server_config->version, "0.06");
    strcpy(p.client_config->version, "0.10");
    allow_only(p.server_config, "Crypt::RSA", "Compress::Zlib");
    if (etcp_config_renew_rsa(p.server_config) < 0) {
        tap_skip(1, "no Crypt::RSA");
        pair_deinit(&p);
        return;
    }
    (void)pair_negotiate(&p, 0);
    tap_is_str(name_of_cipher(&p.client), "Crypt::RSA", "rsa: agreed");
    tap_is_int(check_message(&p.client, &p.server, big, 5000, 0), 0, "rsa: to the server");
    tap_is_int(check_message(&p.server, &p.client, "hello", 5, 0), 0, "rsa: to the client");
    tap_is_int(check_message(&p.server, &p.client, "0", 1, 0), 0, "rsa: what it cannot carry");
    pair_deinit(&p);
}

/* Between two of us: the best that nobody forbids, by our order, and never Crypt::RSA. */
static void test_order(void)
{
    static const char *const order[] = {
        "Crypt::Rijndael", "Crypt::Twofish2",
        "Crypt::RC6",      "Crypt::Twofish",
        "Crypt::Blowfish", "Crypt::DES_EDE3",
        "Crypt::TEA",      "Crypt::CipherSaber",
        "Crypt::DES",      NULL,
    };
    size_t i;
    size_t j;

    for (i = 0; i < sizeof order / sizeof order[0]; i++) {
        pair p;

        (void)pair_configure(&p);
        (void)etcp_config_renew_rsa(p.server_config);
        for (j = 0; j < i; j++) /* now the one end forbids, now the other */
            etcp_config_forbid(j % 2 ? p.server_config : p.client_config, order[j]);
        (void)pair_negotiate(&p, 0);
        tap_is_str(name_of_cipher(&p.client), order[i], "order: choice %u of the client",
                   (unsigned)i + 1);
        tap_is_str(name_of_cipher(&p.server), order[i], "order: choice %u of the server",
                   (unsigned)i + 1);
        pair_deinit(&p);
    }
}

/* ---- failures ------------------------------------------------------------------------------- */

static const struct failure {
    const char *name;
    unsigned server_flags;
    unsigned client_flags;
    const char *server_password;
    const char *client_password;
    int server_rc;
    int client_rc;
    const char *client_text; /* NULL: not looked at */
} failures[] = {
    {"wrong password", 0, 0, "right", "wrong", ETCP_EREJECTED, ETCP_EREJECTED,
     "Server rejected supplied password"},
    {"missing password", 0, 0, "right", NULL, ETCP_EREJECTED, ETCP_EREJECTED,
     "Server rejected supplied password: none was supplied"},
    {"password to an empty one", 0, 0, "", "x", ETCP_EREJECTED, ETCP_EREJECTED, NULL},
    {"server requires encryption", ETCP_REQUIRE_ENCRYPTION, ETCP_DONOT_ENCRYPT, NULL, NULL,
     ETCP_EPOLICY, 0, NULL},
    {"client requires encryption", ETCP_DONOT_ENCRYPT, ETCP_REQUIRE_ENCRYPTION, NULL, NULL, 0,
     ETCP_EPOLICY, "Encryption is required, but none could be agreed on"},
    {"client requires a password", 0, ETCP_REQUIRE_PASSWORD, NULL, "x", 0, ETCP_EPOLICY,
     "A password is required, but the server asked for none"},
};

static void test_failures(void)
{
    size_t i;

    for (i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const struct failure *f = &failures[i];
        pair p;

        (void)pair_configure(&p);
        p.server_config->flags = f->server_flags;
        p.client_config->flags = f->client_flags;
        set_password(p.server_config, f->server_password);
        set_password(p.client_config, f->client_password);
        (void)pair_negotiate(&p, 0);
        tap_is_int(p.server.rc, f->server_rc, "%s: server", f->name);
        tap_is_int(p.client.rc, f->client_rc, "%s: client", f->name);
        tap_ok(!p.server.ready && !p.client.ready, "%s: nobody is ready", f->name);
        if (f->client_text)
            tap_is_str(etcp_session_error(p.client.s)->text, f->client_text, "%s: text", f->name);
        pair_deinit(&p);
    }
}

/* Counts upwards from *arg, so that keys and salts are the same in every run. */
static int count_up(void *arg, uint8_t *out, size_t len)
{
    uint8_t *next = arg;

    for (size_t i = 0; i < len; i++)
        out[i] = (*next)++;
    return 0;
}

/* Same first eight characters, so that the hash agrees, but other merged keys. With any keys, what the
 * wrong one opens would end like padding in one run of 256, and be a message. */
static void test_unlike_keys(void)
{
    uint8_t next = 0;
    pair p;

    (void)pair_configure(&p);
    p.server_config->random = p.client_config->random = count_up;
    p.server_config->random_arg = p.client_config->random_arg = &next;
    allow_only(p.server_config, "Crypt::Rijndael", NULL);
    set_password(p.server_config, "password123");
    set_password(p.client_config, "passwordXYZ");
    (void)pair_negotiate(&p, 0);
    tap_ok(p.client.ready && p.server.ready, "unlike keys: hash accepted");
    (void)peer_say(&p.client, &p.server, 0, "hello, this is a test", 21, 0);
    tap_ok(p.server.rc < 0 && p.server.messages == 0, "unlike keys: error, not garbage");
    tap_is_int(peer_feed(&p.server, (const uint8_t *)"\x05\x00", 2), p.server.rc,
               "unlike keys: the error stays");
    pair_deinit(&p);
}

/* ---- copies and memory ---------------------------------------------------------------------- */

/* Replaces both ends by copies after each exchange; the copies go on as if nothing had happened. */
static void test_clones(void)
{
    pair p;
    unsigned copies = 0;

    (void)pair_configure(&p);
    allow_only(p.server_config, "Crypt::Rijndael", "Compress::Zlib");
    set_password(p.server_config, "secret");
    set_password(p.client_config, "secret");
    (void)peer_init(&p.server, p.server_config);
    (void)peer_init(&p.client, p.client_config);
    while (peer_move(&p.server, &p.client, 0) > 0) {
        etcp_session *copy;

        if (etcp_session_clone(p.server.s, &copy) < 0)
            break;
        etcp_session_free(p.server.s);
        p.server.s = copy;
        (void)peer_move(&p.client, &p.server, 0);
        if (etcp_session_clone(p.client.s, &copy) < 0)
            break;
        etcp_session_free(p.client.s);
        p.client.s = copy;
        copies++;
    }
    tap_ok(copies >= 2, "clones: %u rounds", copies);
    check_agreed(&p, "Crypt::Rijndael", "Compress::Zlib", 0, "clones");
    pair_deinit(&p);
}

/* A copy made in the middle of a packet goes on from there. */
static void test_clone_in_packet(void)
{
    pair p;
    etcp_packet packet;
    etcp_session *copy;
    etcp_session *original;

    (void)start_agreement(&p, &agreements[0], 0);
    (void)etcp_session_encode(p.client.s, 0, big, 3000, &packet);
    (void)peer_feed(&p.server, packet.header, packet.header_len);
    (void)peer_feed(&p.server, packet.body, 10);
    tap_is_int(etcp_session_clone(p.server.s, &copy), 0, "clone in a packet");
    original = p.server.s;
    p.server.s = copy;
    (void)peer_feed(&p.server, packet.body + 10, packet.body_len - 10);
    tap_is_mem(etcp_buf_bytes(&p.server.data), etcp_buf_len(&p.server.data), big, 3000,
               "clone in a packet: the rest of the packet completes it");
    p.server.s = original;
    etcp_session_free(copy);
    pair_deinit(&p);
}

/* The whole life of a connection; 0, or the first failure. */
static int live(void)
{
    pair p;
    etcp_session *copy = NULL;
    int rc = pair_configure(&p);

    if (rc == 0)
        rc = etcp_config_set_password(p.server_config, (const uint8_t *)"pw", 2);
    if (rc == 0)
        rc = etcp_config_set_password(p.client_config, (const uint8_t *)"pw", 2);
    if (rc == 0)
        allow_only(p.server_config, "Crypt::Rijndael", "Compress::Zlib");
    if (rc == 0)
        rc = pair_negotiate(&p, 100);
    if (rc == 0 && p.server.rc < 0)
        rc = p.server.rc;
    if (rc == 0 && p.client.rc < 0)
        rc = p.client.rc;
    if (rc == 0 && (check_message(&p.client, &p.server, big, 2000, 600) ||
                    check_message(&p.server, &p.client, big, 20, 0)))
        rc = ETCP_ENOMEM;
    if (rc == 0)
        rc = etcp_session_clone(p.client.s, &copy);
    etcp_session_free(copy);
    pair_deinit(&p);
    return rc;
}

static void test_allocation_failures(void)
{
    long n;
    unsigned leaks = 0;
    unsigned other = 0;
    int rc;

    for (n = 1;; n++) {
        alloc_fail_at(n);
        rc = live();
        if (alloc_live() != 0)
            leaks++;
        if (rc == 0 || !alloc_has_failed())
            break;
        if (rc != ETCP_ENOMEM)
            other++;
    }
    alloc_reset();
    tap_is_int(rc, 0, "allocation failures: none is left");
    tap_ok(n > 50, "allocation failures: %ld places tried", n - 1);
    tap_is_int(leaks, 0, "allocation failures: nothing leaks");
    tap_is_int(other, 0, "allocation failures: each is reported as what it is");
}

/* ---- messages in pieces ---------------------------------------------------------------------- */

enum { LONG = 900001, PIECES_MAX = 16 };

static int same_random(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 7, len);
    return 0;
}

/* A copy of bytes in pieces, all of which may be forgotten: long ones, and short ones around the places
 * where a part of 128 KiB ends. */
static size_t cut(etcp_piece pieces[PIECES_MAX], const uint8_t *bytes)
{
    static const size_t cuts[] = {0,      5,      5,      131070, 131073, 131073, 262144,
                                  262150, 393200, 393230, 700000, 700001, LONG};
    size_t count = sizeof cuts / sizeof cuts[0] - 1;
    size_t i;

    for (i = 0; i < count; i++)
        pieces[i] = (etcp_piece){bytes + cuts[i], cuts[i + 1] - cuts[i], NULL, NULL, 1};
    return count;
}

/* Encodes a message by way of one of the functions, all of it into out. */
static int encode_all(etcp_session *s, const etcp_piece *pieces, size_t count, etcp_buf *out)
{
    etcp_packet packet;
    int rc = count == 1
                 ? etcp_session_encode(s, ETCP_MESSAGE_COMPLEX, pieces->bytes, pieces->len, &packet)
                 : etcp_session_encode_pieces(s, ETCP_MESSAGE_COMPLEX, pieces, count, LONG, &packet);

    if (rc == 0)
        rc = etcp_buf_append(out, packet.header, packet.header_len);
    while (rc == 0 && (rc = etcp_buf_append(out, packet.body, packet.body_len)) == 0 && packet.rest_len)
        rc = etcp_session_encode_rest(s, &packet);
    return rc;
}

static int arrives(peer *to, const etcp_buf *wire, const uint8_t *message)
{
    int rc;

    etcp_buf_clear(&to->data);
    do {
        rc = peer_feed(to, etcp_buf_bytes(wire), to->rc == ETCP_AGAIN ? 0 : etcp_buf_len(wire));
    } while (rc == ETCP_AGAIN);
    return rc == 0 && etcp_buf_len(&to->data) == LONG &&
           memcmp(etcp_buf_bytes(&to->data), message, LONG) == 0;
}

static void check_pieces(pair *p, const char *cipher, const char *compressor, const uint8_t *message)
{
    const etcp_piece whole = {message, LONG, NULL, NULL, 0};
    uint8_t *copy = malloc(LONG);
    etcp_piece pieces[PIECES_MAX];
    etcp_buf one, many;

    memcpy(copy, message, LONG);
    etcp_buf_init(&one);
    etcp_buf_init(&many);
    p->client_config->random = same_random;
    tap_is_int(encode_all(p->client.s, &whole, 1, &one), 0, "%s, %s: in one", cipher, compressor);
    tap_is_int(encode_all(p->client.s, pieces, cut(pieces, copy), &many), 0, "and in pieces");
    if (strcmp(compressor, "none") == 0)
        tap_is_mem(etcp_buf_bytes(&many), etcp_buf_len(&many), etcp_buf_bytes(&one),
                   etcp_buf_len(&one), "the same bytes");
    tap_ok(arrives(&p->server, &one, message) && arrives(&p->server, &many, message),
           "and both arrive");
    etcp_buf_deinit(&one);
    etcp_buf_deinit(&many);
    free(copy);
}

static void test_pieces(void)
{
    static const char *const compressors[] = {"none", "Compress::Zlib", "Compress::LZF"};
    uint8_t *message = malloc(LONG + 32);
    size_t count;
    const etcp_cipher *ciphers = etcp_ciphers(&count);
    size_t i;

    for (i = 0; i < LONG; i += 13)
        (void)snprintf((char *)message + i, 14, "line %06lu\r\n", (unsigned long)i);
    for (i = 0; i < 3 * count; i++) {
        struct agreement a;
        pair p;

        if (!(ciphers[i / 3].flags & ETCP_CIPHER_SYMMETRIC))
            continue;
        memset(&a, 0, sizeof a);
        a.cipher = ciphers[i / 3].name;
        a.compressor = compressors[i % 3];
        (void)start_agreement(&p, &a, 0);
        check_pieces(&p, a.cipher, a.compressor, message);
        pair_deinit(&p);
    }
    free(message);
}

/* What is in pieces and cannot be sealed in parts is left to the caller. */
static void test_pieces_in_one_place(void)
{
    static const etcp_piece pieces[] = {{(const uint8_t *)"one", 3, NULL, NULL, 0},
                                        {(const uint8_t *)"two", 3, NULL, NULL, 0}};
    struct agreement a = agreements[0];
    etcp_packet packet;
    pair p;

    (void)start_agreement(&p, &a, 0);
    tap_is_int(etcp_session_encode_pieces(p.client.s, 0, pieces, 2, 6, &packet), ETCP_IN_ONE_PLACE,
               "short pieces are put together first");
    pair_deinit(&p);
}

int main(void)
{
    fill_big();
    test_agreements();
    test_modules();
    test_rsa();
    test_order();
    test_failures();
    test_unlike_keys();
    test_clones();
    test_clone_in_packet();
    test_allocation_failures();
    test_pieces();
    test_pieces_in_one_place();
    return tap_done();
}
