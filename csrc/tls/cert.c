#include "cert.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>

enum { SERIAL_BITS = 63, DAY = 24 * 60 * 60, VERSION_3 = 2 };

EVP_PKEY *etcp_cert_new_key(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    EVP_PKEY *key = NULL;

    if (!ctx || EVP_PKEY_keygen_init(ctx) <= 0 ||
        EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1) <= 0 ||
        EVP_PKEY_CTX_set_ec_param_enc(ctx, OPENSSL_EC_NAMED_CURVE) <= 0 ||
        EVP_PKEY_keygen(ctx, &key) <= 0)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Positive, and not 0: some verifiers refuse that. */
static int set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    int ok = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ODD) &&
             BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;

    BN_free(number);
    return ok;
}

/* Subject and issuer are the same. */
static int set_names(X509 *cert)
{
    X509_NAME *name = X509_NAME_new();
    int ok = name &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                        (const unsigned char *)"Net::EasyTCP", -1, -1, 0) &&
             X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, name);

    X509_NAME_free(name);
    return ok;
}

/* Without a validity libraries sign and load the certificate, and the client fails over it. */
static int set_validity(X509 *cert)
{
    return X509_gmtime_adj(X509_getm_notBefore(cert), -(long)DAY) &&
           ASN1_TIME_set_string(X509_getm_notAfter(cert), "99991231235959Z");
}

X509 *etcp_cert_self_sign(EVP_PKEY *key)
{
    X509 *cert = X509_new();

    /* Keys with a digest of their own (Ed25519) want none named. */
    if (cert && X509_set_version(cert, VERSION_3) && set_serial(cert) && set_names(cert) &&
        set_validity(cert) && X509_set_pubkey(cert, key) &&
        (X509_sign(cert, key, EVP_sha256()) > 0 || X509_sign(cert, key, NULL) > 0))
        return cert;
    X509_free(cert);
    return NULL;
}

static int write_whole(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ETCP_ESYSTEM;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int create_file(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int saved;
    int rc;

    if (fd < 0)
        return ETCP_ESYSTEM;
    rc = write_whole(fd, bytes, len);
    saved = errno;
    if (close(fd) < 0 && rc == 0) {
        saved = errno;
        rc = ETCP_ESYSTEM;
    }
    if (rc < 0)
        (void)unlink(path);
    errno = saved;
    return rc;
}

int etcp_cert_write_key(const char *path, EVP_PKEY *key)
{
    BIO *memory = BIO_new(BIO_s_secmem());
    char *bytes = NULL;
    long len;
    int rc;

    if (!memory || !PEM_write_bio_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL)) {
        BIO_free(memory);
        return ETCP_ENOMEM;
    }
    len = BIO_get_mem_data(memory, &bytes);
    rc = create_file(path, bytes, (size_t)len);
    BIO_free(memory);
    return rc;
}

int etcp_cert_fingerprint(const X509 *cert, uint8_t fingerprint[ETCP_FINGERPRINT])
{
    unsigned char *der = NULL;
    /* The cast: const in some releases of OpenSSL, not in others. */
    int len = i2d_X509_PUBKEY((X509_PUBKEY *)X509_get_X509_PUBKEY((X509 *)cert), &der);
    int ok = len > 0 && EVP_Digest(der, (size_t)len, fingerprint, NULL, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    return ok ? 0 : ETCP_ENOMEM;
}
