#include "tunnel.h"

#include <string.h>

#include "base/mem.h"

/* ---- what TLS begins with -------------------------------------------------------------------- */

static int copy_text(const char *text, char **copy)
{
    *copy = text ? etcp_memdup(text, strlen(text)) : NULL;
    return text && !*copy ? ETCP_ENOMEM : 0;
}

etcp_security *etcp_security_new(etcp_tls *tls, const char *host, const char *endpoint)
{
    etcp_security *s = etcp_zalloc(sizeof *s);

    if (!s)
        return NULL;
    s->references = 1;
    s->tls = etcp_tls_ref(tls);
    if (copy_text(host, &s->host) == 0 && copy_text(endpoint, &s->endpoint) == 0)
        return s;
    etcp_security_unref(s);
    return NULL;
}

etcp_security *etcp_security_clone(const etcp_security *s)
{
    etcp_tls *tls = etcp_tls_clone(s->tls);
    etcp_security *copy = tls ? etcp_security_new(tls, s->host, s->endpoint) : NULL;

    etcp_tls_unref(tls);
    return copy;
}

etcp_security *etcp_security_ref(etcp_security *s)
{
    if (s)
        s->references++;
    return s;
}

void etcp_security_unref(etcp_security *s)
{
    if (!s || --s->references)
        return;
    etcp_tls_unref(s->tls);
    etcp_free(s->host);
    etcp_free(s->endpoint);
    etcp_free(s);
}

/* ---- tunnels --------------------------------------------------------------------------------- */

static int is_idle(etcp_claim *claim)
{
    etcp_tunnel *t = (etcp_tunnel *)(void *)claim;

    t->flush(t->owner);
    return !t->has_output(t->owner);
}

int etcp_tunnel_new(const etcp_security *s, void *owner, void (*flush)(void *owner),
                    int (*has_output)(const void *owner), etcp_tunnel **out)
{
    etcp_tunnel *t = etcp_zalloc(sizeof *t);
    int rc;

    if (!t)
        return ETCP_ENOMEM;
    etcp_buf_init(&t->gathered);
    etcp_buf_init(&t->cipher);
    t->owner = owner;
    t->flush = flush;
    t->has_output = has_output;
    rc = etcp_channel_new(s->tls, s->host, s->endpoint, &t->channel);
    if (rc < 0) {
        etcp_free(t);
        return rc;
    }
    etcp_claim_init(&t->claim, is_idle);
    *out = t;
    return 0;
}

void etcp_tunnel_free(etcp_tunnel *t)
{
    if (!t)
        return;
    etcp_claim_deinit(&t->claim);
    etcp_channel_free(t->channel);
    etcp_buf_wipe(&t->gathered);
    etcp_buf_deinit(&t->cipher);
    etcp_free(t);
}
