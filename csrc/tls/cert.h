/* Keys and certificates of our own. */
#ifndef ETCP_TLS_CERT_H
#define ETCP_TLS_CERT_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tls/context.h"

/* A new P-256 key, or NULL. Free with EVP_PKEY_free. */
EVP_PKEY *etcp_cert_new_key(void);

/* A certificate that key signs itself, valid from yesterday on for ever, or NULL. Free with
 * X509_free. */
X509 *etcp_cert_self_sign(EVP_PKEY *key);

/* Writes key to a new file for its owner only. Returns 0, ETCP_ENOMEM, or ETCP_ESYSTEM with errno
 * (EEXIST: there is one). A file that could not be completed is removed. */
int etcp_cert_write_key(const char *path, EVP_PKEY *key);

/* The SHA-256 of the certificate's SubjectPublicKeyInfo. Returns 0 or ETCP_ENOMEM. */
int etcp_cert_fingerprint(const X509 *cert, uint8_t fingerprint[ETCP_FINGERPRINT]);

#endif
