/* What the load generators in C share: what they print, the costs of a server, and the messages. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static const double WARM_UP = 0.15; /* seconds */

/* An option of the command line: "name=" and where its number belongs. */
struct number {
    const char *name;
    long *value;
};

static inline void give_up(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("error ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    exit(1);
}

static inline double seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* Reads a number from /proc/PID/file, after label if there is one; -1: cannot tell. */
static inline double proc_number(long pid, const char *file, const char *label)
{
    char path[64], line[256];
    double value = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
    if (!pid || !(f = fopen(path, "r")))
        return -1;
    while (value < 0 && fgets(line, sizeof line, f)) {
        if (!strncmp(line, label, strlen(label)))
            sscanf(line + strlen(label), "%lf", &value);
    }
    fclose(f);
    return value;
}

static inline void *allocate(size_t size)
{
    void *bytes = malloc(size);

    if (!bytes)
        give_up("out of memory");
    return bytes;
}

/* The same bytes at each call, which no compressor makes smaller. */
static inline void fill_with_noise(uint8_t *bytes, size_t len)
{
    uint64_t noise = 88172645463325252u;
    size_t i;

    for (i = 0; i < len; i++) {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes[i] = (uint8_t)(noise >> 32);
    }
}

/* A blocking connection to a port of this machine. */
static inline int connect_to(long port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        give_up("cannot connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Takes the number of an argument, if it is one of numbers[0..count). */
static inline void read_number(const char *argument, const struct number *numbers, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (!strncmp(argument, numbers[i].name, strlen(numbers[i].name)))
            *numbers[i].value = atol(argument + strlen(numbers[i].name));
    }
}

#endif
