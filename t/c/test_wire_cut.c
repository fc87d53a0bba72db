/* A peer of our own that stops at any byte, of the negotiation or of a message: the other end says that
 * it was left in the negotiation, or has what was whole, and nothing else happens. */
#include "wire_peer.h"

#include "tap.h"
#include "wire/config.h"

/* One connection in which the villain writes at most left bytes. */
typedef struct cut {
    peer villain;
    peer victim;
    size_t left;
    int stopped;
} cut;

static const char message[] = "a message, a message, a message, a message that is long enough";

/* Feeds the victim as much as the villain may still write. */
static void feed_part(cut *c, const uint8_t *bytes, size_t len)
{
    size_t part = len < c->left ? len : c->left;

    (void)peer_feed(&c->victim, bytes, part);
    c->left -= part;
    if (part < len)
        c->stopped = 1;
}

static size_t move_part(cut *c)
{
    etcp_buf *output = etcp_session_output(c->villain.s);
    size_t len = etcp_buf_len(output);

    feed_part(c, etcp_buf_bytes(output), len);
    etcp_buf_clear(output);
    return c->stopped ? 0 : len;
}

static void say_part(cut *c)
{
    etcp_packet packet;

    if (!c->villain.ready || etcp_session_encode(c->villain.s, 0, (const uint8_t *)message,
                                                 sizeof message, &packet) < 0)
        return;
    feed_part(c, packet.header, packet.header_len);
    feed_part(c, packet.body, packet.body_len);
}

static int is_as_it_should(const cut *c, int whole)
{
    const etcp_error *e = etcp_session_error(c->victim.s);

    if (c->victim.rc != 0 || c->victim.messages != (whole ? 1u : 0u))
        return 0;
    if (!c->victim.ready)
        return e->code == ETCP_ECLOSED &&
               strcmp(e->text, "Socket closed when attempted reading") == 0;
    return e->code == 0 && (!whole || memcmp(etcp_buf_bytes(&c->victim.data), message,
                                             sizeof message) == 0);
}

/* Returns whether the villain could write everything; *wrong counts. */
static int run_one(size_t budget, etcp_config *villain, etcp_config *victim, unsigned *ready,
                   unsigned *wrong)
{
    cut c;

    c.left = budget;
    c.stopped = 0;
    if (peer_init(&c.villain, villain) < 0 || peer_init(&c.victim, victim) < 0)
        abort();
    while (move_part(&c) + peer_move(&c.victim, &c.villain, 0) > 0)
        continue;
    if (!c.stopped)
        say_part(&c);
    etcp_session_end_of_input(c.victim.s);
    *ready += c.victim.ready;
    *wrong += !is_as_it_should(&c, !c.stopped);
    peer_deinit(&c.villain);
    peer_deinit(&c.victim);
    return !c.stopped;
}

static void test_cuts(etcp_role villain_role, const char *version, const char *password)
{
    etcp_config *villain = etcp_config_new(villain_role);
    etcp_config *victim = etcp_config_new(villain_role == ETCP_ROLE_SERVER ? ETCP_ROLE_CLIENT
                                                                           : ETCP_ROLE_SERVER);
    const char *who = villain_role == ETCP_ROLE_SERVER ? "server" : "client";
    unsigned ready = 0;
    unsigned wrong = 0;
    size_t n = 0;

    if (!villain || !victim)
        abort();
    memcpy(villain->version, version, strlen(version) + 1);
    memcpy(victim->version, "1.00", 5);
    if (password && (etcp_config_set_password(villain, (const uint8_t *)password, 6) < 0 ||
                     etcp_config_set_password(victim, (const uint8_t *)password, 6) < 0))
        abort();
    while (!run_one(n, villain, victim, &ready, &wrong) && n < 20000)
        n++;
    tap_ok(n > 100 && n < 20000 && ready > 10 && ready < n, "%s of %s%s: %lu cuts, %u when ready", who,
           version, password ? ", password" : "", (unsigned long)n, ready);
    tap_is_int(wrong, 0, "%s of %s: whole messages arrive, and nothing else happens", who, version);
    etcp_config_unref(villain);
    etcp_config_unref(victim);
}

int main(void)
{
    test_cuts(ETCP_ROLE_SERVER, "1.00", NULL);
    test_cuts(ETCP_ROLE_CLIENT, "1.00", NULL);
    test_cuts(ETCP_ROLE_SERVER, "1.00", "secret");
    test_cuts(ETCP_ROLE_CLIENT, "1.00", "secret");
    test_cuts(ETCP_ROLE_CLIENT, "0.26", "secret");
    return tap_done();
}
