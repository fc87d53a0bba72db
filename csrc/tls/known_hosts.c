#include "known_hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_SIZE = 512 /* host names have 255 characters at most */ };

static int open_file(const char *path)
{
    int fd;

    do {
        fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int etcp_known_hosts_check(const char *path)
{
    int fd = open_file(path);

    if (fd < 0)
        return ETCP_ESYSTEM;
    (void)close(fd);
    return 0;
}

/* Whether a line names endpoint, and the key behind it. */
static int is_about(const char *line, const char *endpoint, uint8_t fingerprint[ETCP_FINGERPRINT])
{
    size_t width = strcspn(line, " \t\r\n");
    const char *key = line + width + strspn(line + width, " \t");

    return width == strlen(endpoint) && memcmp(line, endpoint, width) == 0 &&
           etcp_fingerprint_parse(key, strcspn(key, " \t\r\n"), fingerprint) == 0;
}

static void skip_rest(FILE *file, const char *line)
{
    int c = line[0] ? line[strlen(line) - 1] : '\n';

    while (c != '\n' && c != EOF)
        c = getc(file);
}

static int find_in(FILE *file, const char *endpoint, const uint8_t fingerprint[ETCP_FINGERPRINT],
                   etcp_known *known)
{
    uint8_t noted[ETCP_FINGERPRINT];
    char line[LINE_SIZE];

    *known = ETCP_KNOWN_UNKNOWN;
    while (*known != ETCP_KNOWN_YES && fgets(line, sizeof line, file)) {
        if (is_about(line, endpoint, noted))
            *known =
                memcmp(noted, fingerprint, sizeof noted) == 0 ? ETCP_KNOWN_YES : ETCP_KNOWN_OTHER;
        skip_rest(file, line);
    }
    return ferror(file) ? ETCP_ESYSTEM : 0;
}

int etcp_known_hosts_find(const char *path, const char *endpoint,
                          const uint8_t fingerprint[ETCP_FINGERPRINT], etcp_known *known)
{
    FILE *file = fopen(path, "r");
    int rc;

    if (!file)
        return ETCP_ESYSTEM;
    rc = find_in(file, endpoint, fingerprint, known);
    (void)fclose(file);
    return rc;
}

static int write_line(int fd, const char *endpoint, const uint8_t fingerprint[ETCP_FINGERPRINT])
{
    char text[ETCP_FINGERPRINT_TEXT];
    char line[LINE_SIZE];
    int len;

    etcp_fingerprint_format(fingerprint, text);
    len = snprintf(line, sizeof line, "%s %s\n", endpoint, text);
    if (len < 0 || (size_t)len >= sizeof line) {
        errno = ENAMETOOLONG;
        return ETCP_ESYSTEM;
    }
    return write(fd, line, (size_t)len) == (ssize_t)len ? 0 : ETCP_ESYSTEM;
}

static int lock_file(int fd)
{
    int rc;

    do {
        rc = flock(fd, LOCK_EX);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

int etcp_known_hosts_add(const char *path, const char *endpoint,
                         const uint8_t fingerprint[ETCP_FINGERPRINT])
{
    int fd = open_file(path);
    etcp_known known;
    int saved;
    int rc;

    if (fd < 0)
        return ETCP_ESYSTEM;
    rc = lock_file(fd) < 0 ? ETCP_ESYSTEM
                           : etcp_known_hosts_find(path, endpoint, fingerprint, &known);
    if (rc == 0 && known == ETCP_KNOWN_OTHER)
        rc = ETCP_EPOLICY;
    else if (rc == 0 && known == ETCP_KNOWN_UNKNOWN)
        rc = write_line(fd, endpoint, fingerprint);
    saved = errno;
    (void)close(fd);
    errno = saved;
    return rc;
}
