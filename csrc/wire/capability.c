#include "capability.h"

#include <string.h>

#include "base/armour.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"
#include "base/random.h"
#include "choice.h"
#include "state.h"

static const char mark[] = "ETCP1";

/* Where the fields are. */
enum {
    OFFER_MARK = 1,
    OFFER_VERSION,
    OFFER_CIPHERS,
    OFFER_COMPRESSORS,
    OFFER_SALT,
    OFFER_KEY,
    OFFER_CAPABILITIES,
    ANSWER_MARK = 2,
    ANSWER_VERSION,
    ANSWER_CIPHER,
    ANSWER_COMPRESSOR,
    ANSWER_KEY,
    ANSWER_HASH,
    ANSWER_CAPABILITIES
};

/* Key strings that we take; ours have 8 (for DES) to 56 characters. */
enum { KEY_MIN = 8, KEY_MAX = 128 };

static int is_new(const uint8_t *version, size_t len)
{
    return etcp_version_number(version, len) >= ETCP_FIRST_NEW_VERSION;
}

static int we_are_new(const etcp_session *s)
{
    return is_new((const uint8_t *)s->config->version, strlen(s->config->version));
}

static int requires_tls(const etcp_session *s)
{
    return (etcp_session_flags(s) & (ETCP_REQUIRE_TLS | ETCP_SPOKE_TLS)) != 0;
}

static int is_key_string(const etcp_buf *key)
{
    const uint8_t *bytes = etcp_buf_bytes(key);
    size_t len = etcp_buf_len(key);
    size_t i;

    if (len < KEY_MIN || len > KEY_MAX)
        return 0;
    for (i = 0; i < len; i++)
        if (bytes[i] < 33 || bytes[i] > 126)
            return 0;
    return 1;
}

/* ---- what either can receive ---------------------------------------------------------------- */

static const struct mixable {
    char key;
    unsigned bit;
} mixable[] = {{'1', ETCP_CAN_MIX_ZLIB}, {'2', ETCP_CAN_MIX_LZF}};

/* The compressors that we take in turn, if we mix at all. */
static unsigned what_we_mix(const etcp_session *s)
{
    const etcp_offer allowed = etcp_offer_allowed(s, ETCP_MODULE_COMPRESSOR);
    unsigned set = ETCP_CAN_MIX;

    if (!(etcp_session_flags(s) & ETCP_MIX_COMPRESSORS) ||
        (etcp_session_flags(s) & ETCP_DONOT_COMPRESS))
        return 0;
    for (size_t i = 0; i < sizeof mixable / sizeof *mixable; i++)
        if (etcp_offer_compressor(allowed, mixable[i].key))
            set |= mixable[i].bit;
    return set;
}

static unsigned what_we_can(const etcp_session *s)
{
    return s->config->capabilities | what_we_mix(s);
}

static unsigned listed(const etcp_field *list)
{
    return etcp_capability_list_parse(list->bytes, list->len);
}

/* Adds a list, unless it is empty. */
static void add_list(etcp_command *c, unsigned set)
{
    char list[ETCP_CAPABILITY_LIST_MAX + 1];

    etcp_capability_list_compose(set, list);
    if (list[0])
        etcp_command_add_text(c, list);
}

void etcp_capability_note_told(etcp_session *s)
{
    s->told = (uint16_t)what_we_can(s);
}

void etcp_capability_tell(etcp_session *s, etcp_command *c)
{
    add_list(c, what_we_can(s));
    etcp_capability_note_told(s);
}

void etcp_capability_tell_inside(etcp_session *s, etcp_command *c)
{
    char list[ETCP_CAPABILITY_LIST_MAX + 1];

    etcp_capability_list_compose(what_we_can(s), list);
    etcp_command_add_text(c, list);
    etcp_capability_note_told(s);
}

/* The compressors that a list names, as bits of rows; without a name it is the one agreed on. */
static uint8_t mixed_rows(unsigned set, const etcp_compressor *agreed)
{
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);
    unsigned named = 0;

    for (size_t i = 0; i < sizeof mixable / sizeof *mixable; i++)
        if (set & mixable[i].bit)
            named |= 1u << (etcp_compressor_by_key(mixable[i].key) - rows);
    return (uint8_t)(named ? named : 1u << (agreed - rows));
}

void etcp_capability_use_compressor(etcp_session *s, const etcp_compressor *agreed)
{
    etcp_transform *t = &s->transform;

    t->compressor = agreed;
    t->is_mixed = agreed && (s->told & s->peer_can & ETCP_CAN_MIX);
    if (!t->is_mixed)
        return;
    t->takes = mixed_rows(s->told, agreed);
    t->peer_takes = mixed_rows(s->peer_can, agreed);
}

void etcp_capability_note(etcp_session *s, const etcp_field *list)
{
    s->peer_can = (uint16_t)(listed(list) & ~(unsigned)ETCP_TLS_ALL);
}

/* ---- what precedes TLS ----------------------------------------------------------------------- */

int etcp_capability_record(etcp_session *s, const uint8_t *bytes, size_t len)
{
    etcp_buf *prologue = &s->negotiation->prologue;

    if (s->negotiation->inside || !(etcp_session_flags(s) & ETCP_ALLOW_TLS) ||
        etcp_buf_append(prologue, bytes, len) == 0)
        return 0;
    return etcp_error_set(&s->error, ETCP_ENOMEM, "%s", etcp_code_text(ETCP_ENOMEM));
}

int etcp_session_direct(etcp_inside_facts *facts)
{
    static const char text[] = "EasyTCP direct";

    memset(facts, 0, sizeof *facts);
    return etcp_provider_sha256(text, sizeof text - 1, facts->prologue);
}

int etcp_session_switch(const etcp_session *s, etcp_inside_facts *facts)
{
    const etcp_buf *prologue = &s->negotiation->prologue;

    memset(facts, 0, sizeof *facts);
    facts->flags = ETCP_INSIDE_UPGRADED | (s->negotiation->asked ? ETCP_INSIDE_ASKED : 0u);
    return etcp_provider_sha256(etcp_buf_bytes(prologue), etcp_buf_len(prologue), facts->prologue);
}

int etcp_capability_look(etcp_session *s, const etcp_fields *f)
{
    etcp_negotiation *n = s->negotiation;
    unsigned offer = 0;

    if (!we_are_new(s))
        return 0;
    if (etcp_field_is(&f->at[OFFER_MARK], mark))
        offer = listed(&f->at[OFFER_CAPABILITIES]);
    if (offer & ETCP_CAN_TLS) {
        n->tls_offered = 1;
        n->asked = (offer & ETCP_TLS_ASKS) != 0;
        return 0;
    }
    if (etcp_session_flags(s) & ETCP_SPOKE_TLS)
        return etcp_error_set(
            &s->error, ETCP_EPOLICY,
            "The server spoke TLS before and offers none now: somebody may be in between");
    if (etcp_session_flags(s) & ETCP_REQUIRE_TLS)
        return etcp_error_set(&s->error, ETCP_EPOLICY, "The server offers no TLS");
    return 0;
}

/* ---- the server's offer --------------------------------------------------------------------- */

/* What we can receive, and what will happen inside TLS if it is taken. Only a password that is not
 * empty is asked for there. */
static unsigned offered_set(const etcp_session *s)
{
    unsigned set = what_we_can(s);

    if (!s->negotiation->tls_offered)
        return set;
    set |= ETCP_CAN_TLS;
    if (s->config->password_len)
        set |= ETCP_TLS_ASKS;
    if (requires_tls(s))
        set |= ETCP_TLS_REQUIRED;
    return set;
}

void etcp_capability_offer(etcp_session *s, etcp_command *welcome)
{
    const etcp_config *config = s->config;
    etcp_negotiation *n = s->negotiation;
    char ciphers[ETCP_LETTERS_MAX + 1] = "";
    char compressors[ETCP_LETTERS_MAX + 1];

    if (!we_are_new(s))
        return;
    n->tls_offered = (etcp_session_flags(s) & ETCP_ALLOW_TLS) != 0;
    etcp_offer_ranked(etcp_offer_to_new(s, ETCP_MODULE_COMPRESSOR), compressors);
    if (!requires_tls(s))
        etcp_offer_ranked(etcp_offer_to_new(s, ETCP_MODULE_CIPHER), ciphers);
    if (welcome->rc == 0 && ciphers[0])
        welcome->rc =
            etcp_random_key(config->random, config->random_arg, n->offered_key, ETCP_OFFERED_KEY);
    if (welcome->rc == 0 && config->password && !requires_tls(s))
        welcome->rc = etcp_negotiation_make_salt(s);
    etcp_command_add_text(welcome, mark);
    etcp_command_add_text(welcome, config->version);
    etcp_command_add_text(welcome, ciphers);
    etcp_command_add_text(welcome, compressors);
    etcp_command_add(welcome, n->salt, n->has_salt ? sizeof n->salt : 0);
    etcp_command_add_armoured(welcome, n->offered_key, ciphers[0] ? ETCP_OFFERED_KEY : 0);
    add_list(welcome, offered_set(s));
    n->offered = 1;
}

/* Agrees on this cipher, or NULL. Only 1.x peers come here, and they read every style. */
static void use_cipher(etcp_session *s, const etcp_cipher *cipher)
{
    s->transform.cipher = cipher;
    s->transform.style = cipher ? etcp_cipher_least_style(cipher) : ETCP_STYLE_NONE;
}

/* ---- the client's answer -------------------------------------------------------------------- */

/* What the client makes of an offer. */
typedef struct choice {
    const etcp_cipher *cipher;
    const etcp_compressor *compressor;
} choice;

static int salt_is_valid(const etcp_field *salt)
{
    return salt->len == 0 || (salt->len == 2 && etcp_crypt3_salt_is_valid(salt->bytes));
}

static int is_offer(const etcp_session *s, const etcp_fields *f)
{
    return etcp_field_is(&f->at[OFFER_MARK], mark) && we_are_new(s) &&
           is_new(f->at[OFFER_VERSION].bytes, f->at[OFFER_VERSION].len);
}

/* Whether we can take the offer, and what we choose from it. */
static int choose(const etcp_session *s, const etcp_fields *f, choice *c)
{
    if (!salt_is_valid(&f->at[OFFER_SALT]))
        return 0;
    c->cipher =
        etcp_offer_first_cipher(etcp_offer_to_new(s, ETCP_MODULE_CIPHER), &f->at[OFFER_CIPHERS]);
    c->compressor = etcp_offer_first_compressor(etcp_offer_to_new(s, ETCP_MODULE_COMPRESSOR),
                                                &f->at[OFFER_COMPRESSORS]);
    return !c->cipher || f->at[OFFER_KEY].len > 0;
}

/* Takes the server's key. Returns 0, ETCP_EPROTO, ETCP_ECRYPT or ETCP_ENOMEM. */
static int take_server_key(etcp_session *s, const etcp_field *field)
{
    etcp_buf key;
    int rc;

    etcp_buf_init(&key);
    rc = etcp_armour_decode(&key, field->bytes, field->len);
    if (rc == 0 && !is_key_string(&key))
        rc = ETCP_EPROTO;
    if (rc == 0)
        rc = etcp_transform_set_peer_key(&s->transform, etcp_buf_bytes(&key), etcp_buf_len(&key));
    etcp_buf_wipe(&key);
    return rc;
}

/* Makes our key; appends it to sealed, sealed with the server's. Returns 0 or a negative code. */
static int make_key(etcp_session *s, etcp_buf *sealed)
{
    etcp_buf own;
    int rc;

    etcp_buf_init(&own);
    rc = etcp_negotiation_make_keys(s, &own);
    if (rc == 0)
        rc = etcp_transform_seal(&s->transform, s->config, etcp_buf_bytes(&own), etcp_buf_len(&own),
                                 sealed);
    etcp_buf_wipe(&own);
    return rc;
}

/* Puts what was chosen into effect. The keys are there afterwards, ours in sealed too. Returns 0 or
 * a negative code, recorded. */
static int settle(etcp_session *s, const choice *chosen, const etcp_fields *f, etcp_buf *sealed)
{
    int rc = 0;

    etcp_negotiation_note_version(s, &f->at[OFFER_VERSION]);
    use_cipher(s, chosen->cipher);
    etcp_capability_note_told(s); /* the answer will tell */
    etcp_capability_use_compressor(s, chosen->compressor);
    if (chosen->cipher)
        rc = take_server_key(s, &f->at[OFFER_KEY]);
    if (rc == 0 && chosen->cipher)
        rc = make_key(s, sealed);
    if (rc < 0)
        return etcp_error_set(&s->error, rc, "Could not take the server's offer: %s",
                              etcp_code_text(rc));
    s->authenticated = f->at[OFFER_SALT].len > 0;
    return etcp_negotiation_check(s);
}

/* A module's letter; NULL: none. */
static void add_letter(etcp_command *c, const char *letter)
{
    etcp_command_add(c, (const uint8_t *)letter, letter ? 1 : 0);
}

static int send_answer(etcp_session *s, const choice *chosen, const etcp_field *salt,
                       const etcp_buf *sealed)
{
    char hash[ETCP_CRYPT3_SIZE] = "";
    etcp_command c;

    if (salt->len)
        etcp_negotiation_hash(s, salt->bytes, hash);
    etcp_command_begin(&c, "NO");
    etcp_command_add_text(&c, "I don't understand you");
    etcp_command_add_text(&c, mark);
    etcp_command_add_text(&c, s->config->version);
    add_letter(&c, chosen->cipher ? &chosen->cipher->key : NULL);
    add_letter(&c, chosen->compressor ? &chosen->compressor->key : NULL);
    etcp_command_add_armoured(&c, etcp_buf_bytes(sealed), etcp_buf_len(sealed));
    etcp_command_add_text(&c, hash);
    etcp_wipe(hash, sizeof hash);
    etcp_capability_tell(s, &c);
    return etcp_command_send_clear(s, &c);
}

/* Takes the offer of TLS: whatever else the packet offers is void. */
static int answer_tls(etcp_session *s)
{
    etcp_command c;
    unsigned i;
    int rc;

    etcp_command_begin(&c, "NO");
    etcp_command_add_text(&c, "I don't understand you");
    etcp_command_add_text(&c, mark);
    etcp_command_add_text(&c, s->config->version);
    for (i = ANSWER_CIPHER; i < ANSWER_CAPABILITIES; i++)
        etcp_command_add_text(&c, "");
    add_list(&c, what_we_can(s) | ETCP_CAN_TLS);
    rc = etcp_command_send_clear(s, &c);
    if (rc == 0)
        rc = etcp_capability_record(s, etcp_buf_bytes(&s->output), etcp_buf_len(&s->output));
    return rc < 0 ? rc : ETCP_TAKEN_TLS;
}

int etcp_capability_answer(etcp_session *s, const etcp_fields *f)
{
    etcp_buf sealed;
    choice chosen;
    int rc;

    if (s->negotiation->tls_offered && (etcp_session_flags(s) & ETCP_ALLOW_TLS))
        return answer_tls(s);
    if (!is_offer(s, f))
        return 0;
    /* It holds even if the rest has to be asked one by one. */
    etcp_capability_note(s, &f->at[OFFER_CAPABILITIES]);
    if (!choose(s, f, &chosen))
        return 0;
    if (f->at[OFFER_SALT].len && (rc = etcp_negotiation_check_mark(s, f->at[OFFER_SALT].bytes)) < 0)
        return rc;
    etcp_buf_init(&sealed);
    rc = settle(s, &chosen, f, &sealed);
    if (rc == 0)
        rc = send_answer(s, &chosen, &f->at[OFFER_SALT], &sealed);
    etcp_buf_deinit(&sealed);
    return rc < 0 ? rc : 1;
}

/* ---- what the server takes ------------------------------------------------------------------ */

static int contradicts(etcp_session *s)
{
    return etcp_error_set(&s->error, ETCP_EPROTO, "The client's answer contradicts the offer");
}

/* Opens the client's key with ours. Returns 0, or ETCP_EPROTO, ETCP_ECRYPT, ETCP_ENOMEM. */
static int open_key(etcp_session *s, const etcp_field *field)
{
    etcp_transform *t = &s->transform;
    etcp_buf sealed;
    etcp_buf key;
    int rc;

    etcp_buf_init(&sealed);
    etcp_buf_init(&key);
    rc = etcp_transform_set_own_key(t, s->negotiation->offered_key, ETCP_OFFERED_KEY);
    if (rc == 0)
        rc = etcp_armour_decode(&sealed, field->bytes, field->len);
    if (rc == 0)
        rc = etcp_transform_open(t, etcp_buf_bytes(&sealed), etcp_buf_len(&sealed), &key);
    if (rc == 0 && !is_key_string(&key))
        rc = ETCP_EPROTO;
    if (rc == 0)
        rc = etcp_transform_set_peer_key(t, etcp_buf_bytes(&key), etcp_buf_len(&key));
    etcp_buf_deinit(&sealed);
    etcp_buf_wipe(&key);
    return rc;
}

/* Whether the answer says nothing but that TLS follows. */
static int is_only_tls(const etcp_fields *f)
{
    unsigned i;

    for (i = ANSWER_CIPHER; i < ANSWER_CAPABILITIES; i++)
        if (f->at[i].len)
            return 0;
    return 1;
}

int etcp_capability_take(etcp_session *s, const etcp_fields *f, const etcp_field **hash)
{
    const etcp_cipher *cipher;
    const etcp_compressor *compressor;
    int rc = 0;

    if (!s->negotiation->offered || !etcp_field_is(&f->at[ANSWER_MARK], mark))
        return 0;
    if (listed(&f->at[ANSWER_CAPABILITIES]) & ETCP_CAN_TLS)
        return s->negotiation->tls_offered && is_only_tls(f) ? ETCP_TAKEN_TLS : contradicts(s);
    if (requires_tls(s))
        return 0;
    if (!is_new(f->at[ANSWER_VERSION].bytes, f->at[ANSWER_VERSION].len) ||
        !etcp_offer_chosen_cipher(etcp_offer_to_new(s, ETCP_MODULE_CIPHER), &f->at[ANSWER_CIPHER],
                                  &cipher) ||
        !etcp_offer_chosen_compressor(etcp_offer_to_new(s, ETCP_MODULE_COMPRESSOR),
                                      &f->at[ANSWER_COMPRESSOR], &compressor))
        return contradicts(s);
    etcp_negotiation_note_version(s, &f->at[ANSWER_VERSION]);
    use_cipher(s, cipher);
    etcp_capability_note(s, &f->at[ANSWER_CAPABILITIES]);
    etcp_capability_note_told(s);
    etcp_capability_use_compressor(s, compressor);
    if (cipher)
        rc = open_key(s, &f->at[ANSWER_KEY]);
    if (rc == ETCP_ENOMEM)
        return etcp_error_set(&s->error, rc, "%s", etcp_code_text(rc));
    if (rc < 0)
        return contradicts(s);
    *hash = &f->at[ANSWER_HASH];
    return 1;
}
