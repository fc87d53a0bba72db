#include "storable_private.h"

/* How deep an image may nest that Storable thaws: it recurses on the C stack without a limit. */
enum { STORABLE_DEPTH = 2000 };

/* What a scan collects for the questions that only Perl can answer. */
typedef struct findings {
#ifdef MULTIPLICITY
    PerlInterpreter *perl;
#endif
    const etcp_thaw_policy *policy;
    const etcp_storable_state *state;
    AV *hooked;      /* names of classes with hooked objects */
    AV *overloaded;  /* and of those that must overload */
    AV *expressions; /* an image for each regular expression */
} findings;

#ifdef MULTIPLICITY
#define dFINDINGS                                                                                  \
    findings *f = (findings *)arg;                                                                 \
    dTHXa(f->perl)
#else
#define dFINDINGS findings *f = (findings *)arg
#endif

int etcp_storable_failure(pTHX_ const etcp_storable_state *s, int rc, SV **error)
{
    *error = sv_2mortal(newSVpv(etcp_storable_reader_error(s->reader), 0));
    return rc == ETCP_EPOLICY ? ETCP_THAW_REFUSED : ETCP_THAW_FAILED;
}

int etcp_storable_may_bless(pTHX_ const etcp_storable_state *s)
{
    SV *flags = etcp_storable_setting(aTHX_ s->flags);

    /* Storables before 3.x have no such variable; theirs always bless. BLESS_OK is 2. */
    return !flags || !SvOK(flags) || (SvIV(flags) & 2);
}

/* ---- what the policy says -------------------------------------------------------------------- */

/* Names come as bytes. A user's list may hold the same name as characters. */
static int is_listed(pTHX_ HV *classes, const char *name, I32 len)
{
    if (!classes)
        return 0;
    if (hv_exists(classes, name, len))
        return 1;
    return is_utf8_string((U8 *)name, (STRLEN)len) && hv_exists(classes, name, -len);
}

int etcp_storable_allow(pTHX_ const etcp_thaw_policy *policy, const etcp_storable_class *c)
{
    if (policy->mode == 0)
        return 0;
    if (policy->mode == 2 && c->len <= I32_MAX &&
        is_listed(aTHX_ policy->classes, (const char *)c->name, (I32)c->len))
        return 0;
    return ETCP_EPOLICY;
}

/* ---- scanning -------------------------------------------------------------------------------- */

static int class_named(void *arg, etcp_storable_class *c)
{
    dFINDINGS;

    return etcp_storable_allow(aTHX_ f->policy, c);
}

static int class_ready(void *arg, etcp_storable_class *c)
{
    dFINDINGS;

    if (c->hooked)
        av_push(f->hooked, newSVpvn((const char *)c->name, c->len));
    if (c->overloads)
        av_push(f->overloaded, newSVpvn((const char *)c->name, c->len));
    return 0;
}

static int expression_met(void *arg, const uint8_t *item, size_t len)
{
    dFINDINGS;
    const char header[2] = {ETCP_SX_NETWORK_2, (char)f->state->minor};
    SV *image = newSVpvn(header, sizeof header);

    sv_catpvn(image, (const char *)item, len);
    av_push(f->expressions, image);
    return 0;
}

/* What can be said without Perl. Sets *error to NULL if nothing is wrong. */
static int judge(pTHX_ const etcp_storable_state *s, const etcp_thaw_policy *policy,
                 unsigned features, SV **error)
{
    SV *eval = etcp_storable_setting(aTHX_ s->eval);
    SV *forgive_me = etcp_storable_setting(aTHX_ s->forgive_me);
    const char *wrong = NULL;

    if ((features & ETCP_STORABLE_HAS_CODE) && policy->mode != 0) {
        *error = sv_2mortal(newSVpvs("code is not allowed"));
        return ETCP_THAW_REFUSED;
    }
    if ((features & ETCP_STORABLE_HAS_CODE) && !(eval && SvTRUE(eval)) &&
        !(forgive_me && SvTRUE(forgive_me)))
        wrong = "Can't eval, please set $Storable::Eval to a true value";
    else if ((features & ETCP_STORABLE_HAS_BOOLEAN) && !s->writes_booleans)
        wrong = "This Storable does not know booleans";
    /* Without objects there is no class to take the overloading from; Storable would not notice. */
    else if ((features & ETCP_STORABLE_HAS_OVERLOAD) && !etcp_storable_may_bless(aTHX_ s))
        wrong = "overloaded references without objects";
    /* And none whose methods a tie could call. */
    else if ((features & ETCP_STORABLE_HAS_TIE) && !etcp_storable_may_bless(aTHX_ s))
        wrong = "tied values without objects";
    if (!wrong)
        return ETCP_THAW_OK;
    *error = sv_2mortal(newSVpv(wrong, 0));
    return ETCP_THAW_FAILED;
}

/* ---- what Perl says -------------------------------------------------------------------------- */

static int has_hook(pTHX_ const char *name, STRLEN len)
{
    HV *stash = gv_stashpvn(name, (U32)len, 0);

    return stash && (gv_fetchmethod_autoload(stash, "STORABLE_thaw", FALSE) ||
                     gv_fetchmethod_autoload(stash, "STORABLE_attach", FALSE));
}

static int has_overloading(pTHX_ const char *name, STRLEN len)
{
    HV *stash = gv_stashpvn(name, (U32)len, 0);

    return stash && Gv_AMG(stash);
}

/* Whether a module can have this name. Storable tries others, too; they cannot be found. */
static int is_module_name(const char *name, STRLEN len)
{
    STRLEN i = 0;

    for (;;) {
        if (i == len || !(isALPHA(name[i]) || name[i] == '_'))
            return 0;
        while (i < len && (isALNUM(name[i]) || name[i] == '_'))
            i++;
        if (i == len)
            return 1;
        if (len - i < 2 || name[i] != ':' || name[i + 1] != ':')
            return 0;
        i += 2;
    }
}

/* Loads the module of a class. Returns NULL, or Perl's text, a mortal. */
static SV *load(pTHX_ const char *name, STRLEN len)
{
    dSP;
    SV *code;
    SV *error = NULL;

    if (!is_module_name(name, len))
        return NULL;
    code = newSVpvs("require ");
    sv_catpvn(code, name, len);
    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVEFREESV(code);
    save_scalar(PL_errgv);
    eval_sv(code, G_VOID | G_DISCARD);
    if (SvTRUE(ERRSV))
        error = newSVsv(ERRSV);
    LEAVE;
    POPSTACK;
    return error ? sv_2mortal(error) : NULL;
}

/* Makes sure that each of the classes can do something. Returns NULL, or what is wrong, a mortal. */
static SV *need(pTHX_ AV *classes, int (*can)(pTHX_ const char *name, STRLEN len),
                const char *complaint)
{
    SSize_t i;

    for (i = 0; i <= av_len(classes); i++) {
        STRLEN len;
        const char *name = SvPV_const(*av_fetch(classes, i, 0), len);
        SV *error;

        if (can(aTHX_ name, len))
            continue;
        error = load(aTHX_ name, len);
        if (error)
            return error;
        if (!can(aTHX_ name, len))
            return sv_2mortal(
                newSVpvf("%s %.100s (even after a \"require %.100s;\")", complaint, name, name));
    }
    return NULL;
}

/* Tries the regular expressions one by one. Returns NULL, or what is wrong, a mortal. */
static SV *compile(pTHX_ AV *expressions)
{
    SV *error = NULL;
    SSize_t i;

    for (i = 0; !error && i <= av_len(expressions); i++) {
        ENTER;
        save_scalar(PL_errgv);
        SvREFCNT_dec(etcp_storable_call(aTHX_ "Storable::thaw", *av_fetch(expressions, i, 0), G_EVAL));
        if (SvTRUE(ERRSV))
            error = newSVsv(ERRSV);
        LEAVE;
    }
    return error ? sv_2mortal(error) : NULL;
}

/* ---- the entrance ---------------------------------------------------------------------------- */

static int scan(pTHX_ etcp_storable_state *s, const U8 *data, STRLEN len, findings *f, SV **error)
{
    static const etcp_storable_watcher watcher = {class_named, class_ready, expression_met};
    etcp_storable_options options = s->options;
    unsigned features;
    int rc;

    options.max_depth = f->policy->max_depth;
    if (options.max_depth == 0 || options.max_depth > STORABLE_DEPTH)
        options.max_depth = STORABLE_DEPTH;
    rc = etcp_storable_scan(s->reader, data, len, &watcher, f, &options, &features);
    if (rc < 0)
        return etcp_storable_failure(aTHX_ s, rc, error);
    return judge(aTHX_ s, f->policy, features, error);
}

int etcp_storable_check(pTHX_ etcp_storable_state *s, const U8 *data, STRLEN len,
                        const etcp_thaw_policy *policy, int may_run_perl, SV **error)
{
    findings f;
    int rc;

#ifdef MULTIPLICITY
    f.perl = aTHX;
#endif
    f.policy = policy;
    f.state = s;
    f.hooked = (AV *)sv_2mortal((SV *)newAV());
    f.overloaded = (AV *)sv_2mortal((SV *)newAV());
    f.expressions = (AV *)sv_2mortal((SV *)newAV());
    rc = scan(aTHX_ s, data, len, &f, error);
    if (rc != ETCP_THAW_OK)
        return rc;
    if (!may_run_perl)
        return ETCP_THAW_NEEDS_PERL;
    *error = need(aTHX_ f.hooked, has_hook, "No STORABLE_thaw defined for objects of class");
    if (!*error)
        *error = need(aTHX_ f.overloaded, has_overloading, "Cannot restore overloading of package");
    if (!*error)
        *error = compile(aTHX_ f.expressions);
    return *error ? ETCP_THAW_FAILED : ETCP_THAW_OK;
}
