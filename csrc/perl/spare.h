/* The scalar of a short message, used again: most callbacks have no use for it once they end, and making
 * and freeing one takes as long as all that the core does for a message. */
#ifndef ETCP_PERL_SPARE_H
#define ETCP_PERL_SPARE_H

#include "bridge.h"

/* Bytes of memory: a short message that the program keeps may be in as much as this. */
enum { ETCP_SPARE_MAX = 1024 };

/* Whether a temporary value is a short string and nothing else, and all that is left to do with it is to
 * free it. Whoever has a reference to it would count as an owner; what hangs on it would be magic. */
static inline bool etcp_spare_may_be(const SV *sv)
{
    return (SvFLAGS(sv) & ~(U32)SVs_TEMP) == (SVt_PV | SVf_POK | SVp_POK) && SvREFCNT(sv) == 1 &&
           SvLEN(sv) <= ETCP_SPARE_MAX && SvLEN(sv) > 0;
}

/* What FREETMPS does, but the last temporary value becomes the spare scalar if it fits. */
static inline void etcp_spare_free_tmps(pTHX_ SV **spare)
{
    SV *last;

    if (PL_tmps_ix <= PL_tmps_floor)
        return;
    last = PL_tmps_stack[PL_tmps_ix];
    if (!*spare && last && etcp_spare_may_be(last)) {
        PL_tmps_ix--;
        SvTEMP_off(last);
        *spare = last;
    }
    FREETMPS;
}

/* A new string, in the spare scalar if there is one. */
static inline SV *etcp_spare_newSVpvn(pTHX_ SV **spare, const char *bytes, STRLEN len)
{
    SV *sv = *spare;

    if (!sv)
        return newSVpvn(bytes, len);
    *spare = NULL;
    Copy(bytes, SvGROW(sv, len + 1), len, char);
    SvPVX(sv)[len] = '\0';
    SvCUR_set(sv, len);
    return sv;
}

#endif
