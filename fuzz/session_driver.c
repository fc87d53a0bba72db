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
    if (choice & 32)
        config->random = constant_bytes;
    config->message_max = choice & 64 ? 4096 : 1 << 20;
    if (role == ETCP_ROLE_SERVER)
        set_rsa_pair(config);
    else if (!(choice & 128))
        etcp_config_forbid(config, "Crypt::RSA"); /* a client would make a pair, for milliseconds */
    return config;
}

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

/* Returns 0 when the session has ended. */
static int feed(etcp_session *s, const uint8_t *piece, const uint8_t *end)
{
    etcp_event event;
    int rc;

    while ((rc = etcp_session_next(s, &piece, end, &event)) > 0) {
        if (event.type == ETCP_EVENT_MESSAGE)
            use_message(s, &event);
    }
    if (piece != end && rc == 0)
        abort(); /* input left over without an error */
    etcp_buf_clear(etcp_session_output(s));
    return rc == 0;
}

void drive_session(etcp_role role, unsigned choice, const uint8_t *stream, size_t len)
{
    etcp_config *config = session_driver_config(role, choice);
    size_t piece = piece_sizes[choice >> 2 & 7];
    etcp_session *s = NULL;
    size_t done = 0;

    if (etcp_session_new(config, &s) < 0)
        abort();
    while (done < len) {
        size_t part = len - done < piece ? len - done : piece;
        uint8_t *copy = malloc(part); /* of its own, so that reading past it is noticed */
        int go_on;

        if (!copy)
            abort();
        memcpy(copy, stream + done, part);
        go_on = feed(s, copy, copy + part);
        free(copy);
        if (!go_on)
            break;
        done += part;
    }
    etcp_session_end_of_input(s);
    etcp_session_free(s);
    etcp_config_unref(config);
}
