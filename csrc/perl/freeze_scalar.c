#include "freeze_scalar.h"

enum { FIRST_MINOR_OF_VSTRINGS = 9 }; /* Storables before do not see that they are */

/* ---- magic ----------------------------------------------------------------------------------- */

/* Whether reading takes no more than looking: of what magic is left then, some only watches
 * changes, and taint changes nothing. */
static int is_harmless(const MAGIC *mg)
{
    return mg->mg_type == PERL_MAGIC_taint || !mg->mg_virtual || !mg->mg_virtual->svt_get;
}

int etcp_freeze_read(pTHX_ etcp_freezer *z, SV *sv)
{
    const MAGIC *mg;

    if (!SvGMAGICAL(sv))
        return ETCP_FREEZE_DONE;
    for (mg = SvMAGIC(sv); mg && is_harmless(mg); mg = mg->mg_moremagic) {
    }
    if (!mg)
        return ETCP_FREEZE_DONE;
    if (etcp_freeze_needs(z, ETCP_FREEZE_HOLDING))
        return ETCP_FREEZE_AGAIN;
    etcp_freeze_guard(aTHX_ z);
    mg_get(sv);
    return ETCP_FREEZE_DONE;
}

int etcp_freeze_is_magical(const SV *sv)
{
    return SvRMAGICAL(sv) && mg_find((SV *)sv, PERL_MAGIC_regdata);
}

/* ---- strings --------------------------------------------------------------------------------- */

static int freeze_text(etcp_freezer *z, const char *text, STRLEN len, int is_utf8)
{
    if (len > INT32_MAX)
        return ETCP_FREEZE_FOREIGN;
    return etcp_storable_put_string(&z->w, text, len, is_utf8);
}

/* A string of this length is lent; shorter ones are copied faster. Where memory matters more, because
 * the image is large already, shorter ones are lent, too. */
enum { LENT_MIN = 32768, LARGE_IMAGE = 1 << 20, LENT_MIN_OF_LARGE = 4096 };

static int is_worth_lending(const etcp_freezer *z, STRLEN len)
{
    if (len < LENT_MIN_OF_LARGE || len > INT32_MAX)
        return 0;
    return len >= LENT_MIN || etcp_buf_len(&z->w.out) >= LARGE_IMAGE;
}

#if defined(SV_DO_COW_SVSETSV) && defined(PERL_COPY_ON_WRITE)
/* Has a scalar share the bytes, so that they stay if the program changes its own. NULL: perl would copy
 * them. */
static SV *share_string(pTHX_ SV *sv)
{
    SV *keep = newSV(0);

    sv_setsv_flags(keep, sv, SV_DO_COW_SVSETSV | SV_COW_SHARED_HASH_KEYS);
    if (SvPOK(keep) && SvPVX_const(keep) == SvPVX_const(sv))
        return keep;
    SvREFCNT_dec(keep);
    return NULL;
}

/* Perl shares the bytes of strings that fill their memory but for so many (SV_COW_WASTE_THRESHOLD in its
 * sv.c). */
enum { WASTE_MAX = 80 };

/* Whether it is worth trying: perl decides, and a copy that it makes instead is for nothing. */
static int may_share(const SV *sv)
{
    return SvPOK(sv) && !SvMAGICAL(sv) && !SvOOK(sv) && SvLEN(sv) > SvCUR(sv) + 1 &&
           (SvIsCOW(sv) || SvLEN(sv) - SvCUR(sv) < WASTE_MAX);
}

/* Returns 1 if the string is lent, 0 if it is to be copied, or ETCP_ENOMEM. */
static int lend_string(pTHX_ etcp_freezer *z, SV *sv)
{
    SV *keep = may_share(sv) ? share_string(aTHX_ sv) : NULL;
    int rc;

    if (!keep)
        return 0;
    rc = etcp_storable_lend_string(&z->w, SvPVX_const(keep), SvCUR(keep), SvUTF8(keep) != 0, keep);
    if (rc == 0)
        return 1;
    SvREFCNT_dec(keep);
    return rc;
}
#else
static int lend_string(pTHX_ etcp_freezer *z, SV *sv)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(z);
    PERL_UNUSED_VAR(sv);
    return 0;
}
#endif

static int freeze_string(pTHX_ etcp_freezer *z, SV *sv)
{
    const MAGIC *literal = SvMAGICAL(sv) ? mg_find(sv, PERL_MAGIC_vstring) : NULL;
    int rc = 0;

    if (literal && z->state->minor >= FIRST_MINOR_OF_VSTRINGS) {
        if (literal->mg_len < 0 || literal->mg_len >= INT32_MAX)
            return ETCP_FREEZE_FOREIGN;
        rc = etcp_storable_put_literal(&z->w, (const uint8_t *)literal->mg_ptr,
                                       (size_t)literal->mg_len);
    }
    if (rc == 0 && z->lends && is_worth_lending(z, SvCUR(sv))) {
        rc = lend_string(aTHX_ z, sv);
        if (rc > 0)
            return 0;
    }
    return rc < 0 ? rc : freeze_text(z, SvPVX_const(sv), SvCUR(sv), SvUTF8(sv) != 0);
}

/* ---- numbers --------------------------------------------------------------------------------- */

enum { NOT_SHORT = 1 }; /* a number that takes many digits */

/* Numbers that arrive as they are: their bits, or as whole numbers those that Perl prints digit by
 * digit as doubles, too. What no double equals travels as text. */

static int is_negative_zero(NV nv)
{
    const NV plus_zero = 0.0;

    return nv == 0 && memcmp(&nv, &plus_zero, NVSIZE < 10 ? NVSIZE : 10) != 0;
}

#if NVSIZE > 8
static int freeze_exact_decimal(pTHX_ etcp_freezer *z, NV nv)
{
    SV *number = z->state->number;
    STRLEN len;
    char *text;
    char *at;

    sv_setpvf(number, "%.*" NVgf, NV_DIG + 3, nv);
    text = SvPV(number, len);
    /* We may be under "use locale". */
    for (at = text; at < text + len; at++) {
        if (!isALNUM(*at) && *at != '-' && *at != '+')
            *at = '.';
    }
    return etcp_storable_put_exact_decimal(&z->w, text, len);
}
#endif

static int freeze_exact_double(pTHX_ etcp_freezer *z, NV nv)
{
    const NV printed_whole = NV_DIG > 17 ? 1e18 : 1e15;
    const NV magnitude = nv < 0 ? -nv : nv;

    if (magnitude < printed_whole && (NV)(uint64_t)magnitude == magnitude && !is_negative_zero(nv))
        return etcp_storable_put_exact_integer(&z->w, nv < 0, (uint64_t)magnitude);
#if NVSIZE > 8
    if (nv == nv && (NV)(double)nv != nv)
        return freeze_exact_decimal(aTHX_ z, nv);
#endif
    PERL_UNUSED_CONTEXT;
    return etcp_storable_put_exact_double(&z->w, (double)nv);
}

static int freeze_integer(etcp_freezer *z, SV *sv)
{
    IV iv = SvIVX(sv);
    int is_negative = !SvIsUV(sv) && iv < 0;

    /* Most are small. A zero may have a sign as a double; no UV that looks negative is small. */
    if (iv >= -128 && iv <= 127 && !(SvFLAGS(sv) & (SVf_NOK | SVf_IVisUV)))
        return etcp_storable_put_byte(&z->w, (int)iv);
    if (z->can & ETCP_CAN_EXACT_NUMBERS) {
        if (iv == 0 && SvNOK(sv) && is_negative_zero(SvNVX(sv)))
            return etcp_storable_put_exact_double(&z->w, -0.0);
        return etcp_storable_put_exact_integer(&z->w, is_negative,
                                               is_negative ? 0 - (UV)iv : (UV)iv);
    }
    return etcp_storable_put_integer(&z->w, is_negative, is_negative ? 0 - (UV)iv : (UV)iv,
                                     z->state->writes_netint);
}

#if defined(USE_LONG_DOUBLE) || defined(USE_QUADMATH) || NVSIZE != 8
static int freeze_decimal(etcp_freezer *z, NV nv)
{
    PERL_UNUSED_VAR(z);
    PERL_UNUSED_VAR(nv);
    return NOT_SHORT;
}
#else

enum { MOST_DIGITS = 15, MOST_DECIMALS = 6 };

/* Writes the decimal number digits / 10**decimals. */
static int freeze_digits(etcp_freezer *z, int is_negative, uint64_t digits, int decimals)
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
 * of ten are exact, so that the quotient is what reading would give. Returns NOT_SHORT when it
 * takes more digits. */
static int freeze_decimal(etcp_freezer *z, NV nv)
{
    static const NV power[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    NV magnitude = nv < 0 ? -nv : nv;
    int decimals;

    if (!(magnitude >= 0.001 && magnitude < 1e9))
        return NOT_SHORT;
    for (decimals = 1; decimals <= MOST_DECIMALS; decimals++) {
        uint64_t digits = (uint64_t)(magnitude * power[decimals] + 0.5);
        if ((NV)digits / power[decimals] == magnitude)
            return freeze_digits(z, nv < 0, digits, decimals);
    }
    return NOT_SHORT;
}
#endif

/* Perl's own text of a number. Storable asks for it in the scope of its own code, where the decimal
 * point is a point; our caller may be under "use locale". */
static int freeze_by_perl(pTHX_ etcp_freezer *z, SV *number)
{
    char text[ETCP_SX_SHORT_MAX + 1]; /* of 64 bytes, gcc 12 and 16 fear for those of longer strings */
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

/* Storable turns whole numbers into integers, and writes Perl's text of all others. Both is tried
 * on a scalar of ours: the user's keeps its flags. */
static int freeze_double(pTHX_ etcp_freezer *z, NV nv)
{
    SV *number = z->state->number;
    int rc;

    if (z->can & ETCP_CAN_EXACT_NUMBERS)
        return freeze_exact_double(aTHX_ z, nv);
    if (nv > -2147483648.0 && nv < 2147483648.0) {
        I32 whole = (I32)nv;
        if ((NV)whole == nv)
            return etcp_storable_put_integer(&z->w, whole < 0,
                                             (uint64_t)(whole < 0 ? -(IV)whole : whole),
                                             z->state->writes_netint);
        rc = freeze_decimal(z, nv);
        if (rc != NOT_SHORT)
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

/* ---- any scalar ------------------------------------------------------------------------------ */

/* A value that has private flags only: numbers that were made from something else, and scalars with
 * magic in old perls. Storable takes the text, which is made on a scalar of ours. */
static int freeze_private_value(pTHX_ etcp_freezer *z, SV *sv)
{
    SV *copy = z->state->number;
    STRLEN len;
    const char *text;

    if (SvPOKp(sv))
        return freeze_string(aTHX_ z, sv);
    if (SvIOKp(sv) && SvIsUV(sv))
        sv_setuv(copy, SvUVX(sv));
    else if (SvIOKp(sv))
        sv_setiv(copy, SvIVX(sv));
    else
        sv_setnv(copy, SvNVX(sv));
    text = SvPV_const(copy, len);
    return freeze_text(z, text, len, 0);
}

/* The order of the questions is that of Storable: a string comes before a number, and the constants
 * before both. */
int etcp_freeze_scalar(pTHX_ etcp_freezer *z, SV *sv)
{
    const U32 constant_flags = SVf_READONLY | SVf_POK | SVf_NOK;
    U32 flags = SvFLAGS(sv);

    /* The most frequent ones: neither a string nor a constant. */
    if ((flags & (SVf_IOK | SVf_POK)) == SVf_IOK)
        return freeze_integer(z, sv);
    if (!SvOK(sv))
        return etcp_storable_put_op(&z->w, sv == &PL_sv_undef ? ETCP_SX_SV_UNDEF : ETCP_SX_UNDEF);
    if ((flags & constant_flags) == constant_flags) {
        if (sv == &PL_sv_yes)
            return etcp_storable_put_op(&z->w, ETCP_SX_SV_YES);
        if (sv == &PL_sv_no)
            return etcp_storable_put_op(&z->w, ETCP_SX_SV_NO);
    }
#ifdef SvIsBOOL
    else if ((z->state->writes_booleans || (z->can & ETCP_CAN_BOOLEANS)) && SvIsBOOL(sv))
        return etcp_storable_put_op(&z->w,
                                    SvTRUE_nomg(sv) ? ETCP_SX_BOOLEAN_TRUE : ETCP_SX_BOOLEAN_FALSE);
#endif
    if (flags & SVf_POK)
        return freeze_string(aTHX_ z, sv);
    if (flags & SVf_IOK)
        return freeze_integer(z, sv);
    if (flags & SVf_NOK)
        return freeze_double(aTHX_ z, SvNVX(sv));
    return freeze_private_value(aTHX_ z, sv);
}
