#include "storable_private.h"

#include <assert.h>

/* Looking at a smaller image twice costs more than its memory is worth. */
enum { FORGOTTEN_MIN = 4 << 20 };

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

/* A number of 64 bits where integers have 32: it must not change, but it need not be a number. */
#if IVSIZE < 8
static SV *make_large(pTHX_ uint64_t magnitude, int is_negative)
{
    const NV nv = is_negative ? -(NV)magnitude : (NV)magnitude;
    char text[24];
    char *at = text + sizeof text;

    if (magnitude <= UINT64_C(1) << 53)
        return newSVnv(nv);
    do
        *--at = (char)('0' + magnitude % 10);
    while ((magnitude /= 10) != 0);
    if (is_negative)
        *--at = '-';
    return newSVpvn(at, (STRLEN)(text + sizeof text - at));
}
#endif

static SV *make_exact_integer(pTHX_ uint64_t bits, int is_signed)
{
#if IVSIZE < 8
    const int is_negative = is_signed && bits >> 63;

    return make_large(aTHX_ is_negative ? 0 - bits : bits, is_negative);
#else
    return is_signed ? newSViv((IV)bits) : newSVuv((UV)bits);
#endif
}

static void *make_exact(void *arg, etcp_storable_op op, const uint8_t *bytes, size_t len)
{
    dTHAWER;
    char text[256];
    uint64_t bits = 0;
    double number;
    size_t i;

    PERL_UNUSED_VAR(t);
    if (op == ETCP_SX_EXACT_DECIMAL) {
        Copy(bytes, text, len, char);
        text[len] = '\0';
        return newSVnv(Atof(text));
    }
    for (i = 0; i < len; i++)
        bits = bits << 8 | bytes[i];
    if (op != ETCP_SX_EXACT_DOUBLE)
        return make_exact_integer(aTHX_ bits, op == ETCP_SX_EXACT_INTEGER);
    Copy(&bits, &number, sizeof number, char);
    return newSVnv((NV)number);
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

static void *make_blank(void *arg, const uint8_t *bytes, size_t len, int is_utf8, uint8_t **to)
{
    dTHAWER;
    SV *sv;

    if (is_utf8 && !is_sound_utf8(bytes, len))
        return NULL;
    sv = newSV(len + 1); /* for Perl's NUL and the count of copy-on-write */
    SvPOK_only(sv);
    SvCUR_set(sv, len);
    *SvEND(sv) = '\0';
    if (is_utf8)
        SvUTF8_on(sv);
    if (t->is_tainted)
        SvTAINTED_on(sv);
    *to = (uint8_t *)SvPVX(sv);
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
    /* A new hash has 8 buckets and grows, from Perl 5.26 on, when two thirds are in use. Fewer are
     * looked through sooner, when it is frozen or freed. */
    if (count > 5)
        hv_ksplit(hv, (IV)count);
    else if (count < 3)
        HvMAX(hv) = 3;
    return hv;
}

/* A value that a later duplicate of its key replaced may still be referred to. */
static int keep_replaced(pTHX_ etcp_thawer *t, SV *value)
{
    if (!t->replaced)
        t->replaced = newAV();
    av_push(t->replaced, value);
    return 1;
}

/* The entry of a key, made if need be, and the value it had (NULL: none). */
static HE *entry_of(pTHX_ etcp_storable_keys *keys, HV *hash, const char *key, STRLEN len, int flags,
                    SV **old)
{
    const SV *const known = flags ? NULL : etcp_storable_known_key(aTHX_ keys, key, len);
    /* Of a key that lies in its own table of keys, perl does not compare the bytes. */
    const char *const bytes = known ? SvPVX_const(known) : key;
    const U32 number = known ? SvSHARED_HASH(known) : 0;
#ifdef HV_FETCH_EMPTY_HE
    HE *he = (HE *)hv_common(hash, NULL, bytes, len, flags, HV_FETCH_LVALUE | HV_FETCH_EMPTY_HE, NULL,
                             number);

    *old = HeVAL(he);
#else
    const IV before = (IV)HvKEYS(hash);
    HE *he = (HE *)hv_common(hash, NULL, bytes, len, flags, HV_FETCH_LVALUE, NULL, number);

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
    he = entry_of(aTHX_ &t->state->keys, (HV *)hash, (const char *)key, len, flags, &old);
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
    dTHAWER;

    PERL_UNUSED_VAR(t);
    /* A hash may be restricted; a scalar that cannot be changed cannot know of those who point to it. */
    if (is_weak && SvREADONLY((SV *)value) && SvTYPE((SV *)value) < SVt_PVAV)
        return ETCP_EDECODE;
    SvRV_set(rv, (SV *)value);
    SvROK_on(rv);
#if PERL_VERSION < 18
    /* References themselves are marked there. The object gets its class before anybody looks. */
    if (t->may_bless && (op == ETCP_SX_OVERLOAD || op == ETCP_SX_WEAKOVERLOAD))
        SvAMAGIC_on(rv);
#endif
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
    PERL_UNUSED_ARG(arg);
    switch (SvTYPE((const SV *)value)) {
    case SVt_PVAV:
    case SVt_PVHV:
    case SVt_PVCV:
    case SVt_PVGV:
    case SVt_PVFM:
    case SVt_PVIO: return ETCP_STORABLE_BODY;
    default: return ETCP_STORABLE_SCALAR;
    }
}

/* Called for what only we hold, unless code has run: then it may be locked or tied by now. */
static void empty(void *arg, void *value)
{
    dTHAWER;
    SV *sv = (SV *)value;

    if (t->may_run_perl) {
        SvREADONLY_off(sv);
        if (SvMAGICAL(sv)) {
            sv_unmagic(sv, PERL_MAGIC_tied);
            sv_unmagic(sv, PERL_MAGIC_tiedelem);
            sv_unmagic(sv, PERL_MAGIC_tiedscalar);
        }
    }
    if (SvTYPE(sv) == SVt_PVAV)
        av_clear((AV *)sv);
    else if (SvTYPE(sv) == SVt_PVHV)
        hv_clear((HV *)sv);
    else if (SvROK(sv))
        sv_unref_flags(sv, SV_IMMEDIATE_UNREF);
}

/* A value of a restricted hash is locked by now; one that code has changed need not be a reference. */
static void weaken(void *arg, void *reference)
{
    dTHAWER;
    SV *rv = (SV *)reference;
    const U32 lock = SvREADONLY(rv);

    PERL_UNUSED_VAR(t);
    if (!SvROK(rv) || SvWEAKREF(rv))
        return;
    SvREADONLY_off(rv);
    sv_rvweaken(rv);
    if (lock)
        SvREADONLY_on(rv);
}

/* ---- filling what code may have changed ------------------------------------------------------ */

/* Whether a container is as we left it: code that was given a reference may have tied or locked it. */
static int is_ours(const SV *container)
{
    return !SvREADONLY(container) &&
           !(SvRMAGICAL(container) && mg_find((SV *)container, PERL_MAGIC_tied));
}

static int put_in_any_array(void *arg, void *array, size_t index, void *value)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    return is_ours((SV *)array) && av_store((AV *)array, (SSize_t)index, (SV *)value) ? 0
                                                                                      : ETCP_EDECODE;
}

/* A key that a restricted hash may have but does not. Values that the key has had stay. */
static int put_placeholder(pTHX_ etcp_thawer *t, HV *hash, const char *key, STRLEN len, int flags,
                           SV *value)
{
    if (hv_common(hash, NULL, key, len, flags, HV_FETCH_ISEXISTS, NULL, 0))
        return ETCP_EDECODE;
    (void)hv_common(hash, NULL, key, len, flags, HV_FETCH_ISSTORE | HV_FETCH_JUST_SV,
                    &PL_sv_placeholder, 0);
    return keep_replaced(aTHX_ t, value);
}

static int put_in_any_hash(void *arg, void *hash, const uint8_t *key, size_t len,
                           unsigned key_flags, void *value)
{
    dTHAWER;
    const int flags = (int)(key_flags & (ETCP_SX_KEY_UTF8 | ETCP_SX_KEY_WAS_UTF8));

    if (!is_ours((SV *)hash))
        return ETCP_EDECODE;
    if (!(key_flags & ETCP_SX_KEY_PLACEHOLDER)) {
        if (key_flags & ETCP_SX_KEY_LOCKED)
            SvREADONLY_on((SV *)value);
        return put_in_hash(arg, hash, key, len, key_flags, value);
    }
    if (len > I32_MAX || ((key_flags & ETCP_SX_KEY_UTF8) && !is_sound_utf8(key, len)))
        return ETCP_EDECODE;
    return put_placeholder(aTHX_ t, (HV *)hash, (const char *)key, len, flags, (SV *)value);
}

static int put_in_any_reference(void *arg, void *reference, void *value, etcp_storable_op op)
{
    const SV *rv = (const SV *)reference;

    /* A string's memory stays when its scalar becomes undef, in the place of the reference. */
    if (SvOK(rv) || SvMAGICAL(rv) || SvREADONLY(rv) || (SvTYPE(rv) >= SVt_PV && SvPVX_const(rv)))
        return ETCP_EDECODE;
    return put_in_reference(arg, reference, value, op);
}

/* ---- ties and locks -------------------------------------------------------------------------- */

static void *make_tied(void *arg, etcp_storable_op op)
{
    dTHAWER;

    PERL_UNUSED_VAR(t);
    if (op == ETCP_SX_TIED_ARRAY)
        return newAV();
    return op == ETCP_SX_TIED_HASH ? (void *)newHV() : (void *)newSV(0);
}

/* Ties it to a reference of its own, which nobody else can change. */
static int tie(void *arg, void *tied, etcp_storable_op op, void *object, void *key, uint32_t index)
{
    dTHAWER;
    SV *sv = (SV *)tied;
    SV *own;

    PERL_UNUSED_VAR(t);
    if (SvREADONLY(sv) || SvMAGICAL(sv) || !SvROK((SV *)object) || index > I32_MAX)
        return ETCP_EDECODE;
    /* One too many of the classes that the program does not have. */
    if (!SvOBJECT(SvRV((SV *)object)))
        return ETCP_EDECODE;
    own = newRV_inc(SvRV((SV *)object));
    if (key)
        sv_magic(sv, own, PERL_MAGIC_tiedelem, (const char *)key, HEf_SVKEY);
    else if (op == ETCP_SX_TIED_IDX)
        sv_magic(sv, own, PERL_MAGIC_tiedelem, NULL, (I32)index);
    else
        sv_magic(sv, own, shape(arg, sv) == ETCP_STORABLE_BODY ? PERL_MAGIC_tied : PERL_MAGIC_tiedscalar,
                 NULL, 0);
    SvREFCNT_dec(own);
    return 0;
}

static void restrict_keys(void *arg, void *hash)
{
    PERL_UNUSED_ARG(arg);
    SvREADONLY_on((SV *)hash);
}

/* ---- classes --------------------------------------------------------------------------------- */

static int name_class(void *arg, etcp_storable_class *c)
{
    dTHAWER;

    return etcp_storable_allow(aTHX_ t->policy, c);
}

/* Modules of classes that should overload operators but do not yet are loaded, which takes Perl. */
static int prepare_class(void *arg, etcp_storable_class *c)
{
    dTHAWER;
    HV *stash;

    if (!t->may_bless || t->may_run_perl)
        return 0;
    stash = etcp_storable_stash(aTHX_ t->state, c);
    if (stash && c->overloads) {
#if PERL_VERSION < 18
        return ETCP_STORABLE_FOREIGN;
#else
        if (etcp_storable_may_warn(aTHX_ stash) || etcp_storable_overloads(aTHX_ stash) <= 0)
            return ETCP_STORABLE_FOREIGN;
#endif
    }
    c->handle = stash;
    return 0;
}

static void make_object(void *arg, void *value, etcp_storable_class *c)
{
    dTHAWER;

    if (t->may_bless && t->may_run_perl && !c->handle)
        c->handle = etcp_storable_stash(aTHX_ t->state, c);
    if (t->may_bless && c->handle)
        etcp_storable_bless(aTHX_ (SV *)value, (HV *)c->handle);
}

static const etcp_storable_builder builder = {
    make_constant,
    make_integer,
    make_native,
    make_exact,
    make_string,
    make_blank,
    make_array,
    make_hash,
    make_reference,
    put_in_array,
    put_in_hash,
    put_in_reference,
    hang_vstring,
    share,
    release,
    owners,
    shape,
    empty,
    make_tied,
    tie,
    restrict_keys,
    etcp_storable_make_code,
    etcp_storable_make_regexp,
    etcp_storable_thaw_object,
    name_class,
    prepare_class,
    weaken,
    make_object,
};

/* As newRV_noinc, which asks what a fresh scalar may be. */
static SV *reference_to(pTHX_ SV *root)
{
    SV *rv = newSV_type(SVt_RV);

    SvTEMP_off(root);
    SvRV_set(rv, root);
    SvROK_on(rv);
#if PERL_VERSION < 18
    if (SvOBJECT(root) && Gv_AMG(SvSTASH(root)))
        SvAMAGIC_on(rv);
#endif
    return rv;
}

/* ---- with the help of Perl code -------------------------------------------------------------- */

static void free_reader(pTHX_ void *reader)
{
    PERL_UNUSED_CONTEXT;
    etcp_storable_reader_free((etcp_storable_reader *)reader);
}

/* Tells the caller why nothing came of it. Frees what Perl code said. */
static int failed(pTHX_ etcp_thawer *t, const etcp_storable_reader *reader, int rc, SV **error)
{
    if (t->error) {
        *error = sv_2mortal(t->error);
        return t->is_interrupted ? ETCP_THAW_INTERRUPTED : ETCP_THAW_FAILED;
    }
    return etcp_storable_failure(aTHX_ reader, rc, error);
}

/* Hooks may thaw other images, and end the program: the reader is one of its own, and perl frees it. */
static int thaw_with_perl(pTHX_ const U8 *data, STRLEN len, etcp_thawer *t,
                          const etcp_storable_options *options, SV **out, SV **error)
{
    etcp_storable_reader *reader = etcp_storable_reader_new();
    SV *image = newSVpvn((const char *)data, len);
    etcp_storable_builder careful = builder;
    void *root;
    int result = ETCP_THAW_OK;
    int rc;

    if (!reader)
        croak("Out of memory");
    ENTER;
    SAVEFREESV(image);
    SAVEDESTRUCTOR_X(free_reader, reader);
    careful.array_put = put_in_any_array;
    careful.hash_put = put_in_any_hash;
    careful.reference_put = put_in_any_reference;
    rc = etcp_storable_read_all(reader, (const uint8_t *)SvPVX_const(image), len, &careful, t, options,
                                &root);
    SvREFCNT_dec((SV *)t->replaced);
    t->replaced = NULL;
    if (rc == 0)
        *out = reference_to(aTHX_ (SV *)root);
    else
        result = failed(aTHX_ t, reader, rc, error);
    LEAVE;
    return result;
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

static void start(pTHX_ etcp_thawer *t, etcp_storable_state *s, const etcp_thaw_policy *policy)
{
#ifdef MULTIPLICITY
    t->perl = aTHX;
#endif
    t->state = s;
    t->policy = policy;
    t->may_bless = etcp_storable_may_bless(aTHX_ s);
    t->is_tainted = PL_tainting;
    TAINT_NOT; /* what is evaluated must not be tainted by what was read before */
    t->may_run_perl = 0;
    t->replaced = NULL;
    t->error = NULL;
    t->is_interrupted = 0;
}

static void obey(etcp_storable_options *options, const etcp_thaw_policy *policy)
{
    options->max_depth = policy->max_depth;
    options->max_size = policy->max_size;
    options->takes_exact = policy->takes_exact;
}

/* The image was read as far as it takes no Perl code, and needs it. */
static int go_on_with_perl(pTHX_ etcp_thawer *t, const U8 *data, STRLEN len, int may_run_perl, SV **out,
                           SV **error)
{
    etcp_storable_state *s = t->state;
    etcp_storable_options kept = s->options; /* others may be thawed meanwhile */
    size_t size;
    int rc;

    obey(&kept, t->policy);
    rc = etcp_storable_check(aTHX_ s, data, len, t->policy, may_run_perl, error);
    if (rc != ETCP_THAW_OK)
        return rc;
    t->may_run_perl = 1;
    size = etcp_storable_reader_size(s->reader);
    rc = thaw_with_perl(aTHX_ data, len, t, &kept, out, error);
    s->thawed = size; /* others may have been thawed meanwhile */
    return rc;
}

int etcp_perl_thaw(pTHX_ const U8 *data, STRLEN len, const etcp_thaw_policy *policy,
                   int may_run_perl, SV **out, SV **error)
{
    etcp_storable_state *s = etcp_storable_state_of(aTHX);
    etcp_storable_options *options = &s->options; /* which the reader looks at when it begins */
    etcp_thawer t;
    void *root;
    int rc;

    start(aTHX_ &t, s, policy);
    if (is_from_the_future(aTHX_ s, data, len)) {
        *error = sv_2mortal(newSVpvs("Storable binary image is more recent than this Storable"));
        return ETCP_THAW_FAILED;
    }
    obey(options, policy);
    if (s->max_depth < policy->max_depth)
        s->max_depth = policy->max_depth;
    if (policy->forgets && len >= FORGOTTEN_MIN &&
        etcp_storable_is_plain(s->reader, data, len, options))
        options->forgets = policy->forgets;
    rc = etcp_storable_read(s->reader, data, len, &builder, &t, options, &root);
    assert(rc <= 0 || !options->forgets);
    options->forgets = NULL;
    if (t.replaced)
        SvREFCNT_dec((SV *)t.replaced);
    t.replaced = NULL;
    if (rc == 0) {
        *out = reference_to(aTHX_ (SV *)root);
        s->thawed = etcp_storable_reader_size(s->reader);
        return ETCP_THAW_OK;
    }
    if (rc < 0)
        return etcp_storable_failure(aTHX_ s->reader, rc, error);
    return go_on_with_perl(aTHX_ & t, data, len, may_run_perl, out, error);
}

size_t etcp_perl_thawed_size(pTHX)
{
    return etcp_storable_state_of(aTHX)->thawed;
}
