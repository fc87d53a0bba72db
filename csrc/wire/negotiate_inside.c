#include "negotiate_inside.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/armour.h"
#include "base/error.h"
#include "base/mem.h"
#include "capability.h"
#include "choice.h"
#include "state.h"

/* Where the fields are. */
enum {
    FIELD_VERSION = 1,
    FIELD_COMPRESSORS, /* EN: the compressor */
    FIELD_CAPABILITIES,
    HI_PROLOGUE,
    HI_SHARE,
    EN_SHARE = 4,
    EN_PROOF,
    CP_PROOF = 1
};

enum { AAD = ETCP_INSIDE_BINDING + ETCP_INSIDE_PROLOGUE };

/* ---- fields ---------------------------------------------------------------------------------- */

static int malformed(etcp_session *s)
{
    return etcp_error_set(&s->error, ETCP_EPROTO, "A malformed negotiation packet inside TLS");
}

static int failed(etcp_session *s, int code)
{
    return etcp_error_set(&s->error, code, "%s", etcp_code_text(code));
}

/* Takes a field of exactly len bytes out of its armour. Returns 0 or an error, recorded. */
static int take_bytes(etcp_session *s, const etcp_field *field, uint8_t *out, size_t len)
{
    etcp_buf plain;
    int rc;

    etcp_buf_init(&plain);
    rc = etcp_armour_decode(&plain, field->bytes, field->len);
    if (rc < 0)
        rc = failed(s, rc);
    else if (etcp_buf_len(&plain) != len)
        rc = malformed(s);
    else
        memcpy(out, etcp_buf_bytes(&plain), len);
    etcp_buf_wipe(&plain);
    return rc;
}

static etcp_offer our_compressors(const etcp_session *s)
{
    return etcp_offer_to_new(s, ETCP_MODULE_COMPRESSOR);
}

/* ---- the password ---------------------------------------------------------------------------- */

static int has_password(const etcp_session *s)
{
    return s->config->password_len > 0;
}

static int requires_password(const etcp_session *s)
{
    return (s->config->flags & (ETCP_REQUIRE_PASSWORD | ETCP_REQUIRE_PASSWORD_IN_TLS)) != 0;
}

/* One end's share. Returns 0 or an error, recorded. */
static int make_share(etcp_session *s, etcp_spake2_side side, etcp_spake2 **run,
                      uint8_t share[ETCP_SPAKE2_SHARE])
{
    etcp_config *config = s->config;
    int rc = etcp_config_make_secret(config);

    if (rc == 0)
        rc = etcp_spake2_new(config->secret, side, config->random, config->random_arg, run, share);
    if (rc < 0)
        return etcp_error_set(&s->error, rc, "The password cannot be used: %s", etcp_code_text(rc));
    return 0;
}

/* Both proofs, from the peer's share. Bound to this channel and to what was said before it, so that
 * nobody who stands between two channels can pass one on. Returns 0 or an error, recorded. */
static int make_proofs(etcp_session *s, etcp_spake2 *run, const uint8_t *peer_share,
                       etcp_spake2_proofs *proofs)
{
    const etcp_inside *inside = s->negotiation->inside;
    etcp_spake2_context context = {"EasyTCP client", "EasyTCP server", NULL, AAD};
    uint8_t aad[AAD];
    int rc;

    memcpy(aad, inside->binding, sizeof inside->binding);
    memcpy(aad + sizeof inside->binding, inside->facts.prologue, ETCP_INSIDE_PROLOGUE);
    context.aad = aad;
    rc = etcp_spake2_finish(run, s->config->secret, &context, peer_share, proofs);
    etcp_wipe(aad, sizeof aad);
    if (rc == ETCP_EPROTO)
        return malformed(s);
    return rc < 0 ? failed(s, rc) : 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void begin_end(etcp_session *s, etcp_command *c)
{
    const etcp_compressor *row = s->transform.compressor;

    etcp_command_begin(c, "EN");
    etcp_command_add_text(c, s->config->version);
    etcp_command_add(c, row ? (const uint8_t *)&row->key : NULL, row ? 1 : 0);
    etcp_capability_tell_inside(s, c);
}

/* Before anything else: whether the client saw the packets in clear as we sent and got them. */
static int check_prologue(etcp_session *s, const etcp_field *field)
{
    const etcp_inside_facts *facts = &s->negotiation->inside->facts;
    uint8_t prologue[ETCP_INSIDE_PROLOGUE];
    int rc = take_bytes(s, field, prologue, sizeof prologue);

    if (rc < 0)
        return rc;
    if (CRYPTO_memcmp(prologue, facts->prologue, sizeof prologue) != 0)
        return etcp_error_set(&s->error, ETCP_EPROTO, "The negotiation was tampered with");
    return 0;
}

static int take_hello(etcp_session *s, const etcp_fields *f)
{
    etcp_inside *inside = s->negotiation->inside;
    const etcp_compressor *row =
        etcp_offer_first_compressor(our_compressors(s), &f->at[FIELD_COMPRESSORS]);
    etcp_command c;
    int rc = check_prologue(s, &f->at[HI_PROLOGUE]);

    if (rc < 0)
        return rc;
    etcp_negotiation_note_version(s, &f->at[FIELD_VERSION]);
    if (etcp_session_peer_is_old(s))
        return malformed(s);
    etcp_capability_note(s, &f->at[FIELD_CAPABILITIES]);
    etcp_capability_note_told(s); /* EN will tell */
    etcp_capability_use_compressor(s, row);
    if (has_password(s)) {
        if (f->at[HI_SHARE].len == 0)
            return etcp_negotiation_reject_password(s);
        rc = take_bytes(s, &f->at[HI_SHARE], inside->share, sizeof inside->share);
        inside->state = ETCP_INSIDE_WITHHELD;
        return rc;
    }
    begin_end(s, &c);
    rc = etcp_command_send(s, &c);
    return rc < 0 ? rc : etcp_negotiation_finish(s);
}

int etcp_inside_prove(etcp_session *s)
{
    etcp_inside *inside = s->negotiation->inside;
    uint8_t share[ETCP_SPAKE2_SHARE];
    etcp_spake2_proofs proofs;
    etcp_spake2 *run = NULL;
    etcp_command c;
    int rc;

    rc = make_share(s, ETCP_SPAKE2_B, &run, share);
    if (rc == 0)
        rc = make_proofs(s, run, inside->share, &proofs);
    etcp_spake2_free(run);
    if (rc < 0)
        return rc;
    begin_end(s, &c);
    etcp_command_add_armoured(&c, share, sizeof share);
    etcp_command_add_armoured(&c, proofs.b, sizeof proofs.b);
    memcpy(inside->proof, proofs.a, sizeof inside->proof);
    etcp_wipe(&proofs, sizeof proofs);
    inside->state = ETCP_INSIDE_PROVING;
    return etcp_command_send(s, &c);
}

static int take_proof(etcp_session *s, const etcp_fields *f)
{
    etcp_inside *inside = s->negotiation->inside;
    uint8_t proof[ETCP_SPAKE2_PROOF];
    int rc = take_bytes(s, &f->at[CP_PROOF], proof, sizeof proof);

    if (rc < 0)
        return rc;
    if (CRYPTO_memcmp(proof, inside->proof, sizeof proof) != 0)
        return etcp_negotiation_reject_password(s);
    s->authenticated = 1;
    return etcp_negotiation_finish(s);
}

int etcp_inside_server_take(etcp_session *s, const etcp_fields *f)
{
    const etcp_inside *inside = s->negotiation->inside;

    if (etcp_field_is(&f->at[0], "HI"))
        return inside->state == ETCP_INSIDE_HELLO ? take_hello(s, f) : malformed(s);
    if (etcp_field_is(&f->at[0], "CP"))
        return inside->state == ETCP_INSIDE_PROVING ? take_proof(s, f) : malformed(s);
    if (etcp_field_is(&f->at[0], "EN"))
        return malformed(s);
    return 0;
}

/* ---- the client ------------------------------------------------------------------------------ */

int etcp_inside_begin(etcp_session *s)
{
    etcp_inside *inside = s->negotiation->inside;
    unsigned flags = inside->facts.flags;
    char compressors[ETCP_LETTERS_MAX + 1];
    uint8_t share[ETCP_SPAKE2_SHARE];
    int rc = 0;
    etcp_command c;

    etcp_offer_ranked(our_compressors(s), compressors);
    if ((flags & ETCP_INSIDE_ASKED) || has_password(s))
        rc = make_share(s, ETCP_SPAKE2_A, &inside->run, share);
    if (rc < 0)
        return rc;
    etcp_command_begin(&c, "HI");
    etcp_command_add_text(&c, s->config->version);
    etcp_command_add_text(&c, compressors);
    etcp_capability_tell_inside(s, &c);
    etcp_command_add_armoured(&c, inside->facts.prologue, sizeof inside->facts.prologue);
    if (inside->run)
        etcp_command_add_armoured(&c, share, sizeof share);
    else if ((flags & ETCP_INSIDE_UPGRADED) && !(flags & ETCP_INSIDE_CERTIFICATE) &&
             !requires_password(s)) {
        s->negotiation->is_early = s->negotiation->unannounced = 1;
    }
    return etcp_command_send(s, &c);
}

static int miss_password(etcp_session *s)
{
    return etcp_error_set(&s->error, ETCP_EPOLICY,
                          "A password is required, but the server asked for none");
}

static int send_proof(etcp_session *s, const uint8_t proof[ETCP_SPAKE2_PROOF])
{
    etcp_command c;

    etcp_command_begin(&c, "CP");
    etcp_command_add_armoured(&c, proof, ETCP_SPAKE2_PROOF);
    return etcp_command_send(s, &c);
}

static int answer_proof(etcp_session *s, const etcp_fields *f)
{
    etcp_inside *inside = s->negotiation->inside;
    uint8_t share[ETCP_SPAKE2_SHARE];
    uint8_t proof[ETCP_SPAKE2_PROOF];
    etcp_spake2_proofs proofs;
    int rc;

    if (!inside->run)
        return malformed(s); /* we offered none */
    rc = take_bytes(s, &f->at[EN_SHARE], share, sizeof share);
    if (rc == 0)
        rc = take_bytes(s, &f->at[EN_PROOF], proof, sizeof proof);
    if (rc == 0)
        rc = make_proofs(s, inside->run, share, &proofs);
    if (rc < 0)
        return rc;
    if (CRYPTO_memcmp(proof, proofs.b, sizeof proof) != 0)
        rc = etcp_error_set(&s->error, ETCP_EREJECTED, "The server does not know the password");
    else
        rc = send_proof(s, proofs.a);
    etcp_wipe(&proofs, sizeof proofs);
    s->authenticated = rc == 0;
    return rc;
}

static int take_end(etcp_session *s, const etcp_fields *f)
{
    const etcp_inside *inside = s->negotiation->inside;
    int was_early = s->negotiation->is_early;
    const etcp_compressor *row;
    int rc = 0;

    etcp_negotiation_note_version(s, &f->at[FIELD_VERSION]);
    if (!etcp_offer_chosen_compressor(our_compressors(s), &f->at[FIELD_COMPRESSORS], &row) ||
        etcp_session_peer_is_old(s))
        return malformed(s);
    if (f->at[EN_SHARE].len || f->at[EN_PROOF].len)
        rc = answer_proof(s, f);
    else if ((inside->facts.flags & ETCP_INSIDE_ASKED) || requires_password(s))
        rc = miss_password(s);
    if (rc < 0)
        return rc;
    etcp_capability_note(s, &f->at[FIELD_CAPABILITIES]);
    etcp_capability_use_compressor(s, row);
    rc = etcp_negotiation_finish(s);
    return rc < 0 || !was_early ? rc : ETCP_TAKEN_LATE;
}

static int refuse(etcp_session *s)
{
    etcp_command c;

    etcp_command_begin(&c, "NO");
    etcp_command_add_text(&c, "I don't understand you");
    return etcp_command_send(s, &c);
}

int etcp_inside_client_take(etcp_session *s, const etcp_fields *f)
{
    if (etcp_field_is(&f->at[0], "EN"))
        return take_end(s, f);
    if (etcp_field_is(&f->at[0], "PF"))
        return etcp_error_set(&s->error, ETCP_EREJECTED, "Server rejected supplied password");
    if (etcp_field_is(&f->at[0], "HI") || etcp_field_is(&f->at[0], "CP"))
        return malformed(s);
    return refuse(s);
}
