/* Recorded connections of original releases, played again to our client and to our server. The
 * recordings are in t/data/handshakes (format: README there). */
#include "wire_peer.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>

#include "base/armour.h"
#include "tap.h"
#include "wire/config.h"
#include "wire/crypt3.h"
#include "wire/munge.h"
#include "wire/password.h"
#include "wire/state.h" /* to look at keys, and to set those that no random source yields */
#include "wire/sve.h"

static const char directory[] = "t/data/handshakes";

/* ---- reading recordings --------------------------------------------------------------------- */

enum { EVENTS_MAX = 80, SIDES = 2 };

typedef enum side { SERVER, CLIENT } side;

typedef struct event {
    side from;
    unsigned flags;
    etcp_buf payload;
    etcp_buf plain; /* of a message: what it held */
} event;

typedef struct record {
    char name[80];
    char version_text[SIDES][8];
    uint32_t version[SIDES];
    char ciphers[SIDES][16];
    char compressors[SIDES][8];
    unsigned flags[SIDES];
    int has_password[SIDES];
    char password[SIDES][64];
    etcp_buf key[SIDES];
    etcp_buf public_key;
    int failed;
    char cipher; /* agreed; '-': none */
    char compressor;
    char error[300];
    event events[EVENTS_MAX];
    size_t count;
    etcp_buf scalar;
} record;

static unsigned hex_value(const char *text)
{
    char digits[3];

    digits[0] = text[0];
    digits[1] = text[1];
    digits[2] = '\0';
    return (unsigned)strtoul(digits, NULL, 16);
}

/* Appends what TEXT stands for. */
static void read_text(etcp_buf *out, const char *text)
{
    etcp_buf inner;
    int in_braces = 0;

    etcp_buf_init(&inner);
    for (; *text; text++) {
        uint8_t byte = (uint8_t)*text;

        if (*text == '{') {
            in_braces = 1;
        } else if (*text == '}') {
            (void)etcp_armour_encode(out, etcp_buf_bytes(&inner), etcp_buf_len(&inner));
            etcp_buf_clear(&inner);
            in_braces = 0;
        } else {
            if (*text == '\\') {
                byte = (uint8_t)hex_value(text + 1);
                text += 2;
            }
            (void)etcp_buf_append_byte(in_braces ? &inner : out, byte);
        }
    }
    etcp_buf_deinit(&inner);
}

static void read_scalar(record *r, event *e, const char *text)
{
    etcp_buf_clear(&r->scalar);
    read_text(&r->scalar, text);
    e->flags = ETCP_FLAG_ALWAYS_ON;
    (void)etcp_buf_append(&e->payload, "COS", 4);
    (void)etcp_armour_encode(&e->payload, etcp_buf_bytes(&r->scalar), etcp_buf_len(&r->scalar));
}

static void read_image(record *r, event *e, const char *text)
{
    const char *minor = strchr(text, ' ');
    etcp_buf image;

    etcp_buf_init(&image);
    e->flags = ETCP_FLAG_ALWAYS_ON;
    (void)etcp_buf_append(&e->payload, "SVE", 4);
    (void)etcp_buf_append(&e->payload, text, (size_t)(minor - text));
    (void)etcp_buf_append_byte(&e->payload, 0);
    (void)etcp_sve_write(&image, (uint8_t)hex_value(minor + 1), etcp_buf_bytes(&r->scalar),
                         etcp_buf_len(&r->scalar));
    (void)etcp_armour_encode(&e->payload, etcp_buf_bytes(&image), etcp_buf_len(&image));
    etcp_buf_deinit(&image);
}

static void read_packet(record *r, const char *line)
{
    event *e = &r->events[r->count];

    if (r->count + 1 >= EVENTS_MAX)
        abort();
    e->from = line[0] == '>' ? SERVER : CLIENT;
    switch (line[1]) {
    case '=':
        e->flags = e[-1].flags;
        (void)etcp_buf_append(&e->payload, etcp_buf_bytes(&e[-1].payload),
                              etcp_buf_len(&e[-1].payload));
        break;
    case 'C': read_scalar(r, e, line + 3); break;
    case 'S': read_image(r, e, line + 3); break;
    default:
        e->flags = hex_value(line + 1);
        if (line[3])
            read_text(&e->payload, line + 4);
    }
    if (!(e->flags & (ETCP_FLAG_ENCRYPTED | ETCP_FLAG_COMPRESSED)))
        (void)etcp_buf_append(&e->plain, etcp_buf_bytes(&e->payload), etcp_buf_len(&e->payload));
    r->count++;
}

static void read_option(record *r, side s, const char *name)
{
    if (strcmp(name, "donotencrypt") == 0)
        r->flags[s] |= ETCP_DONOT_ENCRYPT;
    if (strcmp(name, "donotcompress") == 0)
        r->flags[s] |= ETCP_DONOT_COMPRESS;
}

static void read_header(record *r, const char *line)
{
    char word[16] = "";
    char who[16] = "";
    side s;
    int at = 0;

    (void)sscanf(line, "%15s %15s %n", word, who, &at);
    s = strcmp(who, "client") == 0 ? CLIENT : SERVER;
    if (strcmp(word, "versions") == 0)
        (void)sscanf(line, "versions %7s %7s", r->version_text[SERVER], r->version_text[CLIENT]);
    else if (strcmp(word, "modules") == 0)
        (void)sscanf(line + at, "%15s %7s", r->ciphers[s], r->compressors[s]);
    else if (strcmp(word, "option") == 0)
        read_option(r, s, line + at);
    else if (strcmp(word, "key") == 0)
        read_text(&r->key[s], line + at);
    else if (strcmp(word, "public") == 0)
        read_text(&r->public_key, line + at);
    else if (strcmp(word, "agreed") == 0)
        (void)sscanf(line, "agreed %c %c", &r->cipher, &r->compressor);
    else if (strcmp(word, "password") == 0)
        r->has_password[s] = snprintf(r->password[s], sizeof r->password[s], "%s", line + at) >= 0;
    else if (strcmp(word, "error") == 0)
        r->failed = snprintf(r->error, sizeof r->error, "%s", line + 6) > 0;
}

static void read_line(record *r, const char *line)
{
    if (line[0] == '>' || line[0] == '<')
        read_packet(r, line);
    else if (line[0] == '=')
        read_text(&r->events[r->count - 1].plain, line[1] ? line + 2 : "");
    else if (line[0] != '#')
        read_header(r, line);
}

static record *read_record(const char *file_name)
{
    static char line[20000];
    char path[400];
    record *r = calloc(1, sizeof *r);
    FILE *f;
    side s;

    (void)snprintf(path, sizeof path, "%s/%s", directory, file_name);
    (void)snprintf(r->name, sizeof r->name, "%.*s", (int)strcspn(file_name, "."), file_name);
    r->cipher = r->compressor = '-';
    f = fopen(path, "r");
    if (!f)
        abort();
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        read_line(r, line);
    }
    (void)fclose(f);
    for (s = SERVER; s <= CLIENT; s++)
        r->version[s] =
            etcp_version_number((const uint8_t *)r->version_text[s], strlen(r->version_text[s]));
    return r;
}

static void free_record(record *r)
{
    size_t i;

    for (i = 0; i < r->count; i++) {
        etcp_buf_deinit(&r->events[i].payload);
        etcp_buf_deinit(&r->events[i].plain);
    }
    etcp_buf_deinit(&r->key[SERVER]);
    etcp_buf_deinit(&r->key[CLIENT]);
    etcp_buf_deinit(&r->public_key);
    etcp_buf_deinit(&r->scalar);
    free(r);
}

/* ---- random bytes that yield the recorded keys ---------------------------------------------- */

typedef struct dice {
    const etcp_buf *key; /* what key draws yield */
    const char *salt;    /* what the draw behind the first key draws yields; NULL: key again */
    unsigned key_draws;  /* that come before the salt */
    unsigned draws;
} dice;

/* Draws of keys and salts ask for 64 bytes and use them from the last to the first; whoever asks
 * for another number of bytes wants an IV or a seed. */
static int throw_dice(void *arg, uint8_t *out, size_t len)
{
    dice *d = arg;
    size_t key_len = etcp_buf_len(d->key) <= 64 ? etcp_buf_len(d->key) : 0; /* not Crypt::RSA's */
    size_t i;

    memset(out, 0x5a, len);
    if (len != 64)
        return 0;
    if (d->salt && d->draws++ == d->key_draws) {
        out[63] = (uint8_t)(d->salt[0] - 'a');
        out[62] = (uint8_t)(d->salt[1] - 'a');
        return 0;
    }
    memset(out, 'k' - 33, len);
    for (i = 0; i < key_len; i++)
        out[63 - i] = (uint8_t)(etcp_buf_bytes(d->key)[i] - 33);
    /* Keys we would never make. */
    if (key_len && (out[63] == '-' - 33 || out[63] == '%' - 33))
        out[63] = 0;
    return 0;
}

static int is_asymmetric(const record *r)
{
    return etcp_buf_len(&r->public_key) > 0;
}

/* Whether the key can only be set behind the session's back. */
static int key_needs_force(const record *r, side s)
{
    const uint8_t *key = etcp_buf_bytes(&r->key[s]);

    return etcp_buf_len(&r->key[s]) > 0 && (is_asymmetric(r) || key[0] == '-' || key[0] == '%');
}

static void force_key(const record *r, side s, etcp_session *session)
{
    if (key_needs_force(r, s) && session->transform.open && !etcp_session_is_ready(session))
        (void)etcp_transform_set_own_key(&session->transform, etcp_buf_bytes(&r->key[s]),
                                         etcp_buf_len(&r->key[s]));
}

/* ---- configurations ------------------------------------------------------------------------- */

static etcp_config *configure(const record *r, side s, dice *d)
{
    etcp_config *config = etcp_config_new(s == SERVER ? ETCP_ROLE_SERVER : ETCP_ROLE_CLIENT);
    size_t count;
    size_t i;
    const etcp_cipher *ciphers = etcp_ciphers(&count);
    const etcp_compressor *compressors;

    for (i = 0; i < count; i++)
        if (!strchr(r->ciphers[s], ciphers[i].key))
            etcp_config_forbid(config, ciphers[i].name);
    compressors = etcp_compressors(&count);
    for (i = 0; i < count; i++)
        if (!strchr(r->compressors[s], compressors[i].key))
            etcp_config_forbid(config, compressors[i].name);
    config->flags = r->flags[s];
    if (r->has_password[s])
        (void)etcp_config_set_password(config, (const uint8_t *)r->password[s],
                                       strlen(r->password[s]));
    config->random = throw_dice;
    config->random_arg = d;
    return config;
}

/* Whether a peer of that version munges keys when it talks to the other one. */
static int munges(uint32_t own, uint32_t other)
{
    if (own < ETCP_VERSION(0, 7) || (own > ETCP_VERSION(0, 8) && own < ETCP_VERSION(0, 15)))
        return 0;
    return own <= ETCP_VERSION(0, 8) ? other >= ETCP_VERSION(0, 7) : etcp_munge_wants_keys(other);
}

/* Whether both ends of the recording merge the password into keys. */
static int merges(uint32_t server, uint32_t client, const record *r)
{
    return server >= ETCP_VERSION(0, 15) && client >= ETCP_VERSION(0, 15) &&
           r->has_password[SERVER];
}

/* ---- looking into packets ------------------------------------------------------------------- */

/* A packet's payload as text: flags, NUL as '|', anything else that is not printable as '.'. */
static void show(unsigned flags, const uint8_t *bytes, size_t len, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%02x ", flags & ~(unsigned)ETCP_FLAG_COMPRESSED);
    size_t i;

    for (i = 0; i < len && at < size - 1; i++)
        text[at++] = bytes[i] == 0 ? '|' : bytes[i] > 31 && bytes[i] < 127 ? (char)bytes[i] : '.';
    text[at] = '\0';
}

/* Undoes a packet's transforms with a key of its own. Returns 0 or an error. */
static int look_into(unsigned flags, const uint8_t *bytes, size_t len, const etcp_cipher *cipher,
                     const uint8_t *key, size_t key_len, char compressor, etcp_buf *plain)
{
    etcp_compressor_state *state = NULL;
    const etcp_compressor *row = etcp_compressor_by_key(compressor);
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf opened;
    int rc = 0;

    etcp_buf_init(&opened);
    if (flags & ETCP_FLAG_ENCRYPTED) {
        rc = cipher ? cipher->new_ctx(cipher, key, key_len, &ctx) : ETCP_ECRYPT;
        if (rc == 0) {
            rc = cipher->open(ctx, bytes, len, &opened, NULL);
            cipher->free_ctx(ctx);
        }
    } else {
        (void)etcp_buf_append(&opened, bytes, len);
    }
    if (rc == 0 && (flags & ETCP_FLAG_COMPRESSED) && row) {
        rc =
            row->decompress(&state, etcp_buf_bytes(&opened), etcp_buf_len(&opened), 1 << 20, plain);
        row->free_state(state);
    } else if (rc == 0) {
        rc = etcp_buf_append(plain, etcp_buf_bytes(&opened), etcp_buf_len(&opened));
    }
    etcp_buf_deinit(&opened);
    return rc;
}

/* Connections that failed agreed on nothing in the end, but packets may be compressed. */
static char compressor_of(const record *r)
{
    return r->compressor == '-' ? r->compressors[SERVER][0] : r->compressor;
}

static void look_into_event(const record *r, const event *e, char *text, size_t size)
{
    const etcp_buf *key = &r->key[e->from == CLIENT ? SERVER : CLIENT];
    etcp_buf plain;

    etcp_buf_init(&plain);
    if (look_into(e->flags, etcp_buf_bytes(&e->payload), etcp_buf_len(&e->payload),
                  etcp_cipher_by_key(r->cipher), etcp_buf_bytes(key), etcp_buf_len(key),
                  compressor_of(r), &plain) < 0)
        (void)snprintf(text, size, "%02x (unreadable)", e->flags);
    else
        show(e->flags, etcp_buf_bytes(&plain), etcp_buf_len(&plain), text, size);
    etcp_buf_deinit(&plain);
}

/* ---- answers that differ -------------------------------------------------------------------- */

/* When a row of the table below applies. */
typedef enum condition { ALWAYS, OTHER_MUNGING, FORCED_KEY } condition;

/* Every way in which our client answers otherwise than the recorded one. Patterns of fnmatch(3)
 * over "FLAGS TEXT", where the flag for compression has been removed: we never compress negotiation
 * packets, which no release minds. In ours, "FLAGS =" is the recorded text with other flags, "@" is
 * the command itself. Every row must be needed. */
static struct difference {
    condition when;
    const char *command;
    const char *recorded;
    const char *ours;
    const char *reason;
    unsigned used;
} differences[] = {
    {ALWAYS, "01 VE|*", "01 VE|*", "01 VE|1.10", "our own version", 0},
    {ALWAYS, "01 VE|*", "01 NO", "01 VE|1.10", "0.02 to 0.06 know no VE", 0},
    {ALWAYS, "*", "0? NO", "0? NO|I don't understand you", "releases before 0.23 give no reasons",
     0},
    {ALWAYS, "01 COS|*", "01 NO", "@", "releases before 0.20 know no COS", 0},
    {ALWAYS, "01 SVE|*", "01 NO", "@", "releases before 0.15 know no SVE", 0},
    {ALWAYS, "01 SVE|*", "01 SVE|3.26", "@", "0.15 to 0.19 answer without an image", 0},
    {ALWAYS, "01 SVE|*", "01 SVE|2.12", "@", "any Storable will do for us", 0},
    {ALWAYS, "01 EM|*", "01 EM|*", "01 EM|*", "another throw-away key", 0},
    {ALWAYS, "01 EM|*", "01 NO", "01 EM|*", "releases before 0.20 know no EM", 0},
    {ALWAYS, "01 EM|*", "01 NO|Unknown encryption module*",
     "01 NO|I do not encrypt with this module", "we have it, but may not use it", 0},
    {ALWAYS, "01 EA*", "01 EU|", "01 EU||", "releases before 0.08 name no module versions", 0},
    {ALWAYS, "01 EA*", "01 EU|2", "01 EU|2|*", "releases before 0.08 name no module versions", 0},
    {ALWAYS, "01 EA*", "01 EU|4", "01 EU|4|*", "releases before 0.08 name no module versions", 0},
    {ALWAYS, "01 EA|*", "01 EU|A|", "01 EU||", "0.20 to 0.26 believe they have what EM named", 0},
    {ALWAYS, "0? EK|*", "09 EK|*", "01 =", "in clear until the server's Crypt::CBC is known", 0},
    {OTHER_MUNGING, "0? EK|*", "0? EK|*", "0? EK|*", "munged for another pair of releases", 0},
    {FORCED_KEY, "01 EK|*", "09 EK|*", "0? EK|*", "no random source yields that key", 0},
    {ALWAYS, "0? CM|*", "0? NO", "0? CM|1|*", "releases before 0.20 know no CM", 0},
    {ALWAYS, "0? CM|*", "0? NO|Unknown decompression module*", "0? CM|?|*",
     "0.26 names no compressor; we find it out", 0},
    {ALWAYS, "0? CA*", "0? CU|", "0? CU||", "releases before 0.08 name no module versions", 0},
    {ALWAYS, "0? CA|1", "0? CU|1", "0? CU|1|*", "releases before 0.08 name no module versions", 0},
    {ALWAYS, "0? CA|1", "0? CU|1|1.33", "0? CU|1|2.106", "our own version", 0},
    {OTHER_MUNGING, "0? CS|??", "0? CP|*", "0? CP|*", "munged for another pair of releases", 0},
    {ALWAYS, "0? CVF|*", "", "0? NO|I don't understand you", "versions of modules do not matter",
     0},
    {ALWAYS, "01 SVF|*", "", "01 NO|I don't understand you", "versions of modules do not matter",
     0},
    {ALWAYS, "01 EVF|*", "", "01 NO|I don't understand you", "versions of modules do not matter",
     0},
    {ALWAYS, "0? EN", "0? EN", "0? EN|                    *", "padded: see negotiate_client.c", 0},
};

static int other_munging(const record *r)
{
    return munges(r->version[CLIENT], r->version[SERVER]) !=
           etcp_munge_wants_keys(r->version[SERVER]);
}

static int applies(const record *r, condition when)
{
    switch (when) {
    case ALWAYS: return 1;
    case OTHER_MUNGING: return other_munging(r);
    case FORCED_KEY: return key_needs_force(r, CLIENT);
    }
    return 0;
}

static int answers_as(const struct difference *d, const char *command, const char *recorded,
                      const char *ours)
{
    if (fnmatch(d->command, command, 0) != 0 || fnmatch(d->recorded, recorded, 0) != 0)
        return 0;
    if (strcmp(d->ours, "@") == 0)
        return strcmp(ours, command) == 0;
    if (d->ours[3] == '=')
        return strncmp(ours, d->ours, 3) == 0 && strcmp(ours + 3, recorded + 3) == 0;
    return fnmatch(d->ours, ours, 0) == 0;
}

static int explain(const record *r, const char *command, const char *recorded, const char *ours)
{
    size_t i;

    if (strcmp(recorded, ours) == 0)
        return 1;
    for (i = 0; i < sizeof differences / sizeof differences[0]; i++) {
        if (applies(r, differences[i].when) &&
            answers_as(&differences[i], command, recorded, ours)) {
            differences[i].used++;
            return 1;
        }
    }
    tap_note("%s", r->name);
    tap_note("command  %.100s", command);
    tap_note("recorded %.100s", recorded);
    tap_note("ours     %.100s", ours);
    return 0;
}

/* ---- our client ----------------------------------------------------------------------------- */

/* How a packet is cut: 0 not at all, ONE_BY_ONE, or behind that many bytes. */
enum { ONE_BY_ONE = -1, LAST_CUT = 500 };

static void feed_cut(peer *p, unsigned flags, const etcp_buf *payload, int cut)
{
    etcp_buf packet;
    size_t len;

    etcp_buf_init(&packet);
    add_packet(&packet, flags, etcp_buf_bytes(payload), etcp_buf_len(payload));
    len = etcp_buf_len(&packet);
    if (cut == ONE_BY_ONE) {
        (void)peer_feed_step(p, etcp_buf_bytes(&packet), len, 1);
    } else {
        size_t first = (size_t)cut < len ? (size_t)cut : len;

        (void)peer_feed(p, etcp_buf_bytes(&packet), first);
        if (p->rc >= 0)
            (void)peer_feed(p, etcp_buf_bytes(&packet) + first, len - first);
    }
    etcp_buf_deinit(&packet);
}

typedef struct run {
    record *r;
    peer p;
    side role; /* ours */
    int cut;
    etcp_buf peer_key; /* what the session seals with, before merging */
    unsigned unexplained;
    unsigned wrong;    /* messages that did not come as they should */
    unsigned messages; /* that did */
} run;

static void note_peer_key(run *t)
{
    const etcp_transform *transform = &t->p.s->transform;

    if (etcp_session_is_ready(t->p.s) || !transform->seal)
        return;
    etcp_buf_clear(&t->peer_key);
    if (is_asymmetric(t->r))
        (void)etcp_buf_append(&t->peer_key, etcp_buf_bytes(&t->r->key[!t->role]),
                              etcp_buf_len(&t->r->key[!t->role]));
    else
        (void)etcp_buf_append(&t->peer_key, transform->keys, transform->peer_key_len);
}

/* Takes one packet out of the output, longer length fields included, and looks into it. */
static void take_answer(run *t, char *text, size_t size)
{
    etcp_buf *output = etcp_session_output(t->p.s);
    const uint8_t *bytes = etcp_buf_bytes(output);
    etcp_buf plain;
    size_t header_len;
    size_t len = 0;
    unsigned i;

    text[0] = '\0';
    if (etcp_buf_len(output) < 2)
        return;
    header_len = 2u + bytes[1];
    for (i = 0; i < bytes[1] && i < 4; i++)
        len = len << 8 | bytes[2 + i];
    etcp_buf_init(&plain);
    if (look_into(bytes[0], bytes + header_len, len, etcp_cipher_by_key(t->r->cipher),
                  etcp_buf_bytes(&t->peer_key), etcp_buf_len(&t->peer_key), compressor_of(t->r),
                  &plain) < 0)
        (void)snprintf(text, size, "%02x (unreadable)", bytes[0]);
    else
        show(bytes[0], etcp_buf_bytes(&plain), etcp_buf_len(&plain), text, size);
    etcp_buf_deinit(&plain);
    etcp_buf_consume(output, header_len + len);
}

/* The recorded client's answer to the server's packet i; "" when there is none. */
static void recorded_answer(const record *r, size_t i, char *text, size_t size)
{
    size_t j;

    text[0] = '\0';
    for (j = i + 1; j < r->count; j++) {
        if (r->events[j].flags & ETCP_FLAG_REAL)
            continue;
        if (r->events[j].from == CLIENT)
            look_into_event(r, &r->events[j], text, size);
        return;
    }
}

static void play_command(run *t, size_t i, int cut)
{
    static char command[16000];
    static char recorded[16000];
    static char ours[16000];
    const event *e = &t->r->events[i];

    feed_cut(&t->p, e->flags, &e->payload, cut);
    force_key(t->r, CLIENT, t->p.s);
    note_peer_key(t);
    look_into_event(t->r, e, command, sizeof command);
    recorded_answer(t->r, i, recorded, sizeof recorded);
    take_answer(t, ours, sizeof ours);
    if (!explain(t->r, command, recorded, ours))
        t->unexplained++;
    if (etcp_buf_len(etcp_session_output(t->p.s)) > 0)
        t->unexplained++; /* one answer to each command, no more */
}

/* The peer's message e must come out as it went in. */
static void hear_message(run *t, const event *e, int cut)
{
    unsigned before = t->p.messages;

    etcp_buf_clear(&t->p.data);
    feed_cut(&t->p, e->flags, &e->payload, cut);
    if (t->p.messages == before + 1 && etcp_buf_len(&t->p.data) == etcp_buf_len(&e->plain) &&
        memcmp(etcp_buf_bytes(&t->p.data), etcp_buf_bytes(&e->plain), etcp_buf_len(&e->plain)) ==
            0 &&
        t->p.flags == (e->flags & ETCP_FLAG_COMPLEX))
        t->messages++;
    else
        t->wrong++;
}

/* What we make of the message must be readable for the recorded peer. */
static void say_message(run *t, const event *e, const etcp_buf *key)
{
    etcp_packet packet;
    etcp_buf plain;

    etcp_buf_init(&plain);
    if (etcp_session_encode(t->p.s, e->flags & ETCP_FLAG_COMPLEX, etcp_buf_bytes(&e->plain),
                            etcp_buf_len(&e->plain), &packet) == 0 &&
        look_into(packet.header[0], packet.body, packet.body_len, etcp_session_cipher(t->p.s),
                  etcp_buf_bytes(key), etcp_buf_len(key), compressor_of(t->r), &plain) == 0 &&
        etcp_buf_len(&plain) == etcp_buf_len(&e->plain) &&
        memcmp(etcp_buf_bytes(&plain), etcp_buf_bytes(&e->plain), etcp_buf_len(&plain)) == 0)
        t->messages++;
    else
        t->wrong++;
    etcp_buf_deinit(&plain);
}

/* The key that packets to the recorded peer are sealed with after EN. */
static void merged_key(const record *r, side s, etcp_buf *key)
{
    const char *password = r->password[SERVER];

    if (!is_asymmetric(r) && merges(r->version[SERVER], r->version[CLIENT], r))
        (void)etcp_password_merge((const uint8_t *)password, strlen(password),
                                  etcp_buf_bytes(&r->key[s]), etcp_buf_len(&r->key[s]), key);
    else
        (void)etcp_buf_append(key, etcp_buf_bytes(&r->key[s]), etcp_buf_len(&r->key[s]));
}

static void play_messages(run *t, int cut, int hears, int says)
{
    etcp_buf key;
    size_t i;

    etcp_buf_init(&key);
    merged_key(t->r, !t->role, &key);
    for (i = 0; i < t->r->count && t->p.ready; i++) {
        const event *e = &t->r->events[i];

        if (!(e->flags & ETCP_FLAG_REAL))
            continue;
        if (e->from != t->role && hears)
            hear_message(t, e, cut);
        if (e->from == t->role && says)
            say_message(t, e, &key);
    }
    etcp_buf_deinit(&key);
}

static char letter_of_cipher(const etcp_session *s)
{
    return etcp_session_cipher(s) ? etcp_session_cipher(s)->key : '-';
}

static char letter_of_compressor(const etcp_session *s)
{
    return etcp_session_compressor(s) ? etcp_session_compressor(s)->key : '-';
}

/* Connections that end otherwise than recorded. */
static struct outcome {
    const char *name;
    side role;                     /* ours */
    const char *cipher_compressor; /* "": the negotiation stays unfinished, without error */
    const char *reason;
    unsigned used;
} outcomes[] = {
    {"v026-v026-fail-no-common-cipher", CLIENT, "", "the original mistook EM for EA", 0},
    {"v026-v026-fail-zlib-version", CLIENT, "", "versions do not matter to us", 0},
    {"v026-v019-fail-storable-version", CLIENT, "", "versions do not matter to us", 0},
    {"v026-v026-fail-no-common-cipher", SERVER, "--", "no cipher is no failure", 0},
    {"v026-v026-fail-zlib-version", SERVER, "-1", "versions do not matter to us", 0},
    {"v026-v019-fail-storable-version", SERVER, "--", "versions do not matter to us", 0},
};

/* The row for this connection, or NULL. */
static struct outcome *special_outcome(const run *t)
{
    size_t i;

    for (i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        if (outcomes[i].role == t->role && strcmp(outcomes[i].name, t->r->name) == 0)
            return &outcomes[i];
    return NULL;
}

static void check_outcome(run *t, const char *how)
{
    const record *r = t->r;
    struct outcome *special = special_outcome(t);
    char got[4] = "";
    char want[4] = "";

    if (t->p.ready)
        (void)snprintf(got, sizeof got, "%c%c", letter_of_cipher(t->p.s),
                       letter_of_compressor(t->p.s));
    if (special) {
        special->used++;
        (void)snprintf(want, sizeof want, "%s", special->cipher_compressor);
    } else if (!r->failed) {
        (void)snprintf(want, sizeof want, "%c%c", r->cipher, r->compressor);
    }
    if (t->cut != 0 && strcmp(got, want) == 0)
        return; /* said already, for the whole packets */
    tap_is_str(got, want, "%s, %s: outcome", r->name, how);
    if (special)
        tap_is_int(t->p.rc, 0, "%s, %s: no error (%s)", r->name, how, special->reason);
    else if (r->failed && t->role == CLIENT)
        tap_is_str(etcp_session_error(t->p.s)->text,
                   r->error + strlen("Error negotiating with server: "), "%s, %s: error", r->name,
                   how);
}

static void finish_run(run *t, const char *how)
{
    if (t->unexplained)
        tap_ok(0, "%s, %s: %u answers are not explained", t->r->name, how, t->unexplained);
    if (t->wrong)
        tap_ok(0, "%s, %s: %u messages are wrong: %s", t->r->name, how, t->wrong,
               etcp_session_error(t->p.s)->text);
    check_outcome(t, how);
    peer_deinit(&t->p);
    etcp_buf_deinit(&t->peer_key);
}

static unsigned all_messages;
static unsigned unheard;
static unsigned unsaid;

static void play_to_client(record *r, int cut, const char *how)
{
    dice d = {&r->key[CLIENT], NULL, 0, 0};
    etcp_config *config = configure(r, CLIENT, &d);
    int same_merging = merges(r->version[SERVER], r->version[CLIENT], r) ==
                       merges(r->version[SERVER], ETCP_VERSION(1, 0), r);
    int same_munging = !other_munging(r);
    run t;
    size_t i;

    memset(&t, 0, sizeof t);
    t.r = r;
    t.role = CLIENT;
    t.cut = cut;
    etcp_buf_init(&t.peer_key);
    (void)peer_init(&t.p, config);
    for (i = 0; i < r->count; i++)
        if (r->events[i].from == SERVER && !(r->events[i].flags & ETCP_FLAG_REAL) && t.p.rc >= 0)
            play_command(&t, i, cut);
    play_messages(&t, cut, r->cipher == '-' || same_merging,
                  r->cipher == '-' || (same_merging && same_munging));
    all_messages += t.messages;
    unheard += r->cipher != '-' && !same_merging;
    unsaid += r->cipher != '-' && !(same_merging && same_munging);
    finish_run(&t, how);
    etcp_config_unref(config);
}

/* ---- our server ----------------------------------------------------------------------------- */

/* How the replies that our server gets came about. */
typedef struct tally {
    unsigned recorded;  /* fed as they were */
    unsigned versioned; /* EU and CU got the module version that EA and CA want */
    unsigned agreed;    /* to EU and CU, that the recorded server may not have asked */
    unsigned remade;    /* made anew from the recorded key or password */
    unsigned invented;  /* the recorded server never asked */
} tally;

static tally replies;

static const event *recorded_reply(const record *r, const char *tag)
{
    char text[8000];
    size_t i;

    for (i = 0; i < r->count; i++) {
        const event *e = &r->events[i];

        if (e->from != CLIENT || (e->flags & ETCP_FLAG_REAL))
            continue;
        look_into_event(r, e, text, sizeof text);
        if (strncmp(text + 3, tag, strlen(tag)) == 0 &&
            (text[3 + strlen(tag)] == '|' || text[3 + strlen(tag)] == '\0'))
            return e;
    }
    return NULL;
}

/* Whether the client that was recorded would have munged the same way with us. */
static int fits_our_munging(const record *r)
{
    return munges(r->version[CLIENT], r->version[SERVER]) ==
           etcp_munge_wants_keys(r->version[CLIENT]);
}

/* Feeds a reply, sealed with the server's key if the recorded client would have. */
static void feed_reply(run *t, const etcp_buf *reply, int sealed, int cut)
{
    const record *r = t->r;
    const etcp_cipher *row = etcp_cipher_by_key(r->cipher);
    etcp_cipher_ctx *ctx = NULL;
    etcp_buf payload;

    etcp_buf_init(&payload);
    if (sealed && row && !is_asymmetric(r) && t->p.s->transform.open &&
        row->new_ctx(row, etcp_buf_bytes(&r->key[SERVER]), etcp_buf_len(&r->key[SERVER]), &ctx) ==
            0) {
        (void)row->seal(ctx, row->flags & ETCP_CIPHER_CBC ? ETCP_STYLE_SALTED : ETCP_STYLE_NONE,
                        etcp_random_bytes, NULL, etcp_buf_bytes(reply), etcp_buf_len(reply),
                        &payload);
        row->free_ctx(ctx);
        feed_cut(&t->p, ETCP_FLAG_ENCRYPTED, &payload, cut);
    } else {
        feed_cut(&t->p, 0, reply, cut);
    }
    etcp_buf_deinit(&payload);
}

static void reply_text(run *t, const char *tag, const char *field, const char *field2, int cut)
{
    etcp_buf reply;

    etcp_buf_init(&reply);
    (void)etcp_buf_append_str(&reply, tag);
    if (field)
        (void)etcp_buf_append_byte(&reply, 0);
    (void)etcp_buf_append_str(&reply, field ? field : "");
    if (field2)
        (void)etcp_buf_append_byte(&reply, 0);
    (void)etcp_buf_append_str(&reply, field2 ? field2 : "");
    feed_reply(t, &reply, 1, cut);
    etcp_buf_deinit(&reply);
}

/* EU and CU: the recorded client may have answered an EU or CU of the server, which takes no
 * version. */
static void reply_choice(run *t, const char *tag, const event *e, int cut)
{
    const record *r = t->r;
    char text[100];
    char key[2] = "";

    look_into_event(r, e, text, sizeof text);
    key[0] = text[6];
    if (r->version[CLIENT] < ETCP_VERSION(0, 8) || strchr(text + 6, '|') || key[0] == '\0') {
        replies.recorded++;
        feed_cut(&t->p, e->flags, &e->payload, cut);
        return;
    }
    replies.versioned++;
    reply_text(t, tag, key, "1.0", cut);
}

/* EU and CU to the questions of that name: no recorded client declines what it chose. */
static void reply_agreement(run *t, const char *tag, const char *question, int cut)
{
    char key[2] = "";

    key[0] = question[6];
    replies.agreed++;
    reply_text(t, tag, key, NULL, cut);
}

/* EK, when the recorded one was meant for a server of another age. */
static void reply_key(run *t, int cut)
{
    const record *r = t->r;
    etcp_buf reply;

    etcp_buf_init(&reply);
    (void)etcp_buf_append(&reply, "EK", 3);
    (void)etcp_buf_append(&reply, etcp_buf_bytes(&r->key[CLIENT]), etcp_buf_len(&r->key[CLIENT]));
    if (etcp_munge_wants_keys(r->version[CLIENT]))
        etcp_munge(reply.data + reply.start + 3, etcp_buf_len(&reply) - 3);
    feed_reply(t, &reply, 1, cut);
    etcp_buf_deinit(&reply);
}

/* CP, for the salt that our server drew. */
static void reply_hash(run *t, int cut)
{
    const record *r = t->r;
    const uint8_t *salt = (const uint8_t *)t->p.s->negotiation->hash;
    char hash[ETCP_CRYPT3_SIZE];

    etcp_crypt3((const uint8_t *)r->password[CLIENT], strlen(r->password[CLIENT]), salt, hash);
    if (etcp_munge_wants_keys(r->version[CLIENT]))
        etcp_munge((uint8_t *)hash, strlen(hash));
    reply_text(t, "CP", hash, NULL, cut);
}

/* The salt of the recording, if our server could have drawn it. */
static int recorded_salt(const record *r, char salt[3])
{
    char text[100];
    size_t i;

    for (i = 0; i < r->count; i++) {
        if (r->events[i].from != SERVER || (r->events[i].flags & ETCP_FLAG_REAL))
            continue;
        look_into_event(r, &r->events[i], text, sizeof text);
        if (strncmp(text + 3, "CS|", 3) != 0 || strlen(text) != 8)
            continue;
        memcpy(salt, text + 6, 3);
        return salt[0] >= 'a' && salt[0] <= 'z' && salt[1] >= 'a' && salt[1] <= 'z';
    }
    return 0;
}

/* Replies to a question as the recorded client did. */
static void reply_to(run *t, const char *question, const char *salt, int cut)
{
    static const struct {
        const char *question;
        const char *reply;
    } tags[] = {{"VE", "VE"}, {"EA", "EU"}, {"EU", "EU"}, {"EK", "EK"},
                {"CA", "CU"}, {"CU", "CU"}, {"CS", "CP"}, {"EN", "EN"}};
    const record *r = t->r;
    const event *e = NULL;
    const char *tag = "NO";
    size_t i;

    for (i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (strncmp(question + 3, tags[i].question, 2) == 0)
            tag = tags[i].reply;
    e = recorded_reply(r, tag);
    if (strcmp(tag, "VE") == 0 && r->version[CLIENT] < ETCP_VERSION(0, 7))
        tag = "NO";
    if (strncmp(question + 3, tag, 2) == 0 && strchr("EC", tag[0]) && tag[1] == 'U') {
        reply_agreement(t, tag, question, cut);
    } else if (!e) {
        replies.invented++;
        reply_text(t, tag, strcmp(tag, "VE") == 0 ? r->version_text[CLIENT] : "", NULL, cut);
    } else if (strcmp(tag, "EU") == 0 || strcmp(tag, "CU") == 0) {
        reply_choice(t, tag, e, cut);
    } else if (strcmp(tag, "EK") == 0 &&
               (!fits_our_munging(r) || (e->flags & ETCP_FLAG_COMPRESSED))) {
        replies.remade++;
        reply_key(t, cut);
    } else if (strcmp(tag, "CP") == 0 && (!salt || !fits_our_munging(r))) {
        replies.remade++;
        reply_hash(t, cut);
    } else {
        replies.recorded++;
        feed_cut(&t->p, e->flags, &e->payload, cut);
    }
}

static void set_rsa_pair(const record *r, etcp_config *config)
{
    if (!is_asymmetric(r))
        return;
    (void)etcp_armour_decode(&config->rsa_public, etcp_buf_bytes(&r->public_key),
                             etcp_buf_len(&r->public_key));
    (void)etcp_buf_append(&config->rsa_private, etcp_buf_bytes(&r->key[SERVER]),
                          etcp_buf_len(&r->key[SERVER]));
}

/* Whether our server's offer to 1.x peers holds a key: for all ciphers but Crypt::RSA. */
static unsigned offers_key(const record *r)
{
    return !(r->flags[SERVER] & ETCP_DONOT_ENCRYPT) &&
           strspn(r->ciphers[SERVER], "-B") != strlen(r->ciphers[SERVER]);
}

static void play_to_server(record *r, int cut, const char *how)
{
    static char question[16000];
    char salt[3] = "";
    dice d = {&r->key[SERVER], NULL, 0, 0};
    etcp_config *config;
    int hears = r->cipher == '-' || merges(r->version[SERVER], r->version[CLIENT], r) ==
                                        merges(ETCP_VERSION(1, 0), r->version[CLIENT], r);
    run t;

    if (recorded_salt(r, salt))
        d.salt = salt;
    d.key_draws = offers_key(r); /* in the welcome packet, and the salt next to it */
    config = configure(r, SERVER, &d);
    set_rsa_pair(r, config);
    memset(&t, 0, sizeof t);
    t.r = r;
    t.role = SERVER;
    t.cut = cut;
    etcp_buf_init(&t.peer_key);
    (void)peer_init(&t.p, config);
    for (;;) {
        if (!is_asymmetric(r))
            force_key(r, SERVER, t.p.s);
        note_peer_key(&t);
        take_answer(&t, question, sizeof question);
        if (question[0] == '\0' || strcmp(question + 3, "PF") == 0)
            break;
        reply_to(&t, question, d.salt, cut);
    }
    play_messages(&t, cut, hears, hears);
    all_messages += t.messages;
    finish_run(&t, how);
    etcp_config_unref(config);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* All packets of one side, one after the other. */
static void stream_of(const record *r, side from, etcp_buf *out)
{
    size_t i;

    for (i = 0; i < r->count; i++)
        if (r->events[i].from == from)
            add_packet(out, r->events[i].flags, etcp_buf_bytes(&r->events[i].payload),
                       etcp_buf_len(&r->events[i].payload));
}

/* Feeds a stream, damaged at one place, to a new session. Errors must stay; nothing may crash. */
static int feed_damaged(const record *r, side role, const uint8_t *bytes, size_t len)
{
    dice d = {&r->key[role], NULL, 0, 0};
    etcp_config *config = configure(r, role, &d);
    int rc;
    int good;
    peer p;

    (void)peer_init(&p, config);
    rc = peer_feed(&p, bytes, len);
    good = rc <= 0 && rc == etcp_session_error(p.s)->code;
    if (rc < 0)
        good = good && peer_feed(&p, bytes, len) == rc && etcp_session_error(p.s)->text[0];
    peer_deinit(&p);
    etcp_config_unref(config);
    return good;
}

static void damage(const record *r, side role)
{
    static const uint8_t changes[] = {0x01, 0x08, 0x80, 0xff};
    etcp_buf stream;
    uint8_t *bytes;
    size_t len;
    size_t i;
    unsigned bad = 0;

    etcp_buf_init(&stream);
    stream_of(r, !role, &stream);
    bytes = stream.data + stream.start;
    len = etcp_buf_len(&stream) < 3000 ? etcp_buf_len(&stream) : 3000;
    for (i = 0; i < len; i++) {
        uint8_t kept = bytes[i];

        bad += !feed_damaged(r, role, bytes, i);
        bytes[i] ^= changes[i % sizeof changes];
        bad += !feed_damaged(r, role, bytes, len);
        bytes[i] = kept;
    }
    tap_is_int(bad, 0, "%s: %lu truncated and %lu changed streams to our %s", r->name,
               (unsigned long)len, (unsigned long)len, role == CLIENT ? "client" : "server");
    etcp_buf_deinit(&stream);
}

/* ---- everything ----------------------------------------------------------------------------- */

static size_t longest_packet(const record *r)
{
    size_t longest = 0;
    size_t i;

    for (i = 0; i < r->count; i++)
        if (etcp_buf_len(&r->events[i].payload) > longest)
            longest = etcp_buf_len(&r->events[i].payload);
    return longest + ETCP_FRAME_HEADER_MAX;
}

/* These few are cut at every boundary of all but the longest packets, and damaged at every byte. */
static int is_chosen(const record *r)
{
    static const char *const names[] = {"v007-v007-password-zlib-blowfish", "v010-v026-rijndael",
                                        "v026-v026-password-ciphersaber", "v026-v026-all-modules"};
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], r->name) == 0)
            return 1;
    return 0;
}

static void play(const char *file_name)
{
    record *r = read_record(file_name);
    int last = is_chosen(r) ? (int)longest_packet(r) : 4;
    int cut;

    if (last > LAST_CUT)
        last = LAST_CUT;
    play_to_client(r, 0, "client, whole");
    play_to_server(r, 0, "server, whole");
    play_to_client(r, ONE_BY_ONE, "client, byte by byte");
    play_to_server(r, ONE_BY_ONE, "server, byte by byte");
    for (cut = 1; cut <= last; cut++) {
        char how[40];

        (void)snprintf(how, sizeof how, "client, cut at %d", cut);
        play_to_client(r, cut, how);
        (void)snprintf(how, sizeof how, "server, cut at %d", cut);
        play_to_server(r, cut, how);
    }
    if (is_chosen(r)) {
        damage(r, CLIENT);
        damage(r, SERVER);
    }
    free_record(r);
}

static int is_recording(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

/* A row that no recording needs explains something that does not happen. */
static void check_tables(void)
{
    size_t i;

    for (i = 0; i < sizeof differences / sizeof differences[0]; i++)
        tap_ok(differences[i].used > 0, "row %lu of the differences is needed: %s",
               (unsigned long)i, differences[i].reason);
    for (i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        tap_ok(outcomes[i].used > 0, "row %lu of the outcomes is needed", (unsigned long)i);
}

int main(void)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_recording, alphasort);
    int i;

    tap_ok(count > 100, "%d recordings", count);
    for (i = 0; i < count; i++) {
        play(entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    check_tables();
    tap_note("%u messages went through", all_messages);
    tap_note("%u runs without hearing, %u without saying messages (keys of other ages)", unheard,
             unsaid);
    tap_note("replies: %u as recorded, %u with a version added, %u to EU and CU, %u remade, %u "
             "invented",
             replies.recorded, replies.versioned, replies.agreed, replies.remade, replies.invented);
    return tap_done();
}
