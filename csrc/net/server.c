/* The life of a server, and facts about it. */
#include "server_private.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

void etcp_server_options_default(etcp_server_options *options)
{
    memset(options, 0, sizeof *options);
    options->port = "0";
    options->backlog = SOMAXCONN;
    options->max_half_open = ETCP_HALF_OPEN_MAX;
    options->negotiation_timeout_ms = ETCP_NEGOTIATION_TIMEOUT_MS;
    options->coalesce = 1;
    etcp_conn_limits_default(&options->limits);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void flush_holder(etcp_holder *h)
{
    etcp_server_flush((etcp_server *)(void *)h);
}

/* Everything but the descriptor, which stays the caller's on failure. */
static etcp_server *create(int fd, const etcp_server_options *options, etcp_config *config)
{
    etcp_server *s = etcp_zalloc(sizeof *s);
    etcp_address local;

    if (!s)
        return NULL;
    etcp_process_watch();
    s->holder.flush = flush_holder;
    s->options = *options;
    s->options.address = s->options.port = NULL;
    s->fd = fd;
    etcp_deadline_list_init(&s->half_open, options->negotiation_timeout_ms);
    etcp_deadline_list_init(&s->clients, options->idle_timeout_ms);
    etcp_deadline_list_init(&s->delivering, options->limits.linger_ms);
    etcp_deadline_list_init(&s->discarding, ETCP_DISCARD_MS);
    etcp_deadline_list_init(&s->gone, 0);
    s->scratch = etcp_malloc(sizeof *s->scratch);
    if (!s->scratch || etcp_server_ensure_poller(s) < 0) {
        if (s->poller)
            s->poller->ops->destroy(s->poller);
        etcp_free(s->scratch);
        etcp_free(s);
        return NULL;
    }
    s->scratch->owner = NULL;
    s->config = etcp_config_ref(config);
    etcp_socket_local(fd, &local);
    s->port = local.port;
    return s;
}

/* As the original, a server listens on all IPv4 addresses unless told otherwise. */
static int open_listener(const etcp_server_options *options, int *fd, etcp_error *error)
{
    struct addrinfo *list;
    const char *what = "socket";
    int family = options->address ? AF_UNSPEC : AF_INET;
    int saved;

    if (etcp_socket_resolve(options->address, options->port, family, &list) < 0)
        return etcp_error_set(error, ETCP_EINVAL, "cannot resolve %s port %s",
                              options->address ? options->address : "0.0.0.0", options->port);
    *fd = etcp_socket_listen(list, options->backlog, &what);
    saved = errno;
    freeaddrinfo(list);
    return *fd < 0 ? etcp_error_set_errno(error, saved, what) : 0;
}

int etcp_server_new(const etcp_server_options *options, etcp_config *config, etcp_server **out,
                    etcp_error *error)
{
    int fd = -1;
    int rc = open_listener(options, &fd, error);

    if (rc < 0)
        return rc;
    errno = ENOMEM;
    *out = create(fd, options, config);
    if (*out)
        return 0;
    rc = errno == ENOMEM ? etcp_error_set(error, ETCP_ENOMEM, "out of memory")
                         : etcp_error_set_errno(error, errno, "poller");
    etcp_socket_close(fd);
    return rc;
}

etcp_server *etcp_server_clone(const etcp_server *s)
{
    etcp_config *config = etcp_config_clone(s->config);
    etcp_server *copy = NULL;
    size_t i;
    int fd;

    if (!config)
        return NULL;
    fd = etcp_socket_dup(s->fd);
    if (fd >= 0)
        copy = create(fd, &s->options, config);
    etcp_config_unref(config);
    if (!copy) {
        if (fd >= 0)
            etcp_socket_close(fd);
        return NULL;
    }
    for (i = 0; i < s->allowed_count; i++) {
        if (etcp_server_allow(copy, s->allowed[i]) < 0) {
            etcp_server_free(copy);
            return NULL;
        }
    }
    return copy;
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* From here on the connections stand alone: closing one delivers what the kernel takes at once. */
static void drop_list(etcp_deadline_list *l)
{
    while (l->head) {
        etcp_conn *c = etcp_conn_at(l->head);
        int stays = c->outlives && c->state == ETCP_CONN_OPEN && etcp_conn_keep_view(c) == 0;

        etcp_deadline_stop(&c->place);
        if (stays)
            etcp_server_scratch_left(c);
        else
            etcp_conn_drop_view(c);
        c->server = NULL;
        c->interest = 0;
        if (!stays)
            etcp_conn_close(c);
        etcp_conn_unref(c);
    }
}

static void drop_notes(etcp_server *s)
{
    etcp_conn *next;
    etcp_conn *c;

    for (c = s->pending; c; c = next) {
        next = c->next_pending;
        c->pending = 0;
        etcp_conn_unref(c);
    }
    while (s->ready_next < s->ready_count) {
        void *tag = s->ready[s->ready_next++].tag;
        if (tag != s)
            etcp_conn_unref(tag);
    }
    etcp_conn_unref(s->ending);
    etcp_conn_unref(s->forgotten);
}

void etcp_server_free(etcp_server *s)
{
    size_t i;

    if (!s)
        return;
    etcp_server_flush(s);
    if (s->poller && s->generation != etcp_process_generation())
        s->poller->ops->abandon(s->poller);
    else if (s->poller)
        s->poller->ops->destroy(s->poller);
    s->poller = NULL;
    etcp_socket_close(s->fd);
    drop_list(&s->half_open);
    drop_list(&s->clients);
    drop_list(&s->delivering);
    drop_list(&s->discarding);
    drop_list(&s->gone);
    drop_notes(s);
    for (i = 0; i < s->allowed_count; i++)
        etcp_free(s->allowed[i]);
    etcp_free(s->allowed);
    etcp_free(s->scratch);
    etcp_config_unref(s->config);
    etcp_free(s);
}

/* ---- facts ----------------------------------------------------------------------------------- */

size_t etcp_server_client_count(const etcp_server *s)
{
    return s->clients.count;
}

size_t etcp_server_half_open(const etcp_server *s)
{
    return s->half_open.count;
}

int etcp_server_fd(const etcp_server *s)
{
    return s->fd;
}

unsigned etcp_server_port(const etcp_server *s)
{
    return s->port;
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
