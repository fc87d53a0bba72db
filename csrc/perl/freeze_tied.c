#include "freeze_private.h"

/* What a tie writes is its object: reading back ties again, and calls no FETCH. */

const MAGIC *etcp_freeze_tie_of(const SV *sv)
{
    const U32 all = SVs_GMG | SVs_SMG | SVs_RMG;
    const MAGIC *mg;

    if (SvTYPE(sv) == SVt_PVAV || SvTYPE(sv) == SVt_PVHV)
        return SvRMAGICAL(sv) ? mg_find((SV *)sv, PERL_MAGIC_tied) : NULL;
    if (SvTYPE(sv) < SVt_PVMG || (SvFLAGS(sv) & all) != all)
        return NULL;
    mg = mg_find((SV *)sv, PERL_MAGIC_tiedelem);
    return mg ? mg : mg_find((SV *)sv, PERL_MAGIC_tiedscalar);
}

SV *etcp_freeze_tied_object(pTHX_ const MAGIC *tie)
{
    return tie->mg_obj ? tie->mg_obj : sv_2mortal(newSV(0));
}

static int freeze_element(pTHX_ etcp_freezer *z, SV *sv, const MAGIC *tie, SV **next)
{
    const int has_key = tie->mg_ptr != NULL;
    etcp_freeze_frame *f;
    int rc = etcp_storable_put_op(&z->w, has_key ? ETCP_SX_TIED_KEY : ETCP_SX_TIED_IDX);

    if (rc < 0)
        return rc;
    rc = etcp_freeze_push(aTHX_ z, has_key ? ETCP_FREEZE_TIED_KEY : ETCP_FREEZE_TIED_INDEX, sv, 1,
                          &f);
    *next = etcp_freeze_tied_object(aTHX_ tie);
    return rc == ETCP_FREEZE_OPENED ? ETCP_FREEZE_NEXT : rc;
}

int etcp_freeze_tied(pTHX_ etcp_freezer *z, SV *sv, const MAGIC *tie, SV **next)
{
    etcp_storable_op op = ETCP_SX_TIED_SCALAR;
    int rc;

    if (etcp_freeze_needs_storable(z))
        return ETCP_FREEZE_AGAIN;
    if (tie->mg_type == PERL_MAGIC_tiedelem)
        return freeze_element(aTHX_ z, sv, tie, next);
    if (SvTYPE(sv) == SVt_PVHV)
        op = ETCP_SX_TIED_HASH;
    else if (SvTYPE(sv) == SVt_PVAV)
        op = ETCP_SX_TIED_ARRAY;
    rc = etcp_storable_put_op(&z->w, op);
    return rc < 0 ? rc : etcp_freeze_below(aTHX_ z, etcp_freeze_tied_object(aTHX_ tie), next);
}

/* The key of an element of a tied hash: mostly a scalar, but C code may have given bytes. */
static SV *key_of(pTHX_ const MAGIC *tie)
{
    return tie->mg_len == HEf_SVKEY ? (SV *)tie->mg_ptr
                                    : sv_2mortal(newSVpvn(tie->mg_ptr, (STRLEN)tie->mg_len));
}

/* The container was written: which element. */
int etcp_freeze_tied_step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    const MAGIC *tie = etcp_freeze_tie_of(f->value);

    if (f->index++)
        return ETCP_FREEZE_DONE;
    if (!tie)
        croak("A tied element changed while it was frozen");
    if (f->kind == ETCP_FREEZE_TIED_INDEX)
        return etcp_storable_put_u32(&z->w, (uint32_t)tie->mg_len);
    *next = key_of(aTHX_ tie);
    return ETCP_FREEZE_NEXT;
}
