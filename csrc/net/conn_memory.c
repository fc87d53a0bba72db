/* What connections hold of messages that are not finished, or not delivered: all that share a
 * configuration together at most as much as it says. */
#include "conn_private.h"

/* Who was closed, or will be, is given up already. */
size_t etcp_conn_held(const etcp_conn *c)
{
    size_t view = c->kept ? (size_t)(c->view_end - c->view) : 0;

    if (!etcp_conn_is_open(c) || c->end_code)
        return 0;
    return etcp_session_held(c->session) + view + c->undelivered;
}

/* The connection in this list of a loop that holds most of what config counts, or other if that
 * holds more. NULL: none holds much. */
static etcp_conn *heavier(const etcp_loop *l, etcp_list list, const etcp_config *config,
                          etcp_conn *other)
{
    etcp_deadline *d;

    for (d = l->lists[list].head; d; d = d->next) {
        etcp_conn *c = etcp_conn_of(etcp_entry_at(d));

        if (c->held >= ETCP_HEAVY && etcp_session_config(c->session) == config &&
            (!other || c->held > other->held))
            other = c;
    }
    return other;
}

/* The one of the loop: a server's clients share a configuration, while each connection that its
 * loop made has its own. */
static etcp_conn *heaviest(const etcp_loop *l, const etcp_config *config)
{
    etcp_conn *found;

    if (!l->heavy)
        return NULL;
    found = heavier(l, ETCP_LIST_CLIENTS, config, NULL);
    return heavier(l, ETCP_LIST_DIALED, config, found);
}

/* Ends c without handing out what has come of its next messages. */
static void give_up(etcp_conn *c)
{
    (void)etcp_conn_set_error(c, ETCP_ETOOBIG, "Too many bytes are buffered");
    (void)etcp_conn_end_input(c, ETCP_ETOOBIG);
    etcp_conn_drop_view(c);
    etcp_session_drop_input(c->session);
    etcp_conn_note_held(c, 0);
    etcp_conn_watch(c);
    etcp_conn_pend(c);
}

void etcp_conn_count(etcp_conn *c)
{
    const etcp_config *config;

    if (!c->session)
        return;
    etcp_conn_note_held(c, etcp_conn_held(c));
    config = etcp_session_config(c->session);
    while (config->buffered > config->buffered_max) {
        etcp_conn *most = c->entry.loop ? heaviest(c->entry.loop, config) : c;

        if (!most || most->held < ETCP_HEAVY)
            return;
        give_up(most);
    }
}

void etcp_conn_set_undelivered(etcp_conn *c, size_t bytes)
{
    c->undelivered = bytes;
    etcp_conn_count(c);
}

size_t etcp_conn_room(etcp_conn *c)
{
    const etcp_config *config;

    if (!c->session)
        return c->last_room;
    config = etcp_session_config(c->session);
    if (config->buffered_max < config->buffered + ETCP_HEAVY)
        return ETCP_HEAVY;
    return config->buffered_max - config->buffered;
}

void etcp_conn_forget_session(etcp_conn *c)
{
    c->last_room = etcp_conn_room(c);
    etcp_session_free(c->session);
    c->session = NULL;
}
