#include "local_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "socket.h"

socklen_t etcp_local_socket_address(const char *path, struct sockaddr_un *out)
{
    size_t len = strlen(path);

    memset(out, 0, sizeof *out);
    if (len == 0 || len >= sizeof out->sun_path) {
        errno = len ? ENAMETOOLONG : EINVAL;
        return 0;
    }
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, len);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
}

/* ---- listening ------------------------------------------------------------------------------- */

/* Whether what is at path is a socket without a listener. To connect tells; but a plain file
 * refuses as well. */
static int is_stale(const char *path, const struct sockaddr_un *at, socklen_t len)
{
    struct stat st;
    int is_refused;
    int fd;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0;
    fd = etcp_socket_new(AF_UNIX);
    if (fd < 0)
        return 0;
    is_refused =
        etcp_sys->connect(fd, (const struct sockaddr *)at, len) < 0 && errno == ECONNREFUSED;
    etcp_socket_close(fd);
    return is_refused;
}

static int bind_at(int fd, const char *path, const struct sockaddr_un *at, socklen_t len)
{
    if (bind(fd, (const struct sockaddr *)at, len) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -1;
    if (is_stale(path, at, len) && unlink(path) == 0)
        return bind(fd, (const struct sockaddr *)at, len);
    errno = EADDRINUSE;
    return -1;
}

static int note_file(const char *path, etcp_local_file *file)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return -1;
    file->device = (uint64_t)st.st_dev;
    file->inode = (uint64_t)st.st_ino;
    return 0;
}

int etcp_local_socket_listen(const char *path, int mode, int backlog, etcp_local_file *file,
                             const char **what)
{
    struct sockaddr_un at;
    socklen_t len = etcp_local_socket_address(path, &at);
    int fd;

    memset(file, 0, sizeof *file);
    *what = "socket";
    fd = len ? etcp_socket_new(AF_UNIX) : -1;
    if (fd < 0)
        return -1;
    *what = "bind";
    if (bind_at(fd, path, &at, len) == 0 && note_file(path, file) == 0) {
        /* Nobody can connect before it listens: the permissions are there in time. */
        *what = "chmod";
        if (mode < 0 || chmod(path, (mode_t)mode) == 0) {
            *what = "listen";
            if (listen(fd, backlog) == 0)
                return fd;
        }
    }
    if (file->inode)
        etcp_local_socket_remove(path, file);
    etcp_socket_close(fd);
    return -1;
}

void etcp_local_socket_remove(const char *path, const etcp_local_file *file)
{
    int saved = errno;
    etcp_local_file now;

    if (note_file(path, &now) == 0 && now.device == file->device && now.inode == file->inode)
        (void)unlink(path);
    errno = saved;
}
