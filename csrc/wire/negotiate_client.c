/* The client's side of the negotiation: exactly one answer to every packet of the server, whatever
 * the order. An answer that fits every release is enough (Protocol.pod, "One handshake for all
 * releases"); COS, SVE, EM and CM are answered in full, because a server that gets NO there goes on
 * to compare the versions of modules we do not have. */
#include "negotiate.h"

#include <string.h>

#include "base/armour.h"
#include "base/error.h"
#include "base/mem.h"
#include "capability.h"
#include "choice.h"
#include "frame.h"
#include "munge.h"
#include "negotiate_inside.h"
#include "state.h"
#include "sve.h"

/* Servers from this version on send COF, and mean it. */
#define FIRST_COMPATABILITY_VERSION ETCP_VERSION(0, 20)

/* Servers from the first of these on ask for passwords; below the second they drew salts that their
 * own crypt(3) may refuse. */
#define FIRST_PASSWORD_VERSION ETCP_VERSION(0, 7)
#define FIRST_VALID_SALT_VERSION ETCP_VERSION(0, 18)

/* Servers from this version on read 4096 bytes at a time. */
#define FIRST_SHORT_READ_VERSION ETCP_VERSION(0, 7)

/* Originals draw 129 characters; nobody needs our own image of more than this. */
enum { SCALAR_MAX = 1024 };

static const char not_understood[] = "I don't understand you";
static int refuse(etcp_session *s, const char *reason)
{
    etcp_command c;

    etcp_command_begin(&c, "NO");
    etcp_command_add_text(&c, reason);
    return etcp_command_send(s, &c);
}

static int answer_unknown(etcp_session *s, const etcp_fields *f)
{
    (void)f;
    return refuse(s, not_understood);
}

/* The welcome packet has no tag: its first field is text for people. */
static int answer_welcome(etcp_session *s, const etcp_fields *f)
{
    int rc = etcp_capability_answer(s, f);

    if (rc < 0 || rc == ETCP_TAKEN_TLS)
        return rc;
    return rc == 0 ? refuse(s, not_understood) : 0;
}

static int answer_version(etcp_session *s, const etcp_fields *f)
{
    etcp_command c;

    etcp_negotiation_note_version(s, &f->at[1]);
    etcp_command_begin(&c, "VE");
    etcp_command_add_text(&c, s->config->version);
    if (!etcp_session_peer_is_old(s)) {
        /* Servers of ours have listed theirs in the offer. */
        if (f->at[2].len)
            etcp_capability_note(s, &f->at[2]);
        etcp_capability_tell(s, &c);
    }
    return etcp_command_send(s, &c);
}

/* ---- compatibility of values ---------------------------------------------------------------- */

static int no_memory(etcp_session *s)
{
    return etcp_error_set(&s->error, ETCP_ENOMEM, "%s", etcp_code_text(ETCP_ENOMEM));
}

static int answer_scalar(etcp_session *s, const etcp_fields *f)
{
    etcp_negotiation *n = s->negotiation;
    etcp_command c;

    etcp_buf_clear(&n->scalar);
    if (etcp_armour_decode(&n->scalar, f->at[1].bytes, f->at[1].len) < 0)
        return no_memory(s);
    n->has_scalar = 1;
    etcp_command_begin(&c, "COS");
    etcp_command_add(&c, f->at[1].bytes, f->at[1].len);
    return etcp_command_send(s, &c);
}

/* Whether the server's image is the one its scalar demands; anything is, before a scalar. */
static int is_good_image(etcp_session *s, const etcp_field *field)
{
    etcp_negotiation *n = s->negotiation;
    etcp_buf image;
    int good;

    if (!n->has_scalar)
        return 1;
    etcp_buf_init(&image);
    good = etcp_armour_decode(&image, field->bytes, field->len);
    if (good == 0)
        good = etcp_sve_matches(etcp_buf_bytes(&image), etcp_buf_len(&image),
                                etcp_buf_bytes(&n->scalar), etcp_buf_len(&n->scalar));
    etcp_buf_deinit(&image);
    return good;
}

static int add_own_image(etcp_session *s, etcp_command *c)
{
    etcp_negotiation *n = s->negotiation;
    etcp_buf image;

    etcp_command_add_text(c, s->config->storable_version);
    if (etcp_buf_len(&n->scalar) > SCALAR_MAX)
        return 0;
    etcp_buf_init(&image);
    if (etcp_sve_write(&image, s->config->storable_minor, etcp_buf_bytes(&n->scalar),
                       etcp_buf_len(&n->scalar)) < 0)
        return no_memory(s);
    etcp_command_add_armoured(c, etcp_buf_bytes(&image), etcp_buf_len(&image));
    etcp_buf_deinit(&image);
    return 0;
}

/* The server's own words satisfy every server, whatever its Storable is. Servers of 0.15 to 0.19
 * send none and compare versions afterwards, which only leads to an SVF that we ignore. */
static int answer_storable(etcp_session *s, const etcp_fields *f)
{
    etcp_command c;
    int good = f->at[2].len ? is_good_image(s, &f->at[2]) : 0;

    if (good < 0)
        return no_memory(s);
    etcp_command_begin(&c, "SVE");
    if (good) {
        etcp_command_add(&c, f->at[1].bytes, f->at[1].len);
        etcp_command_add(&c, f->at[2].bytes, f->at[2].len);
    } else if (f->at[2].len) {
        int rc = add_own_image(s, &c);

        if (rc < 0) {
            etcp_command_drop(&c);
            return rc;
        }
    } else if (f->at[1].len) {
        etcp_command_add(&c, f->at[1].bytes, f->at[1].len);
    } else {
        etcp_command_add_text(&c, s->config->storable_version);
    }
    return etcp_command_send(s, &c);
}

/* Copies the printable part of a field that ends up in an error text. */
static const char *printable(const etcp_field *field, char *text, size_t size)
{
    size_t i;

    for (i = 0; i < field->len && i < size - 1; i++)
        text[i] = field->bytes[i] >= 32 && field->bytes[i] < 127 ? (char)field->bytes[i] : '?';
    text[i] = '\0';
    return text;
}

static int answer_incompatible(etcp_session *s, const etcp_fields *f)
{
    char text[100];

    if (s->peer_version < FIRST_COMPATABILITY_VERSION)
        return answer_unknown(s, f);
    return etcp_error_set(&s->error, ETCP_EREJECTED,
                          "Compatability failure: The client and server could not negotiate "
                          "compatability regarding: %s",
                          printable(&f->at[1], text, sizeof text));
}

/* ---- cipher --------------------------------------------------------------------------------- */

/* Opens the server's sample with the key beside it. Returns 1 if it holds the scalar, 0 if not, or
 * ETCP_ENOMEM. The key is data: it is parsed strictly, never evaluated or thawed. */
static int try_sample(etcp_session *s, etcp_transform *trial, const etcp_fields *f)
{
    const etcp_buf *scalar = &s->negotiation->scalar;
    etcp_buf key;
    etcp_buf sample;
    etcp_buf plain;
    int rc;

    etcp_buf_init(&key);
    etcp_buf_init(&sample);
    etcp_buf_init(&plain);
    if ((rc = etcp_armour_decode(&key, f->at[3].bytes, f->at[3].len)) == 0 &&
        (rc = etcp_armour_decode(&sample, f->at[4].bytes, f->at[4].len)) == 0 &&
        (rc = etcp_transform_set_own_key(trial, etcp_buf_bytes(&key), etcp_buf_len(&key))) == 0 &&
        (rc = etcp_transform_open(trial, etcp_buf_bytes(&sample), etcp_buf_len(&sample), &plain)) ==
            0)
        rc = etcp_buf_len(&plain) == etcp_buf_len(scalar) &&
             memcmp(etcp_buf_bytes(&plain), etcp_buf_bytes(scalar), etcp_buf_len(scalar)) == 0;
    etcp_buf_wipe(&key);
    etcp_buf_deinit(&sample);
    etcp_buf_deinit(&plain);
    return rc == ETCP_ENOMEM || rc >= 0 ? rc : 0;
}

/* Answers with the scalar sealed by a key made for this purpose alone: its private half is shown.
 */
static int send_own_sample(etcp_session *s, etcp_transform *trial, const etcp_fields *f)
{
    const etcp_config *config = s->config;
    const etcp_buf *scalar = &s->negotiation->scalar;
    etcp_buf public_key;
    etcp_buf private_key;
    etcp_buf sample;
    etcp_command c;

    etcp_buf_init(&public_key);
    etcp_buf_init(&private_key);
    etcp_buf_init(&sample);
    etcp_command_begin(&c, "EM");
    if (c.rc == 0)
        c.rc = etcp_cipher_new_keys(trial->cipher, config->random, config->random_arg, &public_key,
                                    &private_key);
    if (c.rc == 0)
        c.rc = etcp_transform_set_peer_key(trial, etcp_buf_bytes(&public_key),
                                           etcp_buf_len(&public_key));
    if (c.rc == 0)
        c.rc = etcp_transform_seal(trial, config, etcp_buf_bytes(scalar), etcp_buf_len(scalar),
                                   &sample);
    etcp_command_add(&c, f->at[1].bytes, f->at[1].len);
    etcp_command_add(&c, f->at[2].bytes, f->at[2].len);
    etcp_command_add_armoured(&c, etcp_buf_bytes(&private_key), etcp_buf_len(&private_key));
    etcp_command_add_armoured(&c, etcp_buf_bytes(&sample), etcp_buf_len(&sample));
    etcp_buf_wipe(&public_key);
    etcp_buf_wipe(&private_key);
    etcp_buf_deinit(&sample);
    return etcp_command_send(s, &c);
}

static int answer_cipher_sample(etcp_session *s, const etcp_fields *f)
{
    etcp_negotiation *n = s->negotiation;
    const char *reason = NULL;
    const etcp_cipher *row = etcp_usable_cipher(s, &f->at[1], &reason);
    etcp_transform trial;
    int rc;

    if (!row)
        return refuse(s, reason);
    if (!n->has_scalar || etcp_buf_len(&n->scalar) > SCALAR_MAX)
        return refuse(s, not_understood);
    memset(&trial, 0, sizeof trial);
    trial.cipher = row;
    rc = try_sample(s, &trial, f);
    if (rc == 1) {
        n->proven = row;
        n->proven_style = trial.style;
        rc = send_own_sample(s, &trial, f);
    } else if (rc == 0) {
        rc = refuse(s, "Decrypted data did not match");
    } else {
        rc = no_memory(s);
    }
    etcp_transform_deinit(&trial);
    return rc;
}

/* Settles on a cipher, until keys are made. Returns 0 if it is too late. */
static int choose_cipher(etcp_session *s, const etcp_cipher *row)
{
    etcp_negotiation *n = s->negotiation;

    if (s->transform.open)
        return 0;
    s->transform.cipher = row;
    s->transform.style = n->proven == row ? n->proven_style : ETCP_STYLE_NONE;
    return 1;
}

static int answer_cipher_choice(etcp_session *s, const etcp_fields *f)
{
    const char *reason = NULL;
    const etcp_cipher *row = etcp_usable_cipher(s, &f->at[1], &reason);
    etcp_command c;

    if (!row)
        return refuse(s, reason);
    if (!choose_cipher(s, row))
        return refuse(s, not_understood);
    etcp_command_begin(&c, "EU");
    etcp_command_add(&c, f->at[1].bytes, f->at[1].len);
    return etcp_command_send(s, &c);
}

/* An original's list is taken at its word, best first. From a server like us we take the best by
 * our own order: its list has that of the originals, and never Crypt::RSA, which has no rank. */
static const etcp_cipher *best_cipher(etcp_session *s, const etcp_fields *f)
{
    const etcp_cipher *best = NULL;
    const char *reason;
    size_t i;

    for (i = 1; i < f->count; i++) {
        const etcp_cipher *row = etcp_usable_cipher(s, &f->at[i], &reason);

        if (row && etcp_session_peer_is_old(s))
            return row;
        if (row && row->rank && (!best || row->rank < best->rank))
            best = row;
    }
    return best;
}

static int answer_cipher_list(etcp_session *s, const etcp_fields *f)
{
    const etcp_cipher *row = best_cipher(s, f);
    etcp_command c;

    if (row && !choose_cipher(s, row))
        return refuse(s, not_understood);
    etcp_command_begin(&c, "EU");
    etcp_command_add(&c, row ? (const uint8_t *)&row->key : NULL, row ? 1 : 0);
    etcp_command_add_text(&c, row ? row->version : "");
    return etcp_command_send(s, &c);
}

/* Crypt::CBC of 2.17 and later ends the program of a server that gets the old style, and older ones
 * read the new style as garbage. Until the server has shown what it writes, send nothing sealed:
 * its next packet will be, with our key. No server minds an answer in clear. */
static int style_is_unknown(const etcp_session *s)
{
    return (s->transform.cipher->flags & ETCP_CIPHER_CBC) &&
           s->transform.style == ETCP_STYLE_NONE && etcp_session_peer_is_old(s);
}

static int answer_key(etcp_session *s, const etcp_fields *f)
{
    etcp_buf public_key;
    etcp_command c;
    int rc;

    if (s->transform.open)
        return refuse(s, not_understood);
    etcp_buf_init(&public_key);
    if (s->transform.cipher && ((rc = etcp_negotiation_take_key(s, &f->at[1])) < 0 ||
                                (rc = etcp_negotiation_make_keys(s, &public_key)) < 0)) {
        etcp_buf_wipe(&public_key);
        return rc;
    }
    etcp_command_begin(&c, "EK");
    if (!s->transform.cipher) {
        etcp_command_add(&c, NULL, 0);
        rc = etcp_command_send(s, &c);
    } else {
        etcp_negotiation_add_key(s, &c, etcp_buf_bytes(&public_key), etcp_buf_len(&public_key));
        rc = style_is_unknown(s) ? etcp_command_send_clear(s, &c) : etcp_command_send(s, &c);
    }
    etcp_buf_wipe(&public_key);
    return rc;
}

/* ---- compressor ----------------------------------------------------------------------------- */

/* Whether this compressor's sample holds the scalar: 1, 0, or ETCP_ENOMEM. */
static int holds_scalar(etcp_session *s, const etcp_compressor *row, const etcp_buf *sample)
{
    const etcp_buf *scalar = &s->negotiation->scalar;
    etcp_buf plain;
    int rc;

    etcp_buf_init(&plain);
    rc = row->decompress(etcp_compressor_state_of(s->config, row), etcp_buf_bytes(sample),
                         etcp_buf_len(sample), etcp_buf_len(scalar), &plain);
    if (rc == 0)
        rc = etcp_buf_len(&plain) == etcp_buf_len(scalar) &&
             memcmp(etcp_buf_bytes(&plain), etcp_buf_bytes(scalar), etcp_buf_len(scalar)) == 0;
    etcp_buf_deinit(&plain);
    return rc == ETCP_ENOMEM || rc >= 0 ? rc : 0;
}

/* Finds the compressor of a sample. Servers of 0.26 name it by an accidental text: then whichever
 * yields the scalar is the one. Returns 0 (*found may be NULL) or ETCP_ENOMEM. */
static int identify_compressor(etcp_session *s, const etcp_fields *f, const etcp_compressor **found)
{
    etcp_offer offer = etcp_offer_allowed(s, ETCP_MODULE_COMPRESSOR);
    const etcp_compressor *named = etcp_compressor_by_key(etcp_field_key(&f->at[1]));
    char letters[ETCP_LETTERS_MAX + 1];
    etcp_buf sample;
    size_t i;
    int rc;

    *found = NULL;
    etcp_offer_letters(offer, letters);
    etcp_buf_init(&sample);
    rc = etcp_armour_decode(&sample, f->at[3].bytes, f->at[3].len);
    for (i = 0; letters[i] && rc == 0; i++) {
        const etcp_compressor *row = etcp_offer_compressor(offer, letters[i]);

        if (named && named != row)
            continue;
        rc = holds_scalar(s, row, &sample);
        if (rc == 1)
            *found = row;
    }
    etcp_buf_deinit(&sample);
    return rc < 0 ? rc : 0;
}

/* The server only looks at whether its own module can undo field 3 of the answer: its own sample.
 */
static int answer_compressor_sample(etcp_session *s, const etcp_fields *f)
{
    const etcp_negotiation *n = s->negotiation;
    const etcp_refusals *words = &etcp_refusal[ETCP_MODULE_COMPRESSOR];
    const etcp_compressor *row;
    etcp_command c;

    if (s->config->flags & ETCP_DONOT_COMPRESS)
        return refuse(s, words->kind);
    if (!n->has_scalar || etcp_buf_len(&n->scalar) > SCALAR_MAX)
        return refuse(s, not_understood);
    if (identify_compressor(s, f, &row) < 0)
        return no_memory(s);
    if (!row)
        return refuse(s, words->module);
    etcp_command_begin(&c, "CM");
    etcp_command_add(&c, (const uint8_t *)&row->key, 1);
    etcp_command_add_text(&c, row->version);
    etcp_command_add(&c, f->at[3].bytes, f->at[3].len);
    return etcp_command_send(s, &c);
}

static int answer_compressor_choice(etcp_session *s, const etcp_fields *f)
{
    const char *reason = NULL;
    const etcp_compressor *row = etcp_usable_compressor(s, &f->at[1], &reason);
    etcp_command c;

    if (!row)
        return refuse(s, reason);
    etcp_capability_use_compressor(s, row);
    etcp_command_begin(&c, "CU");
    etcp_command_add(&c, f->at[1].bytes, f->at[1].len);
    return etcp_command_send(s, &c);
}

static int answer_compressor_list(etcp_session *s, const etcp_fields *f)
{
    const etcp_compressor *row = NULL;
    const char *reason;
    etcp_command c;
    size_t i;

    for (i = 1; i < f->count && !row; i++)
        row = etcp_usable_compressor(s, &f->at[i], &reason);
    if (row)
        etcp_capability_use_compressor(s, row);
    etcp_command_begin(&c, "CU");
    etcp_command_add(&c, row ? (const uint8_t *)&row->key : NULL, row ? 1 : 0);
    etcp_command_add_text(&c, row ? row->version : "");
    return etcp_command_send(s, &c);
}

/* ---- password ------------------------------------------------------------------------------- */

/* Servers of 0.07 to 0.17 often draw salts that crypt(3) refuses; what it answers then is what logs
 * in. From any other server such a salt is an attempt to make us compute something else. */
static int salt_is_acceptable(const etcp_session *s, const uint8_t *salt, size_t len)
{
    if (len != 2)
        return 0;
    return etcp_crypt3_salt_is_valid(salt) || (s->peer_version >= FIRST_PASSWORD_VERSION &&
                                               s->peer_version < FIRST_VALID_SALT_VERSION);
}

static int answer_salt(etcp_session *s, const etcp_fields *f)
{
    uint8_t salt[2] = {0, 0};
    char hash[ETCP_CRYPT3_SIZE];
    size_t hash_len;
    etcp_command c;
    int rc;

    memcpy(salt, f->at[1].bytes, f->at[1].len < 2 ? f->at[1].len : 2);
    if (etcp_munge_wants_salt(s->peer_version))
        etcp_munge(salt, sizeof salt);
    if (!salt_is_acceptable(s, salt, f->at[1].len))
        return etcp_error_set(&s->error, ETCP_EPROTO,
                              "The server's salt for the password is unusable");
    if ((rc = etcp_negotiation_check_mark(s, salt)) < 0)
        return rc;
    etcp_negotiation_hash(s, salt, hash);
    hash_len = strlen(hash);
    if (etcp_munge_wants_keys(s->peer_version))
        etcp_munge((uint8_t *)hash, hash_len);
    etcp_command_begin(&c, "CP");
    etcp_command_add(&c, (const uint8_t *)hash, hash_len);
    etcp_wipe(hash, sizeof hash);
    s->authenticated = 1;
    return etcp_command_send(s, &c);
}

static int answer_rejection(etcp_session *s, const etcp_fields *f)
{
    (void)f;
    if (!s->config->password)
        return etcp_error_set(&s->error, ETCP_EREJECTED,
                              "Server rejected supplied password: none was supplied");
    return etcp_error_set(&s->error, ETCP_EREJECTED, "Server rejected supplied password");
}

/* ---- end ------------------------------------------------------------------------------------ */

enum {
    PADDED = ETCP_FRAME_READ_UNIT,
    PADDED_PAYLOAD_MAX = PADDED - ETCP_FRAME_LONG_HEADER_MIN,
    PADDED_PAYLOAD_MIN = PADDED - ETCP_FRAME_LONG_HEADER_MAX
};

/* Makes EN with a second field so long that its wire form, sealed or not, fits a packet of exactly
 * 4096 bytes. How much sealing adds depends on the cipher: try, and shrink in proportion. Returns 1
 * (payload holds it), 0 (this cipher offers no such size), or an error. */
static int make_padded_end(etcp_session *s, etcp_buf *payload)
{
    size_t size = s->transform.seal ? PADDED_PAYLOAD_MAX - 32 : PADDED_PAYLOAD_MAX;
    uint8_t text[PADDED];
    unsigned tries;

    memset(text, ' ', sizeof text);
    memcpy(text, "EN", 3);
    for (tries = 0; tries < 8; tries++) {
        size_t len;
        int rc;

        etcp_buf_clear(payload);
        rc = s->transform.seal ? etcp_transform_seal(&s->transform, s->config, text, size, payload)
                               : etcp_buf_append(payload, text, size);
        if (rc < 0)
            return rc;
        len = etcp_buf_len(payload);
        if (len < PADDED_PAYLOAD_MIN)
            return 0;
        if (len <= PADDED_PAYLOAD_MAX)
            return 1;
        size = size * PADDED_PAYLOAD_MAX / len - 16;
    }
    return 0;
}

static int queue_padded(etcp_session *s, const etcp_buf *payload)
{
    uint8_t header[ETCP_FRAME_LONG_HEADER_MAX];
    size_t len = etcp_buf_len(payload);
    size_t header_len = PADDED - len;
    int rc = etcp_buf_reserve(&s->output, PADDED);

    if (rc < 0)
        return rc;
    etcp_frame_encode_long(header, header_len, s->transform.seal ? ETCP_FLAG_ENCRYPTED : 0, len);
    (void)etcp_buf_append(&s->output, header, header_len);
    return etcp_buf_append(&s->output, etcp_buf_bytes(payload), len);
}

static int send_plain_end(etcp_session *s)
{
    etcp_command c;

    etcp_command_begin(&c, "EN");
    return etcp_command_send(s, &c);
}

/* A server of 0.26 that finds our EN and our first message in one read decrypts the message before
 * it has merged the password into the keys, and loses it; without a password it leaves it lying
 * until more bytes come. It reads 4096 bytes at a time (0.07 and later), and has consumed
 * everything before our EN, because it waited for it: so this read begins with EN, and an EN of
 * exactly 4096 bytes fills it. The message can then only get in if the read finds part of EN and
 * the message arrives before the next one: the gap that etcp_session_wants_gap asks for makes EN
 * arrive whole first. Either alone is weaker: without the padding a server that is busy for longer
 * than the gap reads both at once, without the gap a read that comes between the segments of EN
 * does.
 *
 * The packet's size is met exactly by the length field: originals take its first four bytes and
 * skip the rest, so the header can be as long as a cipher's block size demands. Extra fields are
 * ignored. */
static int send_end_to_original(etcp_session *s)
{
    etcp_buf payload;
    int rc;

    s->gap = 1;
    if (s->peer_version < FIRST_SHORT_READ_VERSION)
        return send_plain_end(s);
    etcp_buf_init(&payload);
    rc = make_padded_end(s, &payload);
    if (rc == 1)
        rc = queue_padded(s, &payload);
    else if (rc == 0)
        rc = send_plain_end(s);
    etcp_buf_deinit(&payload);
    if (rc < 0)
        return etcp_error_set(&s->error, rc, "Could not make the last negotiation packet: %s",
                              etcp_code_text(rc));
    return 0;
}

static int answer_end(etcp_session *s, const etcp_fields *f)
{
    int rc = etcp_negotiation_check(s);

    (void)f;
    if (rc == 0)
        rc = etcp_session_peer_is_old(s) ? send_end_to_original(s) : send_plain_end(s);
    return rc < 0 ? rc : etcp_negotiation_finish(s);
}

/* ---- the table ------------------------------------------------------------------------------ */

/* EVF, CVF and SVF tell us that module versions differ: ours are not modules, and the server only
 * advises. They, NO and whatever we do not know get NO; so does the welcome packet, whose tag is
 * its whole text. */
static const struct command_row {
    const char *tag;
    int (*answer)(etcp_session *s, const etcp_fields *f);
} commands[] = {
    {"VE", answer_version},           {"COS", answer_scalar},
    {"COF", answer_incompatible},     {"SVE", answer_storable},
    {"EM", answer_cipher_sample},     {"EU", answer_cipher_choice},
    {"EA", answer_cipher_list},       {"EK", answer_key},
    {"CM", answer_compressor_sample}, {"CU", answer_compressor_choice},
    {"CA", answer_compressor_list},   {"CS", answer_salt},
    {"PF", answer_rejection},         {"EN", answer_end},
};

int etcp_client_take(etcp_session *s, const etcp_fields *f)
{
    size_t i;
    int rc;

    if (etcp_fields_have_no_tag(f))
        return etcp_error_set(&s->error, ETCP_EPROTO,
                              "Error negotiating with server. No command received.");
    if (s->negotiation->inside)
        return etcp_inside_client_take(s, f);
    if (s->negotiation->packets == 1 && (rc = etcp_capability_look(s, f)) < 0)
        return rc;
    for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (etcp_field_is(&f->at[0], commands[i].tag))
            return commands[i].answer(s, f);
    return s->negotiation->packets == 1 ? answer_welcome(s, f) : answer_unknown(s, f);
}
