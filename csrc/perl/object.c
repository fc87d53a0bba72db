#include "object.h"

#include "taint.h"

const MGVTBL *etcp_object_vtbl = NULL;

/* What $@ refers to gives way to a text, but only when the statement ends: its destructor may drop what
 * our caller still uses. */
static void spare_error(pTHX)
{
    if (SvROK(ERRSV))
        sv_2mortal(SvREFCNT_inc_simple_NN(SvRV(ERRSV)));
}

SV *etcp_fail(pTHX_ const char *format, ...)
{
    va_list args;
    SV *text;

    /* Values that are part of it may run code, which may use $@. */
    va_start(args, format);
    text = sv_2mortal(vnewSVpvf(format, &args));
    va_end(args);
    spare_error(aTHX);
    sv_setsv(ERRSV, text);
    return &PL_sv_undef;
}

static int is_destructor(pTHX)
{
    const PERL_SI *si;

    for (si = PL_curstackinfo; si; si = si->si_prev)
        if (si->si_type == PERLSI_DESTROY)
            return 1;
    return 0;
}

void etcp_succeed(pTHX)
{
    if (!etcp_has_error(aTHX) || is_destructor(aTHX))
        return;
    spare_error(aTHX);
    sv_setpvs(ERRSV, "");
}

void etcp_object_missing(pTHX_ CV *method)
{
    croak("Net::EasyTCP::%s(): not a Net::EasyTCP object", GvNAME(CvGV(method)));
}

IV etcp_object_next_serial(pTHX)
{
    SV *counter = get_sv("Net::EasyTCP::_SERIAL", GV_ADD);
    IV serial = SvOK(counter) ? SvIV(counter) + 1 : 1;

    TAINT_NOT; /* it would stay tainted */
    sv_setiv(counter, serial);
    return serial;
}

const char *etcp_object_mode(const etcp_object *o)
{
    switch (o->kind) {
    case ETCP_KIND_SERVER: return "server";
    case ETCP_KIND_CLIENT: return "client";
    case ETCP_KIND_SERVERCLIENT: return "serverclient";
    }
    return "";
}

static const etcp_session *session_of(const etcp_object *o)
{
    return o->conn ? etcp_conn_session(o->conn) : NULL;
}

const etcp_cipher *etcp_object_cipher(const etcp_object *o)
{
    const etcp_session *session = session_of(o);

    return session ? etcp_session_cipher(session) : o->cipher;
}

const etcp_compressor *etcp_object_compressor(const etcp_object *o)
{
    const etcp_session *session = session_of(o);

    return session ? etcp_session_compressor(session) : o->compressor;
}

unsigned etcp_object_told(const etcp_object *o)
{
    const etcp_session *session = session_of(o);

    return session ? etcp_session_told(session) : o->told;
}

unsigned etcp_object_peer_can(const etcp_object *o)
{
    const etcp_session *session = session_of(o);

    return session ? etcp_session_peer_can(session) : 0;
}

SV *etcp_object_failed(pTHX_ const etcp_object *o)
{
    if (o->raises)
        croak("%" SVf, SVfARG(sv_mortalcopy(ERRSV)));
    return &PL_sv_undef;
}

int etcp_object_over_tls(const etcp_object *o)
{
    return o->over_tls || (o->conn && etcp_conn_is_tls(o->conn));
}

void etcp_object_clear_error(pTHX_ const etcp_object *o)
{
    if (etcp_object_cipher(o) || etcp_object_compressor(o) || etcp_object_over_tls(o))
        etcp_succeed(aTHX);
}

static SV *text_or_undef(pTHX_ const char *text)
{
    return text && text[0] ? newSVpv(text, 0) : newSV(0);
}

SV *etcp_object_fingerprint(pTHX_ const etcp_object *o)
{
    const etcp_object *whose = o->server ? o->server : o;

    return text_or_undef(aTHX_ whose->tls ? etcp_tls_fingerprint(whose->tls) : NULL);
}

SV *etcp_object_peer_fingerprint(pTHX_ const etcp_object *o)
{
    char text[ETCP_FINGERPRINT_TEXT] = "";
    etcp_trust trust;

    if (o->conn)
        (void)etcp_conn_tls(o->conn, &trust, text);
    return text_or_undef(aTHX_ text);
}

/* A password proves more than any key does: that there is nobody in between now. */
SV *etcp_object_trust(pTHX_ const etcp_object *o)
{
    static const char *const names[] = {
        [ETCP_TRUST_NONE] = NULL,
        [ETCP_TRUST_FINGERPRINT] = "fingerprint",
        [ETCP_TRUST_CA] = "ca",
        [ETCP_TRUST_KNOWN_HOST] = "knownhost",
        [ETCP_TRUST_FIRST_USE] = "firstuse",
    };
    const etcp_session *session = session_of(o);
    char text[ETCP_FINGERPRINT_TEXT];
    etcp_trust trust;

    if (!o->conn || !session || !etcp_conn_tls(o->conn, &trust, text))
        return newSV(0);
    if (etcp_session_is_authenticated(session))
        return newSVpvs("password");
    return text_or_undef(aTHX_ names[trust]);
}

void etcp_object_protect(pTHX_ etcp_object *o)
{
    SvREFCNT_inc_simple_void_NN((SV *)o->hash);
    sv_2mortal((SV *)o->hash);
}

void *etcp_object_pin(etcp_object *o)
{
    return SvREFCNT_inc_simple_NN((SV *)o->hash);
}

etcp_object *etcp_object_unpin(pTHX_ void *pin)
{
    return etcp_object_find(aTHX_ sv_2mortal((SV *)pin));
}

void etcp_object_slot(pTHX_ etcp_object *o, const char *name, SV *value)
{
    const I32 len = (I32)strlen(name);
    SV **old = hv_fetch(o->hash, name, len, 0);

    /* hv_store would free what a script has put there, and its DESTROY may free the hash. */
    if (old) {
        SV *place = sv_2mortal(SvREFCNT_inc_simple_NN(*old));
        sv_setsv_mg(place, sv_2mortal(value));
    } else if (!hv_store(o->hash, name, len, value, 0)) {
        SvREFCNT_dec(value);
    }
}

void etcp_object_list_peer(pTHX_ etcp_object *o)
{
    char ip[64];
    SV *address = newSVpv(etcp_conn_remote_ip(o->conn, ip, sizeof ip), 0);
    SV *port = newSVuv(etcp_conn_remote_port(o->conn));

    etcp_taint(aTHX_ address);
    etcp_taint(aTHX_ port);
    etcp_object_slot(aTHX_ o, "_remoteip", address);
    etcp_object_slot(aTHX_ o, "_remoteport", port);
}
