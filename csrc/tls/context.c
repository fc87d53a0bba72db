#include "tls_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/opensslv.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "cert.h"
#include "known_hosts.h"

/* Well below what one key of AES-GCM may seal: 2^24.5 full records (RFC 8446, 5.5). */
#define RENEW_BYTES (UINT64_C(1) << 35)
#define RENEW_RECORDS (UINT64_C(1) << 23)

static const char suites[] =
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

/* ---- errors ---------------------------------------------------------------------------------- */

/* The oldest entry of OpenSSL's queue is the cause. */
static int fail_with_reason(etcp_error *error, const char *option, const char *file)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    return etcp_error_set(error, ETCP_EINVAL, "%s: %s: %s", option, file,
                          reason ? reason : "cannot be used");
}

static int fail_with_errno(etcp_error *error, const char *option, const char *file)
{
    int saved = errno;

    error->sys_errno = error->code ? error->sys_errno : saved;
    return etcp_error_set(error, ETCP_ESYSTEM, "%s: %s: %s", option, file, strerror(saved));
}

static int fail_memory(etcp_error *error)
{
    return etcp_error_set(error, ETCP_ENOMEM, "%s", etcp_code_text(ETCP_ENOMEM));
}

/* ---- our own key ----------------------------------------------------------------------------- */

/* Keys under a pass phrase are refused: asking for it would stop the program. */
static int no_passphrase(char *text, int size, int is_written, void *arg)
{
    (void)text;
    (void)size;
    (void)is_written;
    (void)arg;
    return 0;
}

static int note_fingerprint(etcp_tls *tls, etcp_error *error)
{
    const X509 *cert = SSL_CTX_get0_certificate(tls->ctx);
    uint8_t fingerprint[ETCP_FINGERPRINT];

    if (!cert)
        return 0;
    if (etcp_cert_fingerprint(cert, fingerprint) < 0)
        return fail_memory(error);
    etcp_fingerprint_format(fingerprint, tls->fingerprint);
    return 0;
}

static int use_self_signed(etcp_tls *tls, EVP_PKEY *key, etcp_error *error)
{
    X509 *cert = key ? etcp_cert_self_sign(key) : NULL;
    int ok = cert && SSL_CTX_use_certificate(tls->ctx, cert) == 1 &&
             SSL_CTX_use_PrivateKey(tls->ctx, key) == 1;

    X509_free(cert);
    return ok ? 0
              : etcp_error_set(error, ETCP_ECRYPT, "Could not make a certificate: %s",
                               etcp_code_text(ETCP_ECRYPT));
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, no_passphrase, NULL) : NULL;

    BIO_free(file);
    return key;
}

/* Several processes may begin at once: whoever loses reads the winner's key. */
static int make_key_file(const char *path, etcp_error *error)
{
    EVP_PKEY *key = etcp_cert_new_key();
    int rc = key ? etcp_cert_write_key(path, key) : ETCP_ENOMEM;

    EVP_PKEY_free(key);
    if (rc == ETCP_ESYSTEM && errno == EEXIST)
        return 0;
    if (rc == ETCP_ESYSTEM)
        return fail_with_errno(error, "tlskey", path);
    return rc < 0 ? fail_memory(error) : 0;
}

static int use_key_file(etcp_tls *tls, const char *path, etcp_error *error)
{
    EVP_PKEY *key;
    int rc;

    if (access(path, F_OK) < 0 && errno == ENOENT && (rc = make_key_file(path, error)) < 0)
        return rc;
    key = read_key(path);
    rc = key ? use_self_signed(tls, key, error) : fail_with_reason(error, "tlskey", path);
    EVP_PKEY_free(key);
    return rc;
}

static int use_files(etcp_tls *tls, const etcp_tls_options *o, etcp_error *error)
{
    const char *key = o->key_file ? o->key_file : o->cert_file;

    if (SSL_CTX_use_certificate_chain_file(tls->ctx, o->cert_file) != 1)
        return fail_with_reason(error, "tlscert", o->cert_file);
    if (SSL_CTX_use_PrivateKey_file(tls->ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(tls->ctx) != 1)
        return fail_with_reason(error, o->key_file ? "tlskey" : "tlscert", key);
    return 0;
}

static int use_own_key(etcp_tls *tls, const etcp_tls_options *o, etcp_error *error)
{
    EVP_PKEY *key;
    int rc;

    if (o->cert_file)
        return use_files(tls, o, error);
    if (o->key_file)
        return use_key_file(tls, o->key_file, error);
    if (!(o->flags & ETCP_TLS_SERVER))
        return 0;
    key = etcp_cert_new_key();
    rc = use_self_signed(tls, key, error);
    EVP_PKEY_free(key);
    return rc;
}

/* ---- the profile ----------------------------------------------------------------------------- */

/* Our own comparison: whoever offers protocols and not ours wants somebody else. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned at = 0;

    (void)ssl;
    (void)arg;
    while (at < in_len && in[at] <= in_len - at - 1) {
        if (in[at] == sizeof ETCP_ALPN - 1 && memcmp(in + at + 1, ETCP_ALPN, in[at]) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
        at += in[at] + 1u;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
#if defined(SSL_OP_NO_TX_CERTIFICATE_COMPRESSION) && defined(SSL_OP_NO_RX_CERTIFICATE_COMPRESSION)
    SSL_CTX_set_options(ctx, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION |
                                 SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
#endif
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
}

static int set_profile(etcp_tls *tls)
{
    SSL_CTX *ctx = tls->ctx;

    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(ctx, suites) || !SSL_CTX_set_num_tickets(ctx, 0) ||
        !SSL_CTX_set_max_early_data(ctx, 0))
        return ETCP_ECRYPT;
    set_options(ctx);
    if (tls->flags & ETCP_TLS_SERVER)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    return 0;
}

/* A server asks for a certificate only when somebody will look at it. */
static void set_verdict(etcp_tls *tls)
{
    int mode = SSL_VERIFY_PEER;

    if (tls->flags & ETCP_TLS_SERVER)
        mode = tls->has_ca || tls->fingerprint_count
                   ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                   : SSL_VERIFY_NONE;
    SSL_CTX_set_verify(tls->ctx, mode, NULL);
    SSL_CTX_set_cert_verify_callback(tls->ctx, etcp_verify_peer, NULL);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int copy_fingerprints(etcp_tls *tls, const uint8_t (*from)[ETCP_FINGERPRINT], size_t count)
{
    if (count == 0)
        return 0;
    tls->fingerprints = etcp_memdup(from, count * sizeof *from);
    tls->fingerprint_count = count;
    return tls->fingerprints ? 0 : ETCP_ENOMEM;
}

static int copy_known_hosts(etcp_tls *tls, const char *path)
{
    if (!path)
        return 0;
    tls->known_hosts = etcp_memdup(path, strlen(path));
    return tls->known_hosts ? 0 : ETCP_ENOMEM;
}

static int fill(etcp_tls *tls, const etcp_tls_options *o, etcp_error *error)
{
    int is_server = (o->flags & ETCP_TLS_SERVER) != 0;
    int rc;

    tls->ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    tls->method = etcp_channel_bio_method();
    if (!tls->method || copy_fingerprints(tls, o->fingerprints, o->fingerprint_count) < 0 ||
        copy_known_hosts(tls, o->known_hosts) < 0)
        return fail_memory(error);
    if (!tls->ctx || set_profile(tls) < 0)
        return etcp_error_set(error, ETCP_ECRYPT, "OpenSSL offers no TLS 1.3");
    if (o->groups && !SSL_CTX_set1_groups_list(tls->ctx, o->groups))
        return etcp_error_set(error, ETCP_EINVAL, "tlsgroups: %s is not known", o->groups);
    rc = use_own_key(tls, o, error);
    if (rc < 0)
        return rc;
    if (o->ca_file && SSL_CTX_load_verify_locations(tls->ctx, o->ca_file, NULL) != 1)
        return fail_with_reason(error, "tlsca", o->ca_file);
    tls->has_ca = o->ca_file != NULL;
    if (o->known_hosts && etcp_known_hosts_check(o->known_hosts) < 0)
        return fail_with_errno(error, "tlsknownhosts", o->known_hosts);
    set_verdict(tls);
    return note_fingerprint(tls, error);
}

int etcp_tls_new(const etcp_tls_options *options, etcp_tls **out, etcp_error *error)
{
    etcp_tls *tls = etcp_zalloc(sizeof *tls);
    int rc;

    if (!tls)
        return fail_memory(error);
    tls->references = 1;
    tls->flags = options->flags;
    tls->renew_bytes = options->renew_bytes ? options->renew_bytes : RENEW_BYTES;
    tls->renew_records = options->renew_records ? options->renew_records : RENEW_RECORDS;
    ERR_clear_error();
    rc = fill(tls, options, error);
    ERR_clear_error();
    if (rc < 0) {
        etcp_tls_unref(tls);
        return rc;
    }
    *out = tls;
    return 0;
}

etcp_tls *etcp_tls_clone(const etcp_tls *tls)
{
    etcp_tls *copy = etcp_memdup(tls, sizeof *tls);

    if (!copy)
        return NULL;
    copy->references = 1;
    copy->known_hosts = NULL;
    copy->fingerprints = NULL;
    copy->last = NULL;
    copy->method = etcp_channel_bio_method();
    (void)SSL_CTX_up_ref(copy->ctx);
    if (copy->method && copy_known_hosts(copy, tls->known_hosts) == 0 &&
        copy_fingerprints(copy, (const uint8_t(*)[ETCP_FINGERPRINT])tls->fingerprints,
                          tls->fingerprint_count) == 0)
        return copy;
    etcp_tls_unref(copy);
    return NULL;
}

etcp_tls *etcp_tls_ref(etcp_tls *tls)
{
    if (tls)
        tls->references++;
    return tls;
}

void etcp_tls_unref(etcp_tls *tls)
{
    if (!tls || --tls->references)
        return;
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->method);
    etcp_free(tls->known_hosts);
    etcp_free(tls->fingerprints);
    etcp_free(tls);
}

int etcp_tls_is_direct(const etcp_tls *tls)
{
    return (tls->flags & ETCP_TLS_DIRECT) != 0;
}

const char *etcp_tls_fingerprint(const etcp_tls *tls)
{
    return tls->fingerprint;
}

const char *etcp_tls_library_version(char *text, size_t size)
{
    static const char name[] = "OpenSSL ";
    const char *version = OpenSSL_version(OPENSSL_VERSION);

    if (strncmp(version, name, sizeof name - 1) == 0)
        version += sizeof name - 1;
    (void)snprintf(text, size, "%.*s", (int)strcspn(version, " "), version);
    return text;
}
