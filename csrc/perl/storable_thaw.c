#include "storable_private.h"

typedef struct thawer {
#ifdef MULTIPLICITY
    PerlInterpreter *perl;
#endif
    const etcp_thaw_policy *policy;
    int may_bless;  /* $Storable::flags, unless BLESS_OK was taken away */
    int is_tainted; /* under -T what comes from the network is not to be trusted */
    AV *replaced;   /* values of hash keys that came twice, or NULL */
} thawer;

#ifdef MULTIPLICITY
#define dTHAWER                                                                                    \
    thawer *t = (thawer *)arg;                                                                     \
    dTHXa(t->perl)
#else
#define dTHAWER thawer *t = (thawer *)arg
#endif

/* ---- leaves ---------------------------------------------------------------------------------- */

static void *make_constant(void *arg, etcp_storable_constant which, etcp_storable_place place)
{
    dTHAWER;
    SV *constant = which == ETCP_STORABLE_TRUE    ? &PL_sv_yes
                   : which == ETCP_STORABLE_FALSE ? &PL_sv_no
                                                  : &PL_sv_undef;

    PERL_UNUSED_VAR(t);
    if (place == ETCP_STORABLE_REFERRED)
        return SvREFCNT_inc_simple_NN(constant);
    return which == ETCP_STORABLE_UNDEF ? newSV(0) : newSVsv(constant);
}

static void *make_integer(void *arg, int32_t value)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    return newSViv(value);
}

static void *make_native(void *arg, etcp_storable_op op, const uint8_t *bytes)
{
    dTHAWER;
    IV iv;
    NV nv;

    PERL_UNUSED_VAR(t);
    if (op == ETCP_SX_INTEGER) {
        Copy(bytes, &iv, sizeof iv, char);
        return newSViv(iv);
    }
    Copy(bytes, &nv, sizeof nv, char);
    return newSVnv(nv);
}

/* For Perl's own function no length means that of a C string. */
static int is_sound_utf8(const U8 *bytes, STRLEN len)
{
    return len == 0 || is_utf8_string((U8 *)bytes, len);
}

static void *make_string(void *arg, const uint8_t *bytes, size_t len, int is_utf8)
{
    dTHAWER;
    SV *sv;

    /* Storable does not look; scalars with broken UTF-8 are a danger to everything that reads them. */
    if (is_utf8 && !is_sound_utf8(bytes, len))
        return NULL;
    sv = newSVpvn((const char *)bytes, len);
    /* An empty string has no characters to mark, as in Storable 3. */
    if (is_utf8 && len)
        SvUTF8_on(sv);
    if (t->is_tainted)
        SvTAINTED_on(sv);
    return sv;
}

static int hang_vstring(void *arg, void *string, const uint8_t *literal, size_t len)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    if (len > I32_MAX)
        return ETCP_EDECODE;
    /* Perl copies the literal unless it is empty. */
    sv_magic((SV *)string, NULL, PERL_MAGIC_vstring, len ? (const char *)literal : "", (I32)len);
    SvRMAGICAL_on((SV *)string);
    return 0;
}

/* ---- containers ------------------------------------------------------------------------------ */

static void *make_array(void *arg, size_t count)
{
    dTHAWER;
    AV *av;

    PERL_UNUSED_VAR(t);
    if (!count)
        return newAV();
    /* Perl marks the new elements as absent. */
#ifdef newAV_alloc_xz
    av = newAV_alloc_xz((SSize_t)count);
#else
    av = newAV();
    av_extend(av, (SSize_t)count - 1);
#endif
    AvFILLp(av) = (SSize_t)count - 1;
    return av;
}

static int put_in_array(void *arg, void *array, size_t index, void *value)
{
    PERL_UNUSED_ARG(arg);
    AvARRAY((AV *)array)[index] = (SV *)value;
    return 0;
}

static void *make_hash(void *arg, size_t count)
{
    dTHAWER;
    HV *hv = newHV();

    PERL_UNUSED_VAR(t);
    /* A new hash has 8 buckets and grows, from Perl 5.26 on, when two thirds are in use. */
    if (count > 5)
        hv_ksplit(hv, (IV)count);
    return hv;
}

/* A value that a later duplicate of its key replaced may still be referred to. */
static int keep_replaced(pTHX_ thawer *t, SV *value)
{
    if (!t->replaced)
        t->replaced = newAV();
    av_push(t->replaced, value);
    return 1;
}

/* The entry of a key, made if need be, and the value it had (NULL: none). */
static HE *entry_of(pTHX_ HV *hash, const char *key, STRLEN len, int flags, SV **old)
{
#ifdef HV_FETCH_EMPTY_HE
    HE *he = (HE *)hv_common(hash, NULL, key, len, flags, HV_FETCH_LVALUE | HV_FETCH_EMPTY_HE, NULL, 0);

    *old = HeVAL(he);
#else
    const IV before = (IV)HvKEYS(hash);
    HE *he = (HE *)hv_common(hash, NULL, key, len, flags, HV_FETCH_LVALUE, NULL, 0);

    *old = HeVAL(he);
    if ((IV)HvKEYS(hash) != before) {
        SvREFCNT_dec(*old); /* perl's placeholder */
        *old = NULL;
    }
#endif
    return he;
}

static int put_in_hash(void *arg, void *hash, const uint8_t *key, size_t len, unsigned key_flags,
                       void *value)
{
    dTHAWER;
    const int flags = (int)(key_flags & (ETCP_SX_KEY_UTF8 | ETCP_SX_KEY_WAS_UTF8));
    HE *he;
    SV *old;

    if (len > I32_MAX ||
        ((key_flags & ETCP_SX_KEY_UTF8) && !is_sound_utf8(key, len)))
        return ETCP_EDECODE;
    he = entry_of(aTHX_ (HV *)hash, (const char *)key, len, flags, &old);
    HeVAL(he) = (SV *)value;
    return old ? keep_replaced(aTHX_ t, old) : 0;
}

static void *make_reference(void *arg)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    return newSV_type(SVt_RV);
}

static int put_in_reference(void *arg, void *reference, void *value, etcp_storable_op op)
{
    SV *rv = (SV *)reference;
    const int is_weak = op == ETCP_SX_WEAKREF || op == ETCP_SX_WEAKOVERLOAD;

    PERL_UNUSED_ARG(arg);
    if (is_weak && SvREADONLY((SV *)value))
        return ETCP_EDECODE;
    SvRV_set(rv, (SV *)value);
    SvROK_on(rv);
    return 0;
}

/* ---- references ------------------------------------------------------------------------------ */

static void *share(void *arg, void *value)
{
    PERL_UNUSED_ARG(arg);
    return SvREFCNT_inc_simple_NN((SV *)value);
}

static void release(void *arg, void *value)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    SvREFCNT_dec((SV *)value);
}

static size_t owners(void *arg, void *value)
{
    PERL_UNUSED_ARG(arg);
    return SvREFCNT((SV *)value);
}

static etcp_storable_shape shape(void *arg, const void *value)
{
    const svtype type = SvTYPE((const SV *)value);

    PERL_UNUSED_ARG(arg);
    return type == SVt_PVAV || type == SVt_PVHV || type == SVt_PVCV ? ETCP_STORABLE_BODY
                                                                    : ETCP_STORABLE_SCALAR;
}

static void empty(void *arg, void *value)
{
    dTHAWER;
    SV *sv = (SV *)value;

    PERL_UNUSED_VAR(t);
    if (SvTYPE(sv) == SVt_PVAV)
        av_clear((AV *)sv);
    else if (SvTYPE(sv) == SVt_PVHV)
        hv_clear((HV *)sv);
    else if (SvROK(sv))
        sv_unref_flags(sv, SV_IMMEDIATE_UNREF);
}

static void weaken(void *arg, void *reference)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    sv_rvweaken((SV *)reference);
}

/* ---- classes --------------------------------------------------------------------------------- */

static int name_class(void *arg, etcp_storable_class *c)
{
    dTHAWER;

    return etcp_storable_allow(aTHX_ t->policy, c);
}

/* Storable loads the module of a class that should overload operators but does not yet: only it may. */
static int prepare_class(void *arg, etcp_storable_class *c)
{
    dTHAWER;
    HV *stash;

    if (!t->may_bless)
        return 0;
    stash = gv_stashpvn((const char *)c->name, (U32)c->len, GV_ADD);
    if (!stash)
        return ETCP_STORABLE_FOREIGN;
#ifdef HvSTASH_IS_CLASS
    /* A class made by the keyword: blessing into it dies. */
    if (HvSTASH_IS_CLASS(stash))
        return ETCP_STORABLE_FOREIGN;
#endif
#if PERL_VERSION < 18
    /* References themselves are marked there. */
    if (c->overloads)
        return ETCP_STORABLE_FOREIGN;
#else
    if (c->overloads && !Gv_AMG(stash))
        return ETCP_STORABLE_FOREIGN;
#endif
    c->handle = stash;
    return 0;
}

static void make_object(void *arg, void *value, etcp_storable_class *c)
{
    dTHAWER;
    SV *rv;

    if (!t->may_bless)
        return;
    rv = newRV_inc((SV *)value);
    sv_bless(rv, (HV *)c->handle);
    SvREFCNT_dec(rv);
}

static const etcp_storable_builder builder = {
    make_constant,  make_integer,     make_native,  make_string, make_array, make_hash,
    make_reference, put_in_array,     put_in_hash,  put_in_reference,
    hang_vstring,   share,            release,      owners,      shape,      empty,      name_class,
    prepare_class,  weaken,           make_object};

/* ---- by Storable itself ---------------------------------------------------------------------- */

static int thaw_by_storable(pTHX_ const U8 *data, STRLEN len, const thawer *t, SV **out, SV **error)
{
    SV *image = newSVpvn((const char *)data, len);
    SV *result;
    SV *text = NULL;

    if (t->is_tainted)
        SvTAINTED_on(image);
    ENTER;
    SAVEFREESV(image);
    save_scalar(PL_errgv);
    result = etcp_storable_call(aTHX_ "Storable::thaw", image, G_EVAL);
    if (SvTRUE(ERRSV))
        text = newSVsv(ERRSV);
    else if (SvROK(result))
        *out = newSVsv(result);
    else
        text = newSVpvn("Storable could not thaw the image", 33);
    SvREFCNT_dec(result);
    LEAVE;
    if (!text)
        return ETCP_THAW_OK;
    *error = sv_2mortal(text);
    return ETCP_THAW_FAILED;
}

/* ---- the entrance ---------------------------------------------------------------------------- */

/* $Storable::accept_future_minor = 0 turns away what a later Storable wrote. */
static int is_from_the_future(pTHX_ const etcp_storable_state *s, const U8 *data, STRLEN len)
{
    SV *accept;

    if (len < 2 || data[1] <= s->minor)
        return 0;
    accept = etcp_storable_setting(aTHX_ s->accept_future_minor);
    return accept && SvOK(accept) && !SvTRUE(accept);
}

static SV *reference_to(pTHX_ SV *root)
{
    SV *rv = newRV_noinc(root);

#if PERL_VERSION < 18
    if (SvOBJECT(root) && Gv_AMG(SvSTASH(root)))
        SvAMAGIC_on(rv);
#endif
    return rv;
}

static void start(pTHX_ thawer *t, const etcp_storable_state *s, const etcp_thaw_policy *policy)
{
#ifdef MULTIPLICITY
    t->perl = aTHX;
#endif
    t->policy = policy;
    t->may_bless = etcp_storable_may_bless(aTHX_ s);
    t->is_tainted = PL_tainting;
    t->replaced = NULL;
}

int etcp_perl_thaw(pTHX_ const U8 *data, STRLEN len, const etcp_thaw_policy *policy,
                   int may_run_perl, SV **out, SV **error)
{
    etcp_storable_state *s = etcp_storable_state_of(aTHX);
    etcp_storable_options options = s->options;
    thawer t;
    void *root;
    int rc;

    start(aTHX_ &t, s, policy);
    if (is_from_the_future(aTHX_ s, data, len)) {
        *error = sv_2mortal(newSVpvs("Storable binary image is more recent than this Storable"));
        return ETCP_THAW_FAILED;
    }
    options.max_depth = policy->max_depth;
    if (s->max_depth < policy->max_depth)
        s->max_depth = policy->max_depth;
    rc = etcp_storable_read(s->reader, data, len, &builder, &t, &options, &root);
    SvREFCNT_dec((SV *)t.replaced);
    if (rc == 0) {
        *out = reference_to(aTHX_ (SV *)root);
        return ETCP_THAW_OK;
    }
    if (rc < 0)
        return etcp_storable_failure(aTHX_ s, rc, error);
    rc = etcp_storable_check(aTHX_ s, data, len, policy, may_run_perl, error);
    return rc == ETCP_THAW_OK ? thaw_by_storable(aTHX_ data, len, &t, out, error) : rc;
}
