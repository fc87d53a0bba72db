#include "session_driver.h"

#include <stdlib.h>
#include <string.h>

#include "rsa_pair.h"

static const size_t piece_sizes[] = {1, 2, 3, 7, 64, 1000, 4096, (size_t)-1};

static int constant_bytes(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0x5a, len);
    return 0;
}

/* ---- large messages in memory of the user's --------------------------------------------------- */

typedef struct holder {
    uint8_t *bytes;
} holder;

static void *holder_create(void *arg, size_t cap, uint8_t **data)
{
    holder *h = malloc(sizeof *h);

    (void)arg;
    if (!h)
        abort();
    h->bytes = malloc(cap);
    if (!h->bytes)
        abort();
    *data = h->bytes;
    return h;
}

static uint8_t *holder_grow(void *arg, void *handle, size_t cap)
{
    holder *h = handle;

    (void)arg;
    h->bytes = realloc(h->bytes, cap);
    if (!h->bytes)
        abort();
    return h->bytes;
}

static void holder_destroy(void *arg, void *handle)
{
    holder *h = handle;

    (void)arg;
    free(h->bytes);
    free(h);
}

static const etcp_payload_ops holders = {holder_create, holder_grow, holder_destroy};

/* ---- options ---------------------------------------------------------------------------------- */

/* One pair for all runs: making one is slow, and messages to it can be learned. */
static void set_rsa_pair(etcp_config *config)
{
    if (etcp_buf_append(&config->rsa_public, (const uint8_t *)rsa_public, sizeof rsa_public - 1) < 0 ||
        etcp_buf_append_str(&config->rsa_private, rsa_private) < 0)
        abort();
}

etcp_config *session_driver_config(etcp_role role, unsigned choice)
{
    etcp_config *config = etcp_config_new(role);

    if (!config)
        abort();
    memcpy(config->version, "1.00", 5);
    memcpy(config->storable_version, "3.26", 5);
    config->storable_minor = 11;
    if ((choice & 1) && etcp_config_set_password(config, (const uint8_t *)"secret", 6) < 0)
        abort();
    if (choice & 2)
        config->flags |= ETCP_REQUIRE_ENCRYPTION | ETCP_REFUSE_PLAINTEXT;
    if (role == ETCP_ROLE_CLIENT || (choice & 128))
        config->flags |= ETCP_ALLOW_TLS;
    if (choice & 32)
        config->random = constant_bytes;
    if (choice & 4) {
        config->payload_ops = &holders;
        config->payload_threshold = 100;
    }
    config->message_max = choice & 64 ? 4096 : 1 << 20;
    if (role == ETCP_ROLE_SERVER)
        set_rsa_pair(config);
    else if (!(choice & 128))
        etcp_config_forbid(config, "Crypt::RSA"); /* a client would make a pair, for milliseconds */
    return config;
}

/* ---- driving ---------------------------------------------------------------------------------- */

/* Reads every byte of a message, so that a bad length is noticed, and sends it back. */
static void use_message(etcp_session *s, const etcp_event *event)
{
    volatile uint8_t sum = 0;
    etcp_packet packet;
    size_t i;

    for (i = 0; i < event->len; i++)
        sum = (uint8_t)(sum + event->data[i]);
    if (event->len < 5000 && etcp_session_encode(s, event->flags, (const uint8_t *)"reply", 5,
                                                 &packet) == 0 &&
        packet.header_len > sizeof packet.header)
        abort();
}

void session_driver_switch(etcp_session **s, etcp_config *config)
{
    static const uint8_t binding[ETCP_INSIDE_BINDING];
    etcp_inside_facts facts;

    if (etcp_session_switch(*s, &facts) < 0)
        abort();
    memset(facts.prologue, 0, sizeof facts.prologue);
    etcp_session_free(*s);
    if (etcp_session_new_inside(config, &facts, s) < 0 || etcp_session_bind(*s, 0, binding) < 0)
        abort();
}

/* The next event, as connections take it. */
static int next_event(etcp_session *s, const uint8_t **piece, const uint8_t *end, etcp_event *event)
{
    return etcp_session_next_usual(s, piece, end, event) ? 1 : etcp_session_next(s, piece, end, event);
}

/* Takes all that piece..end gives. Returns 0 when the session has ended. */
static int feed(etcp_session **session, etcp_config *config, const uint8_t *piece, const uint8_t *end)
{
    etcp_session *s = *session;
    etcp_event event;
    int rc;

    while ((rc = next_event(s, &piece, end, &event)) > 0) {
        if (event.type == ETCP_EVENT_TLS) {
            session_driver_switch(session, config);
            s = *session;
            continue;
        }
        if (event.type != ETCP_EVENT_MESSAGE)
            continue;
        use_message(s, &event);
        if (event.payload)
            holder_destroy(NULL, event.payload);
    }
    if (piece != end && rc == 0)
        abort(); /* input left over without an error */
    if (rc == 0 && etcp_session_wants_proof(s))
        rc = etcp_session_prove(s);
    etcp_buf_clear(etcp_session_output(s));
    return rc == 0;
}

/* Hands over up to len bytes as a connection reads them: into the session's window if it has one,
 * otherwise from memory of their own, so that reading past them is noticed. Returns how many were
 * taken, 0 when the session has ended. */
static size_t hand_over(etcp_session **session, etcp_config *config, const uint8_t *bytes, size_t len)
{
    etcp_session *s = *session;
    uint8_t *where = NULL;
    size_t window = etcp_session_window(s, &where);
    int go_on;

    if (window) {
        len = len < window ? len : window;
        memcpy(where, bytes, len);
        etcp_session_commit(s, len);
        return feed(session, config, bytes, bytes) ? len : 0;
    }
    where = malloc(len);
    if (!where)
        abort();
    memcpy(where, bytes, len);
    if (etcp_session_has_packet(s, where, where + len) < 0)
        abort();
    go_on = feed(session, config, where, where + len);
    free(where);
    return go_on ? len : 0;
}

void drive_session(etcp_role role, unsigned choice, const uint8_t *stream, size_t len)
{
    etcp_config *config = session_driver_config(role, choice);
    size_t piece = piece_sizes[choice >> 2 & 7];
    etcp_session *s = NULL;
    size_t done = 0;
    size_t taken = 1;

    if (etcp_session_new(config, &s) < 0)
        abort();
    for (; done < len && taken; done += taken)
        taken = hand_over(&s, config, stream + done, len - done < piece ? len - done : piece);
    etcp_session_end_of_input(s);
    etcp_session_free(s);
    etcp_config_unref(config);
}
