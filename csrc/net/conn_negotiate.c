/* The negotiation of a client's connection, until it is open. */
#include "conn_private.h"

#include "clock.h"
#include "spoken.h"

/* Parses everything that has arrived up to READY, answering. Returns 0 or an error. */
static int parse_and_answer(etcp_conn *c)
{
    etcp_event event;
    int rc = etcp_conn_parse(c, &event);
    int gap = etcp_session_wants_gap(c->session);
    int sent = etcp_conn_push_session(c); /* a rejection the server should hear, too */

    if (rc < 0)
        return rc;
    if (sent < 0)
        return sent;
    if (rc > 0 && event.type == ETCP_EVENT_READY)
        c->gap_since_ms = gap ? etcp_clock_ms() : 0;
    return 0;
}

/* Whether nothing is left to be read. */
static int is_agreed(const etcp_conn *c)
{
    return etcp_session_is_ready(c->session) &&
           !(c->waits_for_answer && etcp_session_is_early(c->session));
}

/* Reads once and works on it; what follows the end of the negotiation in the same read is kept. */
static int read_and_answer(etcp_conn *c)
{
    uint8_t bytes[ETCP_CLIENT_SCRATCH_SIZE];
    int rc;

    if (etcp_conn_fill(c, bytes, sizeof bytes) == ETCP_FILL_ENDED)
        return c->end_code;
    do {
        rc = parse_and_answer(c);
    } while (rc == 0 && etcp_conn_has_view(c) && !is_agreed(c));
    if (rc == 0 && c->end_code && !is_agreed(c))
        return c->end_code; /* it was said behind what was parsed */
    return rc < 0 ? rc : etcp_conn_keep_view(c);
}

static int is_over(const etcp_conn *c)
{
    return is_agreed(c) && c->out.len == 0;
}

int etcp_conn_negotiate(etcp_conn *c)
{
    int rc = 0;

    if (c->out.len)
        (void)etcp_conn_flush(c);
    else if (!is_agreed(c))
        rc = read_and_answer(c);
    if (rc < 0)
        return rc;
    if (c->output_ended)
        return ETCP_ESYSTEM;
    if (!is_over(c))
        return ETCP_AGAIN;
    if (c->tunnel && (rc = etcp_channel_learn(c->tunnel->channel)) < 0)
        return etcp_conn_tunnel_failed(c, rc);
    if (c->tunnel && etcp_channel_endpoint(c->tunnel->channel))
        etcp_spoken_note(etcp_channel_endpoint(c->tunnel->channel), etcp_clock_ms());
    etcp_security_unref(c->security);
    c->security = NULL;
    c->state = ETCP_CONN_OPEN;
    if (c->gap_since_ms)
        c->gap_since_ms = etcp_clock_ms(); /* EN has left only now */
    return 1;
}

unsigned etcp_conn_negotiation_wants(const etcp_conn *c)
{
    return (c->out.len ? (unsigned)ETCP_POLL_WRITE : 0u) |
           (is_agreed(c) ? 0u : (unsigned)ETCP_POLL_READ);
}
