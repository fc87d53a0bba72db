#include "options.h"

#include <stddef.h>

#include "arguments.h"
#include "spelling.h"

/* ---- the table ------------------------------------------------------------------------------- */

/* What a value may be, and what becomes of it. */
typedef enum option_form {
    TRUTH,         /* true sets bits in flags */
    SWITCH,        /* an int, 0 or 1 */
    TEXT,          /* an SV *: a mortal without magic */
    SECRET,        /* the same, of bytes */
    BYTES,         /* a size_t of at least 1 */
    BYTES_OR_NONE, /* a size_t, 0 for no limit */
    COUNT,
    COUNT_OR_NONE,
    SECONDS_OR_NONE,    /* an unsigned of milliseconds, 0 for no limit */
    SECONDS_OR_DEFAULT, /* the same, where 0 is the default, and what is no number is 0 */
    CLASSES,            /* 'all', 'none', a name or a list */
    REQUIRED_CIPHERS,   /* 1 for any, a name or a list */
    FORBIDDEN_MODULES,  /* a name or a list */
    WHOLE_SECONDS,      /* an unsigned of seconds, 0 for never */
    ANYTHING,           /* an SV *: a mortal copy */
    RECONNECT,          /* retry_min_ms and retry_max_ms: 1 or a list of two */
    WHEN_FULL,          /* an etcp_when_full, by its word */
    COMPRESSION,        /* 'auto', 'always' or 'never' */
    FINGERPRINTS,       /* an SV * of bytes: one or a list of texts */
    PERMISSIONS,        /* an int: a number, or a text of octal digits */
    NAMES,              /* an AV * of texts: one or a list */
    DESCRIPTOR,         /* an int, which EasyTCP.pm has found */
    ELSEWHERE           /* read by EasyTCP.pm, or accepted for the sake of old programs */
} option_form;

/* An option. Adding one is a row here and a member of etcp_options. */
typedef struct option {
    const char *name;
    option_form form;
    int modes;     /* ETCP_FOR_...: limits are checked in any mode */
    size_t field;  /* offset in etcp_options, for forms that fill one member */
    NV otherwise;  /* the default, in the option's own unit */
    unsigned bits; /* TRUTH: what it sets */
} option;

#define FIELD(member) offsetof(etcp_options, member)

static const option option_table[] = {
    {"mode", ELSEWHERE, ETCP_FOR_BOTH, 0, 0, 0},
    {"host", TEXT, ETCP_FOR_CLIENT, FIELD(host), 0, 0},
    {"port", TEXT, ETCP_FOR_BOTH, FIELD(port), 0, 0},
    {"_host", TEXT, ETCP_FOR_CLIENT, FIELD(connect_host), 0, 0},
    {"_port", TEXT, ETCP_FOR_BOTH, FIELD(connect_port), 0, 0},
    {"path", ELSEWHERE, ETCP_FOR_BOTH, 0, 0, 0},
    {"_path", TEXT, ETCP_FOR_BOTH, FIELD(connect_path), 0, 0},
    {"pathmode", PERMISSIONS, ETCP_FOR_SERVER, FIELD(server.path_mode), -1, 0},
    {"handle", ELSEWHERE, ETCP_FOR_BOTH, 0, 0, 0},
    {"inherit", ELSEWHERE, ETCP_FOR_SERVER, 0, 0, 0},
    {"listen", ELSEWHERE, ETCP_FOR_SERVER, 0, 0, 0},
    {"_fd", DESCRIPTOR, ETCP_FOR_BOTH, FIELD(server.handle), -1, 0},
    {"proxyfrom", NAMES, ETCP_FOR_SERVER, FIELD(proxies), 0, 0},
    {"reuseport", SWITCH, ETCP_FOR_SERVER, FIELD(server.reuse_port), 0, 0},
    {"localaddr", TEXT, ETCP_FOR_SERVER, FIELD(localaddr), 0, 0},
    {"welcome", TEXT, ETCP_FOR_SERVER, FIELD(welcome), 0, 0},
    {"password", SECRET, ETCP_FOR_BOTH, FIELD(password), 0, 0},
    {"requirepassword", TRUTH, ETCP_FOR_CLIENT, 0, 0, ETCP_REQUIRE_PASSWORD},
    {"donotencrypt", TRUTH, ETCP_FOR_BOTH, 0, 0, ETCP_DONOT_ENCRYPT},
    {"donotcompress", TRUTH, ETCP_FOR_BOTH, 0, 0, ETCP_DONOT_COMPRESS},
    {"requireencryption", REQUIRED_CIPHERS, ETCP_FOR_BOTH, 0, 0, 0},
    {"donotencryptwith", FORBIDDEN_MODULES, ETCP_FOR_BOTH, 0, 0, 0},
    {"donotcompresswith", FORBIDDEN_MODULES, ETCP_FOR_BOTH, 0, 0, 0},
    {"compress", COMPRESSION, ETCP_FOR_BOTH, 0, 0, 0},
    {"donotcheckversion", ELSEWHERE, ETCP_FOR_CLIENT, 0, 0, 0},
    {"allowclasses", CLASSES, ETCP_FOR_BOTH, 0, 0, 0},
    {"maxmessage", BYTES, ETCP_FOR_BOTH, FIELD(message_max), (NV)ETCP_MESSAGE_MAX, 0},
    {"maxbuffered", BYTES, ETCP_FOR_BOTH, FIELD(buffered_max), 0, 0},
    {"maxdepth", COUNT, ETCP_FOR_BOTH, FIELD(max_depth), 0, 0},
    {"highwater", BYTES_OR_NONE, ETCP_FOR_BOTH, FIELD(server.limits.high_water),
     (NV)ETCP_HIGH_WATER, 0},
    {"whenfull", WHEN_FULL, ETCP_FOR_BOTH, FIELD(server.limits.when_full), 0, 0},
    {"maxclients", COUNT_OR_NONE, ETCP_FOR_SERVER, FIELD(server.max_clients), 0, 0},
    {"maxclientsperip", COUNT_OR_NONE, ETCP_FOR_SERVER, FIELD(server.max_clients_per_ip), 0, 0},
    {"maxhalfopen", COUNT_OR_NONE, ETCP_FOR_SERVER, FIELD(server.max_half_open),
     (NV)ETCP_HALF_OPEN_MAX, 0},
    {"sendtimeout", SECONDS_OR_NONE, ETCP_FOR_BOTH, FIELD(server.limits.send_timeout_ms), 300, 0},
    {"idletimeout", SECONDS_OR_NONE, ETCP_FOR_SERVER, FIELD(server.idle_timeout_ms), 0, 0},
    {"negotiationtimeout", SECONDS_OR_NONE, ETCP_FOR_SERVER, FIELD(server.negotiation_timeout_ms),
     45, 0},
    {"negotiationtimeout", SECONDS_OR_NONE, ETCP_FOR_CLIENT, FIELD(client_negotiation_ms), 90, 0},
    {"timeout", SECONDS_OR_DEFAULT, ETCP_FOR_CLIENT, FIELD(connect_ms), 30, 0},
    {"keepalive", WHOLE_SECONDS, ETCP_FOR_BOTH, FIELD(server.limits.keep_alive_s), 0, 0},
    {"async", SWITCH, ETCP_FOR_CLIENT, FIELD(async), 0, 0},
    {"loop", ANYTHING, ETCP_FOR_CLIENT, FIELD(loop), 0, 0},
    {"reconnect", RECONNECT, ETCP_FOR_CLIENT, 0, 0, 0},
    {"_passimages", SWITCH, ETCP_FOR_BOTH, FIELD(passes_images), 0, 0},
    {"raiseerror", SWITCH, ETCP_FOR_BOTH, FIELD(raises), 0, 0},
    {"tls", TEXT, ETCP_FOR_BOTH, FIELD(tls), 0, 0},
    {"tlscert", TEXT, ETCP_FOR_BOTH, FIELD(tls_cert), 0, 0},
    {"tlskey", TEXT, ETCP_FOR_BOTH, FIELD(tls_key), 0, 0},
    {"tlsca", TEXT, ETCP_FOR_BOTH, FIELD(tls_ca), 0, 0},
    {"tlsgroups", TEXT, ETCP_FOR_BOTH, FIELD(tls_groups), 0, 0},
    {"tlsfingerprint", FINGERPRINTS, ETCP_FOR_BOTH, FIELD(tls_fingerprints), 0, 0},
    {"tlsname", TEXT, ETCP_FOR_CLIENT, FIELD(tls_name), 0, 0},
    {"tlsknownhosts", TEXT, ETCP_FOR_CLIENT, FIELD(tls_known_hosts), 0, 0},
    {"coalesce", SWITCH, ETCP_FOR_SERVER, FIELD(server.coalesce), 1, 0},
};

enum { OPTIONS = sizeof option_table / sizeof option_table[0] };

/* ---- values ---------------------------------------------------------------------------------- */

/* Numbers that an option may be, and how $@ says so. NULL: every number. */
static const char *rule_of(option_form form, NV *least)
{
    *least = form == BYTES || form == COUNT ? 1 : 0;
    switch (form) {
    case BYTES: return "a number of bytes from 1 on";
    case BYTES_OR_NONE: return "a number of bytes, or 0 for no limit";
    case COUNT: return "a number from 1 on";
    case COUNT_OR_NONE: return "a number, or 0 for no limit";
    case SECONDS_OR_NONE: return "seconds, or 0 for no limit";
    case WHOLE_SECONDS: return "seconds, or 0 for never";
    case TRUTH:
    case SWITCH:
    case TEXT:
    case SECRET:
    case SECONDS_OR_DEFAULT:
    case CLASSES:
    case REQUIRED_CIPHERS:
    case FORBIDDEN_MODULES:
    case ANYTHING:
    case RECONNECT:
    case WHEN_FULL:
    case COMPRESSION:
    case FINGERPRINTS:
    case PERMISSIONS:
    case NAMES:
    case DESCRIPTOR:
    case ELSEWHERE: break;
    }
    return NULL;
}

static size_t size_from(NV n)
{
    return n >= (NV)((size_t)-1 / 4) ? (size_t)-1 / 4 : (size_t)n;
}

static unsigned ms_from(NV seconds)
{
    if (!(seconds > 0))
        return 0;
    return seconds > 2000000 ? 2000000000u : seconds < 0.001 ? 1 : (unsigned)(seconds * 1000);
}

/* Puts a number where its option wants it. */
static void store_number(etcp_options *options, const option *row, NV n)
{
    void *field = (char *)options + row->field;

    switch (row->form) {
    case BYTES:
    case BYTES_OR_NONE:
    case COUNT:
    case COUNT_OR_NONE: *(size_t *)field = size_from(n); break;
    case SECONDS_OR_NONE: *(unsigned *)field = ms_from(n); break;
    case WHOLE_SECONDS: *(unsigned *)field = (ms_from(n) + 999) / 1000; break;
    case SECONDS_OR_DEFAULT: *(unsigned *)field = ms_from(n > 0 ? n : row->otherwise); break;
    case SWITCH: *(int *)field = n != 0; break;
    case PERMISSIONS:
    case DESCRIPTOR: *(int *)field = (int)n; break;
    case TRUTH:
    case TEXT:
    case SECRET:
    case CLASSES:
    case REQUIRED_CIPHERS:
    case FORBIDDEN_MODULES:
    case ANYTHING:
    case RECONNECT:
    case WHEN_FULL:
    case COMPRESSION:
    case FINGERPRINTS:
    case NAMES:
    case ELSEWHERE: break;
    }
}

/* A limit that is misspelt must not silently become another one: it is checked in both modes. */
static int read_limit(pTHX_ etcp_options *options, const option *row, SV *value, int applies)
{
    NV least;
    const char *rule = rule_of(row->form, &least);

    value = etcp_arguments_text(aTHX_ value);
    if (!looks_like_number(value) || !(SvNV(value) >= least)) {
        etcp_fail(aTHX_ "Invalid %s '%" SVf "': must be %s", row->name, SVfARG(value), rule);
        return 0;
    }
    if (applies)
        store_number(options, row, SvNV(value));
    return 1;
}

/* What is behind a NUL would be checked by the program, and then not be used. */
static int read_text(pTHX_ etcp_options *options, const option *row, SV *value)
{
    value = etcp_arguments_text(aTHX_ value);
    if (strlen(SvPV_nolen_const(value)) != SvCUR(value)) {
        etcp_fail(aTHX_ "Invalid %s", row->name + (row->name[0] == '_'));
        return 0;
    }
    *(SV **)((char *)options + row->field) = value;
    return 1;
}

static int read_secret(pTHX_ etcp_options *options, const option *row, SV *value)
{
    value = etcp_arguments_text(aTHX_ value);
    if (SvUTF8(value) && !sv_utf8_downgrade(value, TRUE)) {
        etcp_fail(aTHX_ "Wide character in %s", row->name);
        return 0;
    }
    *(SV **)((char *)options + row->field) = value;
    return 1;
}

static int read_when_full(pTHX_ etcp_options *options, const option *row, SV *value)
{
    static const char *const words[] = {"wait", "fail", "close"}; /* as in etcp_when_full */
    const char *text = SvPV_nolen_const(etcp_arguments_text(aTHX_ value));
    int i;

    for (i = 0; i < 3; i++) {
        if (strNE(text, words[i]))
            continue;
        *(etcp_when_full *)(void *)((char *)options + row->field) = (etcp_when_full)i;
        options->has_when_full = 1;
        return 1;
    }
    etcp_fail(aTHX_ "Invalid %s '%s': must be wait, fail or close", row->name, text);
    return 0;
}

/* Files and scripts write permissions as 0600, where the first is a text. */
static int read_permissions(pTHX_ etcp_options *options, const option *row, SV *value)
{
    const char *text;
    char *end;
    long bits;

    value = etcp_arguments_text(aTHX_ value);
    text = SvPV_nolen_const(value);
    bits = text[0] == '0' ? strtol(text, &end, 8) : strtol(text, &end, 10);
    if (!isDIGIT(*text) || *end || bits > 07777) {
        etcp_fail(aTHX_ "Invalid %s '%s': must be permissions like 0600", row->name, text);
        return 0;
    }
    store_number(options, row, (NV)bits);
    return 1;
}

/* ---- lists of names -------------------------------------------------------------------------- */

static int is_list(SV *value)
{
    return SvROK(value) && SvTYPE(SvRV(value)) == SVt_PVAV;
}

static void add_name(pTHX_ AV *names, SV *value)
{
    SV *name = etcp_arguments_text(aTHX_ value);

    av_push(names, SvREFCNT_inc_simple_NN(name));
}

/* The names that an option gives, one or a list, as texts: a mortal. The array or its elements may
 * be tied, and change while they are read. */
static AV *names_of(pTHX_ SV *value)
{
    AV *names = (AV *)sv_2mortal((SV *)newAV());
    AV *list;
    I32 i;

    if (!is_list(value)) {
        add_name(aTHX_ names, value);
        return names;
    }
    list = (AV *)sv_2mortal(SvREFCNT_inc_simple_NN(SvRV(value)));
    for (i = 0; i <= av_len(list); i++) {
        SV **place = av_fetch(list, i, 0);
        SV *name = place ? sv_mortalcopy(*place) : NULL;

        if (name && SvOK(name))
            add_name(aTHX_ names, name);
    }
    return names;
}

static const char *name_at(pTHX_ AV *names, I32 i)
{
    return SvPV_nolen_const(*av_fetch(names, i, 0));
}

static int refuse_cipher(pTHX_ const option *row, SV *value)
{
    etcp_fail(aTHX_ "Invalid %s '%" SVf
                    "': must be 1 for any cipher, the name of one, or a reference "
                    "to an array of names",
              row->name, SVfARG(value));
    return 0;
}

static int is_tls(const char *name)
{
    return strEQ(name, "TLS");
}

/* A demand that is not understood must not become a weaker one: every name must be that of a
 * cipher. */
static int read_required(pTHX_ etcp_options *options, const option *row, SV *value)
{
    uint32_t allowed = 0;
    AV *names;
    I32 i;

    if (SvROK(value) && !is_list(value) && !SvAMAGIC(value))
        return refuse_cipher(aTHX_ row, value);
    names = names_of(aTHX_ value);
    if (!is_list(value) && !SvTRUE(*av_fetch(names, 0, 0)))
        return 1;
    options->flags |= ETCP_REQUIRE_ENCRYPTION | ETCP_REFUSE_PLAINTEXT;
    if (!is_list(value) && strEQ(name_at(aTHX_ names, 0), "1"))
        return 1;
    options->forbids_tls = 1;
    for (i = 0; i <= av_len(names); i++) {
        uint32_t bit = etcp_config_cipher_bit(name_at(aTHX_ names, i));
        if (is_tls(name_at(aTHX_ names, i))) {
            options->requires_tls = 1;
            continue;
        }
        if (!bit)
            return refuse_cipher(aTHX_ row, *av_fetch(names, i, 0));
        allowed |= bit;
    }
    options->ciphers &= allowed;
    options->forbids_tls = !options->requires_tls;
    options->requires_tls = options->requires_tls && !allowed;
    return 1;
}

/* Old programs list modules that mean nothing here: these are warned of, once. */
static void read_forbidden(pTHX_ etcp_options *options, const option *row, SV *value)
{
    AV *names = names_of(aTHX_ value);
    I32 i;

    for (i = 0; i <= av_len(names); i++) {
        uint32_t cipher = etcp_config_cipher_bit(name_at(aTHX_ names, i));
        uint32_t compressor = etcp_config_compressor_bit(name_at(aTHX_ names, i));

        options->ciphers &= ~cipher;
        options->compressors &= ~compressor;
        if (is_tls(name_at(aTHX_ names, i)))
            options->forbids_tls = 1;
        else if (!cipher && !compressor)
            etcp_spelling_warn(
                aTHX_ sv_2mortal(newSVpvf("%s names the unknown module '%" SVf "'", row->name,
                                          SVfARG(*av_fetch(names, i, 0)))));
    }
}

static int read_fingerprints(pTHX_ etcp_options *options, const option *row, SV *value)
{
    AV *names = names_of(aTHX_ value);
    SV *all = sv_2mortal(newSVpvs(""));
    I32 i;

    for (i = 0; i <= av_len(names); i++) {
        uint8_t fingerprint[ETCP_FINGERPRINT];
        STRLEN len;
        const char *text = SvPV_const(*av_fetch(names, i, 0), len);

        if (etcp_fingerprint_parse(text, len, fingerprint) < 0) {
            etcp_fail(aTHX_ "Invalid %s '%" SVf "': must be SHA256: and 64 hexadecimal digits",
                      row->name, SVfARG(*av_fetch(names, i, 0)));
            return 0;
        }
        sv_catpvn(all, (const char *)fingerprint, sizeof fingerprint);
    }
    options->tls_fingerprints = all;
    return 1;
}

static int read_classes(pTHX_ etcp_options *options, const option *row, SV *value)
{
    if (SvROK(value) && !is_list(value) && !SvAMAGIC(value)) {
        etcp_fail(aTHX_
                  "Invalid %s: must be 'all', 'none' or a reference to an array of class names",
                  row->name);
        return 0;
    }
    options->classes = names_of(aTHX_ value);
    options->class_mode = ETCP_THAW_LISTED;
    if (!is_list(value) && strEQ(name_at(aTHX_ options->classes, 0), "all"))
        options->class_mode = ETCP_THAW_ALL;
    else if (!is_list(value) && strEQ(name_at(aTHX_ options->classes, 0), "none"))
        options->class_mode = ETCP_THAW_NONE;
    return 1;
}

static int read_compression(pTHX_ etcp_options *options, const option *row, SV *value)
{
    static const struct {
        const char *word;
        etcp_compress compress;
    } words[] = {{"auto", ETCP_COMPRESS_AUTO},
                 {"always", ETCP_COMPRESS_ALWAYS},
                 {"never", ETCP_COMPRESS_NEVER}};
    size_t i;

    value = etcp_arguments_text(aTHX_ value);
    for (i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strEQ(SvPV_nolen_const(value), words[i].word)) {
            options->compress = words[i].compress;
            return 1;
        }
    etcp_fail(aTHX_ "Invalid %s '%" SVf "': must be 'auto', 'always' or 'never'", row->name,
              SVfARG(value));
    return 0;
}

/* ---- more than one number -------------------------------------------------------------------- */

enum { RETRY_MIN_MS = 500, RETRY_MAX_MS = 30000 };

/* 1, or a list of the shortest and the longest time between two attempts, in seconds. */
static int read_reconnect(pTHX_ etcp_options *options, const option *row, SV *value)
{
    AV *numbers = names_of(aTHX_ value);
    NV min;
    NV max;

    options->retry_min_ms = RETRY_MIN_MS;
    options->retry_max_ms = 0;
    if (!is_list(value)) {
        if (SvTRUE(*av_fetch(numbers, 0, 0)))
            options->retry_max_ms = RETRY_MAX_MS;
        return 1;
    }
    if (av_len(numbers) == 1 && looks_like_number(*av_fetch(numbers, 0, 0)) &&
        looks_like_number(*av_fetch(numbers, 1, 0))) {
        min = SvNV(*av_fetch(numbers, 0, 0));
        max = SvNV(*av_fetch(numbers, 1, 0));
        if (min > 0 && max >= min) {
            options->retry_min_ms = ms_from(min);
            options->retry_max_ms = ms_from(max);
            return 1;
        }
    }
    etcp_fail(aTHX_ "Invalid %s: must be 1, or a reference to an array of two numbers of seconds",
              row->name);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Reads one option that is there. Returns 0 with the reason in $@. */
static int read_option(pTHX_ etcp_options *options, const option *row, SV *value, int applies)
{
    NV least;

    if (rule_of(row->form, &least))
        return read_limit(aTHX_ options, row, value, applies);
    if (!applies)
        return 1;
    switch (row->form) {
    case TRUTH:
        if (SvTRUE(value))
            options->flags |= row->bits;
        else
            options->cleared |= row->bits;
        return 1;
    case SWITCH: store_number(options, row, SvTRUE(value)); return 1;
    case SECONDS_OR_DEFAULT: store_number(options, row, SvNV(value)); return 1;
    case TEXT: return read_text(aTHX_ options, row, value);
    case SECRET: return read_secret(aTHX_ options, row, value);
    case CLASSES: return read_classes(aTHX_ options, row, value);
    case FINGERPRINTS: return read_fingerprints(aTHX_ options, row, value);
    case REQUIRED_CIPHERS: return read_required(aTHX_ options, row, value);
    case FORBIDDEN_MODULES: read_forbidden(aTHX_ options, row, value); return 1;
    case WHEN_FULL: return read_when_full(aTHX_ options, row, value);
    case COMPRESSION: return read_compression(aTHX_ options, row, value);
    case PERMISSIONS: return read_permissions(aTHX_ options, row, value);
    case NAMES: *(AV **)(void *)((char *)options + row->field) = names_of(aTHX_ value); return 1;
    case DESCRIPTOR: store_number(options, row, SvNV(value)); return 1;
    case ANYTHING: *(SV **)((char *)options + row->field) = value; return 1;
    case RECONNECT: return read_reconnect(aTHX_ options, row, value);
    case BYTES:
    case BYTES_OR_NONE:
    case COUNT:
    case COUNT_OR_NONE:
    case SECONDS_OR_NONE:
    case WHOLE_SECONDS:
    case ELSEWHERE: break;
    }
    return 1;
}

static int is_option(const char *name)
{
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        if (strEQ(option_table[i].name, name))
            return 1;
    return 0;
}

/* Warns of names that were probably meant to be those of options. Subclasses pass their own. */
static void check_spelling(pTHX_ HV *args)
{
    const char *names[OPTIONS];
    HE *entry;
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        names[i] = option_table[i].name;
    hv_iterinit(args);
    while ((entry = hv_iternext(args)) != NULL) {
        SV *name = hv_iterkeysv(entry);

        if (!is_option(SvPV_nolen_const(name)))
            etcp_spelling_check(aTHX_ "option", name, names, OPTIONS);
    }
}

/* Async clients never wait. */
static int settle_when_full(pTHX_ etcp_options *options)
{
    etcp_when_full *when = &options->server.limits.when_full;

    if (!options->async)
        return 1;
    if (!options->has_when_full)
        *when = ETCP_FULL_FAIL;
    if (*when != ETCP_FULL_WAIT)
        return 1;
    etcp_fail(aTHX_ "Invalid whenfull 'wait': must be fail or close for a client with async");
    return 0;
}

/* The value of an option without its magic, which is read here; NULL: absent or undefined. */
static SV *value_of(pTHX_ HV *args, const char *name)
{
    SV **place = hv_fetch(args, name, (I32)strlen(name), 0);
    SV *value;

    TAINT_NOT; /* each option has a taint of its own */
    value = place ? sv_mortalcopy(*place) : NULL;
    return value && SvOK(value) ? value : NULL;
}

int etcp_options_read(pTHX_ HV *args, int mode, etcp_options *options)
{
    size_t i;

    Zero(options, 1, etcp_options);
    options->ciphers = options->compressors = UINT32_MAX;
    options->compress = ETCP_COMPRESS_AUTO;
    etcp_server_options_default(&options->server);
    check_spelling(aTHX_ args);
    for (i = 0; i < OPTIONS; i++) {
        const option *row = &option_table[i];
        SV *value = value_of(aTHX_ args, row->name);

        if (!value)
            store_number(options, row, row->otherwise);
        else if (!read_option(aTHX_ options, row, value, row->modes & mode))
            return 0;
    }
    if (options->compress == ETCP_COMPRESS_ALWAYS && (options->flags & ETCP_DONOT_COMPRESS)) {
        etcp_fail(aTHX_ "compress 'always' and donotcompress contradict each other");
        return 0;
    }
    TAINT_NOT;
    return settle_when_full(aTHX_ options);
}
