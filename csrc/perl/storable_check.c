#include "storable_private.h"

/* What a scan collects for the questions that only Perl can answer. */
typedef struct findings {
#ifdef MULTIPLICITY
    PerlInterpreter *perl;
#endif
    const etcp_thaw_policy *policy;
    etcp_storable_state *state;
    AV *hooked;     /* names of classes with hooked objects */
    AV *overloaded; /* and of those that must overload */
} findings;

#ifdef MULTIPLICITY
#define dFINDINGS                                                                                  \
    findings *f = (findings *)arg;                                                                 \
    dTHXa(f->perl)
#else
#define dFINDINGS findings *f = (findings *)arg
#endif

int etcp_storable_failure(pTHX_ const etcp_storable_reader *reader, int rc, SV **error)
{
    *error = sv_2mortal(newSVpv(etcp_storable_reader_error(reader), 0));
    return rc == ETCP_EPOLICY ? ETCP_THAW_REFUSED : ETCP_THAW_FAILED;
}

int etcp_storable_may_bless(pTHX_ const etcp_storable_state *s)
{
    SV *flags = etcp_storable_setting(aTHX_ s->flags);

    /* Storables before 3.x have no such variable; theirs always bless. BLESS_OK is 2. */
    if (!flags || !SvOK(flags))
        return 1;
    return (SvGMAGICAL(flags) || looks_like_number(flags)) && (SvIV(flags) & 2); /* without a warning */
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

/* What can be said without Perl. Sets *error to NULL if nothing is wrong. */
static int judge(pTHX_ const etcp_storable_state *s, const etcp_thaw_policy *policy,
                 unsigned features, SV **error)
{
    SV *eval = etcp_storable_setting(aTHX_ s->eval);
    SV *forgive_me = etcp_storable_setting(aTHX_ s->forgive_me);
    SV *flags = etcp_storable_setting(aTHX_ s->flags);
    const char *wrong = NULL;

    if ((features & ETCP_STORABLE_HAS_CODE) && policy->mode != ETCP_THAW_ALL) {
        *error = sv_2mortal(newSVpvs("code is not allowed"));
        return ETCP_THAW_REFUSED;
    }
    if ((features & ETCP_STORABLE_HAS_CODE) && !(eval && SvTRUE(eval)) &&
        !(forgive_me && SvTRUE(forgive_me)))
        wrong = "Can't eval, please set $Storable::Eval to a true value";
    /* TIE_OK is 4. Without objects there is none whose methods a tie could call. */
    else if ((features & ETCP_STORABLE_HAS_TIE) && flags && SvOK(flags) && (SvIV(flags) & 6) != 6)
        wrong = "Tying is disabled.";
    if (!wrong)
        return ETCP_THAW_OK;
    *error = sv_2mortal(newSVpv(wrong, 0));
    return ETCP_THAW_FAILED;
}

/* ---- what classes must have ------------------------------------------------------------------ */

typedef int needing(pTHX_ etcp_storable_state *s, const etcp_thaw_policy *policy, const char *name,
                    STRLEN len, SV **error);

static int need_all(pTHX_ const findings *f, AV *classes, needing *need, SV **error)
{
    int rc = ETCP_THAW_OK;
    SSize_t i;

    for (i = 0; rc == ETCP_THAW_OK && i <= av_len(classes); i++) {
        STRLEN len;
        const char *name = SvPV_const(*av_fetch(classes, i, 0), len);
        rc = need(aTHX_ f->state, f->policy, name, len, error);
    }
    return rc;
}

/* ---- the entrance ---------------------------------------------------------------------------- */

static int scan(pTHX_ etcp_storable_state *s, const U8 *data, STRLEN len, findings *f, SV **error)
{
    static const etcp_storable_watcher watcher = {class_named, class_ready};
    etcp_storable_options options = s->options;
    unsigned features;
    int rc;

    options.max_depth = f->policy->max_depth;
    options.max_size = f->policy->max_size;
    options.takes_exact = f->policy->takes_exact;
    rc = etcp_storable_scan(s->reader, data, len, &watcher, f, &options, &features);
    if (rc < 0)
        return etcp_storable_failure(aTHX_ s->reader, rc, error);
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
    rc = scan(aTHX_ s, data, len, &f, error);
    if (rc != ETCP_THAW_OK)
        return rc;
    if (!may_run_perl)
        return ETCP_THAW_NEEDS_PERL;
    if (!etcp_storable_may_bless(aTHX_ s))
        return ETCP_THAW_OK;
    rc = need_all(aTHX_ & f, f.hooked, etcp_storable_need_hook, error);
    return rc == ETCP_THAW_OK
               ? need_all(aTHX_ & f, f.overloaded, etcp_storable_need_overloading, error)
               : rc;
}
