#include "listener.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

static void init(etcp_listener *l, int fd)
{
    etcp_address local;

    memset(l, 0, sizeof *l);
    l->entry.fd = fd;
    if (fd < 0)
        return;
    etcp_socket_local(fd, &local);
    l->port = local.port;
}

int etcp_listener_open(etcp_listener *l, const char *address, const char *port, int backlog,
                       etcp_error *error)
{
    struct addrinfo *list;
    const char *what = "socket";
    int saved;
    int fd;

    init(l, -1);
    if (etcp_socket_resolve(address, port, address ? AF_UNSPEC : AF_INET, &list) != 0)
        return etcp_error_set(error, ETCP_EINVAL, "cannot resolve %s port %s",
                              address ? address : "0.0.0.0", port);
    fd = etcp_socket_listen(list, backlog, &what);
    saved = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return etcp_error_set_errno(error, saved, what);
    init(l, fd);
    return 0;
}

int etcp_listener_clone(const etcp_listener *from, etcp_listener *l)
{
    size_t i;

    init(l, etcp_socket_dup(from->entry.fd));
    if (l->entry.fd < 0)
        return -1;
    for (i = 0; i < from->allowed_count; i++)
        if (etcp_listener_allow(l, from->allowed[i]) < 0)
            return -1;
    return 0;
}

void etcp_listener_close(etcp_listener *l)
{
    size_t i;

    if (l->entry.fd >= 0)
        etcp_socket_close(l->entry.fd);
    l->entry.fd = -1;
    for (i = 0; i < l->allowed_count; i++)
        etcp_free(l->allowed[i]);
    etcp_free(l->allowed);
    l->allowed = NULL;
    l->allowed_count = 0;
}

/* ---- who may connect ------------------------------------------------------------------------- */

static size_t find_allowed(const etcp_listener *l, const char *ip)
{
    size_t i;

    for (i = 0; i < l->allowed_count && strcmp(l->allowed[i], ip) != 0; i++)
        ;
    return i;
}

int etcp_listener_allow(etcp_listener *l, const char *ip)
{
    char **grown;
    char *copy;

    if (find_allowed(l, ip) < l->allowed_count)
        return 0;
    grown = etcp_realloc(l->allowed, (l->allowed_count + 1) * sizeof *grown);
    if (!grown)
        return ETCP_ENOMEM;
    l->allowed = grown;
    copy = etcp_memdup(ip, strlen(ip));
    if (!copy)
        return ETCP_ENOMEM;
    l->allowed[l->allowed_count++] = copy;
    return 0;
}

void etcp_listener_disallow(etcp_listener *l, const char *ip)
{
    size_t i = find_allowed(l, ip);

    if (i == l->allowed_count)
        return;
    etcp_free(l->allowed[i]);
    l->allowed[i] = l->allowed[--l->allowed_count];
}

int etcp_listener_allows(const etcp_listener *l, const etcp_address *peer)
{
    char text[64];

    return l->allowed_count == 0 ||
           find_allowed(l, etcp_address_text(peer, text, sizeof text)) < l->allowed_count;
}
