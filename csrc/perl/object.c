#include "object.h"

#include "handle.h"

static int free_object(pTHX_ SV *sv, MAGIC *mg);
#ifdef USE_ITHREADS
static int dup_object(pTHX_ MAGIC *mg, CLONE_PARAMS *param);
#endif

static const MGVTBL object_vtbl = {
    NULL, NULL, NULL, NULL, free_object, NULL,
#ifdef USE_ITHREADS
    dup_object,
#else
    NULL,
#endif
    NULL
};

SV *etcp_fail(pTHX_ const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sv_vsetpvf(ERRSV, format, &args);
    va_end(args);
    return &PL_sv_undef;
}

etcp_policy *etcp_policy_new(pTHX_ int mode, AV *classes)
{
    etcp_policy *policy;
    I32 i;

    Newxz(policy, 1, etcp_policy);
    policy->references = 1;
    policy->rule.mode = mode;
    if (mode == 2) {
        policy->rule.classes = newHV();
        for (i = 0; classes && i <= av_len(classes); i++) {
            SV **name = av_fetch(classes, i, 0);
            if (name && SvOK(*name))
                (void)hv_store_ent(policy->rule.classes, *name, newSViv(1), 0);
        }
    }
    return policy;
}

etcp_policy *etcp_policy_ref(etcp_policy *policy)
{
    if (policy)
        policy->references++;
    return policy;
}

void etcp_policy_unref(pTHX_ etcp_policy *policy)
{
    if (!policy || --policy->references > 0)
        return;
    SvREFCNT_dec((SV *)policy->rule.classes);
    Safefree(policy);
}

etcp_object *etcp_object_attach(pTHX_ HV *hash, etcp_kind kind)
{
    etcp_object *o;
    MAGIC *mg;

    Newxz(o, 1, etcp_object);
    o->kind = kind;
    o->hash = hash;
    if (kind == ETCP_KIND_SERVER) {
        Newxz(o->srv, 1, etcp_server_part);
        o->srv->running = -1;
    }
    mg = sv_magicext((SV *)hash, NULL, PERL_MAGIC_ext, (MGVTBL *)&object_vtbl, (const char *)o, 0);
#ifdef USE_ITHREADS
    mg->mg_flags |= MGf_DUP;
#else
    PERL_UNUSED_VAR(mg);
#endif
    return o;
}

etcp_object *etcp_object_find(pTHX_ SV *hash)
{
    const MAGIC *mg;

    if (SvTYPE(hash) != SVt_PVHV)
        return NULL;
    /* Every method begins here, and the first magic is the one: mg_findext would be two calls. */
    for (mg = SvMAGIC(hash); mg; mg = mg->mg_moremagic)
        if (mg->mg_type == PERL_MAGIC_ext && mg->mg_virtual == &object_vtbl)
            return (etcp_object *)mg->mg_ptr;
    return NULL;
}

etcp_object *etcp_object_of(pTHX_ SV *self, CV *method)
{
    etcp_object *o = SvROK(self) ? etcp_object_find(aTHX_ SvRV(self)) : NULL;

    if (o)
        return o;
    croak("Net::EasyTCP::%s(): not a Net::EasyTCP object", GvNAME(CvGV(method)));
    return NULL;
}

IV etcp_object_next_serial(pTHX)
{
    SV *counter = get_sv("Net::EasyTCP::_SERIAL", GV_ADD);
    IV serial = SvOK(counter) ? SvIV(counter) + 1 : 1;

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

void etcp_object_protect(pTHX_ etcp_object *o)
{
    SvREFCNT_inc_simple_void_NN((SV *)o->hash);
    sv_2mortal((SV *)o->hash);
}

void etcp_object_forget(pTHX_ etcp_object *o)
{
    SV *held = o->held;

    if (!held)
        return;
    if (o->prev)
        o->prev->next = o->next;
    else if (o->server)
        o->server->srv->clients = o->next;
    if (o->next)
        o->next->prev = o->prev;
    o->prev = o->next = o->server = NULL;
    o->held = NULL;
    o->cipher = etcp_object_cipher(o);
    o->compressor = etcp_object_compressor(o);
    if (o->conn)
        etcp_conn_set_user(o->conn, NULL);
    SvREFCNT_dec(held); /* may free o */
}

void etcp_object_slot(pTHX_ etcp_object *o, const char *name, SV *value)
{
    if (!hv_store(o->hash, name, (I32)strlen(name), value, 0))
        SvREFCNT_dec(value);
}

/* Waits, without handling signals, until queued output left: what was sent before the object went
 * away still arrives. Bounded by the limits of each connection. */
static void deliver_queue(etcp_server *core)
{
    uint64_t since = 0;

    while (etcp_server_drain(core, ETCP_LINGER_MS, &since) == ETCP_EINTR)
        continue;
}

static void free_server_part(pTHX_ etcp_object *o)
{
    etcp_server_part *srv = o->srv;

    deliver_queue(srv->core);
    while (srv->clients) {
        if (PL_dirty) {
            /* The hashes may be gone already: only cut the links. */
            etcp_object *c = srv->clients;
            srv->clients = c->next;
            c->server = c->prev = c->next = NULL;
            c->held = NULL;
        } else {
            /* A script may go on with objects that it holds, in a forked child for example. */
            if (SvREFCNT(srv->clients->hash) > 1)
                etcp_conn_outlive_server(srv->clients->conn);
            etcp_object_forget(aTHX_ srv->clients);
        }
    }
    etcp_server_free(srv->core);
    etcp_config_unref(srv->config);
    if (!PL_dirty) {
        SvREFCNT_dec(srv->on_connect);
        SvREFCNT_dec(srv->on_data);
        SvREFCNT_dec(srv->on_disconnect);
    }
    Safefree(srv);
}

static int free_object(pTHX_ SV *sv, MAGIC *mg)
{
    etcp_object *o = (etcp_object *)mg->mg_ptr;

    PERL_UNUSED_ARG(sv);
    if (!o)
        return 0;
    mg->mg_ptr = NULL;
    if (o->srv)
        free_server_part(aTHX_ o);
    if (o->held) {
        /* Only global destruction frees a listed serverclient; unlink without touching the hash. */
        o->held = NULL;
        if (o->prev)
            o->prev->next = o->next;
        else if (o->server && o->server->srv)
            o->server->srv->clients = o->next;
        if (o->next)
            o->next->prev = o->prev;
    }
    if (o->conn) {
        etcp_conn_set_user(o->conn, NULL);
        etcp_conn_unref(o->conn);
    }
    if (!PL_dirty) {
        etcp_bucket_clear(aTHX_ &o->bucket);
        etcp_handle_withdraw(aTHX_ o);
        SvREFCNT_dec(o->handle);
        etcp_policy_unref(aTHX_ o->policy);
    }
    Safefree(o);
    return 0;
}

#ifdef USE_ITHREADS
static etcp_policy *dup_policy(pTHX_ const etcp_policy *old, CLONE_PARAMS *param)
{
    etcp_policy *copy;

    if (!old)
        return NULL;
    Newxz(copy, 1, etcp_policy);
    copy->references = 1;
    copy->rule = old->rule;
    copy->rule.classes = (HV *)sv_dup_inc((SV *)old->rule.classes, param);
    return copy;
}

static etcp_server_part *dup_server_part(pTHX_ const etcp_server_part *old, CLONE_PARAMS *param)
{
    etcp_server_part *copy;

    Newxz(copy, 1, etcp_server_part);
    *copy = *old;
    copy->clients = NULL;
    copy->core = etcp_server_clone(old->core);
    copy->config = etcp_config_ref(old->config);
    copy->on_connect = sv_dup_inc(old->on_connect, param);
    copy->on_data = sv_dup_inc(old->on_data, param);
    copy->on_disconnect = sv_dup_inc(old->on_disconnect, param);
    return copy;
}

/* A new thread gets its own structure on a duplicated descriptor. Its serverclients belong to no
 * server: they can send and receive, the loop that lists them stays in the old thread. Messages
 * already in the bucket stay there too. */
static int dup_object(pTHX_ MAGIC *mg, CLONE_PARAMS *param)
{
    const etcp_object *old = (const etcp_object *)mg->mg_ptr;
    etcp_object *copy;

    if (!old)
        return 0;
    Newxz(copy, 1, etcp_object);
    copy->kind = old->kind;
    copy->donot = old->donot;
    copy->serial = old->serial;
    copy->cipher = etcp_object_cipher(old);
    copy->compressor = etcp_object_compressor(old);
    copy->hash = (HV *)sv_dup((SV *)old->hash, param);
    copy->handle = sv_dup_inc(old->handle, param);
    copy->slot = sv_dup_inc(old->slot, param);
    copy->policy = dup_policy(aTHX_ old->policy, param);
    if (old->conn)
        copy->conn = etcp_conn_clone(old->conn);
    if (old->srv)
        copy->srv = dup_server_part(aTHX_ old->srv, param);
    mg->mg_ptr = (char *)copy;
    return 0;
}
#endif
