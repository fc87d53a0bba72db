/* OpenSSL's algorithms, and where they come from. What the configuration of the machine says is
 * asked first. If that refuses an algorithm, as FIPS mode refuses MD5, it comes from a library
 * context of our own with OpenSSL's default provider: the key derivation of Crypt::CBC is MD5 and
 * cannot be another, whatever we think of it. A policy may forbid that, too; then the algorithm
 * cannot be had.
 *
 * Each is looked up once in a process, at the first call of any function here; all may be called by
 * several threads at a time. Before OpenSSL 3, and in LibreSSL, there are no such contexts: what is
 * built in can be had. */
#ifndef ETCP_BASE_PROVIDER_H
#define ETCP_BASE_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/bn.h>
#include <openssl/evp.h>

/* Bits, for sets of them. */
typedef enum etcp_algorithm {
    ETCP_ALGORITHM_MD5 = 1,
    ETCP_ALGORITHM_SHA1 = 2,
    ETCP_ALGORITHM_AES_256_CBC = 4,
    ETCP_ALGORITHM_DES_EDE3_CBC = 8
} etcp_algorithm;

enum { ETCP_SHA256 = 32 };

/* Whether all algorithms of the set, 0 included, can be had. */
int etcp_provider_has(unsigned algorithms);

/* Why something cannot be had: the call of OpenSSL that failed in every context, for the first such
 * algorithm, and its reason. Empty if all can be had. Static. */
const char *etcp_provider_refusal(void);

/* A digest, or a cipher. NULL if it cannot be had, or is not of that kind. Nobody frees it. */
const EVP_MD *etcp_provider_digest(etcp_algorithm algorithm);
const EVP_CIPHER *etcp_provider_cipher(etcp_algorithm algorithm);

/* The code of what OpenSSL did since ERR_set_mark(): 0 if it went well, ETCP_ENOMEM, or ETCP_ECRYPT for
 * everything else, such as a policy that leaves no SHA-256. Takes the mark away, and what was noted
 * since. */
int etcp_provider_code(int went_well);

/* SHA-256 of bytes[0..len). Returns 0, ETCP_ENOMEM or ETCP_ECRYPT. */
int etcp_provider_sha256(const void *bytes, size_t len, uint8_t out[ETCP_SHA256]);

/* Fills out[0..len) from OpenSSL's generator. Returns 0, ETCP_ECRYPT, or ETCP_EINVAL for 2 GB and
 * more. */
int etcp_provider_random(uint8_t *out, size_t len);

/* What arithmetic with secrets works with: OpenSSL draws from its generator to hide them. NULL: no
 * memory. Free with BN_CTX_free. */
BN_CTX *etcp_provider_work(void);

/* Makes *p a random prime of so many bits. Returns 0 or ETCP_ECRYPT. */
int etcp_provider_prime(BIGNUM *p, int bits);

#endif
