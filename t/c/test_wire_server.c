/* csrc/wire/negotiate_server.c: what a server asks of clients of every release. */
#include "wire_peer.h"

#include "tap.h"
#include "wire/config.h"
#include "wire/crypt3.h"
#include "wire/munge.h"

/* Random bytes that make the salt "ab" and keys of '!': the draws look at the last bytes first. */
static int fixed_random(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    if (len >= 2)
        out[len - 2] = 1;
    return 0;
}

static etcp_config *new_config(const char *ciphers, const char *compressors, const char *password)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    size_t count;
    size_t i;
    const etcp_cipher *cipher_rows = etcp_ciphers(&count);
    const etcp_compressor *compressor_rows;

    if (!config)
        abort();
    for (i = 0; i < count; i++)
        if (!strchr(ciphers, cipher_rows[i].key))
            etcp_config_forbid(config, cipher_rows[i].name);
    compressor_rows = etcp_compressors(&count);
    for (i = 0; i < count; i++)
        if (!strchr(compressors, compressor_rows[i].key))
            etcp_config_forbid(config, compressor_rows[i].name);
    if (password &&
        etcp_config_set_password(config, (const uint8_t *)password, strlen(password)) < 0)
        abort();
    config->random = fixed_random;
    return config;
}

/* ---- the welcome packet --------------------------------------------------------------------- */

#define CRLF8 "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"

/* What 1.x peers find behind the text is the business of test_wire_capability; a server that says
 * it is an original must add nothing. */
static void check_welcome(const char *class_name, const char *version, const char *welcome,
                          const char *want, const char *name)
{
    const uint8_t *text;
    const uint8_t *nul;
    etcp_config *config = new_config("", "", NULL);
    etcp_frame frame;
    const etcp_buf *output;
    peer p;

    (void)etcp_config_set_class_name(config, class_name);
    (void)etcp_config_set_welcome(config, welcome);
    strcpy(config->version, version);
    (void)peer_init(&p, config);
    output = etcp_session_output(p.s);
    (void)etcp_frame_parse(etcp_buf_bytes(output), etcp_buf_len(output), &frame);
    text = etcp_buf_bytes(output) + frame.header_len;
    nul = memchr(text, 0, frame.len);
    tap_ok((nul != NULL) == (version[0] > '0'), "welcome: %s: offer", name);
    tap_is_mem(text, nul ? (size_t)(nul - text) : frame.len, want, strlen(want), "welcome: %s",
               name);
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_welcome(void)
{
    /* The first is byte for byte what 0.26 sent: 172 bytes. */
    check_welcome(NULL, "0.26", NULL,
                  CRLF8 "-----BEGIN CLEARTEXT WELCOME MESSAGE-----\r\n::\r\n"
                        "::  HELLO  ::  Net::EasyTCP VERSION 0.26  ::  SERVER READY  ::\r\n::\r\n"
                        "-----END CLEARTEXT WELCOME MESSAGE-----\r\n",
                  "none");
    check_welcome("My::Server", "1.10", "Hi there",
                  CRLF8 "-----BEGIN CLEARTEXT WELCOME MESSAGE-----\r\n::\r\n"
                        "::  HELLO  ::  My::Server VERSION 1.10  ::  SERVER READY  ::\r\n::\r\n"
                        "::  Hi there\r\n::\r\n"
                        "-----END CLEARTEXT WELCOME MESSAGE-----\r\n",
                  "subclass and text");
    check_welcome(NULL, "1.10", "",
                  CRLF8 "-----BEGIN CLEARTEXT WELCOME MESSAGE-----\r\n::\r\n"
                        "::  HELLO  ::  Net::EasyTCP VERSION 1.10  ::  SERVER READY  ::\r\n::\r\n"
                        "-----END CLEARTEXT WELCOME MESSAGE-----\r\n",
                  "empty");
}

/* ---- dialogues ------------------------------------------------------------------------------ */

/* Replies of a client, one per line, and what the server asks after each, behind '>'. A reply that
 * begins with '~' and a letter travels compressed by that compressor. */
static const struct dialogue {
    const char *name;
    const char *ciphers;
    const char *compressors;
    const char *password;
    const char *script;
    int rc;
    int ready;
    const char *cipher;
    const char *compressor;
} dialogues[] = {
    {"0.26, nothing", "", "", NULL, "NO|x>VE|1.10\nVE|0.26>EN\nEN>", 0, 1, NULL, NULL},
    {"0.02, nothing", "", "", NULL, "NO>VE|1.10\nNO>EN\nEN>", 0, 1, NULL, NULL},
    {"0.26, compression", "", "12", NULL,
     "NO>VE|1.10\nVE|0.26>CA|1|2\nCU|1|2.0>CU|1\n~1CU|1>EN\nEN>", 0, 1, NULL, "Compress::Zlib"},
    {"0.26, second choice", "", "12", NULL,
     "NO>VE|1.10\nVE|0.26>CA|1|2\nCU|2|2.0>CU|2\nCU|2>EN\nEN>", 0, 1, NULL, "Compress::LZF"},
    {"0.26, no compression", "", "12", NULL, "NO>VE|1.10\nVE|0.26>CA|1|2\nCU||>EN\nEN>", 0, 1, NULL,
     NULL},
    {"0.05, no compression", "", "12", NULL, "NO>VE|1.10\nNO>CA|1|2\nCU|>EN\nEN>", 0, 1, NULL,
     NULL},
    {"0.26, never offered", "", "1", NULL, "NO>VE|1.10\nVE|0.26>CA|1\nCU|2|2.0>EN\nEN>", 0, 1, NULL,
     NULL},
    {"0.26, unknown choice", "", "1", NULL, "NO>VE|1.10\nVE|0.26>CA|1\nCU|17|2.0>EN\nEN>", 0, 1,
     NULL, NULL},
    {"0.26, believes it has it", "4", "1", NULL,
     "NO>VE|1.10\nVE|0.26>EA|4\nEU|4|>CA|1\nCU|1|>EN\nEN>", 0, 1, NULL, NULL},
    {"0.07 names no versions", "", "1", NULL, "NO>VE|1.10\nVE|0.07>CA|1\nCU|1>EN\nEN>", 0, 1, NULL,
     "Compress::Zlib"},
    {"no cipher in common", "4A", "", NULL, "NO>VE|1.10\nVE|0.26>EA|A|4\nEU||>EN\nEN>", 0, 1, NULL,
     NULL},
    {"cipher never offered", "4", "", NULL, "NO>VE|1.10\nVE|0.26>EA|4\nEU|A|1.0>EN\nEN>", 0, 1,
     NULL, NULL},
    {"0.22 is taken at its word", "", "1", NULL, "NO>VE|1.10\nVE|0.22>CA|1\nCU|1|2.0>EN\nEN>", 0, 1,
     NULL, "Compress::Zlib"},
    {"1.00 is taken at its word", "", "1", NULL, "NO>VE|1.10\nVE|1.00>CA|1\nCU|1|2.0>EN\nEN>", 0, 1,
     NULL, "Compress::Zlib"},
    {"0.23 declines its second choice, too", "4A6", "", NULL,
     "NO>VE|1.10\nVE|0.23>EA|A|4|6\nEU|A|1.0>EU|A\nNO|not this>EA|4|6\nEU|4|2.0>EU|4\nNO>EA|6\n"
     "EU||>EM|?\nNO|what>EN\nEN>",
     0, 1, NULL, NULL},
    {"0.26 declines all", "4A", "", NULL,
     "NO>VE|1.10\nVE|0.26>EA|A|4\nEU|A|1.0>EU|A\nNO>EA|4\nEU|4|2.0>EU|4\nNO>EM|?\nNO>EN\nEN>", 0, 1,
     NULL, NULL},
    {"0.26 names another when asked again", "4A", "", NULL,
     "NO>VE|1.10\nVE|0.26>EA|A|4\nEU|A|1.0>EU|A\nEU|4>EA|4\nEU||>EM|?\nEM|?>EN\nEN>", 0, 1, NULL,
     NULL},
    {"0.26 insists on what it declined", "4A", "", NULL,
     "NO>VE|1.10\nVE|0.26>EA|A|4\nEU|A|1.0>EU|A\nNO>EA|4\nEU|A|1.0>EM|?\nNO>EN\nEN>", 0, 1, NULL,
     NULL},
    {"0.26 declines a compressor, but has used it", "", "12", NULL,
     "NO>VE|1.10\nVE|0.26>CA|1|2\nCU|1|2.0>CU|1\n~1NO|not this>CA|2\n~1CU|2|3.0>CU|2\n~2CU|2>EN\n"
     "~2EN>",
     0, 1, NULL, "Compress::LZF"},
    {"0.26 declines every compressor", "", "12", NULL,
     "NO>VE|1.10\nVE|0.26>CA|1|2\nCU|1|2.0>CU|1\n~1NO>CA|2\n~1CU||>CM|?\nNO>EN\nEN>", 0, 1, NULL,
     NULL},
    {"any reply is a reply", "4", "1", NULL, "HELLO>VE|1.10\nNO>EA|4\nWHAT|4>CA|1\nEU|4>EN\nEN>", 0,
     1, NULL, NULL},
    {"EN comes too early", "", "1", NULL, "EN>VE|1.10\nEN>CA|1\nEN>EN\nEN>", 0, 1, NULL, NULL},
    {"CP comes too early", "", "1", "x", "CP|*0>VE|1.10\nVE|0.26>CA|1\nCP|*0>CS|ab\nCP|*0>PF",
     ETCP_EREJECTED, 0, NULL, NULL},
    {"something else than EN", "", "", NULL, "NO>VE|1.10\nVE|0.26>EN\nNO>\nVE|0.26>\nEN>", 0, 1,
     NULL, NULL},
    {"empty replies are none", "", "", NULL, ">\n0>\n|VE>\nNO>VE|1.10\n>\nVE|0.26>EN\nEN>", 0, 1,
     NULL, NULL},
    {"key missing", "2", "", NULL,
     "NO>VE|1.10\nVE|0.09>EA|2\nEU|2|1>EK|"
     "!\"!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!\nEK|>",
     ETCP_EPROTO, 0, NULL, NULL},
    {"key refused", "2", "", NULL,
     "NO>VE|1.10\nVE|0.09>EA|2\nEU|2|1>EK|"
     "!\"!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!\nNO>",
     ETCP_EPROTO, 0, NULL, NULL},
    {"Crypt::RSA without a key pair", "B", "", NULL, "NO>VE|1.10\nVE|0.26>EN\nEN>", 0, 1, NULL,
     NULL},
    {"password, 0.06", "", "", "x", "NO>VE|1.10\nNO>", ETCP_EREJECTED, 0, NULL, NULL},
    {"empty password, 0.06", "", "", "", "NO>VE|1.10\nNO>EN\nEN>", 0, 1, NULL, NULL},
    {"password, refused", "", "", "x", "NO>VE|1.10\nVE|0.26>CS|ab\nNO>PF", ETCP_EREJECTED, 0, NULL,
     NULL},
    {"password, empty hash", "", "", "x", "NO>VE|1.10\nVE|0.26>CS|ab\nCP>PF", ETCP_EREJECTED, 0,
     NULL, NULL},
    {"password, long hash", "", "", "x",
     "NO>VE|1.10\nVE|0.26>CS|ab\nCP|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx>PF", ETCP_EREJECTED, 0,
     NULL, NULL},
    {"password, hash with more behind", "", "", "secret", "NO>VE|1.10\nVE|0.14>CS|ab\nCP|#0>PF",
     ETCP_EREJECTED, 0, NULL, NULL},
    {"password, 0.14", "", "", "secret", "NO>VE|1.10\nVE|0.14>CS|ab\nCP|@>EN\nEN>", 0, 1, NULL,
     NULL},
    {"password, 0.15", "", "", "secret", "NO>VE|1.10\nVE|0.15>CS|ab\nCP|@>EN\nEN>", 0, 1, NULL,
     NULL},
    {"password, 0.07", "", "", "secret", "NO>VE|1.10\nVE|0.07>CS|&?\nCP|@>EN\nEN>", 0, 1, NULL,
     NULL},
    {"not munged by 0.15", "", "", "secret", "NO>VE|1.10\nVE|0.15>CS|ab\nCP|#>PF", ETCP_EREJECTED,
     0, NULL, NULL},
};

/* Feeds a packet, compressed by the compressor with this letter; 0: as it is. */
static void feed_payload(peer *p, char compressor, const etcp_buf *payload)
{
    const etcp_compressor *row = compressor ? etcp_compressor_by_key(compressor) : NULL;
    const uint8_t *bytes = etcp_buf_bytes(payload);
    size_t len = etcp_buf_len(payload);
    etcp_compressor_state *state = NULL;
    etcp_buf compressed;
    etcp_buf packet;

    etcp_buf_init(&compressed);
    etcp_buf_init(&packet);
    if (row && row->compress(&state, ETCP_LEVEL_OF_ORIGINALS, bytes, len, &compressed) < 0)
        abort();
    if (row)
        add_packet(&packet, ETCP_FLAG_COMPRESSED, etcp_buf_bytes(&compressed),
                   etcp_buf_len(&compressed));
    else
        add_packet(&packet, 0, bytes, len);
    if (row)
        row->free_state(state);
    (void)peer_feed(p, etcp_buf_bytes(&packet), etcp_buf_len(&packet));
    etcp_buf_deinit(&packet);
    etcp_buf_deinit(&compressed);
}

/* A reply line, with @ standing for the hash of the password as the client's release sends it, and
 * # for the hash as it is. */
static void feed_reply(peer *p, const char *line, size_t len, const char *password)
{
    char compressor = len && line[0] == '~' ? line[1] : '\0';
    etcp_buf payload;
    size_t i;

    etcp_buf_init(&payload);
    for (i = compressor ? 2 : 0; i < len; i++) {
        char hash[ETCP_CRYPT3_SIZE];

        if (line[i] != '@' && line[i] != '#') {
            (void)etcp_buf_append_byte(&payload, line[i] == '|' ? 0 : (uint8_t)line[i]);
            continue;
        }
        etcp_crypt3((const uint8_t *)password, strlen(password), (const uint8_t *)"ab", hash);
        if (line[i] == '@' && etcp_munge_wants_keys(etcp_session_peer_version(p->s)))
            etcp_munge((uint8_t *)hash, strlen(hash));
        (void)etcp_buf_append_str(&payload, hash);
    }
    feed_payload(p, compressor, &payload);
    etcp_buf_deinit(&payload);
}

static void run_dialogue(const struct dialogue *d)
{
    etcp_config *config = new_config(d->ciphers, d->compressors, d->password);
    const char *at = d->script;
    unsigned turn = 0;
    peer p;

    (void)peer_init(&p, config);
    (void)peer_answer(&p);
    while (*at) {
        size_t reply_len = strcspn(at, ">");
        const char *question = at + reply_len + 1;
        size_t question_len = strcspn(question, "\n");
        char want[128];

        memcpy(want, question, question_len);
        want[question_len] = '\0';
        feed_reply(&p, at, reply_len, d->password);
        tap_is_str(peer_answer(&p), want, "%s: question %u", d->name, ++turn);
        at = question + question_len + (question[question_len] == '\n');
    }
    tap_is_int(p.rc, d->rc, "%s: result", d->name);
    tap_is_int((long long)p.ready, d->ready, "%s: ready", d->name);
    if (d->rc == 0)
        tap_is_str(etcp_session_cipher(p.s) ? etcp_session_cipher(p.s)->name : NULL, d->cipher,
                   "%s: cipher", d->name);
    tap_is_str(etcp_session_compressor(p.s) ? etcp_session_compressor(p.s)->name : NULL,
               d->compressor, "%s: compressor", d->name);
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* Clients up to 0.07 without a compressor repeat the letter of their cipher: "2" is no LZF then. */
static void test_repeated_letter(void)
{
    etcp_config *config = new_config("2", "12", NULL);
    peer p;

    (void)peer_init(&p, config);
    (void)peer_command(&p, "NO");
    (void)peer_command(&p, "NO");
    (void)peer_command(&p, "EU|2");
    (void)peer_command(&p, "EK|somekey");
    (void)peer_command(&p, "CU|2");
    (void)peer_command(&p, "EN");
    tap_ok(p.ready == 1 && etcp_session_cipher(p.s) && !etcp_session_compressor(p.s),
           "CU that repeats EU names no compressor");
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_order_of_ciphers(void)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);
    char want[64] = "EA";
    size_t i;
    size_t at = 2;
    peer p;

    if (etcp_config_renew_rsa(config) < 0)
        tap_note("no Crypt::RSA");
    for (i = 0; i < count; i++) {
        if (rows[i].flags & ETCP_CIPHER_SYMMETRIC || etcp_buf_len(&config->rsa_public)) {
            want[at++] = '|';
            want[at++] = rows[i].key;
        }
    }
    (void)peer_init(&p, config);
    (void)peer_command(&p, "NO");
    (void)peer_answer(&p);
    (void)peer_command(&p, "VE|0.26");
    tap_is_str(peer_answer(&p), want, "EA lists every cipher in the manual's order");
    peer_deinit(&p);
    (void)peer_init(&p, config);
    (void)peer_command(&p, "NO");
    (void)peer_answer(&p);
    (void)peer_command(&p, "VE|0.21");
    tap_ok(strchr(peer_answer(&p), 'B') == NULL, "EA to 0.21 does without Crypt::RSA");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static const struct refusal {
    const char *name;
    const char *bytes;
    size_t len;
    int rc;
} refusals[] = {
    {"data before READY", "\x05\x01\x01x", 4, ETCP_EPROTO},
    {"data before READY, by its header alone", "\x05\x04\x00\x00\x10\x00", 6, ETCP_EPROTO},
    {"always-on bit clear", "\x00", 1, ETCP_EPROTO},
    {"five length bytes", "\x01\x05", 2, ETCP_EPROTO},
    {"a packet over the limit", "\x01\x03\x01\x00\x01", 5, ETCP_ETOOBIG},
    {"4 GB", "\x01\x04\xff\xff\xff\xff", 6, ETCP_ETOOBIG},
    {"encrypted without cipher", "\x09\x01\x02", 3, ETCP_EPROTO},
    {"compressed without compressor", "\x11\x01\x02", 3, ETCP_EPROTO},
    {"telnet", "GET / HTTP/1.0\r\n", 16, ETCP_EPROTO},
};

static void test_refusals(void)
{
    size_t i;

    for (i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        etcp_config *config = new_config("4", "1", NULL);
        peer p;

        (void)peer_init(&p, config);
        (void)peer_feed(&p, (const uint8_t *)r->bytes, r->len);
        tap_is_int(p.rc, r->rc, "refused: %s", r->name);
        tap_ok(etcp_session_error(p.s)->text[0] != '\0', "refused: %s: says so", r->name);
        tap_is_int(peer_command(&p, "NO"), r->rc, "refused: %s: for good", r->name);
        peer_deinit(&p);
        (void)peer_init(&p, config);
        (void)peer_feed_step(&p, (const uint8_t *)r->bytes, r->len, 1);
        tap_is_int(p.rc, r->rc, "refused: %s, byte by byte", r->name);
        peer_deinit(&p);
        etcp_config_unref(config);
    }
}

static void test_closed_early(void)
{
    etcp_config *config = new_config("", "", NULL);
    peer p;

    (void)peer_init(&p, config);
    etcp_session_end_of_input(p.s);
    tap_is_int(etcp_session_error(p.s)->code, ETCP_ECLOSED, "closed while negotiating");
    peer_deinit(&p);
    (void)peer_init(&p, config);
    (void)peer_command(&p, "NO");
    (void)peer_command(&p, "NO");
    (void)peer_command(&p, "EN");
    etcp_session_end_of_input(p.s);
    tap_is_int(etcp_session_error(p.s)->code, 0, "closed when ready: no error");
    peer_deinit(&p);
    etcp_config_unref(config);
}

int main(void)
{
    size_t i;

    test_welcome();
    for (i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++)
        run_dialogue(&dialogues[i]);
    test_repeated_letter();
    test_order_of_ciphers();
    test_refusals();
    test_closed_early();
    return tap_done();
}
