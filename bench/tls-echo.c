/* What the machine could do with TLS: an echo server in C over OpenSSL's TLS 1.3, which reads,
 * finds messages with a length of four bytes in front, and writes them back. Its key is made when
 * it starts; there are no tickets, and buffers of idle connections are released.
 *
 *   tls-echo          prints "READY C PORT" and serves until it is ended */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "echo_server.h"

struct client {
    SSL *ssl;
    int watched;
    struct bytes in, out;
    size_t written; /* of out */
};

static struct client *clients[CLIENTS_MAX];
static SSL_CTX *context;

static void give_up_tls(const char *what)
{
    ERR_print_errors_fp(stderr);
    give_up(what);
}

static void release(struct bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

static void drop(int fd)
{
    struct client *c = clients[fd];

    ready_watch(fd, c->watched, 0);
    (void)SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();
    close(fd);
    release(&c->in);
    release(&c->out);
    free(c);
    clients[fd] = NULL;
}

/* What a call of OpenSSL waits for, as readiness; 0: it failed. */
static int wanted_by(struct client *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ: return READY_READ;
    case SSL_ERROR_WANT_WRITE: return READY_WRITE;
    default: return 0;
    }
}

static void watch(int fd, int events)
{
    ready_watch(fd, clients[fd]->watched, events);
    clients[fd]->watched = events;
}

/* Returns 0, or -1 when the client is gone. */
static int write_out(int fd)
{
    struct client *c = clients[fd];
    int events = READY_READ;

    while (c->written < c->out.len && events == READY_READ) {
        size_t left = c->out.len - c->written;
        int n = SSL_write(c->ssl, c->out.data + c->written, left > 1 << 20 ? 1 << 20 : (int)left);
        if (n > 0)
            c->written += (size_t)n;
        else if (!(events = wanted_by(c, n)))
            return -1;
        else if (events == READY_READ)
            break;
    }
    if (c->written == c->out.len) {
        c->out.len = c->written = 0;
        if (!c->in.len && c->out.cap > READ_SIZE)
            release(&c->out);
    }
    watch(fd, events);
    return 0;
}

/* Moves whole messages from the input to the output. */
static void echo(struct client *c)
{
    size_t len = 0, size = 0;

    while (c->in.len - len >= 4) {
        const uint8_t *p = c->in.data + len;
        size = 4 + ((size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]);
        if (size > c->in.len - len)
            break;
        len += size;
    }
    echo_bytes(&c->in, &c->out, len, size);
}

static int read_in(int fd)
{
    struct client *c = clients[fd];
    int n;

    for (;;) {
        reserve(&c->in, READ_SIZE);
        n = SSL_read(c->ssl, c->in.data + c->in.len, (int)(c->in.cap - c->in.len));
        if (n <= 0)
            break;
        c->in.len += (size_t)n;
    }
    if (!wanted_by(c, n))
        return -1;
    if (c->in.len)
        echo(c);
    if (write_out(fd) < 0)
        return -1;
    if (!c->in.len)
        release(&c->in); /* who is silent needs little */
    if (!c->out.len)
        release(&c->out);
    return 0;
}

static int turn(int fd, int events)
{
    int rc = events & READY_READ ? read_in(fd) : write_out(fd);

    ERR_clear_error();
    return rc;
}

static void welcome(int fd)
{
    clients[fd] = calloc(1, sizeof *clients[fd]);
    if (!clients[fd])
        give_up("calloc");
    clients[fd]->ssl = SSL_new(context);
    if (!clients[fd]->ssl || !SSL_set_fd(clients[fd]->ssl, fd))
        give_up_tls("SSL_new");
    SSL_set_accept_state(clients[fd]->ssl);
    watch(fd, READY_READ);
}

/* A P-256 key and a certificate that it signs itself. */
static void make_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();

    if (!key || !cert)
        give_up_tls("key");
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    if (!X509_sign(cert, key, EVP_sha256()) || SSL_CTX_use_certificate(context, cert) != 1 ||
        SSL_CTX_use_PrivateKey(context, key) != 1)
        give_up_tls("certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void make_context(void)
{
    context = SSL_CTX_new(TLS_server_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION))
        give_up_tls("SSL_CTX_new");
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_SIZE);
    make_key();
}

int main(void)
{
    static const struct echo_ops ops = {welcome, turn, drop};

    make_context();
    serve(&ops);
    return 0;
}
