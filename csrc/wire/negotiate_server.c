/* The server's side of the negotiation: it asks, the client answers, one packet in flight.
 *
 * What is asked of whom is the sequence that every release understands (Protocol.pod, "One
 * handshake for all releases"): no COS and SVE, nor EM and CM with a sample, which only serve to
 * compare modules we do not have. */
#include "negotiate.h"

#include <string.h>

#include "base/error.h"
#include "capability.h"
#include "choice.h"
#include "munge.h"
#include "negotiate_inside.h"
#include "password.h"
#include "state.h"

/* Clients from this version on name the module's version with the module they choose. */
#define FIRST_MODULE_VERSION ETCP_VERSION(0, 8)

/* From this version on clients have the options donotencryptwith and donotcompresswith. */
#define FIRST_OPTIONS_VERSION ETCP_VERSION(0, 23)

/* From this version on clients know CS. */
#define FIRST_PASSWORD_VERSION ETCP_VERSION(0, 7)

static const char crlf[] = "\r\n";

/* ---- welcome -------------------------------------------------------------------------------- */

static void add_line(etcp_command *c, const char *text)
{
    if (c->rc == 0)
        c->rc = etcp_buf_append_str(&c->text, text);
}

/* The layout of 0.11 and later; people see it in telnet, programs answer NO. */
static int ask_welcome(etcp_session *s)
{
    const etcp_config *config = s->config;
    etcp_command c;
    unsigned i;

    etcp_command_begin(&c, "");
    for (i = 0; i < 8; i++)
        add_line(&c, crlf);
    add_line(&c, "-----BEGIN CLEARTEXT WELCOME MESSAGE-----\r\n::\r\n::  HELLO  ::  ");
    add_line(&c, config->class_name);
    add_line(&c, " VERSION ");
    add_line(&c, config->version);
    add_line(&c, "  ::  SERVER READY  ::\r\n::\r\n");
    if (config->welcome && config->welcome[0]) {
        add_line(&c, "::  ");
        add_line(&c, config->welcome);
        add_line(&c, "\r\n::\r\n");
    }
    add_line(&c, "-----END CLEARTEXT WELCOME MESSAGE-----\r\n");
    etcp_capability_offer(s, &c);
    return etcp_command_send(s, &c);
}

/* ---- version -------------------------------------------------------------------------------- */

static int ask_version(etcp_session *s)
{
    etcp_command c;

    etcp_command_begin(&c, "VE");
    etcp_command_add_text(&c, s->config->version);
    return etcp_command_send(s, &c);
}

static int take_version(etcp_session *s, const etcp_fields *f)
{
    etcp_negotiation_note_version(s, &f->at[1]);
    if (etcp_session_peer_is_old(s))
        return 0;
    /* It has read ours in the offer, even if it could not take that. */
    etcp_capability_note(s, &f->at[2]);
    if (s->negotiation->offered)
        etcp_capability_note_told(s);
    return 0;
}

/* ---- which module --------------------------------------------------------------------------- */

/* Clients of 0.23 to 0.26 forget their options donotencryptwith and donotcompresswith when they
 * choose from a list, but heed them when one module is named. Older ones have no such options, and
 * newer ones forget nothing. */
static int forgets_options(const etcp_session *s)
{
    return etcp_session_peer_is_old(s) && s->peer_version >= FIRST_OPTIONS_VERSION;
}

/* The letter of the module that the client chose, or '\0'. */
static char chosen(const etcp_session *s, etcp_module kind)
{
    if (kind == ETCP_MODULE_CIPHER)
        return s->transform.cipher ? s->transform.cipher->key : '\0';
    return s->transform.compressor ? s->transform.compressor->key : '\0';
}

/* Whether it has a choice that it then declined, and so has made no other since. */
static int is_declined(const etcp_session *s, etcp_module kind)
{
    return (etcp_offer_row(kind, chosen(s, kind)) & s->negotiation->declined_rows[kind]) != 0;
}

/* Asks which module of this kind to use, if there is one to offer that was not declined. */
static int ask_choice(etcp_session *s, etcp_module kind)
{
    etcp_offer offer = etcp_offer_to_client(s, kind);
    char letters[ETCP_LETTERS_MAX + 1];
    etcp_command c;
    size_t i;

    offer.rows &= ~s->negotiation->declined_rows[kind];
    s->negotiation->offered_rows[kind] = offer.rows;
    if (!offer.rows)
        return ETCP_AGAIN;
    etcp_offer_letters(offer, letters);
    etcp_command_begin(&c, kind == ETCP_MODULE_CIPHER ? "EA" : "CA");
    for (i = 0; letters[i]; i++)
        etcp_command_add(&c, (const uint8_t *)&letters[i], 1);
    return etcp_command_send(s, &c);
}

static etcp_offer offered(const etcp_session *s, etcp_module kind)
{
    etcp_offer offer = {kind, s->negotiation->offered_rows[kind]};

    return offer;
}

/* A client of 0.20 and later that once met a module it lacks believes from then on that it has it,
 * and chooses it; but it has no version to name then. Older ones never name versions. */
static int names_no_version(const etcp_session *s, const etcp_fields *f)
{
    return s->peer_version >= FIRST_MODULE_VERSION && f->at[2].len == 0;
}

/* Asks a client that forgets its options whether it may use what it chose. */
static int ask_use(etcp_session *s, etcp_module kind)
{
    char letter = chosen(s, kind);
    etcp_command c;

    if (!letter || !forgets_options(s) || is_declined(s, kind))
        return ETCP_AGAIN;
    etcp_command_begin(&c, kind == ETCP_MODULE_CIPHER ? "EU" : "CU");
    etcp_command_add(&c, (const uint8_t *)&letter, 1);
    return etcp_command_send(s, &c);
}

/* It may not: its choice is to be made again, by the step after this one. The module stays, since
 * the client uses the compressor until it has another. */
static int decline(etcp_session *s, etcp_module kind, etcp_step before_choice)
{
    etcp_negotiation *n = s->negotiation;

    n->declined_rows[kind] |= etcp_offer_row(kind, chosen(s, kind));
    n->step = before_choice;
    return 0;
}

/* A client without a second choice keeps the first. It forgets that over a sample of a module that
 * it does not know. A sample of one that it knows would have to be a good one: a client that has
 * met a bad one refuses the module from then on, on other connections, too. */
static int ask_forget(etcp_session *s, etcp_module kind)
{
    etcp_command c;

    if (!is_declined(s, kind))
        return ETCP_AGAIN;
    etcp_command_begin(&c, kind == ETCP_MODULE_CIPHER ? "EM" : "CM");
    etcp_command_add_text(&c, "?");
    return etcp_command_send(s, &c);
}

/* ---- cipher --------------------------------------------------------------------------------- */

static int ask_cipher(etcp_session *s)
{
    return ask_choice(s, ETCP_MODULE_CIPHER);
}

static int take_cipher(etcp_session *s, const etcp_fields *f)
{
    const etcp_cipher *row =
        etcp_offer_cipher(offered(s, ETCP_MODULE_CIPHER), etcp_field_key(&f->at[1]));

    if (row && !names_no_version(s, f))
        s->transform.cipher = row;
    return 0;
}

static int ask_cipher_use(etcp_session *s)
{
    return ask_use(s, ETCP_MODULE_CIPHER);
}

static int decline_cipher(etcp_session *s)
{
    return decline(s, ETCP_MODULE_CIPHER, ETCP_STEP_EA - 1);
}

static int take_cipher_use(etcp_session *s, const etcp_fields *f)
{
    return etcp_field_key(&f->at[1]) == s->transform.cipher->key ? 0 : decline_cipher(s);
}

static int ask_forget_cipher(etcp_session *s)
{
    return ask_forget(s, ETCP_MODULE_CIPHER);
}

static int forget_cipher(etcp_session *s)
{
    s->transform.cipher = NULL;
    return 0;
}

static int ask_key(etcp_session *s)
{
    etcp_buf public_key;
    etcp_command c;
    int rc;

    if (!s->transform.cipher)
        return ETCP_AGAIN;
    etcp_buf_init(&public_key);
    rc = etcp_negotiation_make_keys(s, &public_key);
    if (rc == 0) {
        etcp_command_begin(&c, "EK");
        etcp_negotiation_add_key(s, &c, etcp_buf_bytes(&public_key), etcp_buf_len(&public_key));
        rc = etcp_command_send(s, &c);
    }
    etcp_buf_wipe(&public_key);
    return rc;
}

static int take_key(etcp_session *s, const etcp_fields *f)
{
    return etcp_negotiation_take_key(s, &f->at[1]);
}

static int miss_key(etcp_session *s)
{
    return etcp_error_set(&s->error, ETCP_EPROTO, "The client chose %s but gave no key",
                          s->transform.cipher->name);
}

/* ---- compressor ----------------------------------------------------------------------------- */

static int ask_compressor(etcp_session *s)
{
    return ask_choice(s, ETCP_MODULE_COMPRESSOR);
}

/* Clients up to 0.07 that have no compressor answer CA with the letter of the cipher they chose.
 * "2" names a module of either kind, so it cannot be believed then. */
static int repeats_cipher(const etcp_session *s, char key)
{
    return s->peer_version < FIRST_MODULE_VERSION && s->transform.cipher &&
           s->transform.cipher->key == key;
}

static int take_compressor(etcp_session *s, const etcp_fields *f)
{
    const etcp_compressor *row =
        etcp_offer_compressor(offered(s, ETCP_MODULE_COMPRESSOR), etcp_field_key(&f->at[1]));

    if (row && !names_no_version(s, f) && !repeats_cipher(s, row->key))
        etcp_capability_use_compressor(s, row);
    return 0;
}

static int ask_compressor_use(etcp_session *s)
{
    return ask_use(s, ETCP_MODULE_COMPRESSOR);
}

static int decline_compressor(etcp_session *s)
{
    return decline(s, ETCP_MODULE_COMPRESSOR, ETCP_STEP_CA - 1);
}

static int take_compressor_use(etcp_session *s, const etcp_fields *f)
{
    return etcp_field_key(&f->at[1]) == s->transform.compressor->key ? 0 : decline_compressor(s);
}

static int ask_forget_compressor(etcp_session *s)
{
    return ask_forget(s, ETCP_MODULE_COMPRESSOR);
}

static int forget_compressor(etcp_session *s)
{
    s->transform.compressor = NULL;
    return 0;
}

/* ---- password ------------------------------------------------------------------------------- */

static int ask_password(etcp_session *s)
{
    const etcp_config *config = s->config;
    uint8_t salt[2];
    etcp_command c;
    int rc;

    if (!config->password)
        return ETCP_AGAIN;
    if (s->peer_version < FIRST_PASSWORD_VERSION) {
        /* Such a client could never let itself be recognised; only an empty password lets it in. */
        if (config->password_len == 0)
            return ETCP_AGAIN;
        return etcp_error_set(&s->error, ETCP_EREJECTED,
                              "The client is too old to know about passwords");
    }
    rc = etcp_negotiation_make_salt(s);
    if (rc < 0)
        return etcp_error_set(&s->error, rc, "Could not make a salt: %s", etcp_code_text(rc));
    memcpy(salt, s->negotiation->salt, sizeof salt);
    etcp_negotiation_hash(s, salt, s->negotiation->hash);
    if (etcp_munge_wants_salt(s->peer_version))
        etcp_munge(salt, sizeof salt);
    etcp_command_begin(&c, "CS");
    etcp_command_add(&c, salt, sizeof salt);
    return etcp_command_send(s, &c);
}

/* Keeps what is to be said about this hash: etcp_server_judge says it. */
static int withhold(etcp_session *s, const uint8_t *hash, size_t len)
{
    etcp_negotiation *n = s->negotiation;
    const char *want = n->hash;

    n->verdict = etcp_password_equal(hash, len, (const uint8_t *)want, strlen(want))
                     ? ETCP_VERDICT_RIGHT
                     : ETCP_VERDICT_WRONG;
    return ETCP_AGAIN;
}

static int miss_password(etcp_session *s)
{
    return withhold(s, NULL, 0);
}

static int take_password(etcp_session *s, const etcp_fields *f)
{
    uint8_t got[ETCP_CRYPT3_SIZE];
    size_t len = f->at[1].len;

    if (len > sizeof got)
        return miss_password(s);
    memcpy(got, f->at[1].bytes, len);
    if (etcp_munge_wants_keys(s->peer_version))
        etcp_munge(got, len);
    return withhold(s, got, len);
}

/* The one word by which releases from 0.20 on tell their users why. */
static int refuse_clear(etcp_session *s)
{
    etcp_command c;
    int rc;

    etcp_command_begin(&c, "COF");
    etcp_command_add_text(&c, "TLS");
    rc = etcp_command_send(s, &c);
    return rc < 0 ? rc : etcp_error_set(&s->error, ETCP_EPOLICY, "The client took no TLS");
}

/* A 1.x client answers everything at once: then only EN is left to ask. */
static int take_welcome(etcp_session *s, const etcp_fields *f)
{
    etcp_negotiation *n = s->negotiation;
    const etcp_field *hash;
    int rc = etcp_capability_take(s, f, &hash);

    if (rc == 0 && (etcp_session_flags(s) & ETCP_REQUIRE_TLS))
        return refuse_clear(s);
    if (rc <= 0 || rc == ETCP_TAKEN_TLS)
        return rc;
    n->step = ETCP_STEP_CS;
    if (!s->config->password)
        return 0;
    etcp_negotiation_hash(s, n->salt, n->hash);
    return withhold(s, hash->bytes, hash->len);
}

/* Any answer is one, for originals. */
static int miss_welcome(etcp_session *s)
{
    return etcp_session_flags(s) & ETCP_REQUIRE_TLS ? refuse_clear(s) : 0;
}

/* ---- end ------------------------------------------------------------------------------------ */

static int ask_end(etcp_session *s)
{
    etcp_command c;
    int rc = etcp_negotiation_check(s);

    if (rc < 0)
        return rc;
    etcp_command_begin(&c, "EN");
    return etcp_command_send(s, &c);
}

static int take_end(etcp_session *s, const etcp_fields *f)
{
    (void)f;
    return etcp_negotiation_finish(s);
}

/* Nothing but EN ends a negotiation: whatever else comes, go on waiting for it. */
static int miss_end(etcp_session *s)
{
    (void)s;
    return ETCP_AGAIN;
}

/* ---- the table ------------------------------------------------------------------------------ */

/* ask sends the question: 0, ETCP_AGAIN (there is nothing to ask of this client), or an error.
 * take acts on the reply that has this tag (NULL: none has), miss (may be NULL) on any other: as
 * originals, we take unknown replies for replies. 0: next question, ETCP_AGAIN: keep waiting, 1:
 * over, or an error. */
static const struct step_row {
    const char *reply;
    int (*ask)(etcp_session *s);
    int (*take)(etcp_session *s, const etcp_fields *f);
    int (*miss)(etcp_session *s);
} steps[ETCP_STEP_DONE] = {
    [ETCP_STEP_WELCOME] = {"NO", ask_welcome, take_welcome, miss_welcome},
    [ETCP_STEP_VE] = {"VE", ask_version, take_version, NULL},
    [ETCP_STEP_EA] = {"EU", ask_cipher, take_cipher, NULL},
    [ETCP_STEP_EU] = {"EU", ask_cipher_use, take_cipher_use, decline_cipher},
    [ETCP_STEP_EM] = {NULL, ask_forget_cipher, NULL, forget_cipher},
    [ETCP_STEP_EK] = {"EK", ask_key, take_key, miss_key},
    [ETCP_STEP_CA] = {"CU", ask_compressor, take_compressor, NULL},
    [ETCP_STEP_CU] = {"CU", ask_compressor_use, take_compressor_use, decline_compressor},
    [ETCP_STEP_CM] = {NULL, ask_forget_compressor, NULL, forget_compressor},
    [ETCP_STEP_CS] = {"CP", ask_password, take_password, miss_password},
    [ETCP_STEP_EN] = {"EN", ask_end, take_end, miss_end},
};

/* Asks the first of the questions from step on that applies to this client. EN always does. */
static int ask_from(etcp_session *s, etcp_step step)
{
    int rc = ETCP_AGAIN;

    for (; step < ETCP_STEP_DONE && rc == ETCP_AGAIN; step++) {
        s->negotiation->step = step;
        rc = steps[step].ask(s);
    }
    return rc;
}

int etcp_server_begin(etcp_session *s)
{
    int rc = ask_from(s, ETCP_STEP_WELCOME);

    return rc < 0 ? rc
                  : etcp_capability_record(s, etcp_buf_bytes(&s->output), etcp_buf_len(&s->output));
}

int etcp_server_take(etcp_session *s, const etcp_fields *f)
{
    const struct step_row *row = &steps[s->negotiation->step];
    int rc = 0;

    /* Nobody goes on before the answer, least of all with a second guess: whatever the first was
     * worth, this tells nothing. */
    if (s->negotiation->verdict != ETCP_VERDICT_NONE)
        return etcp_negotiation_reject_password(s);
    if (s->negotiation->inside)
        return etcp_inside_server_take(s, f);
    if (etcp_fields_have_no_tag(f))
        return 0; /* not an answer, for originals neither: keep waiting */
    if (row->reply && etcp_field_is(&f->at[0], row->reply))
        rc = row->take(s, f);
    else if (row->miss)
        rc = row->miss(s);
    if (rc == ETCP_AGAIN)
        return 0;
    return rc == 0 ? ask_from(s, s->negotiation->step + 1) : rc;
}

int etcp_server_judge(etcp_session *s)
{
    etcp_negotiation *n = s->negotiation;
    const etcp_verdict verdict = n->verdict;

    n->verdict = ETCP_VERDICT_NONE;
    if (verdict == ETCP_VERDICT_WRONG)
        return etcp_negotiation_reject_password(s);
    s->authenticated = 1;
    return ask_from(s, n->step + 1);
}
