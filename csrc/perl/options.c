#include "options.h"

#include <errno.h>

#include "handle.h"
#include "lifetime.h"
#include "message.h"
#include "policy.h"
#include "server_part.h"

#define NEGOTIATION_SECONDS 90

/* ---- reading arguments ----------------------------------------------------------------------- */

static SV *arg(pTHX_ HV *args, const char *name)
{
    SV **value = hv_fetch(args, name, (I32)strlen(name), 0);

    if (!value)
        return NULL;
    SvGETMAGIC(*value);
    return SvOK(*value) ? *value : NULL;
}

static int is_set(pTHX_ HV *args, const char *name)
{
    SV *value = arg(aTHX_ args, name);

    return value && SvTRUE_nomg(value);
}

static const char *text_arg(pTHX_ HV *args, const char *name)
{
    SV *value = arg(aTHX_ args, name);

    return value ? SvPV_nolen_const(value) : NULL;
}

/* Limits that must be numbers, and the smallest that makes sense. */
static const struct limit_option {
    const char *name;
    NV least;
    const char *rule;
} limit_options[] = {
    {"maxmessage", 1, "a number of bytes from 1 on"},
    {"maxdepth", 1, "a number from 1 on"},
    {"highwater", 0, "a number of bytes, or 0 for no limit"},
    {"maxclients", 0, "a number, or 0 for no limit"},
    {"maxhalfopen", 0, "a number, or 0 for no limit"},
    {"sendtimeout", 0, "seconds, or 0 for no limit"},
    {"idletimeout", 0, "seconds, or 0 for no limit"},
    {"negotiationtimeout", 0, "seconds, or 0 for no limit"},
};

/* A limit that is misspelt must not silently become another one. Returns 0 with the text in $@. */
static int limits_are_valid(pTHX_ HV *args)
{
    size_t i;

    for (i = 0; i < sizeof limit_options / sizeof limit_options[0]; i++) {
        const struct limit_option *option = &limit_options[i];
        SV *value = arg(aTHX_ args, option->name);

        if (!value || (looks_like_number(value) && SvNV_nomg(value) >= option->least))
            continue;
        etcp_fail(aTHX_ "Invalid %s '%" SVf "': must be %s", option->name, SVfARG(value),
                  option->rule);
        return 0;
    }
    return 1;
}

/* A size that limits_are_valid has seen; absent: the given default. */
static size_t size_arg(pTHX_ HV *args, const char *name, size_t otherwise)
{
    SV *value = arg(aTHX_ args, name);
    NV n = value ? SvNV_nomg(value) : 0;

    if (!value)
        return otherwise;
    return n >= (NV)((size_t)-1 / 4) ? (size_t)-1 / 4 : (size_t)n;
}

/* Seconds, as milliseconds; absent: the given default; 0 switches off where that makes sense. */
static unsigned ms_arg(pTHX_ HV *args, const char *name, unsigned otherwise)
{
    SV *value = arg(aTHX_ args, name);
    NV n;

    if (!value)
        return otherwise;
    n = SvNV_nomg(value);
    if (!(n > 0))
        return 0;
    return n > 2000000 ? 2000000000u : n < 0.001 ? 1 : (unsigned)(n * 1000);
}

/* ---- configuration --------------------------------------------------------------------------- */

static void forbid_listed(pTHX_ etcp_config *config, SV *names)
{
    AV *list;
    I32 i;

    if (!names)
        return;
    if (!SvROK(names) || SvTYPE(SvRV(names)) != SVt_PVAV) {
        etcp_config_forbid(config, SvPV_nolen_const(names));
        return;
    }
    list = (AV *)SvRV(names);
    for (i = 0; i <= av_len(list); i++) {
        SV **name = av_fetch(list, i, 0);
        if (name && SvOK(*name))
            etcp_config_forbid(config, SvPV_nolen_const(*name));
    }
}

/* requireencryption with a list: no cipher but these will do. */
static void allow_listed(pTHX_ etcp_config *config, SV *names)
{
    uint32_t allowed = 0;
    AV *list;
    I32 i;

    if (!names || !SvROK(names) || SvTYPE(SvRV(names)) != SVt_PVAV)
        return;
    list = (AV *)SvRV(names);
    for (i = 0; i <= av_len(list); i++) {
        SV **name = av_fetch(list, i, 0);
        if (name && SvOK(*name))
            allowed |= etcp_config_cipher_bit(SvPV_nolen_const(*name));
    }
    config->ciphers &= allowed;
}

static int set_password(pTHX_ etcp_config *config, SV *password)
{
    STRLEN len;
    const char *bytes;
    SV *narrow;

    if (!password)
        return 1;
    narrow = sv_mortalcopy(password);
    if (SvUTF8(narrow) && !sv_utf8_downgrade(narrow, TRUE)) {
        etcp_fail(aTHX_ "Wide character in password");
        return 0;
    }
    bytes = SvPV_const(narrow, len);
    if (etcp_config_set_password(config, (const uint8_t *)bytes, len) < 0) {
        etcp_fail(aTHX_ "Out of memory");
        return 0;
    }
    return 1;
}

static void set_storable(pTHX_ etcp_config *config)
{
    SV *version = get_sv("Storable::VERSION", 0);

    if (version && SvOK(version))
        my_snprintf(config->storable_version, sizeof config->storable_version, "%s",
                    SvPV_nolen_const(version));
    config->storable_minor = etcp_perl_storable_minor(aTHX);
}

static unsigned flags_of(pTHX_ HV *args)
{
    unsigned flags = 0;

    if (is_set(aTHX_ args, "donotencrypt"))
        flags |= ETCP_DONOT_ENCRYPT;
    if (is_set(aTHX_ args, "donotcompress"))
        flags |= ETCP_DONOT_COMPRESS;
    if (is_set(aTHX_ args, "requireencryption"))
        flags |= ETCP_REQUIRE_ENCRYPTION | ETCP_REFUSE_PLAINTEXT;
    if (is_set(aTHX_ args, "requirepassword"))
        flags |= ETCP_REQUIRE_PASSWORD;
    return flags;
}

static int fill_config(pTHX_ etcp_config *config, const char *class_name, HV *args)
{
    const char *welcome = text_arg(aTHX_ args, "welcome");

    my_snprintf(config->version, sizeof config->version, "%s", XS_VERSION);
    config->flags = flags_of(aTHX_ args);
    config->message_max = size_arg(aTHX_ args, "maxmessage", config->message_max);
    config->payload_ops = etcp_message_payload_ops();
    config->payload_threshold = ETCP_LARGE_MESSAGE;
    set_storable(aTHX_ config);
    allow_listed(aTHX_ config, arg(aTHX_ args, "requireencryption"));
    forbid_listed(aTHX_ config, arg(aTHX_ args, "donotencryptwith"));
    forbid_listed(aTHX_ config, arg(aTHX_ args, "donotcompresswith"));
    if (etcp_config_set_class_name(config, class_name) < 0 ||
        (welcome && etcp_config_set_welcome(config, welcome) < 0)) {
        etcp_fail(aTHX_ "Invalid welcome");
        return 0;
    }
    return set_password(aTHX_ config, arg(aTHX_ args, "password"));
}

/* What may come in structures: the options allowclasses and maxdepth. NULL: everything. */
static etcp_policy *policy_from(pTHX_ HV *args)
{
    SV *allowed = arg(aTHX_ args, "allowclasses");
    size_t max_depth = size_arg(aTHX_ args, "maxdepth", 0);
    etcp_policy *policy;

    if (allowed && SvROK(allowed)) {
        policy = etcp_policy_new(aTHX_ 2, (AV *)SvRV(allowed));
    } else if (!allowed || strEQ(SvPV_nolen_const(allowed), "all")) {
        if (!max_depth)
            return NULL;
        policy = etcp_policy_new(aTHX_ 0, NULL);
    } else if (strEQ(SvPV_nolen_const(allowed), "none")) {
        policy = etcp_policy_new(aTHX_ 1, NULL);
    } else {
        AV *one = (AV *)sv_2mortal((SV *)newAV());

        av_push(one, newSVsv(allowed));
        policy = etcp_policy_new(aTHX_ 2, one);
    }
    policy->rule.max_depth = 2 * max_depth; /* an image has the reference and what it refers to */
    return policy;
}

static int options_are_valid(pTHX_ HV *args)
{
    SV *allowed = arg(aTHX_ args, "allowclasses");

    if (allowed && SvROK(allowed) && SvTYPE(SvRV(allowed)) != SVt_PVAV) {
        etcp_fail(aTHX_ "Invalid allowclasses: must be 'all', 'none' or a reference to an array of "
                        "class names");
        return 0;
    }
    return limits_are_valid(aTHX_ args);
}

static void fill_limits(pTHX_ HV *args, etcp_conn_limits *limits)
{
    limits->high_water = size_arg(aTHX_ args, "highwater", limits->high_water);
    limits->send_timeout_ms = ms_arg(aTHX_ args, "sendtimeout", limits->send_timeout_ms);
}

/* ---- objects --------------------------------------------------------------------------------- */

static void free_config(pTHX_ void *config)
{
    PERL_UNUSED_CONTEXT;
    etcp_config_unref((etcp_config *)config);
}

static void free_policy(pTHX_ void *policy)
{
    etcp_policy_unref(aTHX_ (etcp_policy *)policy);
}

/* Reads what may come in before anything is made: reading may die. Freed with the scope. */
static etcp_policy *policy_in_scope(pTHX_ HV *args)
{
    etcp_policy *policy = policy_from(aTHX_ args);

    SAVEDESTRUCTOR_X(free_policy, policy);
    return policy;
}

static SV *new_object(pTHX_ const char *class_name, etcp_kind kind, HV *args, etcp_policy *policy,
                      etcp_object **out)
{
    HV *hash = newHV();
    SV *self = newRV_noinc((SV *)hash);

    *out = etcp_object_attach(aTHX_ hash, kind);
    sv_bless(self, gv_stashpv(class_name, GV_ADD));
    (*out)->policy = etcp_policy_ref(policy);
    (*out)->donot = flags_of(aTHX_ args) & (ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS);
    etcp_object_slot(aTHX_ *out, "_mode", newSVpv(etcp_object_mode(*out), 0));
    etcp_handle_offer(aTHX_ *out);
    return self;
}

static void set_remote_slots(pTHX_ etcp_object *o)
{
    char ip[64];

    etcp_object_slot(aTHX_ o, "_remoteip",
                     newSVpv(etcp_conn_remote_ip(o->conn, ip, sizeof ip), 0));
    etcp_object_slot(aTHX_ o, "_remoteport", newSVuv(etcp_conn_remote_port(o->conn)));
}

/* ---- client ---------------------------------------------------------------------------------- */

static void free_dial(pTHX_ void *dial)
{
    PERL_UNUSED_CONTEXT;
    etcp_dial_free((etcp_dial *)dial);
}

static unsigned negotiation_ms(pTHX_ HV *args)
{
    return ms_arg(aTHX_ args, "negotiationtimeout", NEGOTIATION_SECONDS * 1000u);
}

static void dial_failed(pTHX_ const etcp_dial *dial, int rc, HV *args, NV started)
{
    const etcp_error *e = etcp_dial_error(dial);
    int saved = e->sys_errno;

    if (etcp_dial_phase_of(dial) == ETCP_DIAL_CONNECTING) {
        if (rc == ETCP_ETIMEOUT)
            saved = ETIMEDOUT;
        etcp_fail(aTHX_ "Could not connect to %s:%s: %s", text_arg(aTHX_ args, "host"),
                  text_arg(aTHX_ args, "port"), saved ? Strerror(saved) : e->text);
    } else if (rc == ETCP_ETIMEOUT || rc == ETCP_ECLOSED || rc == ETCP_ESYSTEM) {
        etcp_fail(aTHX_ "Error negotiating with server: Client timed out while negotiating with "
                        "server [%d/%d] : %s",
                  (int)((NV)time(NULL) - started), (int)(negotiation_ms(aTHX_ args) / 1000), e->text);
    } else {
        etcp_fail(aTHX_ "Error negotiating with server: %s",
                  e->text[0] ? e->text : etcp_code_text(rc));
    }
    if (saved)
        errno = saved;
}

static etcp_conn *dial_server(pTHX_ etcp_config *config, HV *args)
{
    etcp_conn_limits limits;
    etcp_dial *dial = NULL;
    etcp_conn *conn = NULL;
    NV started = (NV)time(NULL);
    unsigned connect_ms = is_set(aTHX_ args, "timeout") ? ms_arg(aTHX_ args, "timeout", 0) : 30000;
    int rc;

    etcp_conn_limits_default(&limits);
    fill_limits(aTHX_ args, &limits);
    rc = etcp_dial_new(text_arg(aTHX_ args, "_host"), text_arg(aTHX_ args, "_port"), connect_ms,
                       negotiation_ms(aTHX_ args), config, &limits, &dial);
    if (rc < 0) {
        etcp_fail(aTHX_ "Could not connect to server: %s", etcp_code_text(rc));
        return NULL;
    }
    ENTER;
    SAVEDESTRUCTOR_X(free_dial, dial);
    while ((rc = etcp_dial_step(dial, &conn)) == ETCP_EINTR)
        PERL_ASYNC_CHECK();
    if (rc < 0)
        dial_failed(aTHX_ dial, rc, args, started);
    LEAVE;
    return rc < 0 ? NULL : conn;
}

SV *etcp_options_new_client(pTHX_ const char *class_name, HV *args)
{
    etcp_config *config;
    etcp_policy *policy;
    SV *self = &PL_sv_undef;

    if (!options_are_valid(aTHX_ args))
        return &PL_sv_undef;
    config = etcp_config_new(ETCP_ROLE_CLIENT);
    if (!config)
        return etcp_fail(aTHX_ "Out of memory");
    ENTER;
    SAVEDESTRUCTOR_X(free_config, config);
    policy = policy_in_scope(aTHX_ args);
    if (fill_config(aTHX_ config, class_name, args)) {
        etcp_conn *conn = dial_server(aTHX_ config, args);
        if (conn) {
            etcp_object *o;
            self = new_object(aTHX_ class_name, ETCP_KIND_CLIENT, args, policy, &o);
            o->conn = conn;
            set_remote_slots(aTHX_ o);
        }
    }
    LEAVE;
    return self;
}

SV *etcp_options_wrap(pTHX_ const char *class_name, HV *args, int fd)
{
    etcp_config *config;
    etcp_policy *policy;
    etcp_conn_limits limits;
    etcp_conn *conn = NULL;
    SV *self = &PL_sv_undef;
    etcp_object *o;

    if (!options_are_valid(aTHX_ args))
        return &PL_sv_undef;
    config = etcp_config_new(ETCP_ROLE_CLIENT);
    if (!config)
        return etcp_fail(aTHX_ "Out of memory");
    ENTER;
    SAVEDESTRUCTOR_X(free_config, config);
    policy = policy_in_scope(aTHX_ args);
    etcp_conn_limits_default(&limits);
    fill_limits(aTHX_ args, &limits);
    if (!fill_config(aTHX_ config, class_name, args))
        NOOP;
    else if (etcp_conn_wrap(fd, config, &limits, &conn) < 0)
        etcp_fail(aTHX_ "Error getting peername");
    else {
        self = new_object(aTHX_ class_name, ETCP_KIND_SERVERCLIENT, args, policy, &o);
        o->conn = conn;
        set_remote_slots(aTHX_ o);
    }
    LEAVE;
    return self;
}

/* ---- server ---------------------------------------------------------------------------------- */

static void fill_server_options(pTHX_ HV *args, etcp_server_options *options)
{
    etcp_server_options_default(options);
    options->address = text_arg(aTHX_ args, "localaddr");
    options->port = text_arg(aTHX_ args, "_port");
    options->max_clients = size_arg(aTHX_ args, "maxclients", options->max_clients);
    options->max_half_open = size_arg(aTHX_ args, "maxhalfopen", options->max_half_open);
    options->negotiation_timeout_ms =
        ms_arg(aTHX_ args, "negotiationtimeout", options->negotiation_timeout_ms);
    options->idle_timeout_ms = ms_arg(aTHX_ args, "idletimeout", options->idle_timeout_ms);
    if (arg(aTHX_ args, "coalesce"))
        options->coalesce = is_set(aTHX_ args, "coalesce");
    fill_limits(aTHX_ args, &options->limits);
}

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

SV *etcp_options_new_server(pTHX_ const char *class_name, HV *args)
{
    etcp_config *config;
    etcp_policy *policy;
    etcp_server_options options;
    etcp_server *core = NULL;
    SV *self = &PL_sv_undef;
    etcp_object *o;
    etcp_error error;
    int rsa;

    if (!options_are_valid(aTHX_ args))
        return &PL_sv_undef;
    config = etcp_config_new(ETCP_ROLE_SERVER);
    if (!config)
        return etcp_fail(aTHX_ "Out of memory");
    ENTER;
    SAVEDESTRUCTOR_X(free_config, config);
    policy = policy_in_scope(aTHX_ args);
    Zero(&error, 1, etcp_error);
    fill_server_options(aTHX_ args, &options);
    rsa = fill_config(aTHX_ config, class_name, args) ? wants_rsa(config) : -1;
    if (rsa == 1 && etcp_config_renew_rsa(config) < 0) {
        etcp_fail(aTHX_ "Could not generate global Crypt::RSA keypairs. ");
    } else if (rsa >= 0 && etcp_server_new(&options, config, &core, &error) < 0) {
        errno = error.sys_errno ? error.sys_errno : EINVAL;
        etcp_fail(aTHX_ "Could not create listening socket on port %s: %s",
                  text_arg(aTHX_ args, "port"), Strerror(errno));
        errno = error.sys_errno ? error.sys_errno : EINVAL;
    } else if (rsa >= 0) {
        self = new_object(aTHX_ class_name, ETCP_KIND_SERVER, args, policy, &o);
        o->srv->core = core;
        o->srv->uses_rsa = rsa;
        o->srv->rsa_made_at = (NV)time(NULL);
    }
    LEAVE;
    return self;
}
