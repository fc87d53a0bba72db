/* What differs between releases of OpenSSL where Net::EasyTCP uses them: a line for each fact. Built and run
 * by openssl-table.pl, for every release that it is given. */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static const char suites[] = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

/* ---- algorithms ------------------------------------------------------------------------------ */

static int has_cipher(const char *name)
{
    static const unsigned char zeros[64];
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = EVP_get_cipherbyname(name);
    int ok = cipher && EVP_EncryptInit_ex(context, cipher, NULL, zeros, zeros) == 1;

    EVP_CIPHER_CTX_free(context);
    return ok;
}

static int has_md5(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1;

    EVP_MD_CTX_free(context);
    return ok;
}

static EVP_PKEY *make_key(int type, int bits)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(type, NULL);
    EVP_PKEY *key = NULL;

    if (EVP_PKEY_keygen_init(context) != 1 ||
        (bits && EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits) != 1) ||
        EVP_PKEY_keygen(context, &key) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    return key;
}

static void algorithms(void)
{
    static const char *const names[] = {"AES-256-CBC", "DES-EDE3-CBC", "DES-CBC", "BF-CBC", "RC4"};
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        printf("%s\t%s\n", names[i], has_cipher(names[i]) ? "yes" : "no");
    printf("MD5\t%s\n", has_md5() ? "yes" : "no");
    printf("RSA of 512 bits\t%s\n", make_key(EVP_PKEY_RSA, 512) ? "yes" : "no");
}

/* ---- the first message of a client ----------------------------------------------------------- */

static const char *group_name(unsigned id)
{
    static char other[16];

    switch (id) {
    case 0x001d: return "X25519";
    case 0x0017: return "P-256";
    case 0x11ec: return "X25519MLKEM768";
    }
    (void)snprintf(other, sizeof other, "%04x", id);
    return other;
}

/* The first of the groups in extension 10 (RFC 8446, 4.1.2). */
static unsigned first_group(const unsigned char *hello, size_t len)
{
    size_t at = 5 + 4 + 2 + 32;

    at += 1u + hello[at];
    at += 2u + (hello[at] << 8 | hello[at + 1]);
    at += 1u + hello[at];
    at += 2;
    while (at + 4 <= len) {
        unsigned type = (unsigned)(hello[at] << 8 | hello[at + 1]);

        if (type == 10)
            return (unsigned)(hello[at + 6] << 8 | hello[at + 7]);
        at += 4u + (hello[at + 2] << 8 | hello[at + 3]);
    }
    return 0;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());

    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, suites);
    return context;
}

static void client_hello(void)
{
    SSL_CTX *context = make_context();
    SSL *ssl = SSL_new(context);
    unsigned char *bytes;
    long len;

    printf("security level\t%d\n", SSL_CTX_get_security_level(context));
    printf("session tickets\t%lu\n", (unsigned long)SSL_CTX_get_num_tickets(context));
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    (void)SSL_do_handshake(ssl);
    len = BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);
    printf("ClientHello\t%ld bytes\n", (len + 5) / 10 * 10);
    printf("first group\t%s\n", group_name(first_group(bytes, (size_t)len)));
    SSL_free(ssl);
    SSL_CTX_free(context);
}

/* ---- a connection that is cut off ------------------------------------------------------------ */

static void give_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = make_key(EVP_PKEY_RSA, 2048);
    X509 *cert = X509_new();

    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    SSL_CTX_use_certificate(context, cert);
    SSL_CTX_use_PrivateKey(context, key);
}

static void cut_off(void)
{
    SSL_CTX *server_context = make_context();
    SSL_CTX *client_context = make_context();
    SSL *server;
    SSL *client;
    BIO *up = BIO_new(BIO_s_mem());
    BIO *down = BIO_new(BIO_s_mem());
    char byte;
    int i;

    give_certificate(server_context);
    server = SSL_new(server_context);
    client = SSL_new(client_context);
    BIO_up_ref(up);
    BIO_up_ref(down);
    SSL_set_bio(client, down, up);
    SSL_set_bio(server, up, down);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (i = 0; i < 10; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    BIO_set_mem_eof_return(down, 0);
    ERR_clear_error();
    i = SSL_get_error(client, SSL_read(client, &byte, 1));
    printf("how a cut shows\t%s\n", i == SSL_ERROR_SYSCALL ? "system call"
                            : i == SSL_ERROR_SSL   ? "error of TLS"
                                                   : "something else");
}

int main(void)
{
    printf("version\t%s\n", OpenSSL_version(OPENSSL_VERSION));
    algorithms();
#ifdef SSL_OP_NO_TX_CERTIFICATE_COMPRESSION
    printf("certificate compression\tyes\n");
#else
    printf("certificate compression\tno\n");
#endif
    client_hello();
    cut_off();
    return 0;
}
