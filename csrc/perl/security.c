#include "security.h"

#include <errno.h>

#include "object.h"

/* ---- whether TLS is spoken ------------------------------------------------------------------- */

/* Threads may use copies of a connection, which TLS cannot allow. */
static int has_threads(pTHX)
{
    HV *inc = GvHV(PL_incgv);

    return inc && hv_exists(inc, "threads.pm", 10);
}

/* A client that says how the server's key is judged wants no connection without one. */
static int judges_server(const etcp_options *options, const etcp_config *config)
{
    return config->role == ETCP_ROLE_CLIENT &&
           (options->tls_fingerprints || options->tls_ca || options->tls_known_hosts);
}

/* Whether TLS begins with the first byte; -1: tls is neither that nor the default. */
static int is_direct(pTHX_ const etcp_options *options)
{
    const char *how = options->tls ? SvPV_nolen_const(options->tls) : "upgrade";

    if (strEQ(how, "direct"))
        return 1;
    return strEQ(how, "upgrade") ? 0 : -1;
}

static unsigned tls_flags(pTHX_ const etcp_options *options, const etcp_config *config)
{
    int is_required =
        options->requires_tls || judges_server(options, config) || is_direct(aTHX_ options) > 0;

    if (options->forbids_tls || (config->flags & ETCP_DONOT_ENCRYPT))
        return is_required ? ETCP_REQUIRE_TLS : 0;
    if (is_required)
        return ETCP_ALLOW_TLS | ETCP_REQUIRE_TLS;
    return has_threads(aTHX) ? 0 : ETCP_ALLOW_TLS;
}

/* A password that is given is meant to be asked for. Old servers may have reasons not to; over TLS
 * there is none. */
static unsigned password_flags(const etcp_options *options, const etcp_config *config)
{
    return config->role == ETCP_ROLE_CLIENT && config->password_len &&
                   !(options->cleared & ETCP_REQUIRE_PASSWORD)
               ? ETCP_REQUIRE_PASSWORD_IN_TLS
               : 0;
}

/* ---- the context ----------------------------------------------------------------------------- */

static const char *text_or_null(pTHX_ SV *text)
{
    return text ? SvPV_nolen_const(text) : NULL;
}

static void tls_options_of(pTHX_ const etcp_options *options, etcp_role role, etcp_tls_options *out)
{
    SV *fingerprints = options->tls_fingerprints;
    etcp_tls_options o;

    Zero(&o, 1, etcp_tls_options);
    o.flags = role == ETCP_ROLE_SERVER ? ETCP_TLS_SERVER : 0;
    if (is_direct(aTHX_ options))
        o.flags |= ETCP_TLS_DIRECT;
    o.cert_file = text_or_null(aTHX_ options->tls_cert);
    o.key_file = text_or_null(aTHX_ options->tls_key);
    o.ca_file = text_or_null(aTHX_ options->tls_ca);
    o.groups = text_or_null(aTHX_ options->tls_groups);
    o.known_hosts = text_or_null(aTHX_ options->tls_known_hosts);
    if (fingerprints) {
        o.fingerprints = (const uint8_t(*)[ETCP_FINGERPRINT])SvPVX(fingerprints);
        o.fingerprint_count = SvCUR(fingerprints) / ETCP_FINGERPRINT;
    }
    *out = o;
}

/* A policy of the machine may refuse what TLS needs. Who asked for none goes on without, as without
 * any other cipher that cannot be had. */
static int can_do_without(const etcp_options *options, const etcp_config *config, int code)
{
    return code == ETCP_ECRYPT && !(config->flags & ETCP_REQUIRE_TLS) && !options->tls_cert &&
           !options->tls_key;
}

static int make_context(pTHX_ const etcp_options *options, etcp_config *config, etcp_tls **tls)
{
    etcp_tls_options o;
    etcp_error error;

    Zero(&error, 1, etcp_error);
    tls_options_of(aTHX_ options, config->role, &o);
    if (etcp_tls_new(&o, tls, &error) == 0)
        return 1;
    if (can_do_without(options, config, error.code)) {
        config->flags &= ~(unsigned)ETCP_ALLOW_TLS;
        return 1;
    }
    etcp_fail(aTHX_ "%s", error.text);
    if (error.sys_errno)
        errno = error.sys_errno;
    return 0;
}

int etcp_security_apply(pTHX_ const etcp_options *options, etcp_config *config, etcp_tls **tls)
{
    unsigned flags = tls_flags(aTHX_ options, config);

    *tls = NULL;
    if (is_direct(aTHX_ options) < 0) {
        etcp_fail(aTHX_ "tls must be 'upgrade' or 'direct'");
        return 0;
    }
    if (is_direct(aTHX_ options) && !(flags & ETCP_ALLOW_TLS)) {
        etcp_fail(aTHX_ "tls and donotencrypt contradict each other");
        return 0;
    }
    if ((flags & ETCP_REQUIRE_TLS) && !(flags & ETCP_ALLOW_TLS)) {
        etcp_fail(aTHX_ "TLS is both required and forbidden");
        return 0;
    }
    config->flags |= flags | password_flags(options, config);
    return flags ? make_context(aTHX_ options, config, tls) : 1;
}
