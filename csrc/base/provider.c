#include "provider.h"

#include <limits.h>
#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "error.h"

/* LibreSSL calls itself 2.0.0. */
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define HAS_CONTEXTS
#include <openssl/provider.h>
#endif

enum { IS_DIGEST = ETCP_ALGORITHM_MD5 | ETCP_ALGORITHM_SHA1 };

static struct found {
    const etcp_algorithm algorithm;
    const char *const name;
    const EVP_MD *digest;
    const EVP_CIPHER *cipher;
} found[] = {
    {ETCP_ALGORITHM_MD5, "MD5", NULL, NULL},
    {ETCP_ALGORITHM_SHA1, "SHA1", NULL, NULL},
    {ETCP_ALGORITHM_AES_256_CBC, "AES-256-CBC", NULL, NULL},
    {ETCP_ALGORITHM_DES_EDE3_CBC, "DES-EDE3-CBC", NULL, NULL},
};

enum { COUNT = sizeof found / sizeof found[0] };

static char refusal[160];

#ifdef HAS_CONTEXTS

/* Stays until the process ends: methods that came from it refer to it. */
static OSSL_LIB_CTX *own;
static int uses_own_random;

static void note_refusal(const char *call, const char *name)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    if (!refusal[0])
        (void)snprintf(refusal, sizeof refusal, "%s of %s failed: %s", call, name,
                       reason ? reason : "no reason given");
}

static int fetch(struct found *f, OSSL_LIB_CTX *context)
{
    if (f->algorithm & IS_DIGEST)
        f->digest = EVP_MD_fetch(context, f->name, NULL);
    else
        f->cipher = EVP_CIPHER_fetch(context, f->name, NULL);
    return f->digest || f->cipher;
}

/* Our own context with the default provider, made at most once. NULL: it cannot be had. */
static OSSL_LIB_CTX *own_context(void)
{
    static int tried;

    if (tried)
        return own;
    tried = 1;
    own = OSSL_LIB_CTX_new();
    if (own && !OSSL_PROVIDER_load(own, "default")) {
        OSSL_LIB_CTX_free(own);
        own = NULL;
    }
    return own;
}

static void look_up(void)
{
    uint8_t byte;
    size_t i;

    /* Whoever shares the process with us shall not find our refusals among its own errors. */
    ERR_set_mark();
    for (i = 0; i < COUNT; i++)
        if (!fetch(&found[i], NULL) && !(own_context() && fetch(&found[i], own)))
            note_refusal(found[i].algorithm & IS_DIGEST ? "EVP_MD_fetch" : "EVP_CIPHER_fetch",
                         found[i].name);
    uses_own_random =
        RAND_bytes(&byte, 1) != 1 && own_context() && RAND_bytes_ex(own, &byte, 1, 0) == 1;
    ERR_pop_to_mark();
}

#else

static void look_up(void)
{
    found[0].digest = EVP_md5();
    found[1].digest = EVP_sha1();
    found[2].cipher = EVP_aes_256_cbc();
    found[3].cipher = EVP_des_ede3_cbc();
}

#endif

static void ensure_looked_up(void)
{
    static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;

    (void)CRYPTO_THREAD_run_once(&once, look_up);
}

static const struct found *find(etcp_algorithm algorithm)
{
    size_t i = 0;

    ensure_looked_up();
    while (i + 1 < COUNT && found[i].algorithm != algorithm)
        i++;
    return &found[i];
}

int etcp_provider_has(unsigned algorithms)
{
    size_t i;

    ensure_looked_up();
    for (i = 0; i < COUNT; i++)
        if ((algorithms & (unsigned)found[i].algorithm) && !found[i].digest && !found[i].cipher)
            return 0;
    return 1;
}

const char *etcp_provider_refusal(void)
{
    ensure_looked_up();
    return refusal;
}

const EVP_MD *etcp_provider_digest(etcp_algorithm algorithm)
{
    return find(algorithm)->digest;
}

const EVP_CIPHER *etcp_provider_cipher(etcp_algorithm algorithm)
{
    return find(algorithm)->cipher;
}

int etcp_provider_code(int went_well)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());

    ERR_pop_to_mark();
    if (went_well)
        return 0;
    return reason == ERR_R_MALLOC_FAILURE ? ETCP_ENOMEM : ETCP_ECRYPT;
}

int etcp_provider_sha256(const void *bytes, size_t len, uint8_t out[ETCP_SHA256])
{
    ERR_set_mark();
    return etcp_provider_code(EVP_Digest(bytes, len, out, NULL, EVP_sha256(), NULL) == 1);
}

int etcp_provider_random(uint8_t *out, size_t len)
{
    ensure_looked_up();
    if (len > INT_MAX)
        return ETCP_EINVAL;
#ifdef HAS_CONTEXTS
    if (uses_own_random)
        return RAND_bytes_ex(own, out, len, 0) == 1 ? 0 : ETCP_ECRYPT;
#endif
    return RAND_bytes(out, (int)len) == 1 ? 0 : ETCP_ECRYPT;
}

BN_CTX *etcp_provider_work(void)
{
    ensure_looked_up();
#ifdef HAS_CONTEXTS
    return BN_CTX_secure_new_ex(uses_own_random ? own : NULL);
#else
    return BN_CTX_secure_new();
#endif
}

int etcp_provider_prime(BIGNUM *p, int bits)
{
#ifdef HAS_CONTEXTS
    BN_CTX *context = etcp_provider_work();
    int ok = context && BN_generate_prime_ex2(p, bits, 0, NULL, NULL, NULL, context);
    BN_CTX_free(context);
    return ok ? 0 : ETCP_ECRYPT;
#else
    return BN_generate_prime_ex(p, bits, 0, NULL, NULL, NULL) ? 0 : ETCP_ECRYPT;
#endif
}
