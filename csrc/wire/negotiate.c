#include "negotiate.h"

#include <string.h>

#include "base/armour.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/provider.h"
#include "frame.h"
#include "munge.h"
#include "negotiate_inside.h"
#include "state.h"

/* From this version on both ends merge the password into symmetric keys. */
#define FIRST_MERGING_VERSION ETCP_VERSION(0, 15)

/* Releases from the first to before the second draw salts that may look like the mark of those that
 * offer TLS. Protocol.pod, "TLS". */
#define FIRST_SALTING_VERSION ETCP_VERSION(0, 7)
#define FIRST_LOWER_CASE_VERSION ETCP_VERSION(0, 19)

/* ---- commands ------------------------------------------------------------------------------- */

void etcp_fields_split(etcp_fields *fields, const uint8_t *payload, size_t len)
{
    size_t i;

    for (i = 0; i < ETCP_FIELDS_MAX; i++) {
        fields->at[i].bytes = (const uint8_t *)"";
        fields->at[i].len = 0;
    }
    fields->count = 1;
    for (i = 0; i < ETCP_FIELDS_MAX; i++) {
        const uint8_t *nul = len ? memchr(payload, 0, len) : NULL;
        size_t width = nul ? (size_t)(nul - payload) : len;

        fields->at[i].bytes = payload;
        fields->at[i].len = width;
        if (width)
            fields->count = i + 1;
        if (!nul)
            return;
        payload += width + 1;
        len -= width + 1;
    }
}

int etcp_field_is(const etcp_field *field, const char *text)
{
    return field->len == strlen(text) && memcmp(field->bytes, text, field->len) == 0;
}

int etcp_fields_have_no_tag(const etcp_fields *fields)
{
    return fields->at[0].len == 0 || etcp_field_is(&fields->at[0], "0");
}

char etcp_field_key(const etcp_field *field)
{
    return field->len == 1 ? (char)field->bytes[0] : '\0';
}

void etcp_command_begin(etcp_command *c, const char *tag)
{
    etcp_buf_init(&c->text);
    c->rc = etcp_buf_append_str(&c->text, tag);
}

void etcp_command_add(etcp_command *c, const uint8_t *bytes, size_t len)
{
    if (c->rc == 0)
        c->rc = etcp_buf_append_byte(&c->text, 0);
    if (c->rc == 0)
        c->rc = etcp_buf_append(&c->text, bytes, len);
}

void etcp_command_add_text(etcp_command *c, const char *text)
{
    etcp_command_add(c, (const uint8_t *)text, strlen(text));
}

void etcp_command_add_armoured(etcp_command *c, const uint8_t *bytes, size_t len)
{
    etcp_command_add(c, NULL, 0);
    if (c->rc == 0)
        c->rc = etcp_armour_encode(&c->text, bytes, len);
}

void etcp_command_drop(etcp_command *c)
{
    etcp_buf_wipe(&c->text);
}

static int queue_packet(etcp_session *s, unsigned flags, const etcp_buf *payload)
{
    uint8_t header[ETCP_FRAME_HEADER_MAX];
    size_t len = etcp_buf_len(payload);
    size_t header_len = etcp_session_frame(s, header, flags, len);
    int rc = etcp_buf_reserve(&s->output, header_len + len);

    if (rc < 0)
        return rc;
    (void)etcp_buf_append(&s->output, header, header_len);
    return etcp_buf_append(&s->output, etcp_buf_bytes(payload), len);
}

static int send_sealed(etcp_session *s, const etcp_buf *text)
{
    etcp_buf sealed;
    int rc;

    etcp_buf_init(&sealed);
    rc = etcp_transform_seal(&s->transform, s->config, etcp_buf_bytes(text), etcp_buf_len(text),
                             &sealed);
    if (rc == 0)
        rc = queue_packet(s, ETCP_FLAG_ENCRYPTED, &sealed);
    etcp_buf_deinit(&sealed);
    return rc;
}

/* Frees the command and says how sending it went. */
static int end_command(etcp_session *s, etcp_command *c)
{
    etcp_command_drop(c);
    if (c->rc < 0)
        return etcp_error_set(&s->error, c->rc, "Could not make a negotiation packet: %s",
                              etcp_code_text(c->rc));
    return 0;
}

int etcp_command_send(etcp_session *s, etcp_command *c)
{
    if (c->rc == 0)
        c->rc = s->transform.seal ? send_sealed(s, &c->text) : queue_packet(s, 0, &c->text);
    return end_command(s, c);
}

int etcp_command_send_clear(etcp_session *s, etcp_command *c)
{
    if (c->rc == 0)
        c->rc = queue_packet(s, 0, &c->text);
    return end_command(s, c);
}

/* ---- state ---------------------------------------------------------------------------------- */

etcp_negotiation *etcp_negotiation_new(void)
{
    etcp_negotiation *n = etcp_zalloc(sizeof *n);

    if (!n)
        return NULL;
    etcp_buf_init(&n->scalar);
    etcp_buf_init(&n->prologue);
    return n;
}

etcp_negotiation *etcp_negotiation_clone(const etcp_negotiation *n)
{
    etcp_negotiation *copy = etcp_malloc(sizeof *copy);

    if (!copy)
        return NULL;
    *copy = *n;
    etcp_buf_init(&copy->scalar);
    etcp_buf_init(&copy->prologue);
    copy->inside = NULL; /* no channel has two ends at one side */
    if (etcp_buf_append(&copy->scalar, etcp_buf_bytes(&n->scalar), etcp_buf_len(&n->scalar)) < 0 ||
        etcp_buf_append(&copy->prologue, etcp_buf_bytes(&n->prologue), etcp_buf_len(&n->prologue)) <
            0) {
        etcp_negotiation_free(copy);
        return NULL;
    }
    return copy;
}

static void free_inside(etcp_inside *inside)
{
    if (!inside)
        return;
    etcp_spake2_free(inside->run);
    etcp_wipe(inside, sizeof *inside);
    etcp_free(inside);
}

void etcp_negotiation_free(etcp_negotiation *n)
{
    if (!n)
        return;
    etcp_buf_deinit(&n->scalar);
    etcp_buf_deinit(&n->prologue);
    free_inside(n->inside);
    etcp_wipe(n, sizeof *n);
    etcp_free(n);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* Not a double: 0.07 would not be 0.07 where registers hold more than memory does. */
uint32_t etcp_version_number(const uint8_t *text, size_t len)
{
    uint32_t number = 0;
    uint32_t unit = ETCP_VERSION(1, 0);
    int after_point = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        if (text[i] == '.' && !after_point) {
            after_point = 1;
            continue;
        }
        if (text[i] < '0' || text[i] > '9')
            break;
        if (after_point)
            number += (uint32_t)(text[i] - '0') * (unit /= 10);
        else if (number < ETCP_VERSION(100, 0))
            number = number * 10 + (uint32_t)(text[i] - '0') * unit;
    }
    return number;
}

void etcp_negotiation_note_version(etcp_session *s, const etcp_field *version)
{
    size_t i;

    if (s->peer_version_text[0])
        return;
    for (i = 0; i < version->len && i < sizeof s->peer_version_text - 1; i++) {
        uint8_t c = version->bytes[i];

        s->peer_version_text[i] = c > 32 && c < 127 ? (char)c : '?';
    }
    s->peer_version_text[i] = '\0';
    s->peer_version = etcp_version_number(version->bytes, version->len);
}

void etcp_negotiation_add_key(etcp_session *s, etcp_command *c, const uint8_t *key, size_t len)
{
    size_t before = etcp_buf_len(&c->text) + 1;

    if (s->transform.cipher->flags & ETCP_CIPHER_ARMOURED)
        etcp_command_add_armoured(c, key, len);
    else
        etcp_command_add(c, key, len);
    if (c->rc == 0 && etcp_munge_wants_keys(s->peer_version))
        etcp_munge(c->text.data + c->text.start + before, etcp_buf_len(&c->text) - before);
}

/* Undoes what etcp_negotiation_add_key does, into key. */
static int decode_key(const etcp_session *s, const etcp_field *field, etcp_buf *key)
{
    etcp_buf armoured;
    int rc = etcp_buf_append(key, field->bytes, field->len);

    if (rc < 0)
        return rc;
    if (field->len && etcp_munge_wants_keys(s->peer_version))
        etcp_munge(key->data + key->start, etcp_buf_len(key));
    if (!(s->transform.cipher->flags & ETCP_CIPHER_ARMOURED))
        return 0;
    armoured = *key;
    etcp_buf_init(key);
    rc = etcp_armour_decode(key, etcp_buf_bytes(&armoured), etcp_buf_len(&armoured));
    etcp_buf_wipe(&armoured);
    return rc;
}

int etcp_negotiation_take_key(etcp_session *s, const etcp_field *field)
{
    etcp_buf key;
    int rc;

    etcp_buf_init(&key);
    rc = decode_key(s, field, &key);
    if (rc == 0)
        rc = etcp_transform_set_peer_key(&s->transform, etcp_buf_bytes(&key), etcp_buf_len(&key));
    etcp_buf_wipe(&key);
    if (rc == ETCP_EINVAL)
        return etcp_error_set(&s->error, ETCP_EPROTO, "The peer's key for %s is unusable",
                              s->transform.cipher->name);
    if (rc < 0)
        return etcp_error_set(&s->error, rc, "Could not use the peer's key for %s: %s",
                              s->transform.cipher->name, etcp_code_text(rc));
    return 0;
}

static int is_symmetric(const etcp_cipher *row)
{
    return (row->flags & ETCP_CIPHER_SYMMETRIC) != 0;
}

/* A server answers all its clients with one Crypt::RSA pair, as the original: making one is slow.
 */
static int fill_keys(etcp_session *s, etcp_buf *public_key, etcp_buf *private_key)
{
    const etcp_config *config = s->config;
    int rc;

    if (is_symmetric(s->transform.cipher) || config->role != ETCP_ROLE_SERVER)
        return etcp_cipher_new_keys(s->transform.cipher, config->random, config->random_arg,
                                    public_key, private_key);
    rc = etcp_buf_append(public_key, etcp_buf_bytes(&config->rsa_public),
                         etcp_buf_len(&config->rsa_public));
    return rc < 0 ? rc
                  : etcp_buf_append(private_key, etcp_buf_bytes(&config->rsa_private),
                                    etcp_buf_len(&config->rsa_private));
}

int etcp_negotiation_make_keys(etcp_session *s, etcp_buf *public_key)
{
    etcp_buf private_key;
    int rc;

    etcp_buf_init(&private_key);
    rc = fill_keys(s, public_key, &private_key);
    if (rc == 0)
        rc = etcp_transform_set_own_key(&s->transform, etcp_buf_bytes(&private_key),
                                        etcp_buf_len(&private_key));
    etcp_buf_wipe(&private_key);
    if (rc < 0)
        return etcp_error_set(&s->error, rc, "Could not make a key for %s: %s",
                              s->transform.cipher->name, etcp_code_text(rc));
    return 0;
}

int etcp_negotiation_make_salt(etcp_session *s)
{
    const etcp_config *config = s->config;
    etcp_negotiation *n = s->negotiation;
    int rc;

    if (n->has_salt)
        return 0;
    rc = etcp_random_letters(config->random, config->random_arg, n->salt, sizeof n->salt);
    if (rc < 0)
        return rc;
    if (n->tls_offered)
        etcp_negotiation_mark_salt(n->salt);
    n->has_salt = 1;
    return 0;
}

/* Letters and not more, because every crypt(3) takes them; who only listens to old clients has 16
 * salts to deal with then. */
void etcp_negotiation_mark_salt(uint8_t salt[2])
{
    salt[0] = 'Z';
    salt[1] = (uint8_t)('A' + salt[1] % 16);
}

int etcp_negotiation_salt_is_marked(const uint8_t salt[2])
{
    return salt[0] == 'Z' && salt[1] >= 'A' && salt[1] <= 'P';
}

int etcp_negotiation_check_mark(etcp_session *s, const uint8_t salt[2])
{
    if (s->keeps_password && s->config->password_len)
        return etcp_error_set(&s->error, ETCP_EPOLICY,
                              "The server's TLS ends before the server, and nothing proves whose "
                              "it is: the password is kept");
    if (s->negotiation->tls_offered || !etcp_negotiation_salt_is_marked(salt))
        return 0;
    s->was_chance = s->peer_version >= FIRST_SALTING_VERSION &&
                    s->peer_version < FIRST_LOWER_CASE_VERSION;
    return etcp_error_set(
        &s->error, ETCP_EPOLICY,
        "The salt tells of TLS, but the offer is missing: somebody is in between");
}

void etcp_negotiation_hash(const etcp_session *s, const uint8_t salt[2],
                           char hash[ETCP_CRYPT3_SIZE])
{
    etcp_crypt3(s->config->password, s->config->password_len, salt, hash);
}

int etcp_negotiation_reject_password(etcp_session *s)
{
    etcp_command c;
    int rc;

    etcp_command_begin(&c, "PF");
    rc = etcp_command_send(s, &c);
    return rc < 0 ? rc
                  : etcp_error_set(&s->error, ETCP_EREJECTED, "The client gave a wrong password");
}

int etcp_negotiation_check(etcp_session *s)
{
    const unsigned flags = etcp_session_flags(s);

    /* A cipher that was chosen but never got its keys is none. */
    if (!s->transform.seal || !s->transform.open)
        etcp_transform_drop_cipher(&s->transform);
    if ((flags & ETCP_REQUIRE_ENCRYPTION) && !s->transform.cipher) {
        const char *refusal = etcp_provider_refusal();

        return etcp_error_set(&s->error, ETCP_EPOLICY,
                              "Encryption is required, but none could be agreed on%s%s%s",
                              refusal[0] ? " (" : "", refusal, refusal[0] ? ")" : "");
    }
    if ((flags & ETCP_REQUIRE_PASSWORD) && s->config->role == ETCP_ROLE_CLIENT && !s->authenticated)
        return etcp_error_set(&s->error, ETCP_EPOLICY,
                              "A password is required, but the server asked for none");
    return 0;
}

static int wants_merged_keys(const etcp_session *s)
{
    return s->transform.cipher && (s->transform.cipher->flags & ETCP_CIPHER_MERGES) &&
           s->authenticated && s->config->password_len > 0 &&
           s->peer_version >= FIRST_MERGING_VERSION;
}

int etcp_negotiation_finish(etcp_session *s)
{
    if (wants_merged_keys(s)) {
        int rc = etcp_transform_merge(&s->transform, s->config->password, s->config->password_len);

        if (rc < 0)
            return etcp_error_set(&s->error, rc, "Could not merge the password into the keys: %s",
                                  etcp_code_text(rc));
    }
    etcp_negotiation_free(s->negotiation);
    s->negotiation = NULL;
    return 1;
}
