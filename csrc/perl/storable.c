#include "freeze_private.h"

#define MY_CXT_KEY "Net::EasyTCP::storable" XS_VERSION

typedef struct {
    PerlInterpreter *owner; /* whose state this is: a new thread sees its parent's until CLONE ran */
    etcp_storable_state *state;
} my_cxt_t;

START_MY_CXT

etcp_storable_state *etcp_storable_state_of(pTHX)
{
    dMY_CXT;

    return MY_CXT.state;
}

U8 etcp_perl_storable_minor(pTHX)
{
    return etcp_storable_state_of(aTHX)->minor;
}

SV *etcp_storable_call(pTHX_ const char *function, SV *argument, I32 flags)
{
    dSP;
    SV *result;

    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    XPUSHs(argument);
    PUTBACK;
    call_pv(function, G_SCALAR | flags);
    SPAGAIN;
    result = POPs;
    SvREFCNT_inc_simple_void(result);
    PUTBACK;
    FREETMPS;
    LEAVE;
    POPSTACK;
    return result;
}

/* ---- the dialect ----------------------------------------------------------------------------- */

/* What Storable makes of [true, 1000], behind the header and the count: the items it uses for both. */
static void probe_items(pTHX_ etcp_storable_state *s)
{
    AV *list = newAV();
    SV *rv = sv_2mortal(newRV_noinc((SV *)list));
    const U8 *image;
    SV *frozen;
    STRLEN len;
    STRLEN second;

    av_push(list, newSVsv(&PL_sv_yes));
    av_push(list, newSViv(1000));
    frozen = sv_2mortal(etcp_storable_call(aTHX_ "Storable::nfreeze", rv, 0));
    image = (const U8 *)SvPV_const(frozen, len);
    if (len < 9 || image[0] != ETCP_SX_NETWORK_2 || image[2] != ETCP_SX_ARRAY)
        croak("Storable writes an unknown format");
    s->minor = image[1];
    s->writes_booleans = image[7] == ETCP_SX_BOOLEAN_TRUE;
    second = s->writes_booleans ? 8 : 10;
    s->writes_netint = len > second && image[second] == ETCP_SX_NETINT;
}

/* The byte order and sizes that freeze writes, between the minor and the item 08 81. */
static void probe_native(pTHX_ etcp_storable_state *s)
{
    SV *rv = sv_2mortal(newRV_noinc(newSViv(1)));
    SV *frozen = sv_2mortal(etcp_storable_call(aTHX_ "Storable::freeze", rv, 0));
    STRLEN len;
    const char *image = SvPV_const(frozen, len);

    if (len <= 4 || len - 4 > sizeof s->native_header || image[0] != ETCP_SX_NATIVE_2)
        return;
    Copy(image + 2, s->native_header, len - 4, char);
    s->options.native_header = s->native_header;
    s->options.native_header_len = len - 4;
    s->options.integer_size = IVSIZE;
    s->options.double_size = NVSIZE;
}

static void copy_dialect(etcp_storable_state *s, const etcp_storable_state *from)
{
    s->minor = from->minor;
    s->writes_booleans = from->writes_booleans;
    s->writes_netint = from->writes_netint;
    s->options = from->options;
    if (!from->options.native_header)
        return;
    Copy(from->native_header, s->native_header, sizeof s->native_header, U8);
    s->options.native_header = s->native_header;
}

/* ---- life ------------------------------------------------------------------------------------ */

static GV *setting(pTHX_ const char *name)
{
    GV *gv = gv_fetchpv(name, GV_ADD | GV_ADDMULTI, SVt_PV);

    SvREFCNT_inc_simple_void((SV *)gv);
    return gv;
}

static void free_state(pTHX_ void *unused)
{
    dMY_CXT;
    etcp_storable_state *s = MY_CXT.state;

    PERL_UNUSED_ARG(unused);
    if (MY_CXT.owner != PERL_GET_THX || !s)
        return;
    MY_CXT.state = NULL;
    etcp_freezer_free(aTHX_ s->freezer);
    etcp_storable_reader_free(s->reader);
    etcp_storable_drop_keys(aTHX_ &s->keys);
    SvREFCNT_dec(s->frozen);
    SvREFCNT_dec(s->number);
    SvREFCNT_dec((SV *)s->canonical);
    SvREFCNT_dec((SV *)s->recursion_limit);
    SvREFCNT_dec((SV *)s->recursion_limit_hash);
    SvREFCNT_dec((SV *)s->flags);
    SvREFCNT_dec((SV *)s->accept_future_minor);
    SvREFCNT_dec((SV *)s->eval);
    SvREFCNT_dec((SV *)s->forgive_me);
    SvREFCNT_dec((SV *)s->despatch);
    SvREFCNT_dec((SV *)s->brought);
    Safefree(s);
}

/* All but the dialect, which stays unknown. */
static etcp_storable_state *make_state(pTHX)
{
    etcp_storable_state *s;
    MY_CXT_INIT;

    Newxz(s, 1, etcp_storable_state);
    s->max_depth = ETCP_STORABLE_DEPTH;
    s->reader = etcp_storable_reader_new();
    if (!s->reader)
        croak("Out of memory");
    s->number = newSV(0);
    s->canonical = setting(aTHX_ "Storable::canonical");
    s->recursion_limit = setting(aTHX_ "Storable::recursion_limit");
    s->recursion_limit_hash = setting(aTHX_ "Storable::recursion_limit_hash");
    s->flags = setting(aTHX_ "Storable::flags");
    s->accept_future_minor = setting(aTHX_ "Storable::accept_future_minor");
    s->eval = setting(aTHX_ "Storable::Eval");
    s->forgive_me = setting(aTHX_ "Storable::forgive_me");
    s->brought = get_hv("Net::EasyTCP::_BROUGHT", GV_ADD);
    SvREFCNT_inc_simple_void((SV *)s->brought);
    s->despatch = get_cv("Net::EasyTCP::_despatch_signals", GV_ADD);
    SvREFCNT_inc_simple_void((SV *)s->despatch);
    MY_CXT.owner = PERL_GET_THX;
    MY_CXT.state = s;
    call_atexit(free_state, NULL);
    return s;
}

void etcp_perl_storable_boot(pTHX)
{
    etcp_storable_state *s;

    if (!get_cv("Storable::nfreeze", 0))
        load_module(PERL_LOADMOD_NOIMPORT, newSVpvn("Storable", 8), NULL);
    s = make_state(aTHX);
    probe_items(aTHX_ s);
    probe_native(aTHX_ s);
}

/* Storable is not called: until its own CLONE has run, which may be after ours, it works in the buffers
 * of the thread that makes this one, and would leave memory of ours in them. */
void etcp_perl_storable_clone(pTHX)
{
    dMY_CXT;
    const etcp_storable_state *parent = MY_CXT.state;

    /* Perl calls CLONE again for each class that inherits it. */
    if (MY_CXT.owner != PERL_GET_THX && parent)
        copy_dialect(make_state(aTHX), parent);
}
