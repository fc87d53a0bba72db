/* The classes that a message names: whether they may be met, are here, and their symbol tables. */
#include "storable_private.h"

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

/* Their names have other spellings, and their symbol tables one. */
static int is_brought(pTHX_ const etcp_storable_state *s, const etcp_storable_class *c)
{
    HV *stash = gv_stashpvn((const char *)c->name, (U32)c->len, 0);
    const char *name = stash ? HvNAME(stash) : NULL;

    return name && hv_exists(s->brought, name, (I32)strlen(name));
}

int etcp_storable_allow(pTHX_ const etcp_thaw_policy *policy, const etcp_storable_class *c)
{
    switch (policy->mode) {
    case ETCP_THAW_NONE: break;
    case ETCP_THAW_ALL: return is_brought(aTHX_ etcp_storable_state_of(aTHX), c) ? ETCP_EPOLICY : 0;
    case ETCP_THAW_LISTED:
        if (is_listed(aTHX_ policy->classes, (const char *)c->name, (I32)c->len))
            return 0;
    }
    return ETCP_EPOLICY;
}

/* ---- symbol tables --------------------------------------------------------------------------- */

int etcp_storable_may_warn(pTHX_ HV *stash)
{
#if PERL_VERSION < 10
    return hv_exists(stash, "ISA", 3);
#else
    const char *name = HvNAME_get(stash);
    AV *line = name ? mro_get_linear_isa(stash) : NULL;
    SSize_t i;

    for (i = 1; line && i <= AvFILLp(line); i++) {
        if (!gv_stashsv(AvARRAY(line)[i], 0))
            return 1;
    }
    return 0;
#endif
}

int etcp_storable_overloads(pTHX_ HV *stash)
{
#if PERL_VERSION >= 14
    /* Asked in any other way it dies of methods that are missing. */
    return Gv_AMupdate(stash, TRUE);
#else
    return Gv_AMG(stash) ? 1 : 0;
#endif
}

HV *etcp_storable_stash(pTHX_ etcp_storable_state *s, const etcp_storable_class *c)
{
    HV *stash = gv_stashpvn((const char *)c->name, (U32)c->len, 0);

    if (!stash && s->new_classes < ETCP_NEW_CLASSES_MAX) {
        s->new_classes++;
        stash = gv_stashpvn((const char *)c->name, (U32)c->len, GV_ADD);
    }
#ifdef HvSTASH_IS_CLASS
    /* A class made by the keyword: blessing into it dies. */
    if (stash && HvSTASH_IS_CLASS(stash))
        return NULL;
#endif
    return stash;
}

void etcp_storable_bless(pTHX_ SV *value, HV *stash)
{
    const U32 lock = SvREADONLY(value);
    SV *rv = newRV_inc(value);

    SvREADONLY_off(value); /* the hash is restricted */
    sv_bless(rv, stash);
    if (lock)
        SvREADONLY_on(value);
    SvREFCNT_dec(rv);
}

static int has_hook(pTHX_ HV *stash)
{
    return gv_fetchmethod_autoload(stash, "STORABLE_thaw", FALSE) ||
           gv_fetchmethod_autoload(stash, "STORABLE_attach", FALSE);
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

/* Loads the module of a class. Returns ETCP_THAW_OK, or what etcp_perl_thaw returns of Perl's text.
 */
static int load(pTHX_ etcp_storable_state *s, const char *name, STRLEN len, SV **error)
{
    dSP;
    SV *code;
    SV *text = NULL;
    int is_interrupted = 0;

    if (!is_module_name(name, len))
        return ETCP_THAW_OK;
    TAINT_NOT;
    code = newSVpvs("require ");
    sv_catpvn(code, name, len);
    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVEFREESV(code);
    save_scalar(PL_errgv);
    etcp_storable_guard(aTHX_ s);
    eval_sv(code, G_VOID | G_DISCARD);
    if (SvTRUE(ERRSV)) {
        text = newSVsv(ERRSV);
        is_interrupted = etcp_storable_unguard(aTHX_ s, text);
    }
    LEAVE;
    POPSTACK;
    if (!text)
        return ETCP_THAW_OK;
    *error = sv_2mortal(text);
    return is_interrupted ? ETCP_THAW_INTERRUPTED : ETCP_THAW_FAILED;
}

/* Classes that make their objects must be here. Modules are loaded only if the program has named
 * them. */
int etcp_storable_need_hook(pTHX_ etcp_storable_state *s, const etcp_thaw_policy *policy,
                            const char *name, STRLEN len, SV **error)
{
    HV *stash = gv_stashpvn(name, (U32)len, 0);
    int rc;

    if (stash && has_hook(aTHX_ stash))
        return ETCP_THAW_OK;
    if (policy->mode != ETCP_THAW_LISTED) {
        *error =
            sv_2mortal(newSVpvf("class %s is not loaded, and not named by allowclasses", name));
        return ETCP_THAW_REFUSED;
    }
    rc = load(aTHX_ s, name, len, error);
    if (rc != ETCP_THAW_OK)
        return rc;
    stash = gv_stashpvn(name, (U32)len, 0);
    if (stash && has_hook(aTHX_ stash))
        return ETCP_THAW_OK;
    *error = sv_2mortal(newSVpvf("No STORABLE_thaw defined for objects of class %s "
                                 "(even after a \"require %s;\")",
                                 name, name));
    return ETCP_THAW_FAILED;
}

/* Classes that overload operators are used without if they are not here, unless the program has
 * named them. */
int etcp_storable_need_overloading(pTHX_ etcp_storable_state *s, const etcp_thaw_policy *policy,
                                   const char *name, STRLEN len, SV **error)
{
    HV *stash = gv_stashpvn(name, (U32)len, 0);
    int overloads = stash ? etcp_storable_overloads(aTHX_ stash) : 0;
    int rc;

    if (overloads == 0 && policy->mode == ETCP_THAW_LISTED) {
        rc = load(aTHX_ s, name, len, error);
        if (rc != ETCP_THAW_OK)
            return rc;
        stash = gv_stashpvn(name, (U32)len, 0);
        overloads = stash ? etcp_storable_overloads(aTHX_ stash) : 0;
    }
    if (overloads > 0 || (overloads == 0 && policy->mode != ETCP_THAW_LISTED))
        return ETCP_THAW_OK;
    *error = sv_2mortal(newSVpvf(overloads ? "class %s overloads by methods that it does not have"
                                           : "Cannot restore overloading of package %s",
                                 name));
    return ETCP_THAW_FAILED;
}
