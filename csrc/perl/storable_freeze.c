#include "storable_private.h"

#include <stdlib.h>

/* Natively written is what nfreeze writes without looking further than the values: everything else is
 * left to nfreeze itself, from the start, so that the bytes are the same in every case. */

enum {
    FOREIGN = 1,      /* only Storable can write it */
    CAREFUL = 2,      /* begin again, and carefully */
    DEEPEST = 1500,   /* nested references, on the C stack; beyond, Storable's own limits decide */
    MOST_CLASSES = 64
};

typedef struct freezer {
    etcp_storable_writer *w;
    const etcp_storable_state *state;
    int is_canonical;
    int is_careful; /* there are weak references: what has one owner may still be met twice */
    int depth; /* references still allowed to nest */
    int class_count;
    HV *classes[MOST_CLASSES]; /* by class number */
} freezer;

enum { FIRST_MINOR_OF_VSTRINGS = 9 }; /* Storables before do not see that they are */

static int freeze_item(pTHX_ freezer *z, SV *sv);

/* ---- scalars --------------------------------------------------------------------------------- */

/* Whether magic is no more than a memory: of UTF-8 offsets, of pos(), of who refers weakly, of
 * $#array, or of some other C code. */
static int is_harmless(const MAGIC *mg)
{
    switch (mg->mg_type) {
    case PERL_MAGIC_utf8:
    case PERL_MAGIC_regex_global:
    case PERL_MAGIC_backref:
#ifdef PERL_MAGIC_arylen_p
    case PERL_MAGIC_arylen_p:
#endif
    case PERL_MAGIC_ext: return 1;
    default: return 0;
    }
}

static int has_meaningful_magic(const SV *sv)
{
    const MAGIC *mg;

    if (SvGMAGICAL(sv))
        return 1;
    for (mg = SvMAGIC(sv); mg; mg = mg->mg_moremagic) {
        if (!is_harmless(mg))
            return 1;
    }
    return 0;
}

/* The literal of a version string that is a string and nothing else, or NULL. */
static const MAGIC *find_literal(const SV *sv)
{
    const MAGIC *literal = NULL;
    const MAGIC *mg;

    if (SvGMAGICAL(sv) || !SvPOK(sv))
        return NULL;
    for (mg = SvMAGIC(sv); mg; mg = mg->mg_moremagic) {
        if (mg->mg_type == PERL_MAGIC_vstring)
            literal = mg;
        else if (!is_harmless(mg))
            return NULL;
    }
    return literal && literal->mg_len >= 0 ? literal : NULL;
}

static int freeze_text(freezer *z, const char *text, STRLEN len, int is_utf8)
{
    if (len > INT32_MAX)
        return FOREIGN;
    return etcp_storable_put_string(z->w, text, len, is_utf8);
}

static int freeze_vstring(freezer *z, SV *sv, const MAGIC *literal)
{
    int rc = etcp_storable_put_literal(z->w, (const uint8_t *)literal->mg_ptr,
                                       (size_t)literal->mg_len);

    return rc < 0 ? rc : freeze_text(z, SvPVX_const(sv), SvCUR(sv), SvUTF8(sv) != 0);
}

static int freeze_integer(freezer *z, SV *sv)
{
    IV iv = SvIVX(sv);
    int is_negative = !SvIsUV(sv) && iv < 0;

    return etcp_storable_put_integer(z->w, is_negative, is_negative ? 0 - (UV)iv : (UV)iv,
                                     z->state->writes_netint);
}

#if defined(USE_LONG_DOUBLE) || defined(USE_QUADMATH) || NVSIZE != 8
static int freeze_decimal(freezer *z, NV nv)
{
    PERL_UNUSED_VAR(z);
    PERL_UNUSED_VAR(nv);
    return FOREIGN;
}
#else

enum { MOST_DIGITS = 15, MOST_DECIMALS = 6 };

/* Writes the decimal number digits / 10**decimals. */
static int freeze_digits(freezer *z, int is_negative, uint64_t digits, int decimals)
{
    char text[24];
    char *at = text + sizeof text;
    int written = 0;

    do {
        if (written++ == decimals)
            *--at = '.';
        *--at = (char)('0' + digits % 10);
        digits /= 10;
    } while (digits || written <= decimals);
    if (is_negative)
        *--at = '-';
    return freeze_text(z, at, (STRLEN)(text + sizeof text - at), 0);
}

/* Writes numbers like 12.75, which printf() is slow at. If at most 15 digits name a number that is
 * read back as nv, then "%.15g" prints just these, for doubles keep 15 digits. digits and the power
 * of ten are exact, so that the quotient is what reading would give. Returns FOREIGN when it takes
 * more digits. */
static int freeze_decimal(freezer *z, NV nv)
{
    static const NV power[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    NV magnitude = nv < 0 ? -nv : nv;
    int decimals;

    if (!(magnitude >= 0.001 && magnitude < 1e9))
        return FOREIGN;
    for (decimals = 1; decimals <= MOST_DECIMALS; decimals++) {
        uint64_t digits = (uint64_t)(magnitude * power[decimals] + 0.5);
        if ((NV)digits / power[decimals] == magnitude)
            return freeze_digits(z, nv < 0, digits, decimals);
    }
    return FOREIGN;
}
#endif

/* Perl's own text of a number. Storable asks for it in the scope of its own code, where the decimal
 * point is a point; our caller may be under "use locale". */
static int freeze_by_perl(pTHX_ freezer *z, SV *number)
{
    char text[64];
    STRLEN len;
    STRLEN used = 0;
    const char *from = SvPV_const(number, len);
    const char *end = from + len;

    while (from < end && used < sizeof text) {
        if (isALNUM(*from) || *from == '-' || *from == '+')
            text[used++] = *from;
        else if (used == 0 || text[used - 1] != '.')
            text[used++] = '.';
        from++;
    }
    return freeze_text(z, text, used, 0);
}

/* Storable turns whole numbers into integers, and writes Perl's text of all others. Both is tried on a
 * scalar of ours: the user's keeps its flags. */
static int freeze_double(pTHX_ freezer *z, NV nv)
{
    SV *number = z->state->number;
    int rc;

    if (nv > -2147483648.0 && nv < 2147483648.0) {
        I32 whole = (I32)nv;
        if ((NV)whole == nv)
            return etcp_storable_put_integer(z->w, whole < 0, (uint64_t)(whole < 0 ? -(IV)whole : whole),
                                             z->state->writes_netint);
        rc = freeze_decimal(z, nv);
        if (rc != FOREIGN)
            return rc;
        sv_setnv(number, nv);
    } else {
        sv_setnv(number, nv);
        SvIV_please(number);
        if (SvIOK(number))
            return freeze_integer(z, number);
    }
    return freeze_by_perl(aTHX_ z, number);
}

/* The order of the questions is that of Storable: a string comes before a number, and the constants
 * before both. */
static int freeze_scalar(pTHX_ freezer *z, SV *sv)
{
    const U32 constant_flags = SVf_READONLY | SVf_POK | SVf_NOK;
    U32 flags = SvFLAGS(sv);

    if (SvMAGICAL(sv) && has_meaningful_magic(sv)) {
        const MAGIC *literal = find_literal(sv);

        if (literal && z->state->minor < FIRST_MINOR_OF_VSTRINGS)
            return freeze_text(z, SvPVX_const(sv), SvCUR(sv), SvUTF8(sv) != 0);
        return literal ? freeze_vstring(z, sv, literal) : FOREIGN;
    }
    if (!SvOK(sv))
        return etcp_storable_put_op(z->w,
                                    sv == &PL_sv_undef ? ETCP_SX_SV_UNDEF : ETCP_SX_UNDEF);
    if ((flags & constant_flags) == constant_flags) {
        if (sv == &PL_sv_yes)
            return etcp_storable_put_op(z->w, ETCP_SX_SV_YES);
        if (sv == &PL_sv_no)
            return etcp_storable_put_op(z->w, ETCP_SX_SV_NO);
    }
#ifdef SvIsBOOL
    else if (z->state->writes_booleans && SvIsBOOL(sv))
        return etcp_storable_put_op(z->w, SvTRUE_nomg(sv) ? ETCP_SX_BOOLEAN_TRUE
                                                          : ETCP_SX_BOOLEAN_FALSE);
#endif
    if (flags & SVf_POK)
        return freeze_text(z, SvPVX_const(sv), SvCUR(sv), SvUTF8(sv) != 0);
    if (flags & SVf_IOK)
        return freeze_integer(z, sv);
    if (flags & SVf_NOK)
        return freeze_double(aTHX_ z, SvNVX(sv));
    return FOREIGN;
}

/* ---- references and objects ------------------------------------------------------------------ */

static int has_overloading(pTHX_ HV *stash)
{
#ifdef HvAMAGIC
    /* From Perl 5.18 on the flag is the stash's and says "perhaps". */
    if (!HvAMAGIC(stash))
        return 0;
#endif
    return Gv_AMG(stash) ? 1 : 0;
}

static etcp_storable_op reference_op(pTHX_ const SV *rv)
{
    const SV *target = SvRV((SV *)rv);

    if (SvOBJECT(target) && has_overloading(aTHX_ SvSTASH(target)))
        return SvWEAKREF(rv) ? ETCP_SX_WEAKOVERLOAD : ETCP_SX_OVERLOAD;
    return SvWEAKREF(rv) ? ETCP_SX_WEAKREF : ETCP_SX_REF;
}

static int freeze_reference(pTHX_ freezer *z, SV *rv)
{
    int rc;

    if (z->depth == 0 || (SvMAGICAL(rv) && has_meaningful_magic(rv)))
        return FOREIGN;
    if (SvWEAKREF(rv) && !z->is_careful)
        return CAREFUL;
    rc = etcp_storable_put_op(z->w, reference_op(aTHX_ rv));
    if (rc < 0)
        return rc;
    z->depth--;
    rc = freeze_item(aTHX_ z, SvRV(rv));
    z->depth++;
    return rc;
}

/* Names the class of an object whose item follows. */
static int freeze_class(pTHX_ freezer *z, HV *stash)
{
    const char *name;
    int i;

    for (i = 0; i < z->class_count; i++) {
        if (z->classes[i] == stash)
            return etcp_storable_put_class_index(z->w, (uint32_t)i);
    }
    name = HvNAME_get(stash);
    if (!name || !*name || z->class_count == MOST_CLASSES ||
        gv_fetchmethod_autoload(stash, "STORABLE_freeze", FALSE))
        return FOREIGN;
    z->classes[z->class_count++] = stash;
    return etcp_storable_put_class(z->w, (const uint8_t *)name, strlen(name));
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static int freeze_element(pTHX_ freezer *z, SV *sv)
{
    if (sv && sv != &PL_sv_undef)
        return freeze_item(aTHX_ z, sv);
    etcp_storable_pass(z->w);
#if PERL_VERSION >= 20
    /* Before, the constant in an array was what an absent element looked like. */
    if (sv)
        return etcp_storable_put_op(z->w, ETCP_SX_SVUNDEF_ELEM);
#endif
    return etcp_storable_put_op(z->w, ETCP_SX_SV_UNDEF);
}

static int freeze_array(pTHX_ freezer *z, AV *av)
{
    SSize_t count = AvFILLp(av) + 1;
    SSize_t i;
    int rc;

    if ((SvMAGICAL(av) && has_meaningful_magic((SV *)av)) || !AvREAL(av) || count > INT32_MAX)
        return FOREIGN;
    rc = etcp_storable_put_container(z->w, ETCP_SX_ARRAY, (uint32_t)count);
    for (i = 0; rc == 0 && i < count; i++)
        rc = freeze_element(aTHX_ z, AvARRAY(av)[i]);
    return rc;
}

/* ---- hashes ---------------------------------------------------------------------------------- */

/* The value, and behind it the key. */
static int freeze_entry(pTHX_ freezer *z, HE *he, int is_flagged)
{
    unsigned flags = 0;
    int rc;

    if (HeKLEN(he) == HEf_SVKEY)
        return FOREIGN;
    rc = freeze_item(aTHX_ z, HeVAL(he));
    if (rc)
        return rc;
    if (!is_flagged)
        return etcp_storable_put_key(z->w, HeKEY(he), (size_t)HeKLEN(he));
    if (HeKUTF8(he))
        flags |= ETCP_SX_KEY_UTF8;
    if (HeKWASUTF8(he))
        flags |= ETCP_SX_KEY_WAS_UTF8;
    return etcp_storable_put_flag_key(z->w, flags, HeKEY(he), (size_t)HeKLEN(he));
}

static int compare_bytes(const U8 *p, size_t p_len, const U8 *q, size_t q_len)
{
    int order = memcmp(p, q, p_len < q_len ? p_len : q_len);

    return order ? order : (p_len > q_len) - (p_len < q_len);
}

/* A key of characters up to 255 against one of UTF-8, by characters. */
static int compare_mixed(const U8 *p, size_t p_len, const U8 *q, size_t q_len)
{
    const U8 *p_end = p + p_len;
    const U8 *q_end = q + q_len;

    while (p < p_end && q < q_end) {
        unsigned c = *q++;
        if (c >= 0x80) {
            /* c2 and c3 begin the characters up to 255; whatever is larger is larger than all of p. */
            if (c > 0xc3 || q == q_end)
                return -1;
            c = (c & 3) << 6 | (*q++ & 0x3f);
        }
        if (*p != c)
            return *p < c ? -1 : 1;
        p++;
    }
    return (p < p_end) - (q < q_end);
}

/* As Perl's cmp, which compares characters; the order of the bytes is the same within one encoding. */
static int compare_keys(const void *left, const void *right)
{
    const HE *a = *(HE *const *)left;
    const HE *b = *(HE *const *)right;
    const U8 *p = (const U8 *)HeKEY(a);
    const U8 *q = (const U8 *)HeKEY(b);
    const size_t p_len = (size_t)HeKLEN(a);
    const size_t q_len = (size_t)HeKLEN(b);

    if (!HeKUTF8(a) == !HeKUTF8(b))
        return compare_bytes(p, p_len, q, q_len);
    return HeKUTF8(b) ? compare_mixed(p, p_len, q, q_len) : -compare_mixed(q, q_len, p, p_len);
}

/* The order of the buckets, as hv_iternext goes through them, but leaving the hash and an each() that is
 * under way alone. */
static size_t bucket_order(HV *hv)
{
#ifdef HvRAND_get
    return HvRAND_get(hv);
#else
    PERL_UNUSED_VAR(hv);
    return 0;
#endif
}

/* $Storable::canonical: in the order of the keys. */
static int freeze_sorted(pTHX_ freezer *z, HV *hv, size_t count, int is_flagged)
{
    HE **entries;
    HE *he;
    size_t bucket;
    size_t i = 0;
    int rc = 0;

    Newx(entries, count, HE *);
    for (bucket = 0; bucket <= (size_t)HvMAX(hv); bucket++) {
        for (he = HvARRAY(hv)[bucket]; he && i < count; he = HeNEXT(he))
            entries[i++] = he;
    }
    qsort(entries, i, sizeof *entries, compare_keys);
    count = i;
    for (i = 0; rc == 0 && i < count; i++)
        rc = freeze_entry(aTHX_ z, entries[i], is_flagged);
    Safefree(entries);
    return rc;
}

static int freeze_unsorted(pTHX_ freezer *z, HV *hv, int is_flagged)
{
    const size_t order = bucket_order(hv);
    const size_t last = (size_t)HvMAX(hv);
    HE *const *buckets = HvARRAY(hv);
    size_t i;
    int rc;

    for (i = 0; i <= last; i++) {
        HE *he;
        for (he = buckets[(i ^ order) & last]; he; he = HeNEXT(he)) {
            rc = freeze_entry(aTHX_ z, he, is_flagged);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int freeze_hash(pTHX_ freezer *z, HV *hv)
{
    size_t count = (size_t)HvTOTALKEYS(hv);
    int is_flagged = HvHASKFLAGS(hv) ? 1 : 0;
    int rc;

    if ((SvMAGICAL(hv) && has_meaningful_magic((SV *)hv)) || SvREADONLY(hv) ||
        HvPLACEHOLDERS_get(hv) || count > INT32_MAX)
        return FOREIGN;
    if (is_flagged)
        rc = etcp_storable_put_flag_hash(z->w, (uint32_t)count);
    else
        rc = etcp_storable_put_container(z->w, ETCP_SX_HASH, (uint32_t)count);
    if (rc < 0 || count == 0)
        return rc;
    return z->is_canonical ? freeze_sorted(aTHX_ z, hv, count, is_flagged)
                           : freeze_unsorted(aTHX_ z, hv, is_flagged);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int freeze_content(pTHX_ freezer *z, SV *sv)
{
    switch (SvTYPE(sv)) {
    case SVt_NULL:
    case SVt_IV:
#if PERL_VERSION < 11
    case SVt_RV:
#endif
    case SVt_NV:
    case SVt_PV:
    case SVt_PVIV:
    case SVt_PVNV:
    case SVt_PVMG: return SvROK(sv) ? freeze_reference(aTHX_ z, sv) : freeze_scalar(aTHX_ z, sv);
    case SVt_PVAV: return freeze_array(aTHX_ z, (AV *)sv);
    case SVt_PVHV: return freeze_hash(aTHX_ z, (HV *)sv);
    default: return FOREIGN;
    }
}

static int freeze_item(pTHX_ freezer *z, SV *sv)
{
    int rc;

    /* What only one thing refers to is met once: only weak references do not count. The undef
     * constant is written anew each time. */
    if ((SvREFCNT(sv) == 1 && !z->is_careful) || sv == &PL_sv_undef) {
        etcp_storable_pass(z->w);
    } else {
        rc = etcp_storable_meet(z->w, sv);
        if (rc)
            return rc > 0 ? 0 : rc;
    }
    if (SvOBJECT(sv)) {
        rc = freeze_class(aTHX_ z, SvSTASH(sv));
        if (rc)
            return rc;
    }
    return freeze_content(aTHX_ z, sv);
}

/* ---- settings and delegation ----------------------------------------------------------------- */

/* How many references may nest before Storable is asked, whose limits count in more ways than one. */
static int depth_allowed(pTHX_ const etcp_storable_state *s)
{
    GV *const limits[] = {s->recursion_limit, s->recursion_limit_hash};
    int depth = DEEPEST;
    int i;

    for (i = 0; i < 2; i++) {
        SV *limit = etcp_storable_setting(aTHX_ limits[i]);
        if (limit && SvOK(limit) && SvIV(limit) >= 0 && SvIV(limit) - 3 < depth)
            depth = (int)SvIV(limit) - 3;
    }
    return depth < 0 ? 0 : depth;
}

static int freeze_natively(pTHX_ etcp_storable_state *s, SV *rv)
{
    SV *canonical = etcp_storable_setting(aTHX_ s->canonical);
    freezer z;
    int rc;

    z.w = &s->writer;
    z.state = s;
    z.is_canonical = canonical && SvTRUE(canonical);
    z.is_careful = 0;
    do {
        z.depth = depth_allowed(aTHX_ s);
        z.class_count = 0;
        rc = etcp_storable_begin(z.w, s->minor);
        if (rc == 0)
            rc = freeze_item(aTHX_ &z, SvRV(rv));
        z.is_careful = rc == CAREFUL;
    } while (z.is_careful);
    return rc;
}

static void freeze_by_storable(pTHX_ etcp_storable_state *s, SV *rv, const U8 **data, STRLEN *len)
{
    SV *frozen = etcp_storable_call(aTHX_ "Storable::nfreeze", rv, 0);
    SV *old = s->frozen;

    /* A hook may have come back here meanwhile: what it froze is no longer needed. */
    s->frozen = frozen;
    SvREFCNT_dec(old);
    if (!SvPOK(frozen))
        croak("Storable could not freeze the structure");
    *data = (const U8 *)SvPVX_const(frozen);
    *len = SvCUR(frozen);
}

void etcp_perl_freeze(pTHX_ SV *rv, const U8 **data, STRLEN *len)
{
    etcp_storable_state *s = etcp_storable_state_of(aTHX);
    int rc = SvROK(rv) ? freeze_natively(aTHX_ s, rv) : FOREIGN;

    if (rc == ETCP_ENOMEM)
        croak("Out of memory");
    if (rc) {
        freeze_by_storable(aTHX_ s, rv, data, len);
        return;
    }
    *data = etcp_buf_bytes(&s->writer.out);
    *len = etcp_buf_len(&s->writer.out);
}
