#include "listener.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

static void init(etcp_listener *l, int fd)
{
    memset(l, 0, sizeof *l);
    l->entry.fd = fd;
    l->entry.kind = ETCP_ENTRY_LISTENER;
    l->generation = etcp_process_generation();
    if (fd >= 0)
        etcp_socket_local(fd, &l->address);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Whoever handed it out may have other processes accept from it: one that loses the race must not
 * wait in accept. */
static int take_handle(etcp_listener *l, int handle, etcp_error *error)
{
    int fd;

    if (!etcp_socket_is_listening(handle))
        return etcp_error_set(error, ETCP_EINVAL, "handle is not a listening socket");
    fd = etcp_socket_dup(handle);
    if (fd < 0)
        return etcp_error_set_errno(error, errno, "dup");
    init(l, fd);
    l->is_inherited = 1;
    etcp_socket_unblocking(fd);
    etcp_socket_no_delay(fd);
    return 0;
}

static int listen_at_path(etcp_listener *l, const etcp_listen_options *options, etcp_error *error)
{
    char *path = etcp_memdup(options->path, strlen(options->path));
    etcp_local_file file;
    const char *what;
    int fd;

    if (!path)
        return etcp_error_set(error, ETCP_ENOMEM, "out of memory");
    fd = etcp_local_socket_listen(path, options->path_mode, options->backlog, &file, &what);
    if (fd < 0) {
        etcp_free(path);
        return etcp_error_set_errno(error, errno, what);
    }
    init(l, fd);
    l->path = path;
    l->file = file;
    return 0;
}

static int listen_at_port(etcp_listener *l, const etcp_listen_options *options, etcp_error *error)
{
    const char *address = options->address;
    struct addrinfo *list;
    const char *what = "socket";
    int saved;
    int fd;

    if (etcp_socket_resolve(address, options->port, address ? AF_UNSPEC : AF_INET, &list) != 0)
        return etcp_error_set(error, ETCP_EINVAL, "cannot resolve %s port %s",
                              address ? address : "0.0.0.0", options->port);
    fd = etcp_socket_listen(list, options->reuse_port, options->backlog, &what);
    saved = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return etcp_error_set_errno(error, saved, what);
    init(l, fd);
    return 0;
}

int etcp_listener_open(etcp_listener *l, const etcp_listen_options *options, etcp_error *error)
{
    init(l, -1);
    if (options->handle >= 0)
        return take_handle(l, options->handle, error);
    if (options->path)
        return listen_at_path(l, options, error);
    return options->port ? listen_at_port(l, options, error) : 0;
}

int etcp_listener_clone(const etcp_listener *from, etcp_listener *l)
{
    init(l, from->entry.fd < 0 ? -1 : etcp_socket_dup(from->entry.fd));
    if (from->entry.fd >= 0 && l->entry.fd < 0)
        return -1;
    l->address = from->address;
    l->is_inherited = from->is_inherited;
    if (etcp_address_list_copy(&from->allowed, &l->allowed) < 0)
        return -1;
    return etcp_address_list_copy(&from->proxies, &l->proxies);
}

/* ---- closing --------------------------------------------------------------------------------- */

void etcp_listener_shut(etcp_listener *l)
{
    if (l->path && l->generation == etcp_process_generation())
        etcp_local_socket_remove(l->path, &l->file);
    etcp_free(l->path);
    l->path = NULL;
    if (l->entry.fd >= 0)
        etcp_socket_close(l->entry.fd);
    l->entry.fd = -1;
}

void etcp_listener_close(etcp_listener *l)
{
    etcp_listener_shut(l);
    etcp_address_list_clear(&l->allowed);
    etcp_address_list_clear(&l->proxies);
}

/* ---- facts ----------------------------------------------------------------------------------- */

int etcp_listener_is_shared(const etcp_listener *l)
{
    return l->is_inherited || l->generation != etcp_process_generation();
}

int etcp_listener_allows(const etcp_listener *l, const etcp_address *peer)
{
    return etcp_address_list_is_empty(&l->allowed) || etcp_address_list_has(&l->allowed, peer);
}
