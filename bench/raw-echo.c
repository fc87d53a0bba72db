/* What the machine could do: an echo server in C that reads, finds packets and writes them back. It
 * leads each client through as many and as large steps of negotiation as release 0.26 does without
 * ciphers and compressors, but looks at no answer.
 *
 *   raw-echo          prints "READY C PORT" and serves until it is ended */
#include "echo_server.h"
#include "packet.h"

enum { STEPS = 5 };

struct client {
    int watched, step;
    struct bytes in, out;
    size_t written; /* of out */
};

static struct client *clients[CLIENTS_MAX];

/* The commands of one negotiation: tag and size of the payload, as 0.26 sends them. */
static void append_command(struct bytes *out, int step)
{
    static const struct {
        const char *tag;
        size_t len;
    } commands[STEPS] = {
        {"\r\n\r\n", 172}, {"VE\0", 7}, {"COS\0", 391}, {"SVE\0", 2847}, {"EN", 2}};
    uint8_t payload[4096], header[PACKET_HEADER_MAX];
    size_t len = commands[step].len;

    memset(payload, 'A', len);
    memcpy(payload, commands[step].tag, len < 4 ? len : 4);
    append(out, header, packet_header(header, PACKET_INTERNAL, len));
    append(out, payload, len);
}

static void drop(int fd)
{
    struct client *c = clients[fd];

    ready_watch(fd, c->watched, 0);
    close(fd);
    free(c->in.data);
    free(c->out.data);
    free(c);
    clients[fd] = NULL;
}

/* Returns 0, or -1 when the client is gone. */
static int write_out(int fd)
{
    struct client *c = clients[fd];
    int wanted = READY_READ;

    while (c->written < c->out.len) {
        ssize_t n = write(fd, c->out.data + c->written, c->out.len - c->written);
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n < 0) {
            wanted = READY_WRITE; /* and nothing more is read until it is written */
            break;
        }
        c->written += (size_t)n;
    }
    if (wanted == READY_READ) {
        c->out.len = c->written = 0;
        if (!c->in.len && c->in.cap < c->out.cap)
            swap(&c->in, &c->out);
    }
    ready_watch(fd, c->watched, wanted);
    c->watched = wanted;
    return 0;
}

/* Bytes of whole packets at the front of the input; *next gets the size of the one behind them. */
static size_t whole_packets(const struct bytes *in, size_t *next)
{
    size_t len = 0, header;

    while ((*next = packet_size(in->data + len, in->len - len, &header)) && *next <= in->len - len)
        len += *next;
    return len;
}

static void echo(struct client *c)
{
    size_t next, len = whole_packets(&c->in, &next);

    echo_bytes(&c->in, &c->out, len, next);
}

/* A client answers each command with one packet. */
static void lead_on(struct client *c)
{
    size_t next;

    if (whole_packets(&c->in, &next) != c->in.len)
        return;
    c->in.len = 0;
    if (++c->step < STEPS)
        append_command(&c->out, c->step);
}

static int read_in(int fd)
{
    struct client *c = clients[fd];
    ssize_t n;

    reserve(&c->in, READ_SIZE);
    n = read(fd, c->in.data + c->in.len, c->in.cap - c->in.len);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    c->in.len += (size_t)n;
    c->step < STEPS ? lead_on(c) : echo(c);
    return write_out(fd);
}

static int turn(int fd, int events)
{
    return events & READY_READ ? read_in(fd) : write_out(fd);
}

static void welcome(int fd)
{
    clients[fd] = calloc(1, sizeof *clients[fd]);
    if (!clients[fd])
        give_up("calloc");
    append_command(&clients[fd]->out, 0);
    if (write_out(fd) < 0)
        drop(fd);
}

int main(void)
{
    static const struct echo_ops ops = {welcome, turn, drop};

    serve(&ops);
    return 0;
}
