/* How a key is known: by the SHA-256 of its SubjectPublicKeyInfo, as a text "SHA256:" and hex
 * digits. */
#ifndef ETCP_TLS_FINGERPRINT_H
#define ETCP_TLS_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

enum {
    ETCP_FINGERPRINT = 32,             /* SHA-256 of a SubjectPublicKeyInfo */
    ETCP_FINGERPRINT_TEXT = 7 + 64 + 1 /* "SHA256:", hex digits, NUL */
};

/* Takes the text apart, digits in either case. Returns 0 or ETCP_EINVAL. */
int etcp_fingerprint_parse(const char *text, size_t len, uint8_t out[ETCP_FINGERPRINT]);

/* Writes it, digits in lower case. */
void etcp_fingerprint_format(const uint8_t fingerprint[ETCP_FINGERPRINT],
                             char text[ETCP_FINGERPRINT_TEXT]);

#endif
