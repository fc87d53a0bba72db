/* Traditional crypt(3), the 25-fold DES of 1979: not every C library has it any more. */
#ifndef ETCP_WIRE_CRYPT3_H
#define ETCP_WIRE_CRYPT3_H

#include <stddef.h>
#include <stdint.h>

enum { ETCP_CRYPT3_SIZE = 14 }; /* salt, 11 characters, NUL */

/* Hashes the first 8 characters (7 bits of each, up to a NUL) of password under a salt of two
 * characters into out, NUL-terminated. A salt outside [./0-9A-Za-z] gives "*0", or "*1" when the
 * salt is itself "*0": what libxcrypt answers, and therefore what originals on it compare. Takes
 * some 10 microseconds. */
void etcp_crypt3(const uint8_t *password, size_t len, const uint8_t salt[2],
                 char out[ETCP_CRYPT3_SIZE]);

/* Whether both characters are in [./0-9A-Za-z]. */
int etcp_crypt3_salt_is_valid(const uint8_t salt[2]);

#endif
