/* Loads an echo server over TLS 1.3 with messages, one connection, and says how it did: it costs
 * the same whatever the server is written in.
 *
 *   tls-load port=N [server=PID] [speaks=NAME] [seconds=1] [window=1 [together=1]] [size=240]
 *   tls-load port=N [server=PID] [speaks=NAME] connect=1
 *   tls-load port=N server=PID [speaks=NAME] idle=COUNT
 *
 *   speaks=easytcp      the negotiation in clear, and packets inside TLS
 *   speaks=direct       the same from the first byte; else messages have a length of four bytes
 *   window=N            so many messages under way: for each that comes back a new one is sent, in
 *                       a record of its own, as by a program that calls for each
 *   window=N together=1 the same, but they share records
 *   connect=1           connect, one echo, close, and again
 *   idle=N              so many connections, one echo on each
 *
 * Prints "rate", messages or connections per second, and "cpu", seconds of the server's CPU for
 * each; or "idle", bytes of the server's memory for each connection. Needs /proc. Or "error" and
 * why. Protocol.pod, "TLS", "TLS from the first byte". */
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "load.h"
#include "packet.h"

enum { TRAIN_MAX = 16384, FEW = 50 };

static struct {
    long port, server, window, together, size, connect, idle;
    enum { FRAMES, UPGRADE, DIRECT } speaks;
    double seconds;
} option = {.window = 1, .size = 240, .seconds = 1};

static SSL_CTX *context;
static uint8_t *train, *input;
static size_t message_len, train_len;
static unsigned long long done;

struct link {
    int fd, is_answered; /* or EN is still to come */
    SSL *ssl;
};

/* ---- messages */

static void make_train(void)
{
    uint8_t header[PACKET_HEADER_MAX];
    size_t size = (size_t)option.size, header_len = 4, count, i;

    for (i = 0; i < 4; i++)
        header[i] = (uint8_t)(size >> (24 - 8 * i));
    if (option.speaks)
        header_len = packet_header(header, PACKET_DATA, size);
    message_len = header_len + size;
    count = option.together ? TRAIN_MAX / message_len : 1;
    if (count > (size_t)option.window)
        count = (size_t)option.window;
    if (!count)
        count = 1;
    train_len = count * message_len;
    train = allocate(train_len);
    input = allocate(message_len + TRAIN_MAX);
    for (i = 0; i < train_len; i += message_len) {
        memcpy(train + i, header, header_len);
        fill_with_noise(train + i + header_len, size);
    }
}

static void send_all(struct link *l, const uint8_t *bytes, size_t len)
{
    while (len) {
        int n = SSL_write(l->ssl, bytes, len > 1 << 20 ? 1 << 20 : (int)len);
        if (n <= 0)
            give_up("cannot write");
        bytes += n;
        len -= (size_t)n;
    }
}

static void send_messages(struct link *l, size_t count)
{
    while (count) {
        size_t part = train_len / message_len < count ? train_len / message_len : count;
        send_all(l, train, part * message_len);
        count -= part;
    }
}

/* EN comes in front of all messages. Returns what of input is left behind it. */
static int skip_answer(struct link *l, int got)
{
    size_t header, size;

    while (!(size = packet_size(input, (size_t)got, &header)) || size > (size_t)got) {
        int more = SSL_read(l->ssl, input + got, (int)(message_len + TRAIN_MAX) - got);
        if (more <= 0)
            give_up("the server refuses");
        got += more;
    }
    if (memcmp(input + header, "EN", 2))
        give_up("the server refuses");
    l->is_answered = 1;
    memmove(input, input + size, (size_t)got - size);
    return got - (int)size;
}

/* Takes what there is; offset is where in a message it begins. Returns how many messages ended. */
static size_t receive_some(struct link *l, size_t *offset)
{
    size_t ended = 0, i, n;
    int got = SSL_read(l->ssl, input, (int)(message_len + TRAIN_MAX));

    if (got <= 0)
        give_up("the server closed a connection");
    if (!l->is_answered)
        got = skip_answer(l, got);
    for (i = 0; i < (size_t)got; i += n) {
        n = message_len - *offset < (size_t)got - i ? message_len - *offset : (size_t)got - i;
        if (memcmp(train + *offset, input + i, n))
            give_up("a reply differs from its message");
        *offset += n;
        if (*offset == message_len) {
            *offset = 0;
            ended++;
        }
    }
    return ended;
}

static void echo_once(struct link *l)
{
    size_t offset = 0;

    send_messages(l, 1);
    while (!receive_some(l, &offset))
        continue;
}

/* ---- connections */

static void add_digest(EVP_MD_CTX *digest, const void *bytes, size_t len)
{
    if (!EVP_DigestUpdate(digest, bytes, len))
        give_up("no SHA-256");
}

/* What is said in clear: the server's offer, and that it is taken. The answer leaves together with
 * what TLS begins with. */
static void take_offer(struct link *l, EVP_MD_CTX *digest)
{
    static const char answer[] = "NO\0load\0ETCP1\0001.10\0\0\0\0\0T1";
    uint8_t bytes[4096], packet[PACKET_HEADER_MAX + sizeof answer];
    size_t have = 0, size, header;

    do {
        ssize_t got = read(l->fd, bytes + have, sizeof bytes - have);
        if (got <= 0)
            give_up("no welcome");
        have += (size_t)got;
    } while (!(size = packet_size(bytes, have, &header)) || size > have);
    add_digest(digest, bytes, size);
    header = packet_header(packet, PACKET_INTERNAL, sizeof answer - 1);
    memcpy(packet + header, answer, sizeof answer - 1);
    size = header + sizeof answer - 1;
    add_digest(digest, packet, size);
    if (send(l->fd, packet, size, MSG_MORE) != (ssize_t)size)
        give_up("cannot answer");
}

/* HI, behind which messages may follow unless TLS began with the first byte. */
static void say_hello(struct link *l, EVP_MD_CTX *digest)
{
    static const char begin[] = "HI\0001.10\0\0\0";
    uint8_t prologue[32], packet[256];
    char payload[128];
    size_t len = sizeof begin - 1, header, i;

    if (!EVP_DigestFinal(digest, prologue, NULL))
        give_up("no SHA-256");
    memcpy(payload, begin, len);
    for (i = 0; i < sizeof prologue; i++)
        len += (size_t)sprintf(payload + len, "%%%02X", prologue[i]);
    header = packet_header(packet, PACKET_INTERNAL, len);
    memcpy(packet + header, payload, len);
    send_all(l, packet, header + len);
}

/* The server's EN, and nothing behind it. */
static void await_answer(struct link *l)
{
    uint8_t bytes[4096];
    size_t have = 0, size, header;

    do {
        int got = SSL_read(l->ssl, bytes + have, (int)(sizeof bytes - have));
        if (got <= 0)
            give_up("cannot follow the negotiation");
        have += (size_t)got;
    } while (!(size = packet_size(bytes, have, &header)) || size > have);
    if (memcmp(bytes + header, "EN", 2) || have > size)
        give_up("the server refuses");
}

static struct link open_link(void)
{
    static const unsigned char alpn[] = "\x09"
                                        "easytcp/1";
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    struct link l;

    l.fd = connect_to(option.port);
    if (!digest || !EVP_DigestInit(digest, EVP_sha256()))
        give_up("no SHA-256");
    if (option.speaks == UPGRADE)
        take_offer(&l, digest);
    if (option.speaks == DIRECT)
        add_digest(digest, "EasyTCP direct", 14);
    l.ssl = SSL_new(context);
    if (!l.ssl || !SSL_set_fd(l.ssl, l.fd) ||
        (option.speaks && SSL_set_alpn_protos(l.ssl, alpn, sizeof alpn - 1)))
        give_up("no TLS");
    if (SSL_connect(l.ssl) != 1)
        give_up("the handshake failed");
    if (option.speaks)
        say_hello(&l, digest);
    if (option.speaks == DIRECT)
        await_answer(&l);
    l.is_answered = option.speaks != UPGRADE;
    EVP_MD_CTX_free(digest);
    return l;
}

static void close_link(struct link *l)
{
    (void)SSL_shutdown(l->ssl);
    SSL_free(l->ssl);
    close(l->fd);
}

/* ---- what is measured */

static void next_result(struct link *l, size_t *offset)
{
    size_t ended;

    if (option.connect) {
        struct link once = open_link();
        echo_once(&once);
        close_link(&once);
        done++;
        return;
    }
    while (!(ended = receive_some(l, offset)))
        continue;
    done += ended;
    send_messages(l, ended);
}

static void measure(void)
{
    struct link l = {-1, 0, NULL};
    unsigned long long first;
    size_t offset = 0;
    double begin = now(), begin_cpu, cpu, end;

    if (!option.connect) {
        l = open_link();
        send_messages(&l, (size_t)option.window);
    }
    do
        next_result(&l, &offset);
    while (now() < begin + WARM_UP);
    first = done;
    begin_cpu = proc_number(option.server, "schedstat", "");
    begin = now();
    do
        next_result(&l, &offset);
    while ((end = now()) < begin + option.seconds);
    cpu = proc_number(option.server, "schedstat", "");
    printf("rate %.6g\n", (double)(done - first) / (end - begin));
    if (begin_cpu >= 0 && cpu >= 0)
        printf("cpu %.6g\n", (cpu - begin_cpu) / 1e9 / (double)(done - first));
}

/* The first few make the server allocate what it needs once. */
static void measure_idle(void)
{
    double before = 0;
    long i;

    for (i = 0; i < FEW + option.idle; i++) {
        struct link l = open_link();
        echo_once(&l);
        if (i == FEW - 1)
            before = proc_number(option.server, "status", "RssAnon:");
    }
    printf("idle %.0f\n", 1024 * (proc_number(option.server, "status", "RssAnon:") - before) /
                              (double)option.idle);
}

static void read_options(char **args)
{
    const struct number numbers[] = {
        {"port=", &option.port},         {"server=", &option.server},   {"window=", &option.window},
        {"size=", &option.size},         {"connect=", &option.connect}, {"idle=", &option.idle},
        {"together=", &option.together},
    };

    for (; *args; args++) {
        read_number(*args, numbers, sizeof numbers / sizeof numbers[0]);
        if (!strncmp(*args, "seconds=", 8))
            option.seconds = atof(*args + 8);
        if (!strcmp(*args, "speaks=easytcp"))
            option.speaks = UPGRADE;
        if (!strcmp(*args, "speaks=direct"))
            option.speaks = DIRECT;
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    read_options(argv + 1);
    make_train();
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION))
        give_up("no TLS");
    if (option.idle)
        measure_idle();
    else
        measure();
    return 0;
}
