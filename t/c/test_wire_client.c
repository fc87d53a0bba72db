/* csrc/wire/negotiate_client.c: what a client answers to every command, command by command. */
#include "wire_peer.h"

#include "alloc.h"
#include "base/armour.h"
#include "codec/cipher.h"
#include "tap.h"
#include "wire/config.h"
#include "wire/crypt3.h"
#include "wire/munge.h"
#include "wire/sve.h"

static etcp_config *new_config(void)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);

    if (!config)
        abort();
    return config;
}

/* ---- one command, one answer ---------------------------------------------------------------- */

#define DID_NOT "NO|I don't understand you"

static const struct exchange {
    const char *name;
    unsigned flags;
    const char *commands; /* '\n' between them */
    const char *answer;   /* to the last one */
    int rc;
    const char *error;
} exchanges[] = {
    {"welcome", 0, "\r\n::  HELLO  ::", DID_NOT, 0, ""},
    {"version", 0, "VE|0.26", "VE|1.10", 0, ""},
    {"version with more fields", 0, "VE|0.27|EXT|more", "VE|1.10", 0, ""},
    {"unknown tag", 0, "XYZ|1", DID_NOT, 0, ""},
    {"lower case is another tag", 0, "en", DID_NOT, 0, ""},
    {"NO", 0, "NO|Already negotiated through compatability", DID_NOT, 0, ""},
    {"EVF is advice", 0, "VE|0.26\nEVF|1.0", DID_NOT, 0, ""},
    {"CVF is advice", 0, "VE|0.26\nCVF|1.0", DID_NOT, 0, ""},
    {"SVF is advice", 0, "VE|0.26\nSVF|1.0", DID_NOT, 0, ""},
    {"empty tag", 0, "|EN", "", ETCP_EPROTO, "Error negotiating with server. No command received."},
    {"empty packet", 0, "", "", ETCP_EPROTO, "Error negotiating with server. No command received."},
    {"tag 0", 0, "0|EN", "", ETCP_EPROTO, "Error negotiating with server. No command received."},
    {"PF", 0, "PF", "", ETCP_EREJECTED, "Server rejected supplied password: none was supplied"},
    {"COF of 0.26", 0, "VE|0.26\nCOF|Initial scalar exchange", "", ETCP_EREJECTED,
     "Compatability failure: The client and server could not negotiate compatability regarding: "
     "Initial scalar exchange"},
    {"COF with control characters", 0, "VE|0.20\nCOF|a\x1b[1mb", "", ETCP_EREJECTED,
     "Compatability failure: The client and server could not negotiate compatability regarding: "
     "a?[1mb"},
    {"COF before compatability", 0, "VE|0.19\nCOF|x", DID_NOT, 0, ""},
    {"COF of nobody", 0, "COF|x", DID_NOT, 0, ""},
    {"COS", 0, "COS|%41%42c", "COS|%41%42c", 0, ""},
    {"COS without scalar", 0, "COS", "COS|", 0, ""},
    {"SVE without fields", 0, "VE|0.15\nSVE", "SVE|3.26", 0, ""},
    {"SVE with a version", 0, "SVE|2.15", "SVE|2.15", 0, ""},
    {"SVE before COS", 0, "SVE|2.15|%05%06", "SVE|2.15|%05%06", 0, ""},
    {"EA, nothing known", 0, "EA|7|x|AB", "EU||", 0, ""},
    {"EA, nothing at all", 0, "EA", "EU||", 0, ""},
    {"EA, no encryption wanted", ETCP_DONOT_ENCRYPT, "EA|A|4", "EU||", 0, ""},
    {"EA, first known", 0, "EA|7|4|A", "EU|4|2.14", 0, ""},
    {"EK without cipher", 0, "EK", "EK|", 0, ""},
    {"EK without cipher, with a key", 0, "EK|abc", "EK|", 0, ""},
    {"EK without key", 0, "EA|4\nEK", "", ETCP_EPROTO,
     "The peer's key for Crypt::Blowfish is unusable"},
    {"EK without key, to be munged", 0, "VE|0.26\nEA|4\nEK", "", ETCP_EPROTO,
     "The peer's key for Crypt::Blowfish is unusable"},
    {"EU", 0, "EU|4", "EU|4", 0, ""},
    {"EU unknown", 0, "EU|7", "NO|Unknown encryption module", 0, ""},
    {"EU unwanted", ETCP_DONOT_ENCRYPT, "EU|4", "NO|I do not encrypt", 0, ""},
    {"EM before COS", 0, "EM|4|2.14|%41|%42", DID_NOT, 0, ""},
    {"EM unwanted", ETCP_DONOT_ENCRYPT, "EM|4|2.14|%41|%42", "NO|I do not encrypt", 0, ""},
    {"EM, sample damaged", 0, "COS|%41\nEM|4|2.14|%41|%42", "NO|Decrypted data did not match", 0,
     ""},
    {"EM, no key", 0, "COS|%41\nEM|4", "NO|Decrypted data did not match", 0, ""},
    {"EM of Crypt::RSA, text that is code", 0,
     "COS|%41\nEM|B|1.99|system('id');bless({},'Crypt::RSA::Key::Private')|%42",
     "NO|Decrypted data did not match", 0, ""},
    {"CA, nothing known", 0, "CA|3|12", "CU||", 0, ""},
    {"CA, no compression wanted", ETCP_DONOT_COMPRESS, "CA|1|2", "CU||", 0, ""},
    {"CA, first known", 0, "CA|3|2|1", "CU|2|3.7", 0, ""},
    {"CU", 0, "CU|1", "CU|1", 0, ""},
    {"CU unknown", 0, "CU|RETURN1", "NO|Unknown decompression module", 0, ""},
    {"CU unwanted", ETCP_DONOT_COMPRESS, "CU|1", "NO|I do not compress", 0, ""},
    {"CM unwanted", ETCP_DONOT_COMPRESS, "CM|1|2.106|%41", "NO|I do not compress", 0, ""},
    {"CM before COS", 0, "CM|1|2.106|%41", DID_NOT, 0, ""},
    {"CM damaged", 0, "COS|%41\nCM|1|2.106|%41", "NO|I do not compress with this module", 0, ""},
    {"CM of another scalar", 0, "COS|%41\nCM|2|3.7|%00%42", "NO|I do not compress with this module",
     0, ""},
    {"CM", 0, "COS|%41\nCM|2|3.4|%00%41", "CM|2|3.7|%00%41", 0, ""},
    {"CM of 0.26, named by accident", 0, "COS|%41\nCM|IO::Socket::INET=GLOB(0x5)||%00%41",
     "CM|2|3.7|%00%41", 0, ""},
    {"CM, right sample of another compressor", 0, "COS|%41\nCM|1|2.106|%00%41",
     "NO|I do not compress with this module", 0, ""},
    {"CS, 0.18", 0, "VE|0.18\nCS|x!", "", ETCP_EPROTO,
     "The server's salt for the password is unusable"},
    {"CS, 0.26, expensive", 0, "VE|0.26\nCS|$6$rounds=2000000$xx", "", ETCP_EPROTO,
     "The server's salt for the password is unusable"},
    {"CS, 0.26, one character", 0, "VE|0.26\nCS|x", "", ETCP_EPROTO,
     "The server's salt for the password is unusable"},
    {"CS, unknown version", 0, "CS|x!", "", ETCP_EPROTO,
     "The server's salt for the password is unusable"},
    {"CS, 0.14, invalid", 0, "VE|0.14\nCS|x!", "CP|*0", 0, ""},
    {"CS, 0.14, long", 0, "VE|0.14\nCS|$6$x", "", ETCP_EPROTO,
     "The server's salt for the password is unusable"},
};

static void run_exchange(const struct exchange *x)
{
    etcp_config *config = new_config();
    const char *at = x->commands;
    const char *answer;
    peer p;

    config->flags = x->flags;
    (void)peer_init(&p, config);
    for (;;) {
        const char *end = strchr(at, '\n');
        size_t len = end && at[0] != '\r' ? (size_t)(end - at) : strlen(at);
        char command[256];

        memcpy(command, at, len);
        command[len] = '\0';
        (void)peer_command(&p, command);
        answer = peer_answer(&p);
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    tap_is_int(p.rc, x->rc, "%s: result", x->name);
    tap_is_str(answer, x->answer, "%s: answer", x->name);
    tap_is_str(etcp_session_error(p.s)->text, x->error, "%s: error", x->name);
    tap_ok(!p.ready, "%s: not ready", x->name);
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- Storable ------------------------------------------------------------------------------- */

static void add_image(etcp_buf *text, uint8_t minor, const char *scalar)
{
    etcp_buf image;

    etcp_buf_init(&image);
    if (etcp_sve_write(&image, minor, (const uint8_t *)scalar, strlen(scalar)) < 0 ||
        etcp_armour_encode(text, etcp_buf_bytes(&image), etcp_buf_len(&image)) < 0 ||
        etcp_buf_append_byte(text, 0) < 0)
        abort();
    etcp_buf_deinit(&image);
}

/* Sends SVE with the image of scalar, to a client that was told the scalar "AB". */
static void check_storable(const char *scalar, const char *version, uint8_t answer_minor,
                           const char *name)
{
    etcp_config *config = new_config();
    etcp_buf command;
    etcp_buf want;
    peer p;

    etcp_buf_init(&command);
    etcp_buf_init(&want);
    (void)peer_init(&p, config);
    (void)peer_command(&p, "COS|%41%42");
    (void)peer_answer(&p);
    (void)etcp_buf_append_str(&command, "SVE|2.15|");
    add_image(&command, 6, scalar);
    (void)peer_command(&p, (const char *)etcp_buf_bytes(&command));
    (void)etcp_buf_append_str(&want, "SVE|");
    (void)etcp_buf_append_str(&want, version);
    (void)etcp_buf_append_str(&want, "|");
    add_image(&want, answer_minor, "AB");
    tap_is_str(peer_answer(&p), (const char *)etcp_buf_bytes(&want), "%s", name);
    etcp_buf_deinit(&command);
    etcp_buf_deinit(&want);
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_storable(void)
{
    check_storable("AB", "2.15", 6, "SVE: a good image comes back as it is");
    check_storable("AC", "3.26", 11, "SVE: a strange one is answered with our own");
}

/* ---- password ------------------------------------------------------------------------------- */

/* What CP says to a server of this version; salt as the server means it. */
static void check_hash(const char *version, const char *password, int munge_salt, int munge_hash)
{
    etcp_config *config = new_config();
    char hash[ETCP_CRYPT3_SIZE];
    char salt[3] = "ab";
    etcp_buf command;
    etcp_buf want;
    peer p;

    if (password)
        (void)etcp_config_set_password(config, (const uint8_t *)password, strlen(password));
    (void)peer_init(&p, config);
    etcp_buf_init(&command);
    etcp_buf_init(&want);
    (void)etcp_buf_append(&command, "VE", 3);
    (void)etcp_buf_append_str(&command, version);
    add_packet(&want, 0, etcp_buf_bytes(&command), etcp_buf_len(&command));
    (void)peer_feed(&p, etcp_buf_bytes(&want), etcp_buf_len(&want));
    (void)peer_answer(&p);
    etcp_crypt3((const uint8_t *)(password ? password : ""), password ? strlen(password) : 0,
                (const uint8_t *)salt, hash);
    if (munge_salt)
        etcp_munge((uint8_t *)salt, 2);
    if (munge_hash)
        etcp_munge((uint8_t *)hash, strlen(hash));
    etcp_buf_clear(&command);
    etcp_buf_clear(&want);
    (void)etcp_buf_append(&command, "CS", 3);
    (void)etcp_buf_append(&command, salt, 2);
    add_packet(&want, 0, etcp_buf_bytes(&command), etcp_buf_len(&command));
    (void)peer_feed(&p, etcp_buf_bytes(&want), etcp_buf_len(&want));
    etcp_buf_clear(&command);
    etcp_buf_clear(&want);
    (void)etcp_buf_append(&command, "CP", 3);
    (void)etcp_buf_append_str(&command, hash);
    add_packet(&want, 0, etcp_buf_bytes(&command), etcp_buf_len(&command));
    tap_is_mem(etcp_buf_bytes(etcp_session_output(p.s)), etcp_buf_len(etcp_session_output(p.s)),
               etcp_buf_bytes(&want), etcp_buf_len(&want), "CP to %s", version);
    tap_ok(etcp_session_is_authenticated(p.s), "CP to %s: authenticated", version);
    etcp_buf_deinit(&command);
    etcp_buf_deinit(&want);
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_password(void)
{
    check_hash("0.07", "secret", 1, 1);
    check_hash("0.08", "secret", 1, 1);
    check_hash("0.09", "secret", 0, 0);
    check_hash("0.14", "secret", 0, 0);
    check_hash("0.15", "secret", 0, 1);
    check_hash("0.26", "secret", 0, 1);
    check_hash("0.26", NULL, 0, 1);
    check_hash("1.10", "", 0, 1);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* EN to a server: its size, and whether the first message must keep its distance. */
static void check_end(const char *commands, size_t want_size, int want_gap, const char *name)
{
    etcp_config *config = new_config();
    char command[64];
    const char *at = commands;
    peer p;

    (void)peer_init(&p, config);
    while (*at) {
        size_t len = strcspn(at, "\n");

        (void)peer_answer(&p);
        memcpy(command, at, len);
        command[len] = '\0';
        (void)peer_command(&p, command);
        at += len + (at[len] == '\n');
    }
    tap_is_int(p.ready, 1, "EN: %s: ready", name);
    tap_is_int((long long)etcp_buf_len(etcp_session_output(p.s)), (long long)want_size,
               "EN: %s: size", name);
    tap_is_int(etcp_session_wants_gap(p.s), want_gap, "EN: %s: gap", name);
    tap_ok(etcp_session_cipher(p.s) ||
               memcmp(etcp_buf_bytes(etcp_session_output(p.s)) + (want_size == 4096 ? 6u : 3u),
                      "EN", 2) == 0,
           "EN: %s: it is EN", name);
    etcp_buf_clear(etcp_session_output(p.s));
    tap_is_int(etcp_session_encode(p.s, 0, (const uint8_t *)"x", 1, &(etcp_packet){0}), 0,
               "EN: %s: messages can go", name);
    tap_is_int(etcp_session_wants_gap(p.s), 0, "EN: %s: only the first keeps its distance", name);
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_end(void)
{
    check_end("EN", 5, 1, "0.06 and older");
    check_end("VE|0.07\nEN", 4096, 1, "0.07");
    check_end("VE|0.26\nEN", 4096, 1, "0.26");
    check_end("VE|1.10\nEN", 5, 0, "1.10");
    check_end("VE|0.26\nEA|4\nEK|0123456789\nEN", 4096, 1, "0.26, Blowfish");
    check_end("VE|0.26\nEA|A\nEK|0123456789\nEN", 4096, 1, "0.26, Rijndael");
    check_end("VE|0.26\nEA|2\nEK|0123456789\nEN", 4096, 1, "0.26, CipherSaber");
}

/* A cipher that was agreed on but never got keys is none. */
static void test_end_without_keys(void)
{
    etcp_config *config = new_config();
    peer p;

    (void)peer_init(&p, config);
    (void)peer_command(&p, "EA|4");
    (void)peer_command(&p, "EN");
    tap_ok(p.ready == 1 && etcp_session_cipher(p.s) == NULL, "EN without EK: no cipher");
    peer_deinit(&p);
    config->flags = ETCP_REQUIRE_ENCRYPTION;
    (void)peer_init(&p, config);
    (void)peer_command(&p, "EA|4");
    (void)peer_command(&p, "EN");
    tap_is_int(p.rc, ETCP_EPOLICY, "EN without EK: not what REQUIRE_ENCRYPTION means");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* The first answers of a client stay in clear until it has seen how the server's Crypt::CBC writes.
 */
static void test_unknown_style(void)
{
    etcp_config *config = new_config();
    peer p;

    (void)peer_init(&p, config);
    (void)peer_command(&p, "VE|0.19");
    (void)peer_command(&p, "EA|4");
    (void)peer_answer(&p);
    (void)peer_command(&p, "EK|0123456789");
    tap_ok(strncmp(peer_answer(&p), "EK|", 3) == 0, "Crypt::CBC: EK goes in clear");
    (void)peer_command(&p, "CA|1");
    tap_is_str(peer_answer(&p), "(sealed)", "Crypt::CBC: still unknown: sealed from here on");
    peer_deinit(&p);
    (void)peer_init(&p, config);
    (void)peer_command(&p, "VE|0.19");
    (void)peer_command(&p, "EA|2");
    (void)peer_answer(&p);
    (void)peer_command(&p, "EK|0123456789");
    tap_is_str(peer_answer(&p), "(sealed)", "CipherSaber: EK is sealed");
    (void)peer_command(&p, "EK|9876543210");
    tap_is_str(peer_answer(&p), "(sealed)", "a second EK is refused");
    tap_is_int(p.rc, 0, "a second EK is no error");
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_version_counts_once(void)
{
    etcp_config *config = new_config();
    peer p;

    (void)peer_init(&p, config);
    (void)peer_command(&p, "VE|0.26");
    (void)peer_command(&p, "VE|1.10");
    tap_is_str(etcp_session_peer_version_text(p.s), "0.26", "VE: the first one counts");
    tap_ok(etcp_session_peer_version(p.s) == ETCP_VERSION(0, 26), "VE: as a number");
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_endless(void)
{
    etcp_config *config = new_config();
    peer p;
    unsigned i;

    (void)peer_init(&p, config);
    for (i = 0; i < 1000 && p.rc == 0; i++)
        (void)peer_command(&p, "COS|%41");
    tap_ok(p.rc == ETCP_EPROTO && i < 200, "a negotiation without end is ended");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- out of memory -------------------------------------------------------------------------- */

static int same_bytes(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 'k', len);
    return 0;
}

/* Appends "|KEY|SAMPLE": the scalar "AB" sealed by Crypt::Blowfish. */
static void add_sample(etcp_buf *command)
{
    static const uint8_t key[] = "a key of any length";
    const etcp_cipher *row = etcp_cipher_by_key('4');
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf sealed;

    etcp_buf_init(&sealed);
    if (row->new_ctx(row, key, sizeof key - 1, &ctx) < 0 ||
        row->seal(ctx, ETCP_STYLE_SALTED, same_bytes, NULL, (const uint8_t *)"AB", 2, &sealed) < 0 ||
        etcp_armour_encode(command, key, sizeof key - 1) < 0 ||
        etcp_buf_append_byte(command, '|') < 0 ||
        etcp_armour_encode(command, etcp_buf_bytes(&sealed), etcp_buf_len(&sealed)) < 0 ||
        etcp_buf_append_byte(command, 0) < 0)
        abort();
    etcp_buf_deinit(&sealed);
    row->free_ctx(ctx);
}

/* Every command of a server of 0.26 that makes a client do something. Returns where the first that
 * is answered sealed begins. */
static size_t add_whole_negotiation(etcp_buf *stream)
{
    size_t clear;
    etcp_buf command;
    const char *scalar[] = {"AB", "other"};
    size_t i;

    etcp_buf_init(&command);
    add_command(stream, "welcome");
    add_command(stream, "VE|0.26");
    add_command(stream, "COS|%41%42");
    for (i = 0; i < 2; i++) {
        etcp_buf_clear(&command);
        (void)etcp_buf_append_str(&command, "SVE|2.15|");
        add_image(&command, 6, scalar[i]);
        add_command(stream, (const char *)etcp_buf_bytes(&command));
    }
    etcp_buf_clear(&command);
    (void)etcp_buf_append_str(&command, "EM|4|2.14|");
    add_sample(&command);
    add_command(stream, (const char *)etcp_buf_bytes(&command));
    add_command(stream, "EU|4");
    clear = etcp_buf_len(stream);
    add_command(stream, "EK|0123456789");
    add_command(stream, "CM|1|2.204|%78%9C%73%74%02%00%00%C6%00%84");
    add_command(stream, "CU|1");
    add_command(stream, "CA|1");
    add_command(stream, "CS|ab");
    add_command(stream, "EN");
    etcp_buf_deinit(&command);
    return clear;
}

/* Nothing is skipped, or its failures would not be tried. */
static void check_whole_negotiation(const etcp_buf *stream, size_t clear)
{
    etcp_config *config = new_config();
    const char *answer;
    peer p;

    (void)peer_init(&p, config);
    (void)peer_feed(&p, etcp_buf_bytes(stream), clear);
    answer = peer_answer(&p);
    tap_ok(strstr(answer, "\nEM|4|2.14|%") && strstr(answer, "\nEU|4"), "0.26: the cipher is proven");
    (void)peer_feed(&p, etcp_buf_bytes(stream) + clear, etcp_buf_len(stream) - clear);
    tap_ok(p.ready == 1 && etcp_session_cipher(p.s) && etcp_session_compressor(p.s),
           "0.26: and everything is agreed");
    peer_deinit(&p);
    etcp_config_unref(config);
}

static int negotiate_once(const etcp_buf *stream)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_CLIENT);
    int rc = ETCP_ENOMEM;
    peer p;

    if (!config)
        return rc;
    if (etcp_config_set_password(config, (const uint8_t *)"secret", 6) == 0 &&
        peer_init(&p, config) == 0) {
        rc = peer_feed(&p, etcp_buf_bytes(stream), etcp_buf_len(stream));
        if (rc == 0 && p.ready != 1)
            rc = ETCP_EPROTO;
        peer_deinit(&p);
    }
    etcp_config_unref(config);
    return rc;
}

static void test_out_of_memory(void)
{
    unsigned leaks = 0;
    unsigned other = 0;
    etcp_buf stream;
    long live;
    long n;
    int rc;

    alloc_fail_at(0);
    etcp_buf_init(&stream);
    check_whole_negotiation(&stream, add_whole_negotiation(&stream));
    live = alloc_live();
    for (n = 1;; n++) {
        alloc_fail_at(n);
        rc = negotiate_once(&stream);
        leaks += alloc_live() != live;
        if (rc == 0 || !alloc_has_failed())
            break;
        other += rc != ETCP_ENOMEM;
    }
    tap_is_int(rc, 0, "allocation failures: none is left");
    tap_ok(n > 40, "allocation failures: %ld places tried", n - 1);
    tap_is_int(leaks, 0, "allocation failures: nothing leaks");
    tap_is_int(other, 0, "allocation failures: each is reported as what it is");
    alloc_fail_at(0);
    etcp_buf_deinit(&stream);
    alloc_reset();
}

int main(void)
{
    size_t i;

    for (i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++)
        run_exchange(&exchanges[i]);
    test_storable();
    test_password();
    test_end();
    test_end_without_keys();
    test_unknown_style();
    test_version_counts_once();
    test_endless();
    test_out_of_memory();
    return tap_done();
}
