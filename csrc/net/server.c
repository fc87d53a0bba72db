/* The life of a server, and facts about it. */
#include "server_private.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

void etcp_server_options_default(etcp_server_options *options)
{
    memset(options, 0, sizeof *options);
    options->handle = options->path_mode = -1;
    options->port = "0";
    options->backlog = SOMAXCONN;
    options->max_half_open = ETCP_HALF_OPEN_MAX;
    options->negotiation_timeout_ms = ETCP_NEGOTIATION_TIMEOUT_MS;
    options->coalesce = 1;
    etcp_conn_limits_default(&options->limits);
}

/* ---- making ---------------------------------------------------------------------------------- */

static etcp_loop *new_loop(const etcp_server_options *options)
{
    etcp_loop *l = etcp_loop_new();
    unsigned step;

    if (!l)
        return NULL;
    etcp_loop_set_timeout(l, ETCP_LIST_HALF_OPEN, options->negotiation_timeout_ms);
    for (step = 1; step <= ETCP_GUESSES_STEPS; step++)
        etcp_loop_set_timeout(l, (etcp_list)(ETCP_LIST_WITHHELD + step - 1),
                              etcp_guesses_delay_ms(step));
    etcp_loop_set_timeout(l, ETCP_LIST_CLIENTS, options->idle_timeout_ms);
    etcp_deadline_list_set_timeout(&l->stalled, options->limits.send_timeout_ms);
    etcp_loop_set_timeout(l, ETCP_LIST_DELIVERING, options->limits.linger_ms);
    etcp_loop_set_timeout(l, ETCP_LIST_DISCARDING, ETCP_DISCARD_MS);
    return l;
}

/* Takes over the listener on success. NULL with errno. */
static etcp_server *create(const etcp_listener *listener, const etcp_server_options *options,
                           etcp_config *config)
{
    etcp_server *s = etcp_zalloc(sizeof *s);

    errno = ENOMEM;
    if (!s)
        return NULL;
    s->options = *options;
    s->options.address = s->options.port = s->options.path = NULL;
    s->options.tls = NULL;
    s->security = options->tls ? etcp_security_new(options->tls, NULL, NULL) : NULL;
    s->loop = new_loop(options);
    s->listener = *listener;
    s->listener.entry.loop = s->loop;
    s->listener.entry.wanted = listener->entry.fd < 0 ? 0 : ETCP_POLL_READ;
    s->timed_due_ms = UINT64_MAX;
    if (!s->loop || (options->tls && !s->security) ||
        etcp_loop_renew(s->loop, etcp_server_listener_entry(s)) < 0) {
        etcp_security_unref(s->security);
        etcp_loop_free(s->loop);
        etcp_free(s);
        return NULL;
    }
    s->config = etcp_config_ref(config);
    return s;
}

int etcp_server_new(const etcp_server_options *options, etcp_config *config, etcp_server **out,
                    etcp_error *error)
{
    etcp_listen_options where;
    etcp_listener listener;
    int rc;

    where.handle = options->handle;
    where.path = options->path;
    where.path_mode = options->path_mode;
    where.address = options->address;
    where.port = options->port;
    where.reuse_port = options->reuse_port;
    where.backlog = options->backlog;
    rc = etcp_listener_open(&listener, &where, error);
    if (rc < 0)
        return rc;
    *out = create(&listener, options, config);
    if (*out)
        return 0;
    rc = errno == ENOMEM ? etcp_error_set(error, ETCP_ENOMEM, "out of memory")
                         : etcp_error_set_errno(error, errno, "poller");
    etcp_listener_close(&listener);
    return rc;
}

etcp_server *etcp_server_clone(const etcp_server *s)
{
    etcp_config *config = etcp_config_clone(s->config);
    etcp_server_options options = s->options;
    etcp_listener listener;
    etcp_server *copy = NULL;

    if (!config)
        return NULL;
    options.tls = s->security ? etcp_tls_clone(s->security->tls) : NULL;
    if (options.tls || !s->security) {
        if (etcp_listener_clone(&s->listener, &listener) == 0)
            copy = create(&listener, &options, config);
        if (!copy)
            etcp_listener_close(&listener);
    }
    etcp_tls_unref(options.tls);
    etcp_config_unref(config);
    return copy;
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void drop_notes(etcp_server *s)
{
    etcp_entry *e;
    unsigned events;

    while ((e = etcp_loop_take_pending(s->loop, &events)) != NULL ||
           (e = etcp_loop_take_ready(s->loop, &events)) != NULL)
        etcp_server_unref_entry(e);
    etcp_server_forget_news(s);
    etcp_conn_unref(s->ending);
    etcp_conn_unref(s->forgotten);
}

void etcp_server_free(etcp_server *s)
{
    int list;

    if (!s)
        return;
    etcp_server_flush(s);
    etcp_loop_stop(s->loop);
    etcp_listener_close(&s->listener);
    etcp_address_count_clear(&s->per_ip);
    while (s->loop->lists[ETCP_LIST_DIALERS].head)
        etcp_dialer_leave(etcp_dialer_of(etcp_entry_at(s->loop->lists[ETCP_LIST_DIALERS].head)));
    while (s->loop->lists[ETCP_LIST_WATCHES].head)
        etcp_watch_leave(etcp_watch_of(etcp_entry_at(s->loop->lists[ETCP_LIST_WATCHES].head)));
    for (list = 0; list < ETCP_LISTS; list++)
        while (s->loop->lists[list].head)
            etcp_conn_leave(etcp_conn_of(etcp_entry_at(s->loop->lists[list].head)));
    drop_notes(s);
    etcp_loop_free(s->loop);
    etcp_guesses_deinit(&s->guesses);
    etcp_security_unref(s->security);
    etcp_config_unref(s->config);
    etcp_free(s);
}

/* ---- facts ----------------------------------------------------------------------------------- */

size_t etcp_server_client_count(const etcp_server *s)
{
    return s->loop->lists[ETCP_LIST_CLIENTS].count;
}

size_t etcp_server_half_open(const etcp_server *s)
{
    return etcp_server_negotiating(s);
}

int etcp_server_allow(etcp_server *s, const char *ip)
{
    return etcp_address_list_add(&s->listener.allowed, ip);
}

int etcp_server_disallow(etcp_server *s, const char *ip)
{
    return etcp_address_list_remove(&s->listener.allowed, ip);
}

int etcp_server_trust_proxy(etcp_server *s, const char *ip)
{
    return etcp_address_list_add(&s->listener.proxies, ip);
}

int etcp_server_fd(const etcp_server *s)
{
    return s->listener.entry.fd;
}

unsigned etcp_server_port(const etcp_server *s)
{
    return s->listener.address.port;
}

const char *etcp_server_ip(const etcp_server *s, char *text, size_t size)
{
    return etcp_address_text(&s->listener.address, text, size);
}

etcp_config *etcp_server_config(etcp_server *s)
{
    return s->config;
}

void etcp_server_set_config(etcp_server *s, etcp_config *config)
{
    etcp_config *old = s->config;

    s->config = etcp_config_ref(config);
    etcp_config_unref(old);
}
