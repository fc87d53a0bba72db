/* Perl code that runs while a message is decoded: what it dies of, and what a signal handler dies
 * of. */
#include "storable_private.h"

/* Perl runs handlers where it is convenient, so also inside a hook, where our eval would catch what
 * they die of. Ours is called in their place: it runs them in an eval, notes what they died of, and
 * lets the hook die of it. */
static void run_handlers(pTHX);

#if PERL_VERSION >= 14
static void see_handlers(pTHX_ etcp_storable_state *s)
{
    if (PL_signalhook == run_handlers)
        return;
    s->signal_hook = PL_signalhook;
    SAVESPTR(PL_signalhook);
    PL_signalhook = run_handlers;
}

static void ignore_handlers(pTHX_ const etcp_storable_state *s)
{
    SAVESPTR(PL_signalhook);
    PL_signalhook = s->signal_hook;
}

void etcp_storable_despatch_signals(pTHX)
{
    PL_signalhook(aTHX);
}
#else
/* These perls look for signals between two operations. */
static int run_operations(pTHX)
{
    while ((PL_op = (*PL_op->op_ppaddr)(aTHX))) {
        if (PL_sig_pending)
            run_handlers(aTHX);
    }
    TAINT_NOT;
    return 0;
}

static void see_handlers(pTHX_ etcp_storable_state *s)
{
    if (PL_runops == run_operations)
        return;
    s->runops = PL_runops;
    SAVESPTR(PL_runops);
    PL_runops = run_operations;
}

static void ignore_handlers(pTHX_ const etcp_storable_state *s)
{
    SAVESPTR(PL_runops);
    PL_runops = s->runops;
}

void etcp_storable_despatch_signals(pTHX)
{
    PERL_ASYNC_CHECK();
}
#endif

static void run_handlers(pTHX)
{
    etcp_storable_state *s = etcp_storable_state_of(aTHX);
    SV *before;
    dSP;

    ENTER;
    ignore_handlers(aTHX_ s);
    before = newSVsv(ERRSV);
    SAVEFREESV(before);
    PUSHSTACKi(PERLSI_MAGIC);
    PUSHMARK(SP);
    PUTBACK;
    call_sv((SV *)s->despatch, G_VOID | G_DISCARD | G_EVAL);
    POPSTACK;
    if (SvROK(ERRSV) || SvTRUE(ERRSV)) {
        SvREFCNT_dec(s->signal_error);
        s->signal_error = newSVsv(ERRSV);
        /* $SIG{__DIE__} has heard of it. */
        SAVESPTR(PL_diehook);
        PL_diehook = NULL;
        croak(NULL);
    }
    sv_setsv(ERRSV, before);
    LEAVE;
}

static void end_guard(pTHX_ void *state)
{
    etcp_storable_state *s = (etcp_storable_state *)state;

    if (--s->guards > 0)
        return;
    SvREFCNT_dec(s->signal_error);
    s->signal_error = NULL;
}

void etcp_storable_guard(pTHX_ etcp_storable_state *s)
{
    s->guards++;
    SAVEDESTRUCTOR_X(end_guard, s);
    see_handlers(aTHX_ s);
}

int etcp_storable_unguard(pTHX_ etcp_storable_state *s, SV *error)
{
    SV *noted = s->signal_error;

    if (!noted || !error)
        return 0;
    if (SvROK(noted) || SvROK(error))
        return SvROK(noted) && SvROK(error) && SvRV(noted) == SvRV(error);
    return sv_eq(noted, error);
}
