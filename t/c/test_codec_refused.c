/* SPAKE2 where OpenSSL has no P-256 of its own for the processor, and a policy lets it give no
 * random numbers: it cannot hide secrets then, and does not multiply. That is no lack of memory. */
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/opensslv.h>
#include <openssl/rand.h>

#include "base/error.h"
#include "codec/spake2.h"
#include "tap.h"

#if OPENSSL_VERSION_NUMBER >= 0x30000000L

#include <openssl/provider.h>

static int hides;

/* In place of OpenSSL's: no provider may be loaded. */
OSSL_PROVIDER *OSSL_PROVIDER_load(OSSL_LIB_CTX *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

/* In place of OpenSSL's: as that of other processors, or any point. */
int EC_POINT_mul(const EC_GROUP *group, EC_POINT *r, const BIGNUM *n, const EC_POINT *q,
                 const BIGNUM *m, BN_CTX *work)
{
    uint8_t byte;

    (void)n;
    (void)q;
    (void)m;
    (void)work;
    return (!hides || RAND_bytes(&byte, 1) == 1) &&
           EC_POINT_copy(r, EC_GROUP_get0_generator(group));
}

static int give_one(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 1, len);
    return 0;
}

int main(void)
{
    const etcp_spake2_context context = {"a", "b", NULL, 0};
    const uint8_t w[ETCP_SPAKE2_SCALAR] = {1};
    uint8_t share[ETCP_SPAKE2_SHARE];
    etcp_spake2_secret *secret = NULL;
    etcp_spake2 *run = NULL;
    etcp_spake2_proofs proofs;

    if (setenv("OPENSSL_CONF", "t/data/openssl-fips.cnf", 1) != 0)
        return 1;
    hides = 1;
    tap_is_int(etcp_spake2_secret_new(w, &secret), ETCP_ECRYPT, "the secret");
    hides = 0;
    if (etcp_spake2_secret_new(w, &secret) < 0)
        abort();
    hides = 1;
    tap_is_int(etcp_spake2_new(secret, ETCP_SPAKE2_A, give_one, NULL, &run, share), ETCP_ECRYPT,
               "a share");
    hides = 0;
    if (etcp_spake2_new(secret, ETCP_SPAKE2_A, give_one, NULL, &run, share) < 0)
        abort();
    hides = 1;
    tap_is_int(etcp_spake2_finish(run, secret, &context, share, &proofs), ETCP_ECRYPT, "the key");
    tap_is_int((long long)ERR_peek_error(), 0, "OpenSSL's own list of errors is as it was");
    etcp_spake2_free(run);
    etcp_spake2_secret_free(secret);
    return tap_done();
}

#else

int main(void)
{
    tap_skip(1, "nothing can be refused before OpenSSL 3");
    return tap_done();
}

#endif
