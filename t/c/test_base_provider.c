/* A machine whose configuration refuses everything, as FIPS mode refuses MD5: all can be had. */
#include "base/provider.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "tap.h"

static void test_digests(void)
{
    static const uint8_t md5[] = {0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0,
                                  0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72};
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    tap_ok(etcp_provider_digest(ETCP_ALGORITHM_MD5) &&
               EVP_Digest("abc", 3, out, &len, etcp_provider_digest(ETCP_ALGORITHM_MD5), NULL) == 1,
           "MD5 digests");
    tap_is_mem(out, len, md5, sizeof md5, "as RFC 1321 says");
    tap_ok(etcp_provider_digest(ETCP_ALGORITHM_SHA1) &&
               EVP_Digest("abc", 3, out, &len, etcp_provider_digest(ETCP_ALGORITHM_SHA1), NULL) ==
                   1,
           "SHA-1 digests");
    tap_is_int(len, 20, "to 20 bytes");
}

static void test_ciphers(void)
{
    const EVP_CIPHER *aes = etcp_provider_cipher(ETCP_ALGORITHM_AES_256_CBC);
    const EVP_CIPHER *des = etcp_provider_cipher(ETCP_ALGORITHM_DES_EDE3_CBC);

    tap_ok(aes && EVP_CIPHER_key_length(aes) == 32, "AES has keys of 32 bytes");
    tap_ok(des && EVP_CIPHER_key_length(des) == 24, "triple DES has keys of 24 bytes");
    tap_ok(!etcp_provider_cipher(ETCP_ALGORITHM_MD5), "a digest is no cipher");
    tap_ok(!etcp_provider_digest(ETCP_ALGORITHM_AES_256_CBC), "nor is a cipher a digest");
}

static void test_random(void)
{
    static const uint8_t nothing[32];
    uint8_t one[32] = {0};
    uint8_t other[32] = {0};
    BIGNUM *p = BN_new();

    tap_is_int(etcp_provider_random(one, sizeof one), 0, "random bytes");
    tap_is_int(etcp_provider_random(other, sizeof other), 0, "and more of them");
    tap_ok(memcmp(one, nothing, sizeof one) != 0 && memcmp(one, other, sizeof one) != 0,
           "are random"); /* by chance they are not: 2 in 2^256 */
    tap_is_int(p ? etcp_provider_prime(p, 256) : -1, 0, "a prime number");
    tap_is_int(p ? BN_num_bits(p) : 0, 256, "of 256 bits");
    BN_free(p);
}

int main(void)
{
    uint8_t byte;

    if (setenv("OPENSSL_CONF", "t/data/openssl-fips.cnf", 1) != 0)
        return 1;
    tap_ok(etcp_provider_has(0), "nothing can always be had");
    tap_ok(etcp_provider_has(ETCP_ALGORITHM_MD5 | ETCP_ALGORITHM_SHA1 | ETCP_ALGORITHM_AES_256_CBC |
                             ETCP_ALGORITHM_DES_EDE3_CBC),
           "all can be had");
    tap_is_str(etcp_provider_refusal(), "", "there is nothing to tell");
    tap_ok(ERR_peek_error() == 0, "no error is left to others");
    test_digests();
    test_ciphers();
    test_random();
    tap_ok(ERR_peek_error() == 0, "still no error is left");
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    /* Otherwise nothing of this meant anything. */
    tap_ok(RAND_bytes(&byte, 1) != 1, "OpenSSL itself is configured to give nothing");
#else
    (void)byte;
#endif
    return tap_done();
}
