/* Freezes scalars that are no references. */
#ifndef ETCP_PERL_FREEZE_SCALAR_H
#define ETCP_PERL_FREEZE_SCALAR_H

#include "freeze_private.h"

/* Writes a scalar; its magic was read. */
int etcp_freeze_scalar(pTHX_ etcp_freezer *z, SV *sv);

/* Reads the value of a scalar with magic into it. */
int etcp_freeze_read(pTHX_ etcp_freezer *z, SV *sv);

/* Whether reading a container runs code: magic that is more than a memory. */
int etcp_freeze_is_magical(const SV *sv);

/* Whether a scalar is nothing but a small integer, as most are: written as BYTE. A zero may have a sign
 * as a double; no UV that looks negative is small. */
static inline int etcp_freeze_is_byte(const SV *sv)
{
    const U32 looked_at = SVTYPEMASK | SVf_IOK | SVf_NOK | SVf_POK | SVf_ROK | SVf_IVisUV;

    return (SvFLAGS(sv) & looked_at) == (SVt_IV | SVf_IOK) && SvIVX(sv) >= -128 && SvIVX(sv) <= 127;
}

/* Writes an element if it is a plain scalar with one owner, as most are; names it otherwise. */
static inline int etcp_freeze_element(pTHX_ etcp_freezer *z, SV *sv, SV **next)
{
    if (SvREFCNT(sv) == 1 && z->mode == ETCP_FREEZE_PLAIN) {
        if (etcp_freeze_is_byte(sv)) {
            etcp_storable_pass(&z->w);
            return etcp_storable_put_byte(&z->w, (int)SvIVX(sv));
        }
        if (SvTYPE(sv) < SVt_PVMG && !SvROK(sv)) {
            etcp_storable_pass(&z->w);
            return etcp_freeze_scalar(aTHX_ z, sv);
        }
    }
    *next = sv;
    return ETCP_FREEZE_NEXT;
}

#endif
