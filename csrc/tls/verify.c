/* Who the peer is. The order: fingerprint, else authority, else known hosts, else every peer passes
 * whose signature fits its key; that the connection is not cut in two shows in the password then.
 */
#include "tls_private.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "cert.h"
#include "known_hosts.h"

static const char *whose(const etcp_channel *ch)
{
    return ch->tls->flags & ETCP_TLS_SERVER ? "client" : "server";
}

static int refuse_key(etcp_channel *ch)
{
    char text[ETCP_FINGERPRINT_TEXT];

    etcp_fingerprint_format(ch->peer, text);
    return etcp_channel_fail(ch, ETCP_EPOLICY, "The %s's key is not the expected one: %s",
                             whose(ch), text);
}

static int by_fingerprint(etcp_channel *ch)
{
    size_t i;

    for (i = 0; i < ch->tls->fingerprint_count; i++)
        if (memcmp(ch->tls->fingerprints[i], ch->peer, sizeof ch->peer) == 0) {
            ch->trust = ETCP_TRUST_FINGERPRINT;
            return 0;
        }
    return refuse_key(ch);
}

static int by_authority(etcp_channel *ch, X509_STORE_CTX *store)
{
    int error;

    if (X509_verify_cert(store) == 1) {
        ch->trust = ETCP_TRUST_CA;
        return 0;
    }
    error = X509_STORE_CTX_get_error(store);
    return etcp_channel_fail(ch, ETCP_EPOLICY, "The %s's certificate does not verify: %s",
                             whose(ch), X509_verify_cert_error_string(error));
}

static int by_known_hosts(etcp_channel *ch)
{
    const char *path = ch->tls->known_hosts;
    char text[ETCP_FINGERPRINT_TEXT];
    etcp_known known;

    if (etcp_known_hosts_find(path, ch->endpoint, ch->peer, &known) < 0)
        return etcp_channel_fail(ch, ETCP_EPOLICY, "%s: %s", path, strerror(errno));
    switch (known) {
    case ETCP_KNOWN_YES: ch->trust = ETCP_TRUST_KNOWN_HOST; return 0;
    case ETCP_KNOWN_UNKNOWN: ch->trust = ETCP_TRUST_FIRST_USE; return 0;
    case ETCP_KNOWN_OTHER: break;
    }
    etcp_fingerprint_format(ch->peer, text);
    return etcp_channel_fail(ch, ETCP_EPOLICY, "The server's key changed since %s noted it: %s",
                             path, text);
}

static int judge(etcp_channel *ch, X509_STORE_CTX *store)
{
    if (etcp_cert_fingerprint(X509_STORE_CTX_get0_cert(store), ch->peer) < 0)
        return etcp_channel_fail(ch, ETCP_EPROTO, "TLS: the peer's key is unreadable");
    ch->has_peer = 1;
    if (ch->tls->fingerprint_count)
        return by_fingerprint(ch);
    if (ch->tls->has_ca)
        return by_authority(ch, store);
    return ch->tls->known_hosts && ch->endpoint ? by_known_hosts(ch) : 0;
}

int etcp_verify_peer(X509_STORE_CTX *store, void *unused)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    etcp_channel *ch = SSL_get_app_data(ssl);

    (void)unused;
    if (judge(ch, store) < 0) {
        /* Names the alert; a chain that did not verify has named its own. */
        if (X509_STORE_CTX_get_error(store) == X509_V_OK)
            X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
        return 0;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}
