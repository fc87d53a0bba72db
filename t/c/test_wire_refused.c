/* A machine whose policy lets OpenSSL give no digest and no cipher, not even from a context of our
 * own: what needs them is not offered, and connections are made with the rest. */
#include "wire_peer.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/opensslv.h>

#include "base/provider.h"
#include "codec/spake2.h"
#include "tap.h"
#include "wire/config.h"

#if OPENSSL_VERSION_NUMBER >= 0x30000000L

#include <openssl/provider.h>

/* In place of OpenSSL's: no provider may be loaded. */
OSSL_PROVIDER *OSSL_PROVIDER_load(OSSL_LIB_CTX *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

/* Nothing that is random can be had here either. */
static int count_up(void *arg, uint8_t *out, size_t len)
{
    uint8_t *next = arg;

    for (size_t i = 0; i < len; i++)
        out[i] = (*next)++;
    return 0;
}

/* Lets a server and a client negotiate. forbidden: a module, or NULL. Returns the server's result.
 */
static int negotiate(unsigned flags, const char *forbidden, peer *server, peer *client)
{
    static uint8_t next = 40;
    etcp_config *configs[] = {etcp_config_new(ETCP_ROLE_SERVER), etcp_config_new(ETCP_ROLE_CLIENT)};

    for (size_t i = 0; i < 2; i++) {
        if (!configs[i])
            abort();
        configs[i]->flags |= flags;
        configs[i]->random = count_up;
        configs[i]->random_arg = &next;
        if (forbidden)
            etcp_config_forbid(configs[i], forbidden);
    }
    if (peer_init(server, configs[0]) < 0 || peer_init(client, configs[1]) < 0)
        abort();
    etcp_config_unref(configs[0]);
    etcp_config_unref(configs[1]);
    peer_negotiate(server, client, 0);
    return server->rc;
}

static void test_rest(void)
{
    peer server, client;

    (void)negotiate(0, NULL, &server, &client);
    tap_ok(server.ready && client.ready, "a connection");
    tap_ok(etcp_session_cipher(client.s) == etcp_cipher_by_key('2'),
           "by the cipher that needs nothing");
    peer_deinit(&server);
    peer_deinit(&client);
    (void)negotiate(0, "Crypt::CipherSaber", &server, &client);
    tap_ok(server.ready && client.ready, "a connection without any cipher");
    tap_ok(!etcp_session_cipher(client.s), "in clear");
    peer_deinit(&server);
    peer_deinit(&client);
}

static void test_demand(void)
{
    peer server, client;

    (void)negotiate(ETCP_REQUIRE_ENCRYPTION, "Crypt::CipherSaber", &server, &client);
    tap_ok(!server.ready && !client.ready, "no connection where a cipher is required");
    tap_ok(strstr(etcp_session_error(client.s)->text,
                  "(EVP_MD_fetch of MD5 failed: unsupported)") != NULL,
           "and it says why: %s", etcp_session_error(client.s)->text);
    peer_deinit(&server);
    peer_deinit(&client);
}

/* A refused digest is no lack of memory: who waits for memory would wait for ever. */
static void test_digests(void)
{
    const etcp_spake2_context context = {"a", "b", NULL, 0};
    uint8_t w[ETCP_SPAKE2_SCALAR] = {0};
    uint8_t share[ETCP_SPAKE2_SHARE];
    etcp_spake2_secret *secret = NULL;
    etcp_spake2_proofs proofs;
    etcp_inside_facts facts;
    etcp_spake2 *run = NULL;
    uint8_t next = 1;
    int rc;

    tap_is_int(etcp_spake2_scalar((const uint8_t *)"secret", 6, w), ETCP_ECRYPT, "a password");
    w[31] = 7;
    rc = etcp_spake2_secret_new(w, &secret);
    if (rc == ETCP_ECRYPT)
        tap_skip(1, "OpenSSL has no P-256 for this processor that needs no random numbers");
    else if (rc < 0 || etcp_spake2_new(secret, ETCP_SPAKE2_A, count_up, &next, &run, share) < 0)
        abort();
    else
        tap_is_int(etcp_spake2_finish(run, secret, &context, share, &proofs), ETCP_ECRYPT,
                   "a proof");
    tap_is_int(etcp_session_direct(&facts), ETCP_ECRYPT, "what was said before TLS");
    tap_is_int((long long)ERR_peek_error(), 0, "OpenSSL's own list of errors is as it was");
    etcp_spake2_free(run);
    etcp_spake2_secret_free(secret);
}

int main(void)
{
    if (setenv("OPENSSL_CONF", "t/data/openssl-fips.cnf", 1) != 0)
        return 1;
    tap_ok(!etcp_provider_has(ETCP_ALGORITHM_MD5), "MD5 cannot be had");
    tap_ok(!etcp_provider_digest(ETCP_ALGORITHM_MD5), "there is none");
    tap_is_str(etcp_provider_refusal(), "EVP_MD_fetch of MD5 failed: unsupported",
               "it is told why");
    test_rest();
    test_demand();
    test_digests();
    return tap_done();
}

#else

int main(void)
{
    tap_skip(1, "nothing can be refused before OpenSSL 3");
    return tap_done();
}

#endif
