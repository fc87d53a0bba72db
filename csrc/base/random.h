/* Random bytes from the operating system, through OpenSSL's generator (fork-safe since 1.1.1). */
#ifndef ETCP_BASE_RANDOM_H
#define ETCP_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* A source of random bytes: fills out[0..len). Returns 0 or ETCP_ECRYPT.
 * Tests replace it to replay recorded connections. */
typedef int (*etcp_random_fn)(void *arg, uint8_t *out, size_t len);

enum { ETCP_RANDOM_POOL_SIZE = 256 };

/* The source for everything that is not a test. arg is ignored. */
int etcp_random_bytes(void *arg, uint8_t *out, size_t len);

/* Bytes drawn ahead. The generator takes about as long for 8 bytes as for a few hundred, and longer
 * than AES for a short message. Zeroed is empty. Belongs to one thread. */
typedef struct etcp_random_pool {
    long process; /* that drew the bytes: a child of it draws its own */
    size_t left;
    uint8_t bytes[ETCP_RANDOM_POOL_SIZE];
} etcp_random_pool;

/* The same source, for salts and initialisation vectors: arg is an etcp_random_pool. Whatever is
 * too long to be one, keys above all, does not come from the pool. Bytes given are wiped there. */
int etcp_random_pooled(void *arg, uint8_t *out, size_t len);

/* Fills key[0..len) with printable characters 33..126, uniformly, by rejection. The first is never '-'
 * (Crypt::CBC would take the key for an option name) nor '%' (an original would take the key for
 * armoured). No NUL is appended. Returns 0 or the source's error. Protocol.pod, "Key strings". */
int etcp_random_key(etcp_random_fn source, void *arg, uint8_t *key, size_t len);

/* Fills salt[0..len) with lower-case letters, uniformly: the only salts every crypt(3) accepts and
 * every release writes. No NUL is appended. Returns 0 or the source's error. */
int etcp_random_letters(etcp_random_fn source, void *arg, uint8_t *salt, size_t len);

#endif
