/* Loads an echo server with messages and says how it did. One process, no threads; it costs the
 * same whatever the server is written in. It speaks the protocol as a peer without ciphers and
 * compressors does (Protocol.pod, "One handshake for all releases").
 *
 *   load port=N [server=PID] [seconds=0.5] [clients=1] [window=1] [size=64 | structure=FILE]
 *   load port=N [server=PID] [seconds=0.5] connect=1
 *   load ... beside=PID,PID
 *
 *   window      messages that each client has under way; a new one is sent for each that comes back
 *   structure   a file with the Storable image to send instead of a string of that size
 *   connect     connect, negotiate, close, and again
 *
 *   beside      other processes of the server, whose CPU counts with its own
 *
 * Prints "rate", messages (or connections) per second; "cpu", seconds of the server's CPU for each;
 * "own", those of this program; "peak", the server's largest memory in KiB. "cpu" and "peak" need
 * /proc. Or "error" and why. */
#include <fcntl.h>
#include <unistd.h>

#include "load.h"
#include "packet.h"
#include "readiness.h"

enum {
    NEGOTIATING_AT_ONCE = 32, /* a short queue in a system's listen() must do */
    COMMAND_MAX = 8192,       /* larger than any command of a server that offers no cipher */
    TRAIN_MAX = 65536,        /* bytes of messages in one write */
    CLIENTS_MAX = 65536,
    PATIENCE_MS = 10000,
    SETTLE_MS = 20 /* 0.26 loses a message that arrives together with the end of the negotiation */
};

struct client {
    int fd, watched, is_ready;
    uint8_t in[COMMAND_MAX]; /* while negotiating */
    size_t in_len;
    size_t to_write;                  /* bytes of messages */
    size_t write_offset, read_offset; /* in a message */
};

static struct {
    long port, server, clients, window, size, connect;
    const char *structure, *beside;
    double seconds;
} option = {.clients = 1, .window = 1, .size = 64, .seconds = 0.5};

static struct client *clients, *client_of[CLIENTS_MAX];
static int ready_clients, started_clients;
static uint8_t *train, *input;
static size_t packet_len, header_len, train_len, compared_len;
static unsigned long long done;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- the server's costs */

static double server_cpu(void)
{
    double sum = proc_number(option.server, "schedstat", "");
    const char *at = option.beside;

    while (at && sum >= 0) {
        sum += proc_number(atol(at), "schedstat", "");
        at = strchr(at, ',');
        at += at != NULL;
    }
    return sum / 1e9;
}

/* ---- the messages */

static uint8_t *read_payload(size_t *len)
{
    uint8_t *payload = allocate(option.structure ? 65536 : (size_t)option.size + 1);
    FILE *f;

    if (option.structure) {
        if (!(f = fopen(option.structure, "rb")))
            give_up("cannot read %s", option.structure);
        *len = fread(payload, 1, 65536, f);
        fclose(f);
        return payload;
    }
    *len = (size_t)option.size;
    fill_with_noise(payload, *len);
    return payload;
}

/* A train of copies of the packet, so that one write can carry many. */
static void make_train(void)
{
    uint8_t header[PACKET_HEADER_MAX];
    size_t len, count, i;
    uint8_t *payload = read_payload(&len);

    header_len = packet_header(header, option.structure ? PACKET_STRUCTURE : PACKET_DATA, len);
    packet_len = header_len + len;
    /* A hash may come back in another order. */
    compared_len = option.structure ? header_len : packet_len;
    count = smaller(TRAIN_MAX / packet_len + 1, (size_t)option.window);
    train_len = count * packet_len;
    train = allocate(train_len);
    input = allocate(TRAIN_MAX * 4);
    for (i = 0; i < train_len; i += packet_len) {
        memcpy(train + i, header, header_len);
        memcpy(train + i + header_len, payload, len);
    }
    free(payload);
}

/* ---- connections */

static void watch(struct client *c, int events)
{
    ready_watch(c->fd, c->watched, events);
    c->watched = events;
}

static void connect_client(struct client *c)
{
    memset(c, 0, offsetof(struct client, in));
    c->in_len = 0;
    c->fd = connect_to(option.port);
    if (c->fd >= CLIENTS_MAX)
        give_up("too many connections");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    client_of[c->fd] = c;
    watch(c, READY_READ);
}

/* An answer is small and the socket empty: it is taken whole. */
static void answer(struct client *c, const void *payload, size_t len)
{
    uint8_t packet[PACKET_HEADER_MAX + COMMAND_MAX];
    size_t size = packet_header(packet, PACKET_INTERNAL, len);

    memcpy(packet + size, payload, len);
    size += len;
    if (write(c->fd, packet, size) != (ssize_t)size)
        give_up("cannot answer the negotiation: %s", strerror(errno));
}

static int is_command(const char *tag, const uint8_t *payload, size_t len)
{
    size_t n = strlen(tag);

    return len >= n && !memcmp(payload, tag, n) && (len == n || payload[n] == 0);
}

static void answer_command(struct client *c, const uint8_t *payload, size_t len)
{
    static const struct {
        const char *tag, *answer;
        size_t len;
    } answers[] = {
        {"VE", "VE\0000.26", 7}, {"EA", "EU\0\0", 4}, {"EK", "EK\0", 3},
        {"CA", "CU\0\0", 4},     {"EN", "EN", 2},
    };
    size_t i;

    c->is_ready = is_command("EN", payload, len);
    ready_clients += c->is_ready;
    if (is_command("PF", payload, len) || is_command("CS", payload, len))
        give_up("the server wants a password");
    if (is_command("COS", payload, len) || is_command("SVE", payload, len)) {
        answer(c, payload, len);
        return;
    }
    for (i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (is_command(answers[i].tag, payload, len)) {
            answer(c, answers[i].answer, answers[i].len);
            return;
        }
    }
    answer(c, "NO", 2);
}

static ssize_t read_some(struct client *c, void *to, size_t len)
{
    ssize_t n = read(c->fd, to, len);

    if (n == 0)
        give_up("the server closed a connection");
    if (n < 0 && errno != EAGAIN)
        give_up("cannot read: %s", strerror(errno));
    return n < 0 ? 0 : n;
}

static void negotiate(struct client *c)
{
    size_t size, header;

    c->in_len += (size_t)read_some(c, c->in + c->in_len, sizeof c->in - c->in_len);
    while (!c->is_ready && (size = packet_size(c->in, c->in_len, &header)) && size <= c->in_len) {
        answer_command(c, c->in + header, size - header);
        c->in_len -= size;
        memmove(c->in, c->in + size, c->in_len);
    }
    if (c->in_len == sizeof c->in || (c->is_ready && c->in_len))
        give_up("cannot follow the negotiation");
}

/* ---- traffic */

static void write_more(struct client *c)
{
    while (c->to_write) {
        size_t len = smaller(train_len - c->write_offset, c->to_write);
        ssize_t n = write(c->fd, train + c->write_offset, len);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            give_up("cannot write: %s", strerror(errno));
        c->to_write -= (size_t)n;
        c->write_offset = (c->write_offset + (size_t)n) % packet_len;
    }
    watch(c, c->to_write ? READY_READ | READY_WRITE : READY_READ);
}

static void read_replies(struct client *c)
{
    size_t len = (size_t)read_some(c, input, TRAIN_MAX * 4), replies = 0, i, n;

    for (i = 0; i < len; i += n) {
        size_t compared = c->read_offset < compared_len ? compared_len - c->read_offset : 0;
        n = smaller(packet_len - c->read_offset, len - i);
        if (memcmp(train + c->read_offset, input + i, smaller(compared, n)))
            give_up("a reply differs from its message");
        c->read_offset += n;
        if (c->read_offset == packet_len) {
            c->read_offset = 0;
            replies++;
        }
    }
    done += replies;
    c->to_write += replies * packet_len;
    if (replies)
        write_more(c);
}

/* Waits for something to happen and deals with it. */
static void turn(void)
{
    struct ready ready[READY_BATCH];
    int count = ready_wait(ready, PATIENCE_MS), i;

    if (count == 0)
        give_up("no answer for %d s", PATIENCE_MS / 1000);
    for (i = 0; i < count; i++) {
        struct client *c = client_of[ready[i].fd];
        if (!c->is_ready) {
            negotiate(c);
            continue;
        }
        if (ready[i].events & READY_READ)
            read_replies(c);
        if (ready[i].events & READY_WRITE)
            write_more(c);
    }
}

static void connect_all(void)
{
    struct timespec settle = {.tv_nsec = SETTLE_MS * 1000000L};

    while (ready_clients < option.clients) {
        while (started_clients < option.clients &&
               started_clients - ready_clients < NEGOTIATING_AT_ONCE)
            connect_client(&clients[started_clients++]);
        turn();
    }
    nanosleep(&settle, NULL);
}

static void connect_once(void)
{
    struct client *c = &clients[0];

    connect_client(c);
    while (!c->is_ready)
        turn();
    watch(c, 0);
    close(c->fd);
    done++;
}

static void next_result(void)
{
    unsigned long long before = done;

    while (done == before)
        option.connect ? connect_once() : turn();
}

/* From the first result after the warm-up to the first one after that many seconds. */
static void measure(void)
{
    unsigned long long first;
    double begin = now(), begin_cpu, begin_own, cpu, own, end;

    do
        next_result();
    while (now() < begin + WARM_UP);
    first = done;
    begin_cpu = server_cpu();
    begin_own = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    begin = now();
    do
        next_result();
    while ((end = now()) < begin + option.seconds);
    cpu = server_cpu();
    own = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    printf("rate %.6g\n", (double)(done - first) / (end - begin));
    if (begin_cpu >= 0 && cpu >= 0)
        printf("cpu %.6g\n", (cpu - begin_cpu) / (double)(done - first));
    printf("own %.6g\n", (own - begin_own) / (double)(done - first));
    if (proc_number(option.server, "status", "VmHWM:") > 0)
        printf("peak %.0f\n", proc_number(option.server, "status", "VmHWM:"));
}

static void read_options(char **args)
{
    const struct number numbers[] = {
        {"port=", &option.port},     {"server=", &option.server}, {"clients=", &option.clients},
        {"window=", &option.window}, {"size=", &option.size},     {"connect=", &option.connect},
    };

    for (; *args; args++) {
        read_number(*args, numbers, sizeof numbers / sizeof numbers[0]);
        if (!strncmp(*args, "seconds=", 8))
            option.seconds = atof(*args + 8);
        if (!strncmp(*args, "structure=", 10))
            option.structure = *args + 10;
        if (!strncmp(*args, "beside=", 7))
            option.beside = *args + 7;
    }
}

int main(int argc, char **argv)
{
    long i;

    (void)argc;
    read_options(argv + 1);
    make_train();
    clients = calloc((size_t)option.clients, sizeof *clients);
    if (!clients)
        give_up("out of memory");
    if (!option.connect) {
        connect_all();
        for (i = 0; i < option.clients; i++) {
            clients[i].to_write = (size_t)option.window * packet_len;
            write_more(&clients[i]);
        }
    }
    measure();
    return 0;
}
