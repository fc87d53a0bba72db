/* csrc/wire/capability.c: the short handshake of two 1.x peers, against friends and others. */
#include "wire_peer.h"

#include <fnmatch.h>
#include <stdio.h>

#include "alloc.h"
#include "base/armour.h"
#include "base/random.h"
#include "tap.h"
#include "wire/config.h"
#include "wire/crypt3.h"

/* The key string and the salt that fixed_random makes, and the key string of the peers we play. */
#define OUR_KEY "!\"!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"
#define PEER_KEY "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define SALT "ab"

#define TEXT "::  HELLO  ::"
#define DID_NOT "NO|I don't understand you"

enum { LINE_MAX = 70000 };

/* Draws look at the last bytes first. */
static int fixed_random(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    if (len >= 2)
        out[len - 2] = 1;
    return 0;
}

/* The wire letters that are allowed; NULL: all. */
typedef struct options {
    const char *ciphers;
    const char *compressors;
    const char *password;
    unsigned flags;
    const char *version; /* NULL: 1.10 */
} options;

static void allow_only(etcp_config *config, const options *o)
{
    size_t count;
    size_t i;
    const etcp_cipher *ciphers = etcp_ciphers(&count);
    const etcp_compressor *compressors;

    for (i = 0; i < count; i++)
        if (o->ciphers && !strchr(o->ciphers, ciphers[i].key))
            etcp_config_forbid(config, ciphers[i].name);
    compressors = etcp_compressors(&count);
    for (i = 0; i < count; i++)
        if (o->compressors && !strchr(o->compressors, compressors[i].key))
            etcp_config_forbid(config, compressors[i].name);
}

static etcp_config *configure(etcp_role role, const options *o)
{
    etcp_config *config = etcp_config_new(role);

    if (!config || (o->password && etcp_config_set_password(config, (const uint8_t *)o->password,
                                                            strlen(o->password)) < 0))
        abort();
    allow_only(config, o);
    config->flags = o->flags;
    config->random = fixed_random;
    if (o->version)
        strcpy(config->version, o->version);
    return config;
}

/* ---- the server's offer --------------------------------------------------------------------- */

static const struct offer {
    const char *name;
    options server;
    const char *offer; /* behind the text; @ is the armoured key; NULL: none */
} offers[] = {
    {"everything", {NULL, NULL, "pw", 0, NULL}, "ETCP1|1.10|AC9D46E25|12|ab|@"},
    {"no password", {NULL, NULL, NULL, 0, NULL}, "ETCP1|1.10|AC9D46E25|12||@"},
    {"empty password", {"A", "", "", 0, NULL}, "ETCP1|1.10|A||ab|@"},
    {"best first, whatever the table's order", {"549", "1", NULL, 0, NULL}, "ETCP1|1.10|945|1||@"},
    {"nothing but Crypt::RSA", {"B", "12", NULL, 0, NULL}, "ETCP1|1.10||12||"},
    {"no cipher", {"", "12", NULL, 0, NULL}, "ETCP1|1.10||12||"},
    {"nothing", {"", "", NULL, 0, NULL}, "ETCP1|1.10||||"},
    {"donotencrypt", {NULL, NULL, "x", ETCP_DONOT_ENCRYPT, NULL}, "ETCP1|1.10||12|ab|"},
    {"donotcompress", {"2", NULL, NULL, ETCP_DONOT_COMPRESS, NULL}, "ETCP1|1.10|2|||@"},
    {"a later version", {"A", "1", NULL, 0, "2.34"}, "ETCP1|2.34|A|1||@"},
    {"a version of the originals", {"A", "1", "x", 0, "0.26"}, NULL},
};

/* Copies text with @ replaced by at and # by hash. Valid until the next call. */
static const char *expand(const char *text, const char *at, const char *hash)
{
    static char line[LINE_MAX];
    size_t len = 0;

    for (; *text; text++) {
        const char *part = *text == '@' ? at : *text == '#' ? hash : NULL;

        if (part)
            len += (size_t)snprintf(line + len, sizeof line - len, "%s", part);
        else
            line[len++] = *text;
    }
    line[len] = '\0';
    return line;
}

/* Valid until the next call. */
static const char *armoured(const void *bytes, size_t len)
{
    static char text[2000];
    etcp_buf out;

    etcp_buf_init(&out);
    (void)etcp_armour_encode(&out, bytes, len);
    (void)snprintf(text, sizeof text, "%.*s", (int)etcp_buf_len(&out),
                   (const char *)etcp_buf_bytes(&out));
    etcp_buf_deinit(&out);
    return text;
}

static void check_offer(const struct offer *o)
{
    static const char end[] = "-----END CLEARTEXT WELCOME MESSAGE-----??";
    etcp_config *config = configure(ETCP_ROLE_SERVER, &o->server);
    const char *welcome;
    const char *got;
    peer p;

    (void)peer_init(&p, config);
    welcome = peer_answer(&p);
    got = strstr(welcome, end);
    got = got ? got + strlen(end) : welcome;
    if (o->offer)
        tap_is_str(got + (*got == '|'), expand(o->offer, armoured(OUR_KEY, strlen(OUR_KEY)), ""),
                   "offer: %s", o->name);
    else
        tap_is_str(got, "", "no offer: %s", o->name);
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* Two connections to one server never share a key. */
static void test_fresh_keys(void)
{
    etcp_config *config = etcp_config_new(ETCP_ROLE_SERVER);
    char first[2000];
    peer p;
    peer q;

    (void)peer_init(&p, config);
    (void)snprintf(first, sizeof first, "%s", peer_answer(&p));
    (void)peer_init(&q, config);
    tap_ok(strstr(first, "|ETCP1|") && strcmp(first, peer_answer(&q)) != 0,
           "every connection is offered a key of its own");
    peer_deinit(&p);
    peer_deinit(&q);
    etcp_config_unref(config);
}

/* ---- the client's answer -------------------------------------------------------------------- */

/* What the client is told, '\n' between packets, and how it answers the last: a pattern of
 * fnmatch(3). In both, @ is the server's armoured key and # the hash of the client's password. */
static const struct answer {
    const char *name;
    options client;
    const char *packets;
    const char *answer;
    int rc;
    const char *cipher; /* in effect afterwards */
    const char *compressor;
} answers[] = {
    {"everything",
     {NULL, NULL, "pw", 0, NULL},
     TEXT "|ETCP1|1.10|A4|21|ab|@",
     DID_NOT "|ETCP1|1.10|A|2|%??%*|#",
     0,
     "Crypt::Rijndael",
     "Compress::LZF"},
    {"a later server",
     {"4", "1", NULL, 0, NULL},
     TEXT "|ETCP1|3.5|A4|21||@",
     DID_NOT "|ETCP1|1.10|4|1|%??%*|",
     0,
     "Crypt::Blowfish",
     "Compress::Zlib"},
    {"a later client",
     {"4", "1", NULL, 0, "1.20"},
     TEXT "|ETCP1|1.10|4|1||@",
     DID_NOT "|ETCP1|1.20|4|1|%??%*|",
     0,
     "Crypt::Blowfish",
     "Compress::Zlib"},
    {"more fields than we know",
     {"4", "1", NULL, 0, NULL},
     TEXT "|ETCP1|1.01|4|1||@|x|y",
     DID_NOT "|ETCP1|1.10|4|1|%??%*|",
     0,
     "Crypt::Blowfish",
     "Compress::Zlib"},
    {"letters we do not know",
     {"4", "1", NULL, 0, NULL},
     TEXT "|ETCP1|1.10|?zB\xff"
          "4|?31||@",
     DID_NOT "|ETCP1|1.10|4|1|%??%*|",
     0,
     "Crypt::Blowfish",
     "Compress::Zlib"},
    {"nothing is offered",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10",
     DID_NOT "|ETCP1|1.10||||",
     0,
     NULL,
     NULL},
    {"a key without ciphers",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10||||@",
     DID_NOT "|ETCP1|1.10||||",
     0,
     NULL,
     NULL},
    {"donotencrypt",
     {NULL, NULL, NULL, ETCP_DONOT_ENCRYPT, NULL},
     TEXT "|ETCP1|1.10|A|1||@",
     DID_NOT "|ETCP1|1.10||1||",
     0,
     NULL,
     "Compress::Zlib"},
    {"donotcompress",
     {NULL, NULL, NULL, ETCP_DONOT_COMPRESS, NULL},
     TEXT "|ETCP1|1.10|A|1||@",
     DID_NOT "|ETCP1|1.10|A||%??%*|",
     0,
     "Crypt::Rijndael",
     NULL},
    {"no cipher in common",
     {"4", "2", NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||@",
     DID_NOT "|ETCP1|1.10||||",
     0,
     NULL,
     NULL},
    {"nothing but Crypt::RSA",
     {"B", "1", NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||@",
     DID_NOT "|ETCP1|1.10||1||",
     0,
     NULL,
     "Compress::Zlib"},
    {"Crypt::RSA is offered",
     {"B4", "", NULL, 0, NULL},
     TEXT "|ETCP1|1.10|B|||@",
     DID_NOT "|ETCP1|1.10||||",
     0,
     NULL,
     NULL},
    {"a password is asked, there is none",
     {"", "", NULL, 0, NULL},
     TEXT "|ETCP1|1.10|||ab",
     DID_NOT "|ETCP1|1.10||||#",
     0,
     NULL,
     NULL},
    {"a password is not asked",
     {"", "", "pw", 0, NULL},
     TEXT "|ETCP1|1.10",
     DID_NOT "|ETCP1|1.10||||",
     0,
     NULL,
     NULL},

    /* The long handshake has to decide. */
    {"ciphers without a key",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"another mark",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP2|1.10|A|1||@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"no mark", {NULL, NULL, NULL, 0, NULL}, TEXT "||1.10|A|1||@", DID_NOT, 0, NULL, NULL},
    {"the version of an original",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|0.99|A|1||@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"no version", {NULL, NULL, NULL, 0, NULL}, TEXT "|ETCP1|abc|A|1||@", DID_NOT, 0, NULL, NULL},
    {"we are an original",
     {NULL, NULL, NULL, 0, "0.26"},
     TEXT "|ETCP1|1.10|A|1||@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"a salt of one character",
     {NULL, NULL, "x", 0, NULL},
     TEXT "|ETCP1|1.10|A|1|a|@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"a costly salt",
     {NULL, NULL, "x", 0, NULL},
     TEXT "|ETCP1|1.10|A|1|$6$rounds=9999999$x$|@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"a salt of other characters",
     {NULL, NULL, "x", 0, NULL},
     TEXT "|ETCP1|1.10|A|1|a:|@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"not the first packet",
     {NULL, NULL, NULL, 0, NULL},
     "VE|1.10\n" TEXT "|ETCP1|1.10|A|1||@",
     DID_NOT,
     0,
     NULL,
     NULL},
    {"a second offer",
     {"4A", "", "x", 0, NULL},
     TEXT "|ETCP1|1.10|A|||@\n" TEXT "|ETCP1|1.10|4||cd|@",
     "(sealed)",
     0,
     "Crypt::Rijndael",
     NULL},
    {"behind a tag",
     {NULL, NULL, NULL, 0, NULL},
     "WHAT|ETCP1|1.10|A|1||@",
     DID_NOT "|ETCP1|1.10|A|1|%??%*|",
     0,
     "Crypt::Rijndael",
     "Compress::Zlib"},
    {"behind a known tag",
     {NULL, NULL, NULL, 0, NULL},
     "NO|ETCP1|1.10|A|1||@\nEA",
     "*",
     0,
     "Crypt::Rijndael",
     "Compress::Zlib"},

    /* Keys that no server of ours would offer. */
    {"a key too short",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||%41%42%43",
     "",
     ETCP_EPROTO,
     NULL,
     NULL},
    {"a key with a NUL",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||@%00",
     "",
     ETCP_EPROTO,
     NULL,
     NULL},
    {"a key with a space",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||@%20",
     "",
     ETCP_EPROTO,
     NULL,
     NULL},
    {"a key too long",
     {NULL, NULL, NULL, 0, NULL},
     TEXT "|ETCP1|1.10|A|1||@@@@%41",
     "",
     ETCP_EPROTO,
     NULL,
     NULL},

    /* What the user demands is looked at before anything is told. */
    {"requireencryption",
     {NULL, NULL, "pw", ETCP_REQUIRE_ENCRYPTION, NULL},
     TEXT "|ETCP1|1.10||1|ab|",
     "",
     ETCP_EPOLICY,
     NULL,
     NULL},
    {"requirepassword",
     {NULL, NULL, "pw", ETCP_REQUIRE_PASSWORD, NULL},
     TEXT "|ETCP1|1.10|A|1||@",
     "",
     ETCP_EPOLICY,
     NULL,
     NULL},
    {"both, and satisfied",
     {NULL, NULL, "pw", ETCP_REQUIRE_PASSWORD | ETCP_REQUIRE_ENCRYPTION, NULL},
     TEXT "|ETCP1|1.10|A|1|ab|@",
     DID_NOT "|ETCP1|1.10|A|1|%??%*|#",
     0,
     "Crypt::Rijndael",
     "Compress::Zlib"},
};

static const char *hash_of(const char *password)
{
    static char hash[ETCP_CRYPT3_SIZE];

    etcp_crypt3((const uint8_t *)password, password ? strlen(password) : 0, (const uint8_t *)SALT,
                hash);
    return hash;
}

/* Feeds the packets in line, '\n' between them, and returns the answer to the last. */
static const char *feed_lines(peer *p, const char *line, size_t step)
{
    const char *answer = "";

    for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        static char one[LINE_MAX];
        etcp_buf packet;

        (void)snprintf(one, sizeof one, "%.*s", (int)strcspn(line, "\n"), line);
        etcp_buf_init(&packet);
        add_command(&packet, one);
        (void)peer_feed_step(p, etcp_buf_bytes(&packet), etcp_buf_len(&packet), step);
        etcp_buf_deinit(&packet);
        answer = peer_answer(p);
    }
    return answer;
}

static const char *cipher_in_use(const peer *p)
{
    const etcp_cipher *row = etcp_session_cipher(p->s);

    return row ? row->name : NULL;
}

static const char *compressor_in_use(const peer *p)
{
    const etcp_compressor *row = etcp_session_compressor(p->s);

    return row ? row->name : NULL;
}

static void check_answer(const struct answer *a, size_t step)
{
    etcp_config *config = configure(ETCP_ROLE_CLIENT, &a->client);
    char got[2000];
    const char *want;
    const char *key = armoured(PEER_KEY, strlen(PEER_KEY));
    peer p;

    (void)peer_init(&p, config);
    (void)snprintf(got, sizeof got, "%s", feed_lines(&p, expand(a->packets, key, ""), step));
    want = expand(a->answer, key, hash_of(a->client.password));
    if (!tap_ok(fnmatch(want, got, 0) == 0, "answer, step %lu: %s", (unsigned long)step, a->name))
        tap_note("got %s, want %s", got, want);
    tap_is_int(p.rc, a->rc, "answer: %s: result", a->name);
    if (a->rc == 0) {
        tap_is_str(cipher_in_use(&p), a->cipher, "answer: %s: cipher", a->name);
        tap_is_str(compressor_in_use(&p), a->compressor, "answer: %s: compressor", a->name);
    }
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* A list as long as a packet may be is looked through, and nothing is made of it. */
static void test_long_list(void)
{
    static char offer[LINE_MAX];
    const options client = {"4", "", NULL, 0, NULL};
    etcp_config *config = configure(ETCP_ROLE_CLIENT, &client);
    size_t len = (size_t)snprintf(offer, sizeof offer, "%s", TEXT "|ETCP1|1.10|");
    peer p;

    memset(offer + len, 'x', 60000);
    (void)snprintf(offer + len + 60000, sizeof offer - len - 60000, "4|||%s",
                   armoured(PEER_KEY, strlen(PEER_KEY)));
    (void)peer_init(&p, config);
    (void)peer_command(&p, offer);
    tap_is_str(cipher_in_use(&p), "Crypt::Blowfish", "60000 unknown letters and one we know");
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* ---- what either can receive ---------------------------------------------------------------- */

#define CAN (ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS)

/* Packets for a peer of this role that can receive everything, and its answer to the last; then
 * what it believes that the other can receive, and whether it takes what it has listed. */
static const struct listing {
    const char *name;
    etcp_role role;
    const char *packets;
    const char *answer;
    unsigned peer_can;
    unsigned told;
} listings[] = {
    {"answer with a list", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|||||B1N1",
     DID_NOT "|ETCP1|1.10|||||B1N1", CAN, CAN},
    {"a list that knows more", ETCP_ROLE_CLIENT, TEXT "|ETCP1|3.00|||||B1M1lzN1T1w|x",
     DID_NOT "|ETCP1|1.10|||||B1N1", CAN | ETCP_CAN_MIX | ETCP_CAN_MIX_LZF | ETCP_CAN_MIX_ZLIB,
     CAN},
    {"some of it", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|||||N1", DID_NOT "|ETCP1|1.10|||||B1N1",
     ETCP_CAN_EXACT_NUMBERS, CAN},
    {"another number", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|||||N2", DID_NOT "|ETCP1|1.10|||||B1N1",
     0, CAN},
    {"no list", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|||||", DID_NOT "|ETCP1|1.10|||||B1N1", 0, CAN},
    {"1.00, which has none, whatever its version", ETCP_ROLE_CLIENT, TEXT "|ETCP1|9.99",
     DID_NOT "|ETCP1|1.10|||||B1N1", 0, CAN},
    {"not in order", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|||||N1B1", DID_NOT "|ETCP1|1.10|||||B1N1",
     0, CAN},
    {"an original", ETCP_ROLE_CLIENT, TEXT, DID_NOT, 0, 0},
    {"an original asks", ETCP_ROLE_CLIENT, TEXT "\nVE|0.26", "VE|1.10", 0, 0},
    {"an original with a list, which it cannot have", ETCP_ROLE_CLIENT, TEXT "\nVE|0.26|N1",
     "VE|1.10", 0, 0},
    {"an offer that cannot be taken", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|A|1|a:||B1N1", DID_NOT,
     CAN, 0},
    {"and the long handshake", ETCP_ROLE_CLIENT, TEXT "|ETCP1|1.10|A|1|a:||B1N1\nVE|1.10",
     "VE|1.10|B1N1", CAN, CAN},
    {"the list in VE", ETCP_ROLE_CLIENT, TEXT "\nVE|1.10|B1N1", "VE|1.10|B1N1", CAN, CAN},
    {"1.00 asks", ETCP_ROLE_CLIENT, TEXT "\nVE|1.00", "VE|1.10|B1N1", 0, CAN},

    {"answered with a list", ETCP_ROLE_SERVER, DID_NOT "|ETCP1|1.10|||||B1N1", "EN", CAN, CAN},
    {"answered by 1.00", ETCP_ROLE_SERVER, DID_NOT "|ETCP1|1.00||||", "EN", 0, CAN},
    {"answered with a broken list", ETCP_ROLE_SERVER, DID_NOT "|ETCP1|1.10|||||b1", "EN", 0, CAN},
    {"answered with more fields", ETCP_ROLE_SERVER, DID_NOT "|ETCP1|1.10|||||N1|x", "EN",
     ETCP_CAN_EXACT_NUMBERS, CAN},
    {"an original answers", ETCP_ROLE_SERVER, DID_NOT, "VE|1.10", 0, 0},
    {"and says its version", ETCP_ROLE_SERVER, DID_NOT "\nVE|0.26|N1", "EN", 0, 0},
    {"a new client says its own", ETCP_ROLE_SERVER, DID_NOT "\nVE|1.10|B1N1", "EN", CAN, CAN},
};

static void check_listing(const struct listing *l, size_t step)
{
    const options nothing = {"", "", NULL, 0, NULL};
    etcp_config *config = configure(l->role, &nothing);
    etcp_session *copy;
    peer p;

    config->capabilities = CAN;
    (void)peer_init(&p, config);
    if (l->role == ETCP_ROLE_SERVER) {
        const char *welcome = peer_answer(&p);
        tap_ok(strstr(welcome, "|ETCP1|1.10|||||B1N1") != NULL, "list: in the offer");
    }
    tap_is_str(feed_lines(&p, l->packets, step), l->answer, "list, step %lu: %s",
               (unsigned long)step, l->name);
    tap_is_int(etcp_session_peer_can(p.s), l->peer_can, "list: %s: what the peer can", l->name);
    tap_is_int(etcp_session_told(p.s), l->told, "list: %s: what it was told", l->name);
    if (tap_is_int(etcp_session_clone(p.s, &copy), 0, "list: %s: for another thread", l->name)) {
        tap_ok(etcp_session_peer_can(copy) == l->peer_can && etcp_session_told(copy) == l->told,
               "list: %s: the copy knows it", l->name);
        etcp_session_free(copy);
    }
    peer_deinit(&p);
    etcp_config_unref(config);
}

static void test_listings(void)
{
    size_t i;

    for (i = 0; i < sizeof listings / sizeof *listings; i++) {
        check_listing(&listings[i], 0);
        check_listing(&listings[i], 1);
    }
}

/* ---- what the server takes ------------------------------------------------------------------ */

#define ANSWER DID_NOT "|ETCP1|1.10|"

/* Answers to the offer of a server that allows A and 4, and zlib. @ is the client's key, sealed,
 * and # the hash of the right password. What is asked next tells how the answer was taken. */
static const struct reply {
    const char *name;
    const char *password;
    const char *packets;
    const char *question;
    int rc;
    const char *cipher;
    const char *compressor;
} replies[] = {
    {"good", NULL, ANSWER "A|1|@|", "(sealed)", 0, "Crypt::Rijndael", "Compress::Zlib"},
    {"second choice, password", "pw", ANSWER "4||@|#", "(sealed)", 0, "Crypt::Blowfish", NULL},
    {"neither", NULL, ANSWER "||", "EN", 0, NULL, NULL},
    {"neither, with a password", "pw", ANSWER "|1||#", "EN", 0, NULL, "Compress::Zlib"},
    {"the key of a cipher not chosen", NULL, ANSWER "|1|@|", "EN", 0, NULL, "Compress::Zlib"},
    {"a hash nobody asked for", NULL, ANSWER "||||xy", "EN", 0, NULL, NULL},
    {"another version", NULL, DID_NOT "|ETCP1|7.1|A|1|@|", "(sealed)", 0, "Crypt::Rijndael",
     "Compress::Zlib"},
    {"other words", NULL, "NO|Ich verstehe nicht|ETCP1|1.10||1", "EN", 0, NULL, "Compress::Zlib"},

    /* Not an answer: the long handshake. */
    {"no mark", NULL, DID_NOT, "VE|1.10", 0, NULL, NULL},
    {"another mark", NULL, DID_NOT "|ETCP2|1.10|A|1|@|", "VE|1.10", 0, NULL, NULL},
    {"another tag", NULL, "VE|I don't understand you|ETCP1|1.10|A|1|@|", "VE|1.10", 0, NULL, NULL},
    {"no tag", NULL, "|x|ETCP1|1.10|A|1|@|", "", 0, NULL, NULL},
    {"later than that", NULL, DID_NOT "\nVE|0.26\n" ANSWER "A|1|@|", "CA|1", 0, NULL, NULL},

    /* An answer to another offer. */
    {"an old version", NULL, DID_NOT "|ETCP1|0.26|A|1|@|", "", ETCP_EPROTO, NULL, NULL},
    {"no version", NULL, DID_NOT "|ETCP1||A|1|@|", "", ETCP_EPROTO, NULL, NULL},
    {"a cipher that is forbidden", NULL, ANSWER "5|1|@|", "", ETCP_EPROTO, NULL, NULL},
    {"Crypt::RSA", NULL, ANSWER "B|1|@|", "", ETCP_EPROTO, NULL, NULL},
    {"an unknown cipher", NULL, ANSWER "Z|1|@|", "", ETCP_EPROTO, NULL, NULL},
    {"two ciphers", NULL, ANSWER "A4|1|@|", "", ETCP_EPROTO, NULL, NULL},
    {"a compressor that is forbidden", NULL, ANSWER "A|2|@|", "", ETCP_EPROTO, NULL, NULL},
    {"two compressors", NULL, ANSWER "A|11|@|", "", ETCP_EPROTO, NULL, NULL},
    {"no key", NULL, ANSWER "A|1||", "", ETCP_EPROTO, NULL, NULL},
    {"a key in clear", NULL, ANSWER "A|1|%41%41%41%41%41%41%41%41%41|", "", ETCP_EPROTO, NULL,
     NULL},
    {"a key and more", NULL, ANSWER "A|1|@%41|", "", ETCP_EPROTO, NULL, NULL},

    /* One try for the password. */
    {"a wrong hash", "pw", ANSWER "||1||aaaaaaaaaaaaa", "PF", ETCP_EREJECTED, NULL, NULL},
    {"a wrong hash, sealed", "pw", ANSWER "A|1|@|aaaaaaaaaaaaa", "(sealed)", ETCP_EREJECTED, NULL,
     NULL},
    {"no hash", "pw", ANSWER "|1||", "PF", ETCP_EREJECTED, NULL, NULL},
    {"a hash and more", "pw", ANSWER "|1||#a", "PF", ETCP_EREJECTED, NULL, NULL},
    {"the password itself", "pw", ANSWER "|1||pw", "PF", ETCP_EREJECTED, NULL, NULL},
    {"the hash of no password", "pw", ANSWER "|1||abXXXXXXXXXXX", "PF", ETCP_EREJECTED, NULL, NULL},
    {"the right hash afterwards", "pw", ANSWER "|1||x\n" ANSWER "|1||#\nCP|#", "", ETCP_EREJECTED,
     NULL, NULL},
};

/* A key string of the client, sealed with a key string of the server, as armoured text. */
static const char *sealed_key(char cipher, const char *with, const char *key)
{
    const etcp_cipher *row = etcp_cipher_by_key(cipher);
    etcp_cipher_ctx *ctx = NULL;
    const char *text;
    etcp_buf out;

    etcp_buf_init(&out);
    if (row->new_ctx(row, (const uint8_t *)with, strlen(with), &ctx) < 0 ||
        row->seal(ctx, ETCP_STYLE_SALTED, etcp_random_bytes, NULL, (const uint8_t *)key,
                  strlen(key), &out) < 0)
        abort();
    row->free_ctx(ctx);
    text = armoured(etcp_buf_bytes(&out), etcp_buf_len(&out));
    etcp_buf_deinit(&out);
    return text;
}

static etcp_config *configure_server(const char *password)
{
    options server = {"A4", "1", NULL, 0, NULL};

    server.password = password;
    return configure(ETCP_ROLE_SERVER, &server);
}

static void check_reply(const struct reply *r, size_t step)
{
    etcp_config *config = configure_server(r->password);
    char cipher = strstr(r->packets, "|4|") ? '4' : 'A';
    const char *question;
    peer p;

    (void)peer_init(&p, config);
    (void)peer_answer(&p);
    question = feed_lines(
        &p, expand(r->packets, sealed_key(cipher, OUR_KEY, PEER_KEY), hash_of(r->password)), step);
    tap_is_str(question, r->question, "reply, step %lu: %s", (unsigned long)step, r->name);
    tap_is_int(p.rc, r->rc, "reply: %s: result", r->name);
    tap_ok(!p.ready, "reply: %s: nobody is let in by this alone", r->name);
    if (r->rc == 0) {
        tap_is_str(cipher_in_use(&p), r->cipher, "reply: %s: cipher", r->name);
        tap_is_str(compressor_in_use(&p), r->compressor, "reply: %s: compressor", r->name);
    } else {
        tap_is_int(peer_command(&p, "EN"), r->rc, "reply: %s: for good", r->name);
    }
    peer_deinit(&p);
    etcp_config_unref(config);
}

/* Keys that open, and are none of ours. */
static void test_bad_keys(void)
{
    static char long_key[130];
    struct {
        const char *name;
        const char *with;
        const char *key;
        int rc;
    } rows[] = {
        {"the shortest", OUR_KEY, "kkkkkkkk", 0},
        {"too short", OUR_KEY, "kkkkkkk", ETCP_EPROTO},
        {"the longest", OUR_KEY, long_key + 1, 0},
        {"too long", OUR_KEY, long_key, ETCP_EPROTO},
        {"a space in it", OUR_KEY, "kkkkkkkk kkkkkkk", ETCP_EPROTO},
        {"a line feed in it", OUR_KEY, "kkkkkkkk\nkkkkkkk", ETCP_EPROTO},
        {"not ASCII", OUR_KEY, "kkkkkkkk\xe4kkkkkkk", ETCP_EPROTO},
        {"sealed with another key", PEER_KEY, PEER_KEY, ETCP_EPROTO},
    };
    size_t i;

    memset(long_key, 'k', 129);
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        etcp_config *config = configure_server(NULL);
        peer p;

        (void)peer_init(&p, config);
        (void)peer_command(&p,
                           expand(ANSWER "A|1|@|", sealed_key('A', rows[i].with, rows[i].key), ""));
        tap_is_int(p.rc, rows[i].rc, "the client's key: %s", rows[i].name);
        peer_deinit(&p);
        etcp_config_unref(config);
    }
}

/* ---- both together -------------------------------------------------------------------------- */

typedef struct pair {
    etcp_config *server_config;
    etcp_config *client_config;
    peer server;
    peer client;
} pair;

static int pair_init(pair *p, const options *server, const options *client)
{
    int rc;

    memset(p, 0, sizeof *p);
    p->server_config = configure(ETCP_ROLE_SERVER, server);
    p->client_config = configure(ETCP_ROLE_CLIENT, client);
    p->server_config->random = p->client_config->random = etcp_random_bytes;
    rc = peer_init(&p->server, p->server_config);
    return rc < 0 ? rc : peer_init(&p->client, p->client_config);
}

static void pair_deinit(pair *p)
{
    peer_deinit(&p->server);
    peer_deinit(&p->client);
    etcp_config_unref(p->server_config);
    etcp_config_unref(p->client_config);
}

/* How often the server had to wait for the client. */
static const struct meeting {
    const char *name;
    options server;
    options client;
    unsigned rounds;
    const char *cipher;
    const char *compressor;
} meetings[] = {
    {"everything",
     {NULL, NULL, "pw", 0, NULL},
     {NULL, NULL, "pw", 0, NULL},
     2,
     "Crypt::Rijndael",
     "Compress::Zlib"},
    {"plain", {"", "", NULL, 0, NULL}, {"", "", NULL, 0, NULL}, 2, NULL, NULL},
    {"other versions",
     {NULL, NULL, NULL, 0, "1.05"},
     {"E", "2", NULL, 0, "2.00"},
     2,
     "Crypt::TEA",
     "Compress::LZF"},
    {"an original version", /* EU and CU included */
     {NULL, NULL, "pw", 0, NULL},
     {NULL, NULL, "pw", 0, "0.26"},
     9,
     "Crypt::Rijndael",
     "Compress::Zlib"},
    {"only the server encrypts",
     {NULL, "", NULL, 0, NULL},
     {NULL, NULL, NULL, ETCP_DONOT_ENCRYPT, NULL},
     2,
     NULL,
     NULL},
    {"only the client encrypts",
     {NULL, NULL, NULL, ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS, NULL},
     {NULL, NULL, NULL, 0, NULL},
     2,
     NULL,
     NULL},
    {"nothing in common", {"A", "1", NULL, 0, NULL}, {"4", "2", NULL, 0, NULL}, 2, NULL, NULL},
};

static unsigned negotiate(pair *p, size_t step)
{
    unsigned rounds = 0;

    while (peer_move(&p->server, &p->client, step) > 0 &&
           peer_move(&p->client, &p->server, step) > 0)
        rounds++;
    return rounds;
}

static void check_meeting(const struct meeting *m, size_t step)
{
    static const char message[] = "The first message, right behind EN. The first message.";
    pair p;

    (void)pair_init(&p, &m->server, &m->client);
    tap_is_int(negotiate(&p, step), m->rounds, "%s, step %lu: rounds", m->name,
               (unsigned long)step);
    tap_ok(p.server.ready == 1 && p.client.ready == 1, "%s: both are ready", m->name);
    tap_is_str(cipher_in_use(&p.server), m->cipher, "%s: server's cipher", m->name);
    tap_is_str(cipher_in_use(&p.client), m->cipher, "%s: client's cipher", m->name);
    tap_is_str(compressor_in_use(&p.server), m->compressor, "%s: server's compressor", m->name);
    tap_is_str(compressor_in_use(&p.client), m->compressor, "%s: client's compressor", m->name);
    (void)peer_say(&p.client, &p.server, 0, message, sizeof message, step);
    (void)peer_say(&p.server, &p.client, 0, message, sizeof message, step);
    tap_is_mem(etcp_buf_bytes(&p.server.data), etcp_buf_len(&p.server.data), message,
               sizeof message, "%s: to the server", m->name);
    tap_is_mem(etcp_buf_bytes(&p.client.data), etcp_buf_len(&p.client.data), message,
               sizeof message, "%s: to the client", m->name);
    tap_is_str(etcp_session_peer_version_text(p.client.s),
               m->server.version ? m->server.version : "1.10", "%s: server's version", m->name);
    tap_is_str(etcp_session_peer_version_text(p.server.s),
               m->client.version ? m->client.version : "1.10", "%s: client's version", m->name);
    pair_deinit(&p);
}

/* Between 1.x peers EN and the first message may come in one read: the keys are merged between. */
static void test_message_behind_end(void)
{
    static const options all = {NULL, NULL, "open sesame", 0, NULL};
    etcp_buf bytes;
    etcp_packet packet;
    pair p;

    (void)pair_init(&p, &all, &all);
    (void)peer_move(&p.server, &p.client, 0);
    (void)peer_move(&p.client, &p.server, 0);
    (void)peer_move(&p.server, &p.client, 0);
    tap_ok(p.client.ready == 1 && p.server.ready == 0, "EN: the client is ready first");
    tap_ok(!etcp_session_wants_gap(p.client.s), "EN: no gap is wanted behind it");
    etcp_buf_init(&bytes);
    (void)etcp_buf_append(&bytes, etcp_buf_bytes(etcp_session_output(p.client.s)),
                          etcp_buf_len(etcp_session_output(p.client.s)));
    tap_ok(etcp_buf_len(&bytes) < 100, "EN: it is not padded");
    (void)etcp_session_encode(p.client.s, 0, (const uint8_t *)"hello", 5, &packet);
    (void)etcp_buf_append(&bytes, packet.header, packet.header_len);
    (void)etcp_buf_append(&bytes, packet.body, packet.body_len);
    (void)peer_feed(&p.server, etcp_buf_bytes(&bytes), etcp_buf_len(&bytes));
    tap_is_mem(etcp_buf_bytes(&p.server.data), etcp_buf_len(&p.server.data), "hello", 5,
               "EN: the message behind it arrives");
    etcp_buf_deinit(&bytes);
    pair_deinit(&p);
}

static void test_rejection(void)
{
    static const options server = {NULL, NULL, "right", 0, NULL};
    static const options client = {NULL, NULL, "wrong", 0, NULL};
    pair p;

    (void)pair_init(&p, &server, &client);
    (void)negotiate(&p, 0);
    tap_is_int(p.server.rc, ETCP_EREJECTED, "wrong password: the server's result");
    tap_is_int(p.client.rc, ETCP_EREJECTED, "wrong password: the client's result");
    tap_is_str(etcp_session_error(p.client.s)->text, "Server rejected supplied password",
               "wrong password: the client's text");
    tap_ok(!p.server.ready && !p.client.ready, "wrong password: nobody is ready");
    pair_deinit(&p);
}

/* ---- damage and want ------------------------------------------------------------------------ */

/* Plays the handshake with one byte of the packet of one side changed or the packet cut short
 * there. Nothing may crash; and where both ends are ready, they must agree on what they do. Returns
 * whether there was such a byte. */
static int play_damaged(int to_client, size_t at, uint8_t change, unsigned *disagree)
{
    static const options all = {NULL, NULL, "pw", 0, NULL};
    etcp_buf *output;
    int was_there;
    pair p;

    (void)pair_init(&p, &all, &all);
    if (!to_client)
        (void)peer_move(&p.server, &p.client, 0);
    output = etcp_session_output(to_client ? p.server.s : p.client.s);
    was_there = at < etcp_buf_len(output);
    if (was_there && change)
        output->data[output->start + at] ^= change;
    else if (was_there)
        (void)peer_feed(to_client ? &p.client : &p.server, etcp_buf_bytes(output), at);
    if (was_there && !change)
        etcp_buf_clear(output);
    (void)negotiate(&p, 0);
    (void)peer_move(&p.client, &p.server, 0);
    if (p.server.ready && p.client.ready && cipher_in_use(&p.server) != cipher_in_use(&p.client))
        (*disagree)++;
    pair_deinit(&p);
    return was_there;
}

static void test_damage(void)
{
    static const uint8_t changes[] = {0, 0x01, 0x20, 0x80, 0xff};
    unsigned disagree = 0;
    int to_client;
    size_t i;

    for (to_client = 0; to_client <= 1; to_client++) {
        size_t at = 0;
        int was_there = 1;

        for (; was_there; at++)
            for (i = 0; i < sizeof changes; i++)
                was_there = play_damaged(to_client, at, changes[i], &disagree);
        tap_ok(at > 150, "damage: %lu bytes to the %s", (unsigned long)at,
               to_client ? "client" : "server");
    }
    tap_is_int(disagree, 0, "damage: two that are ready agree on the cipher");
}

/* The whole handshake; 0, or the first failure. */
static int live(void)
{
    pair p;
    int rc;

    memset(&p, 0, sizeof p);
    p.server_config = etcp_config_new(ETCP_ROLE_SERVER);
    p.client_config = etcp_config_new(ETCP_ROLE_CLIENT);
    rc = p.server_config && p.client_config ? 0 : ETCP_ENOMEM;
    if (rc == 0 && (etcp_config_set_password(p.server_config, (const uint8_t *)"pw", 2) < 0 ||
                    etcp_config_set_password(p.client_config, (const uint8_t *)"pw", 2) < 0))
        rc = ETCP_ENOMEM;
    if (rc == 0)
        rc = peer_init(&p.server, p.server_config);
    if (rc == 0)
        rc = peer_init(&p.client, p.client_config);
    if (rc == 0) {
        (void)negotiate(&p, 50);
        rc = p.server.rc < 0 ? p.server.rc : p.client.rc;
    }
    if (rc == 0 && (p.server.ready != 1 || p.client.ready != 1))
        rc = ETCP_EPROTO;
    pair_deinit(&p);
    return rc;
}

static void test_allocation_failures(void)
{
    unsigned leaks = 0;
    unsigned other = 0;
    long n;
    int rc;

    for (n = 1;; n++) {
        alloc_fail_at(n);
        rc = live();
        leaks += alloc_live() != 0;
        if (rc == 0 || !alloc_has_failed())
            break;
        other += rc != ETCP_ENOMEM;
    }
    alloc_reset();
    tap_is_int(rc, 0, "allocation failures: none is left");
    tap_ok(n > 20, "allocation failures: %ld places tried", n - 1);
    tap_is_int(leaks, 0, "allocation failures: nothing leaks");
    tap_is_int(other, 0, "allocation failures: each is reported as what it is");
}

/* Random bytes run out at one draw. */
static int failing_random(void *arg, uint8_t *out, size_t len)
{
    int *left = arg;

    return (*left)-- > 0 ? fixed_random(NULL, out, len) : ETCP_ECRYPT;
}

static void test_no_random_bytes(void)
{
    static const options all = {NULL, NULL, "pw", 0, NULL};
    int draws;

    for (draws = 0; draws < 2; draws++) {
        etcp_config *config = configure(ETCP_ROLE_SERVER, &all);
        int left = draws;
        etcp_session *s = NULL;

        config->random = failing_random;
        config->random_arg = &left;
        tap_is_int(etcp_session_new(config, &s), ETCP_ECRYPT, "no offer after %d draws", draws);
        etcp_session_free(s);
        etcp_config_unref(config);
    }
    for (draws = 0; draws < 2; draws++) {
        etcp_config *config = configure(ETCP_ROLE_CLIENT, &all);
        int left = draws;
        peer p;

        config->random = failing_random;
        config->random_arg = &left;
        (void)peer_init(&p, config);
        (void)peer_command(
            &p, expand(TEXT "|ETCP1|1.10|A|1|ab|@", armoured(PEER_KEY, strlen(PEER_KEY)), ""));
        tap_is_int(p.rc, ETCP_ECRYPT, "no answer after %d draws", draws);
        tap_is_str(peer_answer(&p), "", "no answer after %d draws: nothing is said", draws);
        peer_deinit(&p);
        etcp_config_unref(config);
    }
}

int main(void)
{
    size_t i;
    size_t step;

    for (i = 0; i < sizeof offers / sizeof offers[0]; i++)
        check_offer(&offers[i]);
    test_fresh_keys();
    for (step = 0; step <= 1; step++) {
        for (i = 0; i < sizeof answers / sizeof answers[0]; i++)
            check_answer(&answers[i], step);
        for (i = 0; i < sizeof replies / sizeof replies[0]; i++)
            check_reply(&replies[i], step);
        for (i = 0; i < sizeof meetings / sizeof meetings[0]; i++)
            check_meeting(&meetings[i], step);
    }
    test_listings();
    test_long_list();
    test_bad_keys();
    test_message_behind_end();
    test_rejection();
    test_damage();
    test_allocation_failures();
    test_no_random_bytes();
    return tap_done();
}
