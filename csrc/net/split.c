#include "split.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket.h"

typedef struct split {
    unsigned number;
    int fd;            /* our end; that of the other side is open in all its processes */
    uint64_t identity; /* programs that go to the background close every number there is */
} split;

static split splits[ETCP_SPLITS_MAX]; /* by growing numbers */
static int count;
static unsigned unseen; /* the last split whose end cannot be told */
static int ends[2] = {-1, -1};

/* ---- descriptors ----------------------------------------------------------------------------- */

/* Numbers below 3 belong to the program, which may have closed them to open something else there.
 */
static int out_of_the_way(int fd)
{
    int other;

    if (fd > 2)
        return fd;
    other = fcntl(fd, F_DUPFD, 3);
    (void)close(fd);
    return other;
}

static void make_ends(void)
{
    int i;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        ends[0] = ends[1] = -1;
        return;
    }
    for (i = 0; i < 2; i++) {
        ends[i] = out_of_the_way(ends[i]);
        if (ends[i] >= 0)
            (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
}

/* Returns 1, 0, or -1: the descriptor is not ours any more. */
static int is_gone(const split *s)
{
    char byte;

    if (etcp_socket_identity(s->fd) != s->identity)
        return -1;
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* ---- the list -------------------------------------------------------------------------------- */

void etcp_split_unseen(unsigned number)
{
    unseen = number;
}

/* Drops what is over. */
static void prune(void)
{
    int kept = 0;
    int i;

    for (i = 0; i < count; i++) {
        int gone = is_gone(&splits[i]);

        if (gone == 0)
            splits[kept++] = splits[i];
        else if (gone > 0)
            (void)close(splits[i].fd);
        else if (splits[i].number > unseen)
            unseen = splits[i].number;
    }
    count = kept;
}

void etcp_split_forget(void)
{
    int i;

    for (i = 0; i < count; i++)
        if (is_gone(&splits[i]) >= 0)
            (void)close(splits[i].fd);
    count = 0;
}

int etcp_split_is_over(unsigned number)
{
    prune();
    return unseen <= number && (count == 0 || splits[count - 1].number <= number);
}

/* ---- the fork -------------------------------------------------------------------------------- */

void etcp_split_prepare(void)
{
    int saved = errno;

    prune();
    if (count < ETCP_SPLITS_MAX)
        make_ends();
    errno = saved;
}

/* Keeps one end. Without the other one nobody could tell that this side is gone. */
static void add(unsigned number, int mine, int others)
{
    int saved = errno;

    if (others >= 0)
        (void)close(others);
    if (mine >= 0 && others >= 0) {
        splits[count].number = number;
        splits[count].fd = mine;
        splits[count++].identity = etcp_socket_identity(mine);
    } else {
        if (mine >= 0)
            (void)close(mine);
        unseen = number;
    }
    ends[0] = ends[1] = -1;
    errno = saved;
}

void etcp_split_in_parent(unsigned number)
{
    add(number, ends[0], ends[1]);
}

void etcp_split_in_child(unsigned number)
{
    add(number, ends[1], ends[0]);
}
