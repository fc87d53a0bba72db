/* The switch to TLS and the negotiation inside, without TLS: the binding is given. */
#include "wire_peer.h"

#include <stdio.h>

#include <openssl/evp.h>

#include "alloc.h"
#include "base/armour.h"
#include "policy.h"
#include "tap.h"
#include "wire/config.h"

typedef struct pair {
    etcp_config *server_config, *client_config;
    peer server, client;
    etcp_buf welcome, answer; /* what was said in clear */
    etcp_inside_facts server_facts, client_facts;
    uint8_t binding[ETCP_INSIDE_BINDING]; /* of the client; the server's is all zero */
} pair;

static void pair_configure(pair *p, unsigned server_flags, unsigned client_flags)
{
    memset(p, 0, sizeof *p);
    p->server_config = etcp_config_new(ETCP_ROLE_SERVER);
    p->client_config = etcp_config_new(ETCP_ROLE_CLIENT);
    if (!p->server_config || !p->client_config)
        abort();
    p->server_config->flags = server_flags;
    p->client_config->flags = client_flags;
}

static void set_password(etcp_config *config, const char *password)
{
    if (password &&
        etcp_config_set_password(config, (const uint8_t *)password, strlen(password)) < 0)
        abort();
}

static void pair_deinit(pair *p)
{
    peer_deinit(&p->server);
    peer_deinit(&p->client);
    etcp_config_unref(p->server_config);
    etcp_config_unref(p->client_config);
    etcp_buf_deinit(&p->welcome);
    etcp_buf_deinit(&p->answer);
}

static int take_output(peer *from, etcp_buf *into)
{
    etcp_buf *output = etcp_session_output(from->s);
    int rc = etcp_buf_append(into, etcp_buf_bytes(output), etcp_buf_len(output));

    etcp_buf_clear(output);
    return rc;
}

/* What was said in clear, up to the TLS events. */
static int pair_clear(pair *p, size_t step)
{
    int rc = peer_init(&p->server, p->server_config);

    if (rc == 0)
        rc = peer_init(&p->client, p->client_config);
    if (rc == 0)
        rc = take_output(&p->server, &p->welcome);
    if (rc < 0)
        return rc;
    rc = peer_feed_step(&p->client, etcp_buf_bytes(&p->welcome), etcp_buf_len(&p->welcome), step);
    if (rc < 0)
        return rc;
    rc = take_output(&p->client, &p->answer);
    return rc < 0 ? rc
                  : peer_feed_step(&p->server, etcp_buf_bytes(&p->answer), etcp_buf_len(&p->answer),
                                   step);
}

static int enter(etcp_config *config, const etcp_inside_facts *facts, const uint8_t *binding,
                 etcp_session **out)
{
    int rc = etcp_session_new_inside(config, facts, out);

    return rc < 0 ? rc : etcp_session_bind(*out, 0, binding);
}

/* Replaces both sessions by those of the inside. */
static int pair_switch(pair *p, unsigned client_flags)
{
    static const uint8_t zeros[ETCP_INSIDE_BINDING];
    int rc = etcp_session_switch(p->server.s, &p->server_facts);

    if (rc == 0)
        rc = etcp_session_switch(p->client.s, &p->client_facts);
    if (rc < 0)
        return rc;
    p->client_facts.flags |= client_flags;
    peer_deinit(&p->server);
    peer_deinit(&p->client);
    rc = enter(p->server_config, &p->server_facts, zeros, &p->server.s);
    return rc < 0 ? rc : enter(p->client_config, &p->client_facts, p->binding, &p->client.s);
}

/* Lets both talk; the server proves itself at once. */
static int pair_talk(pair *p, size_t step)
{
    int rc = 0;

    do {
        if (etcp_session_wants_proof(p->server.s))
            rc = etcp_session_prove(p->server.s);
        if (rc == 0)
            rc = peer_feed(&p->client, (const uint8_t *)"", 0); /* an early READY */
    } while (rc == 0 && peer_move(&p->client, &p->server, step) +
                                peer_move(&p->server, &p->client, step) +
                                (size_t)etcp_session_wants_proof(p->server.s) >
                            0);
    if (p->client.rc < 0)
        return p->client.rc;
    return p->server.rc < 0 ? p->server.rc : rc;
}

enum { TLS = ETCP_ALLOW_TLS, ONLY = ETCP_ALLOW_TLS | ETCP_REQUIRE_TLS };

/* ---- who speaks TLS -------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned server_flags, client_flags;
    int switches;
    int server_rc, client_rc;
    const char *text; /* of the client, or of the server when the client has none */
} choices[] = {
    {"both", TLS, TLS, 1, 0, 0, NULL},
    {"both, required by the server", ONLY, TLS, 1, 0, 0, NULL},
    {"both, required by the client", TLS, ONLY, 1, 0, 0, NULL},
    {"both, required by both", ONLY, ONLY, 1, 0, 0, NULL},
    {"spoken before", TLS, TLS | ETCP_SPOKE_TLS, 1, 0, 0, NULL},
    {"neither", 0, 0, 0, 0, 0, NULL},
    {"only the server", TLS, 0, 0, 0, 0, NULL},
    {"only the client", 0, TLS, 0, 0, 0, NULL},
    {"required by the client", 0, ONLY, 0, 0, ETCP_EPOLICY, "The server offers no TLS"},
    {"not spoken any more", 0, TLS | ETCP_SPOKE_TLS, 0, 0, ETCP_EPOLICY,
     "The server spoke TLS before and offers none now: somebody may be in between"},
    {"required by the server", ONLY, 0, 0, ETCP_EPOLICY, ETCP_EREJECTED, NULL},
};

static void test_choices(void)
{
    static const size_t steps[] = {0, 1, 5};
    unsigned i, j;

    for (i = 0; i < sizeof choices / sizeof choices[0]; i++)
        for (j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            pair p;

            pair_configure(&p, choices[i].server_flags, choices[i].client_flags);
            (void)pair_clear(&p, steps[j]);
            tap_is_int((int)p.server.tls, choices[i].switches, "%s: server", choices[i].name);
            tap_is_int((int)p.client.tls, choices[i].switches, "%s: client", choices[i].name);
            if (!choices[i].switches)
                peer_negotiate(&p.server, &p.client, steps[j]);
            tap_is_int(p.server.rc < 0 ? p.server.rc : 0, choices[i].server_rc, "%s: server's code",
                       choices[i].name);
            tap_is_int(p.client.rc < 0 ? p.client.rc : 0, choices[i].client_rc, "%s: client's code",
                       choices[i].name);
            if (choices[i].text)
                tap_is_str(etcp_session_error(p.client.s)->text, choices[i].text, "%s: text",
                           choices[i].name);
            tap_ok(p.client.ready == (!choices[i].switches && !choices[i].client_rc),
                   "%s: ready in clear", choices[i].name);
            pair_deinit(&p);
        }
}

/* What an `r` server says to whom takes no TLS, and what it keeps for itself. */
static void test_required_welcome(void)
{
    pair p;

    pair_configure(&p, ONLY, 0);
    set_password(p.server_config, "secret");
    (void)pair_clear(&p, 0);
    tap_ok(memmem(etcp_buf_bytes(&p.welcome), etcp_buf_len(&p.welcome),
                  "\0ETCP1\0"
                  "1.10\0\0",
                  13) != NULL,
           "no ciphers");
    tap_ok(memmem(etcp_buf_bytes(&p.welcome), etcp_buf_len(&p.welcome), "\0\0\0T1rw", 7) != NULL,
           "no salt, no key, the flags");
    tap_is_mem(etcp_buf_bytes(etcp_session_output(p.server.s)),
               etcp_buf_len(etcp_session_output(p.server.s)),
               "\x01\x01\x07"
               "COF\0TLS",
               10, "COF tells clients of 0.20 and later");
    pair_deinit(&p);
}

/* The hash covers both packets, as both ends saw them. */
static void test_prologue(void)
{
    etcp_inside_facts facts;
    uint8_t want[32];
    etcp_buf all;
    pair p;

    pair_configure(&p, TLS, TLS);
    (void)pair_clear(&p, 3);
    etcp_buf_init(&all);
    (void)etcp_buf_append(&all, etcp_buf_bytes(&p.welcome), etcp_buf_len(&p.welcome));
    (void)etcp_buf_append(&all, etcp_buf_bytes(&p.answer), etcp_buf_len(&p.answer));
    (void)EVP_Digest(etcp_buf_bytes(&all), etcp_buf_len(&all), want, NULL, EVP_sha256(), NULL);
    (void)etcp_session_switch(p.server.s, &facts);
    tap_is_mem(facts.prologue, 32, want, 32, "P of the server");
    (void)etcp_session_switch(p.client.s, &facts);
    tap_is_mem(facts.prologue, 32, want, 32, "P of the client");
    tap_is_int((int)facts.flags, ETCP_INSIDE_UPGRADED, "no password will be asked for");
    etcp_buf_deinit(&all);
    pair_deinit(&p);
}

/* ---- bytes around the switch ----------------------------------------------------------------- */

static void test_behind_the_welcome(void)
{
    pair p;

    pair_configure(&p, TLS, TLS);
    (void)peer_init(&p.server, p.server_config);
    (void)peer_init(&p.client, p.client_config);
    (void)take_output(&p.server, &p.welcome);
    (void)etcp_buf_append(&p.welcome, "x", 1);
    (void)peer_feed(&p.client, etcp_buf_bytes(&p.welcome), etcp_buf_len(&p.welcome));
    tap_is_int(p.client.rc, ETCP_EPROTO, "a byte behind the welcome packet");
    tap_is_str(etcp_session_error(p.client.s)->text, "Clear text behind the offer of TLS", "text");
    tap_is_int((int)etcp_buf_len(etcp_session_output(p.client.s)), 0, "nothing is answered");
    pair_deinit(&p);
}

static void test_behind_the_answer(void)
{
    size_t step;

    for (step = 0; step < 2; step++) {
        pair p;

        pair_configure(&p, TLS, TLS);
        (void)peer_init(&p.server, p.server_config);
        (void)peer_init(&p.client, p.client_config);
        (void)peer_move(&p.server, &p.client, 0);
        (void)take_output(&p.client, &p.answer);
        (void)etcp_buf_append(&p.answer, "\x01\x01\x02VE", 5);
        if (step == 0)
            (void)peer_feed(&p.server, etcp_buf_bytes(&p.answer), etcp_buf_len(&p.answer));
        else {
            (void)peer_feed(&p.server, etcp_buf_bytes(&p.answer), 10);
            (void)peer_feed(&p.server, etcp_buf_bytes(&p.answer) + 10,
                            etcp_buf_len(&p.answer) - 10);
        }
        tap_is_int((int)p.server.tls, 1, "bytes behind the answer do not hinder the switch");
        tap_is_int((int)p.server.left, 5, "and stay where they are");
        pair_deinit(&p);
    }
}

/* An answer with T1 says nothing else; T1 is taken only when it was offered. */
static void test_answers(void)
{
    static const struct {
        const char *text;
        size_t len;
        unsigned flags;
        int rc;
    } answers[] = {
        {"NO\0x\0ETCP1\0"
         "1.10\0\0\0\0\0T1",
         23, TLS, 0},
        {"NO\0x\0ETCP1\0"
         "1.10\0I\0\0\0\0T1",
         24, TLS, ETCP_EPROTO},
        {"NO\0x\0ETCP1\0"
         "1.10\0\0002\0\0\0T1",
         24, TLS, ETCP_EPROTO},
        {"NO\0x\0ETCP1\0"
         "1.10\0\0\0k\0\0T1",
         24, TLS, ETCP_EPROTO},
        {"NO\0x\0ETCP1\0"
         "1.10\0\0\0\0h\0T1",
         24, TLS, ETCP_EPROTO},
        {"NO\0x\0ETCP1\0"
         "1.10\0\0\0\0\0T1",
         23, 0, ETCP_EPROTO},
        {"NO\0x\0ETCP1\0"
         "1.10\0\0\0\0\0T1",
         23, ONLY, 0},
        {"NO\0x\0ETCP1\0"
         "1.10\0\0\0\0\0T2",
         23, ONLY, ETCP_EPOLICY},
        {"NO\0x\0ETCP1\0"
         "1.10",
         15, ONLY, ETCP_EPOLICY},
        {"NO\0x", 4, ONLY, ETCP_EPOLICY},
        {"VE\0"
         "1.10",
         7, ONLY, ETCP_EPOLICY},
    };
    unsigned i;

    for (i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        uint8_t packet[64] = {1, 1, 0};
        pair p;

        pair_configure(&p, answers[i].flags, 0);
        (void)peer_init(&p.server, p.server_config);
        packet[2] = (uint8_t)answers[i].len;
        memcpy(packet + 3, answers[i].text, answers[i].len);
        (void)peer_feed(&p.server, packet, 3 + answers[i].len);
        tap_is_int(p.server.rc < 0 ? p.server.rc : 0, answers[i].rc, "answer %u: %s", i + 1,
                   etcp_session_error(p.server.s)->text);
        tap_is_int((int)p.server.tls, answers[i].rc == 0, "answer %u: TLS", i + 1);
        pair_deinit(&p);
    }
}

/* ---- the salt mark --------------------------------------------------------------------------- */

/* A packet that asks for a password with this salt, and what a client says to it. */
static int client_takes_salt(unsigned flags, int was_offered, const char *salt)
{
    uint8_t cs[8] = {1, 1, 5, 'C', 'S', 0, (uint8_t)salt[0], (uint8_t)salt[1]};
    static const uint8_t plain[] = {1, 1, 2, 'h', 'i'};
    int rc;
    pair p;

    pair_configure(&p, was_offered ? TLS : 0, flags);
    set_password(p.client_config, "secret");
    (void)peer_init(&p.server, p.server_config);
    (void)peer_init(&p.client, p.client_config);
    if (was_offered)
        (void)peer_move(&p.server, &p.client, 0);
    else
        (void)peer_feed(&p.client, plain, sizeof plain);
    rc = peer_feed(&p.client, cs, sizeof cs);
    if (rc < 0 && rc != ETCP_EPROTO)
        tap_is_str(etcp_session_error(p.client.s)->text,
                   "The salt tells of TLS, but the offer is missing: somebody is in between",
                   "salt %s: text", salt);
    pair_deinit(&p);
    return rc;
}

static void test_mark(void)
{
    tap_is_int(client_takes_salt(TLS, 0, "ZA"), ETCP_EPOLICY, "ZA without the offer");
    tap_is_int(client_takes_salt(0, 0, "ZP"), ETCP_EPOLICY, "ZP to a client without TLS");
    tap_is_int(client_takes_salt(TLS, 0, "ZQ"), 0, "ZQ is no mark");
    tap_is_int(client_takes_salt(TLS, 0, "zA"), 0, "zA is none");
    tap_is_int(client_takes_salt(0, 1, "ZA"), 0, "ZA behind an offer that was not taken");
}

static void test_salts(void)
{
    unsigned marked = 0;
    unsigned plain = 0;
    unsigned i;

    for (i = 0; i < 200; i++) {
        unsigned flags = i & 1 ? TLS : 0;
        const uint8_t *at;
        pair p;

        pair_configure(&p, flags, 0);
        set_password(p.server_config, "secret");
        (void)pair_clear(&p, 0);
        at = memmem(etcp_buf_bytes(&p.welcome), etcp_buf_len(&p.welcome), "ETCP1", 5);
        at += 6 + 5; /* version */
        at += strlen((const char *)at) + 1;
        at += strlen((const char *)at) + 1;
        marked += flags && at[0] == 'Z' && at[1] >= 'A' && at[1] <= 'P';
        plain += !flags && at[0] >= 'a' && at[0] <= 'z' && at[1] >= 'a' && at[1] <= 'z';
        peer_negotiate(&p.server, &p.client, 0);
        pair_deinit(&p);
    }
    tap_is_int((int)marked, 100, "who offers TLS marks salts");
    tap_is_int((int)plain, 100, "nobody else does");
}

/* ---- inside ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *server_password, *client_password;
    unsigned client_flags, facts_flags;
    int server_rc, client_rc;
    int is_early;
    int authenticated;
    const char *text; /* of the client */
} insides[] = {
    {"no password", NULL, NULL, 0, 0, 0, 0, 1, 0, NULL},
    {"empty password", "", NULL, 0, 0, 0, 0, 1, 0, NULL},
    {"client certificate", NULL, NULL, 0, ETCP_INSIDE_CERTIFICATE, 0, 0, 0, 0, NULL},
    {"the same password", "secret", "secret", 0, 0, 0, 0, 0, 1, NULL},
    {"client's own, unasked", NULL, "secret", 0, 0, 0, 0, 0, 0, NULL},
    {"required, unasked", NULL, "secret", ETCP_REQUIRE_PASSWORD, 0, 0, ETCP_EPOLICY, 0, 0,
     "A password is required, but the server asked for none"},
    {"required, none", NULL, NULL, ETCP_REQUIRE_PASSWORD, 0, 0, ETCP_EPOLICY, 0, 0,
     "A password is required, but the server asked for none"},
    {"wrong", "secret", "Secret", 0, 0, 0, ETCP_EREJECTED, 0, 0,
     "The server does not know the password"},
    {"wrong behind the eighth", "12345678a", "12345678b", 0, 0, 0, ETCP_EREJECTED, 0, 0,
     "The server does not know the password"},
    {"missing", "secret", NULL, 0, 0, 0, ETCP_EREJECTED, 0, 0,
     "The server does not know the password"},
};

static void check_messages(pair *p, const char *name)
{
    static uint8_t text[5000];

    memset(text, 'a', sizeof text);
    tap_ok(peer_say(&p->client, &p->server, 0, text, sizeof text, 0) == 0 &&
               etcp_buf_len(&p->server.data) == sizeof text,
           "%s: to the server", name);
    tap_ok(peer_say(&p->server, &p->client, 0, "0", 1, 0) == 0 &&
               etcp_buf_len(&p->client.data) == 1,
           "%s: to the client", name);
}

static void test_insides(void)
{
    static const size_t steps[] = {0, 1, 7};
    unsigned i, j;

    for (i = 0; i < sizeof insides / sizeof insides[0]; i++)
        for (j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            const char *name = insides[i].name;
            pair p;

            pair_configure(&p, TLS, TLS | insides[i].client_flags);
            set_password(p.server_config, insides[i].server_password);
            set_password(p.client_config, insides[i].client_password);
            (void)pair_clear(&p, steps[j]);
            (void)pair_switch(&p, insides[i].facts_flags);
            tap_is_int(etcp_session_is_ready(p.client.s), insides[i].is_early, "%s: early", name);
            (void)pair_talk(&p, steps[j]);
            tap_is_int(p.server.rc < 0 ? p.server.rc : 0, insides[i].server_rc, "%s: server", name);
            tap_is_int(p.client.rc < 0 ? p.client.rc : 0, insides[i].client_rc, "%s: client", name);
            tap_is_int((int)p.client.ready, insides[i].client_rc == 0, "%s: client ready", name);
            if (insides[i].text)
                tap_is_str(etcp_session_error(p.client.s)->text, insides[i].text, "%s: text", name);
            if (insides[i].client_rc == 0) {
                tap_is_int((int)p.server.ready, 1, "%s: server ready", name);
                tap_ok(etcp_session_is_authenticated(p.client.s) == insides[i].authenticated &&
                           etcp_session_is_authenticated(p.server.s) == insides[i].authenticated,
                       "%s: authenticated", name);
                tap_is_str(etcp_session_peer_version_text(p.client.s), "1.10", "%s: version", name);
                tap_ok(etcp_session_compressor(p.client.s) &&
                           etcp_session_compressor(p.client.s) ==
                               etcp_session_compressor(p.server.s),
                       "%s: a compressor", name);
                check_messages(&p, name);
            }
            pair_deinit(&p);
        }
}

static void configure_secret(pair *p)
{
    pair_configure(p, TLS, TLS);
    set_password(p->server_config, "secret");
    set_password(p->client_config, "secret");
    (void)pair_clear(p, 0);
}

/* A difference of one bit in what both ends must agree on. */
static void test_differences(void)
{
    pair p;

    configure_secret(&p);
    (void)pair_switch(&p, 0);
    peer_deinit(&p.client);
    p.binding[31] ^= 1;
    (void)enter(p.client_config, &p.client_facts, p.binding, &p.client.s);
    (void)pair_talk(&p, 0);
    tap_is_int(p.client.rc, ETCP_EREJECTED, "another binding: the proof fails");
    tap_ok(!p.server.ready && !p.client.ready, "nobody is ready");
    pair_deinit(&p);

    configure_secret(&p);
    (void)pair_switch(&p, 0);
    peer_deinit(&p.client);
    p.client_facts.prologue[0] ^= 1;
    (void)enter(p.client_config, &p.client_facts, p.binding, &p.client.s);
    (void)pair_talk(&p, 0);
    tap_is_int(p.server.rc, ETCP_EPROTO, "another prologue");
    tap_is_str(etcp_session_error(p.server.s)->text, "The negotiation was tampered with",
               "is told");
    pair_deinit(&p);
}

/* ---- packets by hand ------------------------------------------------------------------------- */

/* One packet of fields; a field that begins with '%' and a number is so many armoured bytes. */
static size_t make_packet(uint8_t *out, unsigned flags, const char *const *fields, unsigned count)
{
    etcp_buf text;
    size_t len;
    unsigned i;

    etcp_buf_init(&text);
    for (i = 0; i < count; i++) {
        uint8_t bytes[100];

        memset(bytes, 4, sizeof bytes);
        if (i)
            (void)etcp_buf_append_byte(&text, 0);
        if (fields[i][0] == '%')
            (void)etcp_armour_encode(&text, bytes, (size_t)atoi(fields[i] + 1));
        else
            (void)etcp_buf_append_str(&text, fields[i]);
    }
    len = etcp_frame_encode(out, flags, etcp_buf_len(&text));
    memcpy(out + len, etcp_buf_bytes(&text), etcp_buf_len(&text));
    len += etcp_buf_len(&text);
    etcp_buf_deinit(&text);
    return len;
}

static const struct {
    const char *name;
    int to_server;
    unsigned flags;
    int after_hello; /* to the server: its HI has come; to the client: has password */
    const char *fields[6];
    unsigned count;
    int rc;
} packets[] = {
    {"P too short", 1, 1, 0, {"HI", "1.10", "", "", "%31"}, 5, ETCP_EPROTO},
    {"P too long", 1, 1, 0, {"HI", "1.10", "", "", "%33"}, 5, ETCP_EPROTO},
    {"P missing", 1, 1, 0, {"HI", "1.10"}, 2, ETCP_EPROTO},
    {"P wrong", 1, 1, 0, {"HI", "1.10", "", "", "%32"}, 5, ETCP_EPROTO},
    {"CP first", 1, 1, 0, {"CP", "%32"}, 2, ETCP_EPROTO},
    {"EN to the server", 1, 1, 0, {"EN"}, 1, ETCP_EPROTO},
    {"unknown to the server", 1, 1, 0, {"XX"}, 1, 0},
    {"a message first", 1, 5, 0, {"hello"}, 1, ETCP_EPROTO},
    {"encrypted", 1, 9, 0, {"HI"}, 1, ETCP_EPROTO},
    {"HI twice", 1, 1, 1, {"HI", "1.10", "", "", "%32"}, 5, ETCP_EPROTO},
    {"CP too short", 1, 1, 1, {"CP", "%31"}, 2, ETCP_EPROTO},
    {"CP too long", 1, 1, 1, {"CP", "%33"}, 2, ETCP_EPROTO},
    {"CP wrong", 1, 1, 1, {"CP", "%32"}, 2, ETCP_EREJECTED},
    {"a message before CP", 1, 5, 1, {"hello"}, 1, ETCP_EPROTO},
    {"HI to the client", 0, 1, 0, {"HI"}, 1, ETCP_EPROTO},
    {"unknown to the client", 0, 1, 0, {"XX"}, 1, 0},
    {"EN of an old one", 0, 1, 0, {"EN", "0.26", "", ""}, 4, ETCP_EPROTO},
    {"EN with an unknown compressor", 0, 1, 0, {"EN", "1.10", "Y", ""}, 4, ETCP_EPROTO},
    {"EN with a proof unasked", 0, 1, 0, {"EN", "1.10", "", "", "%65", "%32"}, 6, ETCP_EPROTO},
    {"EN with half a proof", 0, 1, 1, {"EN", "1.10", "", "", "%65"}, 5, ETCP_EPROTO},
    {"EN with no point", 0, 1, 1, {"EN", "1.10", "", "", "%65", "%32"}, 6, ETCP_EPROTO},
    {"EN without a password", 0, 1, 1, {"EN", "1.10", "", ""}, 4, ETCP_EPOLICY},
    {"EN", 0, 1, 0, {"EN", "1.10", "", ""}, 4, 0},
    {"PF", 0, 1, 1, {"PF"}, 1, ETCP_EREJECTED},
    {"a message before EN", 0, 5, 0, {"hello"}, 1, ETCP_EPROTO},
    {"further fields", 0, 1, 0, {"EN", "1.11", "", "B1Z9", "", ""}, 6, 0},
};

static void test_packets(void)
{
    unsigned i;

    for (i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        uint8_t bytes[600];
        size_t len = make_packet(bytes, packets[i].flags, packets[i].fields, packets[i].count);
        pair p;
        peer *to;

        pair_configure(&p, TLS, TLS);
        if (packets[i].after_hello) {
            set_password(p.server_config, "secret");
            set_password(p.client_config, "secret");
        }
        (void)pair_clear(&p, 0);
        (void)pair_switch(&p, 0);
        to = packets[i].to_server ? &p.server : &p.client;
        if (packets[i].after_hello && packets[i].to_server) {
            (void)peer_move(&p.client, &p.server, 0);
            (void)etcp_session_prove(p.server.s);
        }
        (void)peer_feed(to, bytes, len);
        tap_is_int(to->rc < 0 ? to->rc : 0, packets[i].rc, "%s: %s", packets[i].name,
                   etcp_session_error(to->s)->text);
        pair_deinit(&p);
    }
}

/* A client's HI that is played again on another channel. */
static void test_replay(void)
{
    etcp_buf hello;
    pair p, q;

    configure_secret(&p);
    configure_secret(&q);
    (void)pair_switch(&p, 0);
    (void)pair_switch(&q, 0);
    etcp_buf_init(&hello);
    (void)take_output(&p.client, &hello);
    (void)peer_feed(&q.server, etcp_buf_bytes(&hello), etcp_buf_len(&hello));
    tap_is_int(q.server.rc, ETCP_EPROTO, "HI of another connection is refused");
    etcp_buf_deinit(&hello);
    pair_deinit(&p);
    pair_deinit(&q);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int whole_life(const char *password)
{
    int rc;
    pair p;

    memset(&p, 0, sizeof p);
    p.server_config = etcp_config_new(ETCP_ROLE_SERVER);
    p.client_config = etcp_config_new(ETCP_ROLE_CLIENT);
    rc = p.server_config && p.client_config ? 0 : ETCP_ENOMEM;
    if (rc == 0) {
        p.server_config->flags = p.client_config->flags = TLS;
        rc = etcp_config_set_password(p.server_config, (const uint8_t *)password, strlen(password));
    }
    if (rc == 0)
        rc = etcp_config_set_password(p.client_config, (const uint8_t *)password, strlen(password));
    if (rc == 0)
        rc = pair_clear(&p, 5);
    if (rc >= 0)
        rc = pair_switch(&p, 0);
    if (rc == 0)
        rc = pair_talk(&p, 5);
    if (rc == 0 && (!p.client.ready || !p.server.ready))
        rc = ETCP_ENOMEM;
    pair_deinit(&p);
    return rc;
}

/* What either can receive is listed again inside, and counts from then on only. */
static void test_capabilities(void)
{
    const unsigned mix = ETCP_CAN_MIX | ETCP_CAN_MIX_LZF | ETCP_CAN_MIX_ZLIB;
    pair p;

    pair_configure(&p, TLS | ETCP_MIX_COMPRESSORS, TLS | ETCP_MIX_COMPRESSORS);
    p.server_config->capabilities = ETCP_CAN_BOOLEANS;
    p.client_config->capabilities = ETCP_CAN_EXACT_NUMBERS;
    (void)pair_clear(&p, 0);
    tap_ok(memmem(etcp_buf_bytes(&p.welcome), etcp_buf_len(&p.welcome), "\0B1M1lzT1", 9) != NULL,
           "the welcome lists all");
    tap_ok(memmem(etcp_buf_bytes(&p.answer), etcp_buf_len(&p.answer), "\0M1lzN1T1", 9) != NULL,
           "so does the answer");
    (void)pair_switch(&p, 0);
    tap_is_int(etcp_session_peer_can(p.client.s), 0, "the client forgets what came in clear");
    tap_is_int(etcp_session_told(p.server.s), 0, "the server what it said");
    (void)pair_talk(&p, 0);
    tap_is_int(etcp_session_peer_can(p.client.s), mix | ETCP_CAN_BOOLEANS, "EN lists again");
    tap_is_int(etcp_session_peer_can(p.server.s), mix | ETCP_CAN_EXACT_NUMBERS, "so does HI");
    tap_is_int(etcp_session_told(p.client.s), mix | ETCP_CAN_EXACT_NUMBERS, "the client was heard");
    tap_is_int(etcp_session_told(p.server.s), mix | ETCP_CAN_BOOLEANS, "the server, too");
    pair_deinit(&p);
}

static void test_out_of_memory(const char *password)
{
    unsigned wrong = 0;
    long n;
    int rc;

    for (n = 1;; n++) {
        alloc_fail_at(n);
        rc = whole_life(password);
        wrong += alloc_live() != 0;
        if (rc == 0 || !alloc_has_failed())
            break;
        wrong += rc != ETCP_ENOMEM;
    }
    tap_is_int(rc, 0, "without a failure all is well");
    tap_is_int((int)wrong, 0, "each of %ld failures is clean", n - 1);
    alloc_reset();
}

int main(void)
{
    if (!policy_leaves_sha256())
        return tap_done();
    test_choices();
    test_required_welcome();
    test_prologue();
    test_behind_the_welcome();
    test_behind_the_answer();
    test_answers();
    test_mark();
    test_salts();
    test_insides();
    test_differences();
    test_packets();
    test_replay();
    test_capabilities();
    test_out_of_memory("");
    test_out_of_memory("secret");
    return tap_done();
}
