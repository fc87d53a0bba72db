/* What runs Perl code while a structure is built: hooks, code, regular expressions. Each call is
 * made in an eval, on a stack of its own, so that nothing leaves it but its result. */
#include "storable_private.h"

/* ---- calls ----------------------------------------------------------------------------------- */

/* Notes what Perl code died of, a new value. */
static void note(pTHX_ etcp_thawer *t, SV *error)
{
    SvREFCNT_dec(t->error);
    t->error = error;
    t->is_interrupted = etcp_storable_unguard(aTHX_ t->state, error);
}

/* Calls code with the values in arguments, of which it frees the array. Returns the result, a new
 * count, or NULL after noting what it died of. $@ is left alone. */
static SV *call(pTHX_ etcp_thawer *t, SV *code, AV *arguments)
{
    SSize_t i;
    SV *result;
    dSP;

    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVETMPS;
    SAVEFREESV((SV *)arguments);
    save_scalar(PL_errgv);
    etcp_storable_guard(aTHX_ t->state);
    PUSHMARK(SP);
    EXTEND(SP, av_len(arguments) + 1);
    for (i = 0; i <= av_len(arguments); i++)
        PUSHs(*av_fetch(arguments, i, 0));
    PUTBACK;
    call_sv(code, G_SCALAR | G_EVAL);
    SPAGAIN;
    result = POPs;
    SvREFCNT_inc_simple_void(result);
    PUTBACK;
    if (SvROK(ERRSV) || SvTRUE(ERRSV)) {
        note(aTHX_ t, newSVsv(ERRSV));
        SvREFCNT_dec(result);
        result = NULL;
    }
    FREETMPS;
    LEAVE;
    POPSTACK;
    TAINT_NOT; /* nor by what the hook has read */
    return result;
}

static SV *call_named(pTHX_ etcp_thawer *t, const char *function, AV *arguments)
{
    CV *code = get_cv(function, 0);

    if (code)
        return call(aTHX_ t, (SV *)code, arguments);
    SvREFCNT_dec((SV *)arguments);
    note(aTHX_ t, newSVpvf("%s is missing", function));
    return NULL;
}

/* What a reference leads to, a new count; it is not needed any more. NULL if it is none. */
static SV *referent(pTHX_ SV *result)
{
    SV *sv = result && SvROK(result) ? SvREFCNT_inc_simple_NN(SvRV(result)) : NULL;

    SvREFCNT_dec(result);
    return sv;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static SV *method(pTHX_ HV *stash, const char *name)
{
    GV *gv = gv_fetchmethod_autoload(stash, name, FALSE);

    return gv && isGV(gv) ? (SV *)GvCV(gv) : NULL;
}

/* What every hook gets behind its invocant: whether it clones, and the string. */
static AV *arguments_of(pTHX_ const etcp_thawer *t, SV *invocant, const uint8_t *frozen, size_t len)
{
    AV *arguments = newAV();
    SV *string = newSVpvn((const char *)frozen, len);

    if (t->is_tainted)
        SvTAINTED_on(string);
    av_push(arguments, invocant);
    av_push(arguments, newSViv(0));
    av_push(arguments, string);
    return arguments;
}

/* STORABLE_attach makes the object by itself. */
static int attach(pTHX_ etcp_thawer *t, SV **object, SV *code, const etcp_storable_class *c,
                  const uint8_t *frozen, size_t len)
{
    SV *name = newSVpvn((const char *)c->name, c->len);
    SV *result = call(aTHX_ t, code, arguments_of(aTHX_ t, newSVsv(name), frozen, len));
    int is_right = result && SvROK(result) && sv_derived_from(result, SvPV_nolen_const(name));

    if (result && !is_right)
        note(aTHX_ t, newSVpvf("STORABLE_attach did not return a %" SVf " object", SVfARG(name)));
    SvREFCNT_dec(name);
    if (!is_right) {
        SvREFCNT_dec(result);
        return ETCP_EDECODE;
    }
    SvREFCNT_dec(*object);
    *object = referent(aTHX_ result);
    return 0;
}

int etcp_storable_thaw_object(void *arg, void **object, etcp_storable_class *c,
                              const uint8_t *frozen, size_t len, void *const *referents,
                              size_t count)
{
    dTHAWER;
    HV *stash;
    SV *code;
    AV *arguments;
    SV *result;
    size_t i;

    if (!t->may_bless)
        return 0;
    stash = etcp_storable_stash(aTHX_ t->state, c);
    code = stash ? method(aTHX_ stash, "STORABLE_attach") : NULL;
    if (code && count) {
        note(aTHX_ t, newSVpvs("STORABLE_attach called with unexpected references"));
        return ETCP_EDECODE;
    }
    if (code)
        return attach(aTHX_ t, (SV **)object, code, c, frozen, len);
    code = stash ? method(aTHX_ stash, "STORABLE_thaw") : NULL;
    if (!code) {
        note(aTHX_ t, newSVpvf("No STORABLE_thaw defined for objects of class %.*s", (int)c->len,
                               (const char *)c->name));
        return ETCP_EDECODE;
    }
    etcp_storable_bless(aTHX_(SV *) * object, stash);
    arguments = arguments_of(aTHX_ t, newRV_inc((SV *)*object), frozen, len);
    for (i = 0; i < count; i++)
        av_push(arguments, newRV_inc((SV *)referents[i]));
    result = call(aTHX_ t, code, arguments);
    SvREFCNT_dec(result);
    return result ? 0 : ETCP_EDECODE;
}

/* ---- code and regular expressions ------------------------------------------------------------ */

/* Storable knows what its settings want of code: it gets an image of nothing else. */
void *etcp_storable_make_code(void *arg, void *text)
{
    dTHAWER;
    STRLEN len;
    const char *source = SvPV_const((SV *)text, len);
    const char is_utf8 = SvUTF8((SV *)text) ? 1 : 0;
    const char header[8] = {ETCP_SX_NETWORK_2,
                            (char)t->state->minor,
                            ETCP_SX_CODE,
                            is_utf8 ? ETCP_SX_LUTF8STR : ETCP_SX_LSCALAR,
                            (char)(len >> 24 & 255),
                            (char)(len >> 16 & 255),
                            (char)(len >> 8 & 255),
                            (char)(len & 255)};
    SV *image = newSVpvn(header, sizeof header);
    AV *arguments = newAV();

    sv_catpvn(image, source, len);
    if (t->is_tainted)
        SvTAINTED_on(image);
    av_push(arguments, image);
    return referent(aTHX_ call_named(aTHX_ t, "Storable::thaw", arguments));
}

void *etcp_storable_make_regexp(void *arg, const uint8_t *pattern, size_t len,
                                const uint8_t *modifiers, size_t modifiers_len)
{
    dTHAWER;
    AV *arguments = newAV();

    av_push(arguments, newSVpvn((const char *)pattern, len));
    av_push(arguments, newSVpvn((const char *)modifiers, modifiers_len));
    return referent(aTHX_ call_named(aTHX_ t, "Net::EasyTCP::_expression", arguments));
}
