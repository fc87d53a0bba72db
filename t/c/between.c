#include "between.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>

#include <openssl/err.h>

#include "tls/cert.h"

/* ---- his own TLS ----------------------------------------------------------------------------- */

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    const char *own = arg;

    (void)ssl;
    (void)in;
    (void)in_len;
    *out_len = (unsigned char)own[0];
    *out = (const unsigned char *)own + 1;
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *between_to_client(int max_version, const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = etcp_cert_new_key();
    X509 *cert = etcp_cert_self_sign(key);
    union {
        const char *in;
        void *out;
    } text;

    text.in = alpn;
    (void)SSL_CTX_set_max_proto_version(ctx, max_version);
    (void)SSL_CTX_use_certificate(ctx, cert);
    (void)SSL_CTX_use_PrivateKey(ctx, key);
    if (alpn)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, text.out);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

SSL_CTX *between_to_server(int max_version, const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    (void)SSL_CTX_set_max_proto_version(ctx, max_version);
    if (alpn)
        (void)SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    return ctx;
}

static void start_tls(between *b)
{
    int i;

    for (i = 0; i < 2; i++) {
        b->ssl[i] = SSL_new(b->tls[i]);
        SSL_set_bio(b->ssl[i], BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
    SSL_set_accept_state(b->ssl[BETWEEN_CLIENT]);
    SSL_set_connect_state(b->ssl[BETWEEN_SERVER]);
}

static void end_tls(between *b)
{
    int i;

    for (i = 0; i < 2; i++) {
        SSL_free(b->ssl[i]);
        b->ssl[i] = NULL;
    }
    ERR_clear_error();
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void between_say(between *b, int to, const void *bytes, size_t len)
{
    if (etcp_buf_append(&b->out[to], bytes, len) < 0)
        abort();
}

void between_whisper(between *b, int to, const void *bytes, size_t len)
{
    if (etcp_buf_append(&b->inside[to], bytes, len) < 0)
        abort();
}

static void hang_up(between *b)
{
    int i;

    for (i = 0; i < 2; i++) {
        if (b->fd[i] >= 0)
            (void)close(b->fd[i]);
        b->fd[i] = -1;
        etcp_buf_clear(&b->out[i]);
        etcp_buf_clear(&b->inside[i]);
        etcp_buf_clear(&b->start[i]);
        b->is_started[i] = 0;
        b->passed[i] = 0;
    }
    b->is_cut = 0;
    end_tls(b);
}

/* Lets change see the bytes, and hands them on. Returns what change did. */
static int hand_on(between *b, int from, etcp_buf *bytes, int is_inside)
{
    uint64_t seen = etcp_buf_len(bytes);
    int rc = b->change ? b->change(b, from, bytes) : 0;

    b->passed[from] += seen;
    if (rc >= 0 && is_inside)
        between_whisper(b, !from, etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    else if (rc >= 0)
        between_say(b, !from, etcp_buf_bytes(bytes), etcp_buf_len(bytes));
    etcp_buf_clear(bytes);
    return rc;
}

/* The size of the packet at the front of bytes, 0: not complete. Protocol.pod, "Packets". */
static size_t packet_at(const etcp_buf *bytes)
{
    const uint8_t *p = etcp_buf_bytes(bytes);
    size_t have = etcp_buf_len(bytes);
    size_t len = 0;
    size_t i;

    if (have < 2 || have < 2u + p[1])
        return 0;
    for (i = 0; i < p[1]; i++)
        len = len << 8 | p[2 + i];
    len += 2u + p[1];
    return have < len ? 0 : len;
}

/* The first packet of each end is in clear; all that follows is TLS. */
static int take_start(between *b, int from, const uint8_t *bytes, size_t len)
{
    etcp_buf *start = &b->start[from];
    size_t size;

    if (b->is_started[from]) {
        (void)BIO_write(SSL_get_rbio(b->ssl[from]), bytes, (int)len);
        return 0;
    }
    (void)etcp_buf_append(start, bytes, len);
    if (!(size = packet_at(start)))
        return 0;
    b->is_started[from] = 1;
    if (etcp_buf_len(start) > size)
        (void)BIO_write(SSL_get_rbio(b->ssl[from]), etcp_buf_bytes(start) + size,
                        (int)(etcp_buf_len(start) - size));
    etcp_buf_truncate(start, size);
    return hand_on(b, from, start, 0);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static int connect_to(const char *port)
{
    struct sockaddr_in in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_port = htons((uint16_t)atoi(port));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof in) < 0)
        abort();
    etcp_socket_no_delay(fd);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int take_new(between *b)
{
    int fd = accept(b->listener, NULL, NULL);

    if (fd < 0)
        return 0;
    hang_up(b);
    b->connections++;
    etcp_socket_no_delay(fd);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    b->fd[BETWEEN_CLIENT] = fd;
    between_say(b, BETWEEN_CLIENT, etcp_buf_bytes(&b->greeting), etcp_buf_len(&b->greeting));
    if (!b->is_deaf)
        b->fd[BETWEEN_SERVER] = connect_to(b->server_port);
    if (b->tls[0])
        start_tls(b);
    return 1;
}

/* What an end sent. Returns 1 if there was something, 0 if not, and hangs up at the end. */
static int read_end(between *b, int from)
{
    uint8_t bytes[4096];
    etcp_buf seen;
    ssize_t got;
    int rc;

    if (b->fd[from] < 0)
        return 0;
    got = read(b->fd[from], bytes, b->by_byte ? 1 : sizeof bytes);
    if (got < 0 && errno == EAGAIN)
        return 0;
    etcp_buf_init(&seen);
    if (got > 0 && b->tls[0]) {
        rc = take_start(b, from, bytes, (size_t)got);
    } else if (got > 0) {
        (void)etcp_buf_append(&seen, bytes, (size_t)got);
        rc = hand_on(b, from, &seen, 0);
    } else {
        rc = -1;
    }
    etcp_buf_deinit(&seen);
    if (rc < 0)
        hang_up(b);
    return 1;
}

/* Seals what waits for that. Returns whether there was something. */
static int seal(between *b, int to)
{
    etcp_buf *inside = &b->inside[to];

    if (!etcp_buf_len(inside) || !SSL_is_init_finished(b->ssl[to]))
        return 0;
    (void)SSL_write(b->ssl[to], etcp_buf_bytes(inside), (int)etcp_buf_len(inside));
    etcp_buf_clear(inside);
    return 1;
}

/* What comes out of TLS of an end, and what that TLS wants to send. */
static int turn_tls(between *b, int from)
{
    uint8_t bytes[20000];
    etcp_buf seen;
    int moved;
    int got;
    int rc = 0;

    if (!b->ssl[0] || (from == BETWEEN_SERVER && !b->is_started[BETWEEN_CLIENT]))
        return 0;
    (void)SSL_do_handshake(b->ssl[from]);
    etcp_buf_init(&seen);
    while ((got = SSL_read(b->ssl[from], bytes, sizeof bytes)) > 0)
        (void)etcp_buf_append(&seen, bytes, (size_t)got);
    moved = etcp_buf_len(&seen) > 0;
    if (moved)
        rc = hand_on(b, from, &seen, 1);
    etcp_buf_deinit(&seen);
    if (rc < 0) {
        hang_up(b);
        return 1;
    }
    moved += seal(b, from);
    while ((got = BIO_read(SSL_get_wbio(b->ssl[from]), bytes, sizeof bytes)) > 0) {
        between_say(b, from, bytes, (size_t)got);
        moved = 1;
    }
    ERR_clear_error();
    return moved;
}

static int write_end(between *b, int to)
{
    etcp_buf *out = &b->out[to];
    size_t len = etcp_buf_len(out);
    ssize_t done;

    if (!len || b->fd[to] < 0)
        return 0;
    done = send(b->fd[to], etcp_buf_bytes(out), b->by_byte ? 1 : len, MSG_NOSIGNAL);
    if (done > 0)
        etcp_buf_consume(out, (size_t)done);
    else if (errno != EAGAIN)
        hang_up(b);
    return 1;
}

static int end_if_cut(between *b)
{
    if (!b->is_cut || etcp_buf_len(&b->out[0]) || etcp_buf_len(&b->out[1]))
        return 0;
    hang_up(b);
    return 1;
}

static int turn(world *w)
{
    between *b = w->between;
    int moved = take_new(b);

    moved += read_end(b, BETWEEN_CLIENT);
    moved += read_end(b, BETWEEN_SERVER);
    moved += turn_tls(b, BETWEEN_CLIENT);
    moved += turn_tls(b, BETWEEN_SERVER);
    moved += turn_tls(b, BETWEEN_CLIENT); /* what the server's end has just said */
    moved += write_end(b, BETWEEN_CLIENT);
    moved += write_end(b, BETWEEN_SERVER);
    return moved + end_if_cut(b);
}

/* ---- life ------------------------------------------------------------------------------------ */

void between_start(between *b, world *w, SSL_CTX *to_client, SSL_CTX *to_server)
{
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    int i;

    memset(b, 0, sizeof *b);
    etcp_buf_init(&b->greeting);
    b->w = w;
    b->tls[BETWEEN_CLIENT] = to_client;
    b->tls[BETWEEN_SERVER] = to_server;
    for (i = 0; i < 2; i++) {
        b->fd[i] = -1;
        etcp_buf_init(&b->out[i]);
        etcp_buf_init(&b->inside[i]);
        etcp_buf_init(&b->start[i]);
    }
    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    b->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (b->listener < 0 || bind(b->listener, (struct sockaddr *)&in, sizeof in) < 0 ||
        listen(b->listener, 5) < 0 || getsockname(b->listener, (struct sockaddr *)&in, &size) < 0)
        abort();
    (void)fcntl(b->listener, F_SETFL, O_NONBLOCK);
    memcpy(b->server_port, w->port, sizeof b->server_port);
    (void)snprintf(b->port, sizeof b->port, "%u", (unsigned)ntohs(in.sin_port));
    memcpy(w->port, b->port, sizeof w->port);
    w->between = b;
    w->turn_between = turn;
}

void between_stop(between *b)
{
    int i;

    hang_up(b);
    (void)close(b->listener);
    etcp_buf_deinit(&b->greeting);
    for (i = 0; i < 2; i++) {
        SSL_CTX_free(b->tls[i]);
        etcp_buf_deinit(&b->out[i]);
        etcp_buf_deinit(&b->inside[i]);
        etcp_buf_deinit(&b->start[i]);
    }
    memcpy(b->w->port, b->server_port, sizeof b->w->port);
    b->w->between = NULL;
    b->w->turn_between = NULL;
}
