#include "construct.h"

#include <errno.h>

#include "arguments.h"
#include "async.h"
#include "dial_text.h"
#include "handle.h"
#include "lifetime.h"
#include "message.h"
#include "options.h"
#include "overloading.h"
#include "policy.h"
#include "security.h"
#include "server_part.h"

/* ---- what all objects need ------------------------------------------------------------------- */

/* What an object is made of. All is released with the scope, unless an object took a reference. */
typedef struct parts {
    SV *class_name; /* a text that nothing else changes */
    etcp_options options;
    etcp_config *config;
    etcp_policy *policy; /* NULL: everything may come in */
    etcp_tls *tls;       /* NULL: no TLS */
} parts;

static const char *text_or_null(pTHX_ SV *text)
{
    return text ? SvPV_nolen_const(text) : NULL;
}

static void free_config(pTHX_ void *config)
{
    PERL_UNUSED_CONTEXT;
    etcp_config_unref((etcp_config *)config);
}

static void free_policy(pTHX_ void *policy)
{
    etcp_policy_unref(aTHX_(etcp_policy *) policy);
}

static void free_tls(pTHX_ void *tls)
{
    PERL_UNUSED_CONTEXT;
    etcp_tls_unref((etcp_tls *)tls);
}

static void set_storable(pTHX_ etcp_config *config)
{
    SV *version = get_sv("Storable::VERSION", 0);

    if (version && SvOK(version))
        my_snprintf(config->storable_version, sizeof config->storable_version, "%s",
                    SvPV_nolen_const(version));
    config->storable_minor = etcp_perl_storable_minor(aTHX);
    config->capabilities = ETCP_CAN_EXACT_NUMBERS;
#ifdef SvIsBOOL
    config->capabilities |= ETCP_CAN_BOOLEANS;
#endif
}

static int set_password(pTHX_ etcp_config *config, SV *password)
{
    STRLEN len;
    const char *bytes = SvPV_const(password, len);

    if (etcp_config_set_password(config, (const uint8_t *)bytes, len) == 0)
        return 1;
    etcp_fail(aTHX_ "Out of memory");
    return 0;
}

/* As much as one message may have, at least. */
static size_t default_buffered(const etcp_options *options)
{
    return options->message_max > ETCP_BUFFERED_MAX ? options->message_max : ETCP_BUFFERED_MAX;
}

static int fill_config(pTHX_ etcp_config *config, const parts *p)
{
    const etcp_options *options = &p->options;
    const char *welcome = text_or_null(aTHX_ options->welcome);

    my_snprintf(config->version, sizeof config->version, "%s", XS_VERSION);
    config->flags = options->flags | ETCP_MIX_COMPRESSORS;
    config->compress = options->compress;
    config->message_max = options->message_max;
    config->buffered_max =
        options->buffered_max ? options->buffered_max : default_buffered(options);
    config->payload_ops = etcp_message_payload_ops();
    config->payload_threshold = ETCP_LARGE_MESSAGE;
    config->is_interrupted = etcp_message_is_interrupted;
    config->ciphers &= options->ciphers;
    config->compressors &= options->compressors;
    set_storable(aTHX_ config);
    if (options->passes_images)
        config->capabilities = 0; /* whoever gets them in the end may be old */
    if (etcp_config_set_class_name(config, SvPV_nolen_const(p->class_name)) < 0 ||
        (welcome && etcp_config_set_welcome(config, welcome) < 0)) {
        etcp_fail(aTHX_ "Invalid welcome");
        return 0;
    }
    return !options->password || set_password(aTHX_ config, options->password);
}

/* What may come in structures: the options allowclasses, maxdepth and maxmessage. */
static etcp_policy *policy_from(pTHX_ const etcp_options *options)
{
    etcp_policy *policy = etcp_policy_new(aTHX_ options->class_mode, options->classes);

    policy->rule.max_size = options->message_max;
    policy->rule.max_depth = 2 * options->max_depth; /* an image has references and referents */
    policy->passes_images = options->passes_images;
    return policy;
}

/* Reads the options, and makes what objects of every kind have. Call it between ENTER and LEAVE.
 * Returns 0 with the reason in $@. */
static int make_parts(pTHX_ SV *class_name, HV *args, int mode, parts *p)
{
    p->tls = NULL;
    p->class_name = etcp_arguments_text(aTHX_ class_name);
    if (!etcp_options_read(aTHX_ args, mode, &p->options))
        return 0;
    p->config = etcp_config_new(mode == ETCP_FOR_SERVER ? ETCP_ROLE_SERVER : ETCP_ROLE_CLIENT);
    if (!p->config) {
        etcp_fail(aTHX_ "Out of memory");
        return 0;
    }
    SAVEDESTRUCTOR_X(free_config, p->config);
    p->policy = policy_from(aTHX_ &p->options);
    SAVEDESTRUCTOR_X(free_policy, p->policy);
    return fill_config(aTHX_ p->config, p);
}

/* A tainted address or file is refused as perl's own connect, bind and open do. */
static void refuse_tainted(pTHX_ SV *name, const char *operation)
{
    if (!name || !SvTAINTED(name))
        return;
    TAINT;
    TAINT_PROPER(operation);
    TAINT_NOT; /* with -t that was a warning */
}

/* The same, and what TLS is spoken with. Some of its files are made if they are not there. */
static int make_secure_parts(pTHX_ SV *class_name, HV *args, int mode, parts *p)
{
    if (!make_parts(aTHX_ class_name, args, mode, p))
        return 0;
    refuse_tainted(aTHX_ p->options.tls_key, "open");
    refuse_tainted(aTHX_ p->options.tls_known_hosts, "open");
    if (!etcp_security_apply(aTHX_ &p->options, p->config, &p->tls))
        return 0;
    SAVEDESTRUCTOR_X(free_tls, p->tls);
    return 1;
}

static SV *new_object(pTHX_ const parts *p, etcp_kind kind, etcp_object **out)
{
    HV *hash = newHV();
    HV *stash = gv_stashsv(p->class_name, GV_ADD);
    SV *self = newRV_noinc((SV *)hash);

    *out = etcp_object_attach(aTHX_ hash, kind);
    etcp_overloading_look(aTHX_ stash);
    sv_bless(self, stash);
    (*out)->policy = etcp_policy_ref(p->policy);
    (*out)->raises = p->options.raises;
    (*out)->tls = etcp_tls_ref(p->tls);
    (*out)->donot = p->options.flags & (ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS);
    etcp_object_slot(aTHX_ * out, "_mode", newSVpv(etcp_object_mode(*out), 0));
    etcp_handle_offer(aTHX_ * out);
    return self;
}

static SV *new_connection(pTHX_ const parts *p, etcp_kind kind, etcp_conn *conn)
{
    etcp_object *o;
    SV *self = new_object(aTHX_ p, kind, &o);

    o->conn = conn;
    etcp_object_list_peer(aTHX_ o);
    return self;
}

/* The path of a Unix-domain socket, which must be one whole text. */
static const char *path_of(pTHX_ const etcp_options *options)
{
    STRLEN len;
    const char *path = SvPV_const(options->connect_path, len);

    return strlen(path) == len ? path : "";
}

/* ---- client ---------------------------------------------------------------------------------- */

static void free_dial(pTHX_ void *dial)
{
    PERL_UNUSED_CONTEXT;
    etcp_dial_free((etcp_dial *)dial);
}

/* What $@ calls it. */
static SV *destination(pTHX_ const etcp_options *options)
{
    if (options->connect_path)
        return options->connect_path;
    if (options->server.handle >= 0)
        return sv_2mortal(newSVpvs("handle"));
    return sv_2mortal(newSVpvf("%s:%s", text_or_null(aTHX_ options->host),
                               text_or_null(aTHX_ options->port)));
}

static void dial_failed(pTHX_ const etcp_dial *dial, int rc, const etcp_options *options,
                        NV started)
{
    const etcp_error *e = etcp_dial_error(dial);
    int saved = e->sys_errno;
    etcp_dial_facts facts;

    if (etcp_dial_phase_of(dial) == ETCP_DIAL_CONNECTING && rc == ETCP_ETIMEOUT)
        saved = ETIMEDOUT;
    facts.destination = destination(aTHX_ options);
    facts.passed_s = (int)((NV)time(NULL) - started);
    facts.allowed_s = (int)(options->client_negotiation_ms / 1000);
    etcp_fail(aTHX_ "%" SVf, SVfARG(etcp_dial_text(aTHX_ dial, rc, &facts)));
    if (saved)
        errno = saved;
}

static int new_dial_to(pTHX_ const parts *p, etcp_dial **dial)
{
    const etcp_options *options = &p->options;
    const char *host = options->connect_path ? NULL : text_or_null(aTHX_ options->connect_host);
    const char *port = options->connect_path ? path_of(aTHX_ options)
                                             : text_or_null(aTHX_ options->connect_port);

    if (options->server.handle >= 0)
        return etcp_dial_new_on(options->server.handle, options->client_negotiation_ms, p->config,
                                &options->server.limits, dial);
    return etcp_dial_new(host, port, options->connect_ms, options->client_negotiation_ms, p->config,
                         &options->server.limits, dial);
}

/* Whose certificate a server must show; NULL: that of the host it is found at. */
static const char *server_name(pTHX_ const etcp_options *options)
{
    if (options->tls_name || options->server.handle < 0)
        return text_or_null(aTHX_ options->tls_name);
    return text_or_null(aTHX_ options->host);
}

/* The attempt that the options describe. NULL with the reason in $@. */
static etcp_dial *new_dial(pTHX_ const parts *p)
{
    etcp_dial *dial = NULL;
    int rc = new_dial_to(aTHX_ p, &dial);

    if (rc == 0 && p->tls &&
        (rc = etcp_dial_secure(dial, p->tls, server_name(aTHX_ &p->options))) < 0) {
        etcp_dial_free(dial);
        dial = NULL;
    }
    if (rc == ETCP_EINVAL)
        etcp_fail(aTHX_ "handle is not a connected socket");
    else if (rc < 0)
        etcp_fail(aTHX_ "Could not connect to server: %s", etcp_code_text(rc));
    return dial;
}

static etcp_conn *dial_server(pTHX_ const parts *p)
{
    etcp_dial *dial = new_dial(aTHX_ p);
    etcp_conn *conn = NULL;
    NV started = (NV)time(NULL);
    int rc;

    if (!dial)
        return NULL;
    ENTER;
    SAVEDESTRUCTOR_X(free_dial, dial);
    while ((rc = etcp_dial_step(dial, &conn)) == ETCP_EINTR)
        PERL_ASYNC_CHECK();
    if (rc < 0)
        dial_failed(aTHX_ dial, rc, &p->options, started);
    LEAVE;
    return rc < 0 ? NULL : conn;
}

/* ---- client with callbacks ------------------------------------------------------------------- */

/* The object whose loop the option loop means; NULL without it. Returns 0 with the reason in $@. */
static int find_host(pTHX_ const etcp_options *options, etcp_object **host)
{
    SV *given = options->loop;
    etcp_object *o = NULL;

    *host = NULL;
    if (!given)
        return 1;
    if (SvROK(given))
        o = etcp_object_find(aTHX_ SvRV(given));
    if (!o || !o->srv) {
        etcp_fail(aTHX_ "Invalid loop: must be a server, or a client with async");
        return 0;
    }
    *host = etcp_server_part_loop(aTHX_ o);
    return *host != NULL;
}

/* A loop of its own for a client. NULL with the reason in $@. */
static etcp_server *new_loop(pTHX_ const parts *p)
{
    etcp_server_options options = p->options.server;
    etcp_server *core = NULL;
    etcp_error error;

    Zero(&error, 1, etcp_error);
    options.handle = -1; /* it listens nowhere */
    options.path = options.port = NULL;
    options.tls = NULL;
    if (etcp_server_new(&options, p->config, &core, &error) < 0)
        etcp_fail(aTHX_ "Could not make a loop: %s", error.text);
    return core;
}

/* Begins the attempt, and makes what goes on with it. NULL with the reason in $@. */
static etcp_dialer *new_dialer(pTHX_ const parts *p)
{
    etcp_dial *dial = new_dial(aTHX_ p);
    etcp_dialer *dialer;
    int rc;

    if (!dial)
        return NULL;
    rc = etcp_dial_begin(dial);
    if (rc < 0) {
        dial_failed(aTHX_ dial, rc, &p->options, (NV)time(NULL));
        etcp_dial_free(dial);
        return NULL;
    }
    dialer = etcp_dialer_new(dial, p->options.retry_min_ms, p->options.retry_max_ms);
    if (dialer)
        return dialer;
    etcp_dial_free(dial);
    etcp_fail(aTHX_ "Out of memory");
    return NULL;
}

static SV *new_async(pTHX_ const parts *p)
{
    etcp_dialer *dialer;
    etcp_server *core = NULL;
    etcp_object *host;
    etcp_object *o;
    SV *self;

    if (!find_host(aTHX_ &p->options, &host) || !(dialer = new_dialer(aTHX_ p)))
        return &PL_sv_undef;
    if (!host && !(core = new_loop(aTHX_ p))) {
        etcp_dialer_unref(dialer);
        return &PL_sv_undef;
    }
    self = new_object(aTHX_ p, ETCP_KIND_CLIENT, &o);
    o->srv = etcp_server_part_new(aTHX);
    o->srv->core = core;
    o->async = etcp_async_new(aTHX_ dialer, &p->options.server.limits);
    o->async->destination = newSVsv(destination(aTHX_ &p->options));
    o->async->negotiation_s = (int)(p->options.client_negotiation_ms / 1000);
    o->async->message_max = p->config->message_max;
    etcp_async_enter(o, host ? host : o);
    return self;
}

SV *etcp_construct_client(pTHX_ SV *class_name, HV *args)
{
    SV *self = &PL_sv_undef;
    etcp_conn *conn;
    parts p;

    ENTER;
    if (make_secure_parts(aTHX_ class_name, args, ETCP_FOR_CLIENT, &p)) {
        refuse_tainted(aTHX_ p.options.host, "connect");
        refuse_tainted(aTHX_ p.options.connect_path, "connect");
        if (p.options.async)
            self = new_async(aTHX_ &p);
        else if ((conn = dial_server(aTHX_ &p)) != NULL)
            self = new_connection(aTHX_ &p, ETCP_KIND_CLIENT, conn);
    }
    LEAVE;
    if (SvROK(self))
        etcp_succeed(aTHX);
    return self;
}

SV *etcp_construct_wrapped(pTHX_ SV *class_name, HV *args, int fd)
{
    SV *self = &PL_sv_undef;
    etcp_conn *conn = NULL;
    parts p;

    ENTER;
    if (!make_parts(aTHX_ class_name, args, ETCP_FOR_CLIENT, &p))
        NOOP;
    else if (etcp_conn_wrap(fd, p.config, &p.options.server.limits, &conn) < 0)
        etcp_fail(aTHX_ "Error getting peername");
    else
        self = new_connection(aTHX_ &p, ETCP_KIND_SERVERCLIENT, conn);
    LEAVE;
    if (SvROK(self))
        etcp_succeed(aTHX);
    return self;
}

/* ---- server ---------------------------------------------------------------------------------- */

static int wants_rsa(const etcp_config *config)
{
    size_t count;
    size_t i;
    const etcp_cipher *rows = etcp_ciphers(&count);

    if (config->flags & ETCP_DONOT_ENCRYPT)
        return 0;
    for (i = 0; i < count; i++) {
        if (rows[i].key == 'B')
            return (config->ciphers >> i & 1) != 0;
    }
    return 0;
}

static void listening_failed(pTHX_ const etcp_options *options, const etcp_error *error)
{
    int saved = error->sys_errno ? error->sys_errno : EINVAL;

    if (options->server.handle >= 0)
        etcp_fail(aTHX_ "%s", error->text);
    else if (options->connect_path)
        etcp_fail(aTHX_ "Could not create listening socket on %" SVf ": %s",
                  SVfARG(options->connect_path), Strerror(saved));
    else
        etcp_fail(aTHX_ "Could not create listening socket on port %s: %s",
                  text_or_null(aTHX_ options->port), Strerror(saved));
    errno = saved;
}

static etcp_server *listen_at(pTHX_ parts *p)
{
    etcp_server_options *options = &p->options.server;
    etcp_server *core = NULL;
    etcp_error error;

    Zero(&error, 1, etcp_error);
    options->address = text_or_null(aTHX_ p->options.localaddr);
    options->port = text_or_null(aTHX_ p->options.connect_port);
    options->tls = p->tls;
    options->path = p->options.connect_path ? path_of(aTHX_ &p->options) : NULL;
    if (etcp_server_new(options, p->config, &core, &error) == 0)
        return core;
    listening_failed(aTHX_ &p->options, &error);
    return NULL;
}

/* Returns 0 with the reason in $@. */
static int trust_proxies(pTHX_ etcp_server *core, AV *proxies)
{
    I32 i;

    for (i = 0; proxies && i <= av_len(proxies); i++) {
        const char *address = SvPV_nolen_const(*av_fetch(proxies, i, 0));
        int rc = etcp_server_trust_proxy(core, address);

        if (rc < 0) {
            if (rc == ETCP_EINVAL)
                etcp_fail(aTHX_ "'%s' is not an address", address);
            else
                etcp_fail(aTHX_ "Out of memory");
            return 0;
        }
    }
    return 1;
}

static SV *new_server(pTHX_ parts *p)
{
    const int rsa = wants_rsa(p->config);
    etcp_server *core;
    etcp_object *o;
    SV *self;

    if (rsa && etcp_config_renew_rsa(p->config) < 0)
        return etcp_fail(aTHX_ "Could not generate global Crypt::RSA keypairs. ");
    core = listen_at(aTHX_ p);
    if (!core)
        return &PL_sv_undef;
    if (!trust_proxies(aTHX_ core, p->options.proxies)) {
        etcp_server_free(core);
        return &PL_sv_undef;
    }
    self = new_object(aTHX_ p, ETCP_KIND_SERVER, &o);
    o->srv->core = core;
    o->srv->uses_rsa = rsa;
    o->srv->rsa_made_at = (NV)time(NULL);
    return self;
}

SV *etcp_construct_server(pTHX_ SV *class_name, HV *args)
{
    SV *self = &PL_sv_undef;
    parts p;

    ENTER;
    if (make_secure_parts(aTHX_ class_name, args, ETCP_FOR_SERVER, &p)) {
        refuse_tainted(aTHX_ p.options.localaddr, "bind");
        refuse_tainted(aTHX_ p.options.connect_path, "bind");
        self = new_server(aTHX_ &p);
    }
    LEAVE;
    if (SvROK(self))
        etcp_succeed(aTHX);
    return self;
}
