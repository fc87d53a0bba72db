#include "watch_private.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "socket.h"

/* Poll finds these ready at all times, and epoll refuses them. */
static int is_always_ready(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode));
}

/* A duplicate, or -1 with errno. */
static int duplicate(int fd)
{
    int copy = etcp_socket_dup(fd);

    if (copy < 0 || !is_always_ready(copy))
        return copy;
    (void)close(copy);
    errno = EPERM;
    return -1;
}

etcp_watch *etcp_watch_new(int fd)
{
    int copy = fd < 0 ? -1 : duplicate(fd);
    etcp_watch *w;

    if (fd >= 0 && copy < 0)
        return NULL;
    w = etcp_zalloc(sizeof *w);
    if (!w) {
        if (copy >= 0)
            (void)close(copy);
        errno = ENOMEM;
        return NULL;
    }
    w->entry.kind = ETCP_ENTRY_WATCH;
    w->entry.fd = copy;
    w->entry.references = 1;
    w->due_ms = UINT64_MAX;
    w->generation = etcp_process_generation();
    w->identity = copy < 0 ? 0 : etcp_socket_identity(copy);
    return w;
}

void etcp_watch_unref(etcp_watch *w)
{
    if (!w || --w->entry.references > 0)
        return;
    if (w->entry.fd >= 0)
        (void)close(w->entry.fd);
    etcp_free(w);
}

int etcp_watch_is_of(const etcp_watch *w, int fd)
{
    return etcp_socket_identity(fd) == w->identity;
}

int etcp_watch_is_lost(const etcp_watch *w)
{
    return w->is_lost;
}

void etcp_watch_set_user(etcp_watch *w, void *user)
{
    w->user = user;
}

void *etcp_watch_user(const etcp_watch *w)
{
    return w->user;
}

/* ---- in and out ------------------------------------------------------------------------------ */

/* The descriptor is closed now, or poll would find it ready as long as anybody else has it. */
static void look_away(etcp_watch *w)
{
    etcp_loop_watch(&w->entry, 0);
    if (w->entry.fd >= 0)
        (void)close(w->entry.fd);
    w->entry.fd = -1;
    w->entry.interest = 0;
}

int etcp_watch_enter(etcp_watch *w, etcp_loop *l)
{
    w->entry.loop = l;
    if (w->entry.fd >= 0 && etcp_loop_try_watch(&w->entry, ETCP_POLL_READ) < 0) {
        w->entry.loop = NULL;
        return -1;
    }
    w->entry.references++;
    etcp_loop_await(&w->entry, ETCP_LIST_WATCHES, 0);
    return 0;
}

void etcp_watch_leave(etcp_watch *w)
{
    if (!w->entry.loop)
        return;
    look_away(w);
    etcp_deadline_stop(&w->entry.place);
    w->entry.loop = NULL;
    etcp_watch_unref(w);
}

void etcp_watch_revise(etcp_watch *w)
{
    if (w->generation != etcp_process_generation() && w->due_ms != UINT64_MAX)
        w->due_ms = 0;
    w->generation = etcp_process_generation();
}

void etcp_watch_lose(etcp_watch *w)
{
    look_away(w);
    w->is_lost = 1;
}
