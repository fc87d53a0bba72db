/* The life of a session, and facts about it. */
#include "session.h"

#include <string.h>

#include "base/mem.h"
#include "frame.h"
#include "negotiate.h"
#include "negotiate_inside.h"
#include "state.h"
#include "transform.h"

/* ---- life ----------------------------------------------------------------------------------- */

static etcp_session *new_session(etcp_config *config)
{
    etcp_session *s = etcp_zalloc(sizeof *s);

    if (!s)
        return NULL;
    s->config = etcp_config_ref(config);
    etcp_buf_init(&s->input);
    etcp_buf_init(&s->decoded);
    etcp_buf_init(&s->encoded);
    etcp_buf_init(&s->output);
    return s;
}

/* Frees the session if it fails. */
static int begin(etcp_session *s, etcp_session **out)
{
    int rc = 0;

    if (!s)
        return ETCP_ENOMEM;
    s->negotiation = etcp_negotiation_new();
    if (!s->negotiation)
        rc = ETCP_ENOMEM;
    else if (s->config->role == ETCP_ROLE_SERVER)
        rc = etcp_server_begin(s);
    if (rc < 0) {
        etcp_session_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int etcp_session_new(etcp_config *config, etcp_session **out)
{
    return begin(new_session(config), out);
}

int etcp_session_new_tunnelled(etcp_config *config, int is_proved, etcp_session **out)
{
    etcp_session *s = new_session(config);

    if (s) {
        s->in_tunnel = 1;
        s->keeps_password = config->role == ETCP_ROLE_CLIENT && !is_proved;
    }
    return begin(s, out);
}

int etcp_session_new_ready(etcp_config *config, etcp_session **out)
{
    *out = new_session(config);
    return *out ? 0 : ETCP_ENOMEM;
}

static int fill_inside(etcp_session *s, const etcp_inside_facts *facts)
{
    s->negotiation = etcp_negotiation_new();
    if (!s->negotiation)
        return ETCP_ENOMEM;
    s->negotiation->inside = etcp_zalloc(sizeof *s->negotiation->inside);
    if (!s->negotiation->inside)
        return ETCP_ENOMEM;
    s->negotiation->inside->facts = *facts;
    return 0;
}

int etcp_session_new_inside(etcp_config *config, const etcp_inside_facts *facts, etcp_session **out)
{
    etcp_session *s = new_session(config);
    int rc = s ? fill_inside(s, facts) : ETCP_ENOMEM;

    if (rc < 0) {
        etcp_session_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int etcp_session_bind(etcp_session *s, unsigned flags, const uint8_t binding[ETCP_INSIDE_BINDING])
{
    s->negotiation->inside->facts.flags |= flags;
    memcpy(s->negotiation->inside->binding, binding, ETCP_INSIDE_BINDING);
    return s->config->role == ETCP_ROLE_CLIENT ? etcp_inside_begin(s) : 0;
}

void etcp_session_free(etcp_session *s)
{
    if (!s)
        return;
    etcp_session_drop_unpacking(s);
    etcp_session_drop_incoming(s);
    etcp_negotiation_free(s->negotiation);
    if (s->adapt)
        etcp_adapt_deinit(s->adapt);
    etcp_free(s->adapt);
    etcp_transform_deinit(&s->transform);
    etcp_buf_deinit(&s->input);
    etcp_buf_wipe(&s->decoded);
    etcp_buf_wipe(&s->encoded);
    etcp_buf_wipe(&s->output);
    etcp_config_unref(s->config);
    etcp_wipe(s, sizeof *s);
    etcp_free(s);
}

/* A large payload becomes ordinary buffered input of the copy: the user's memory it goes to belongs
 * to the thread of the original. */
static int clone_input(const etcp_session *s, etcp_session *copy)
{
    const etcp_incoming *in = s->incoming;
    uint8_t header[ETCP_FRAME_HEADER_MAX];
    int rc;

    if (s->spent)
        return 0;
    if (!in)
        return etcp_buf_append(&copy->input, etcp_buf_bytes(&s->input), etcp_buf_len(&s->input));
    rc = etcp_buf_append(&copy->input, header, etcp_frame_encode(header, in->flags, in->len));
    return rc < 0 ? rc : etcp_buf_append(&copy->input, in->data, in->have);
}

static void clone_facts(const etcp_session *s, etcp_session *copy)
{
    copy->peer_version = s->peer_version;
    memcpy(copy->peer_version_text, s->peer_version_text, sizeof copy->peer_version_text);
    copy->authenticated = s->authenticated;
    copy->peer_can = s->peer_can;
    copy->told = s->told;
    copy->gap = s->gap;
    copy->error = s->error;
}

int etcp_session_clone(const etcp_session *s, etcp_session **out)
{
    etcp_config *config = etcp_config_clone(s->config);
    etcp_session *copy;
    int rc;

    if (!config)
        return ETCP_ENOMEM;
    copy = new_session(config);
    etcp_config_unref(config);
    if (!copy)
        return ETCP_ENOMEM;
    clone_facts(s, copy);
    rc = s->unpacking ? 0 : clone_input(s, copy);
    if (s->unpacking)
        (void)etcp_error_set(&copy->error, ETCP_EDECODE, "A message was half decoded");
    if (rc == 0)
        rc = etcp_transform_clone(&s->transform, &copy->transform);
    if (rc == 0 && s->negotiation) {
        copy->negotiation = etcp_negotiation_clone(s->negotiation);
        if (!copy->negotiation)
            rc = ETCP_ENOMEM;
    }
    if (rc < 0) {
        etcp_session_free(copy);
        return rc;
    }
    *out = copy;
    return 0;
}

/* ---- facts ---------------------------------------------------------------------------------- */

etcp_config *etcp_session_config(const etcp_session *s)
{
    return s->config;
}

static int is_withheld_inside(const etcp_negotiation *n)
{
    return n->inside && n->inside->state == ETCP_INSIDE_WITHHELD;
}

int etcp_session_wants_proof(const etcp_session *s)
{
    const etcp_negotiation *n = s->negotiation;

    return n && !s->error.code && (n->verdict != ETCP_VERDICT_NONE || is_withheld_inside(n));
}

int etcp_session_was_chance(const etcp_session *s)
{
    return s->was_chance;
}

int etcp_session_prove(etcp_session *s)
{
    if (s->error.code)
        return s->error.code;
    return is_withheld_inside(s->negotiation) ? etcp_inside_prove(s) : etcp_server_judge(s);
}

int etcp_session_is_early(const etcp_session *s)
{
    return s->negotiation && s->negotiation->is_early;
}

int etcp_session_is_ready(const etcp_session *s)
{
    return etcp_session_may_send(s);
}

int etcp_session_is_at_rest(const etcp_session *s)
{
    /* Asked twice for each message, when there is nothing, most often: one comparison for all. */
    const uintptr_t memory = (uintptr_t)s->input.data | (uintptr_t)s->incoming |
                             (uintptr_t)s->unpacking | (uintptr_t)s->decoded.data |
                             (uintptr_t)s->encoded.data | (uintptr_t)s->output.data;

    return !memory && !s->error.code;
}

int etcp_session_is_authenticated(const etcp_session *s)
{
    return s->authenticated;
}

uint32_t etcp_session_peer_version(const etcp_session *s)
{
    return s->peer_version;
}

const char *etcp_session_peer_version_text(const etcp_session *s)
{
    return s->peer_version_text;
}

unsigned etcp_session_peer_can(const etcp_session *s)
{
    return s->peer_can;
}

unsigned etcp_session_told(const etcp_session *s)
{
    return s->told;
}

const etcp_cipher *etcp_session_cipher(const etcp_session *s)
{
    return s->transform.cipher;
}

const etcp_compressor *etcp_session_compressor(const etcp_session *s)
{
    return s->transform.compressor;
}

etcp_buf *etcp_session_output(etcp_session *s)
{
    return &s->output;
}

const etcp_error *etcp_session_error(const etcp_session *s)
{
    return &s->error;
}

int etcp_session_wants_gap(const etcp_session *s)
{
    return s->gap;
}
