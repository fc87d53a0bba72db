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

/* Writes an element if it is a plain scalar with one owner, as most are; names it otherwise. */
static inline int etcp_freeze_element(pTHX_ etcp_freezer *z, SV *sv, SV **next)
{
    if (SvREFCNT(sv) == 1 && SvTYPE(sv) < SVt_PVMG && !SvROK(sv) && z->mode == ETCP_FREEZE_PLAIN) {
        etcp_storable_pass(&z->w);
        return etcp_freeze_scalar(aTHX_ z, sv);
    }
    *next = sv;
    return ETCP_FREEZE_NEXT;
}

#endif
