/* What a password is used for: the hash that CP carries, and the head of the merged session keys.
 */
#ifndef ETCP_WIRE_PASSWORD_H
#define ETCP_WIRE_PASSWORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Whether two runs of bytes are equal, in a time that depends on their lengths only. */
int etcp_password_equal(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/* Appends key[0..key_len) to out with its head replaced by the letters and digits of the password.
 * With none of these the key is appended as it is. Returns 0 or ETCP_ENOMEM (out unchanged).
 * Protocol.pod, "Password merging". */
int etcp_password_merge(const uint8_t *password, size_t password_len, const uint8_t *key,
                        size_t key_len, etcp_buf *out);

#endif
