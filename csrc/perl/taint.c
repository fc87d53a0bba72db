#include "taint.h"

/* A walk over a structure: what is still to be visited, and which containers were seen. */
typedef struct walk {
    AV *pending;
    HV *seen;
} walk;

static void visit_later(pTHX_ walk *w, SV *sv)
{
    av_push(w->pending, SvREFCNT_inc_simple_NN(sv));
}

/* Whether a value is met for the first time: structures may have circles. */
static int is_new(pTHX_ walk *w, const SV *sv)
{
    SV **mark = hv_fetch(w->seen, (const char *)&sv, sizeof sv, 1);

    if (!mark || SvOK(*mark))
        return 0;
    sv_setiv(*mark, 1);
    return 1;
}

static void visit_array(pTHX_ walk *w, AV *av)
{
    I32 i;

    for (i = 0; i <= av_len(av); i++) {
        SV **element = av_fetch(av, i, 0);
        if (element)
            visit_later(aTHX_ w, *element);
    }
}

static void visit_hash(pTHX_ walk *w, HV *hv)
{
    HE *entry;

    hv_iterinit(hv);
    while ((entry = hv_iternext(hv)) != NULL)
        visit_later(aTHX_ w, HeVAL(entry));
}

/* Tied containers are left out, since reading them runs code; so are code, patterns and handles. */
static void visit(pTHX_ walk *w, SV *sv)
{
    if (!is_new(aTHX_ w, sv))
        return;
    if (SvTYPE(sv) == SVt_PVAV && !SvRMAGICAL(sv))
        visit_array(aTHX_ w, (AV *)sv);
    else if (SvTYPE(sv) == SVt_PVHV && !SvRMAGICAL(sv))
        visit_hash(aTHX_ w, (HV *)sv);
    if (SvTYPE(sv) > SVt_PVMG || SvREADONLY(sv))
        return;
    if (SvROK(sv))
        visit_later(aTHX_ w, SvRV(sv));
    SvTAINTED_on(sv);
}

void etcp_taint_all(pTHX_ SV *sv)
{
    walk w;

    if (!SvROK(sv)) {
        SvTAINTED_on(sv);
        return;
    }
    w.pending = (AV *)sv_2mortal((SV *)newAV());
    w.seen = (HV *)sv_2mortal((SV *)newHV());
    visit_later(aTHX_ &w, sv);
    while (av_len(w.pending) >= 0) {
        SV *next = av_pop(w.pending);
        visit(aTHX_ &w, next);
        SvREFCNT_dec(next);
    }
}
