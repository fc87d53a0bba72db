#include "lifetime.h"

#include "async.h"
#include "handle.h"
#include "policy.h"
#include "request.h"
#include "server_part.h"
#include "watches.h"

static int free_object(pTHX_ SV *sv, MAGIC *mg);
#ifdef USE_ITHREADS
static int dup_object(pTHX_ MAGIC *mg, CLONE_PARAMS *param);
#endif

static const MGVTBL vtbl = {NULL,       NULL, NULL, NULL, free_object, NULL,
#ifdef USE_ITHREADS
                            dup_object,
#else
                             NULL,
#endif
                            NULL};

void etcp_lifetime_boot(void)
{
    etcp_object_vtbl = &vtbl;
}

etcp_object *etcp_object_attach(pTHX_ HV *hash, etcp_kind kind)
{
    etcp_object *o;
    MAGIC *mg;

    Newxz(o, 1, etcp_object);
    o->kind = kind;
    o->hash = hash;
    if (kind == ETCP_KIND_SERVER)
        o->srv = etcp_server_part_new(aTHX);
    mg = sv_magicext((SV *)hash, NULL, PERL_MAGIC_ext, (MGVTBL *)&vtbl, (const char *)o, 0);
#ifdef USE_ITHREADS
    mg->mg_flags |= MGf_DUP;
#else
    PERL_UNUSED_VAR(mg);
#endif
    return o;
}

static void finish_close(pTHX_ void *pin)
{
    etcp_object *o = etcp_object_unpin(aTHX_ pin);

    if (!o)
        return;
    if (o->async) {
        etcp_async_stop(aTHX_ o);
        etcp_watches_remove_own(aTHX_ o);
    }
    if (o->conn)
        etcp_conn_close(o->conn);
    etcp_handle_close(aTHX_ o);
    etcp_bucket_clear(aTHX_ & o->bucket);
}

void etcp_lifetime_close(pTHX_ etcp_object *o)
{
    /* A handler that closes what is being closed has had enough of waiting. */
    int waits = o->conn && etcp_conn_is_open(o->conn);

    ENTER;
    SAVEDESTRUCTOR_X(finish_close, etcp_object_pin(o)); /* a signal's handler may die */
    while (waits && etcp_conn_linger(o->conn) == ETCP_EINTR)
        PERL_ASYNC_CHECK();
    LEAVE;
}

/* What was sent before an object went away still arrives. No handler of a signal can run while it
 * goes: a signal ends the wait, so that its handler runs then. */
static void deliver(pTHX_ etcp_conn *conn)
{
    while (etcp_conn_linger(conn) == ETCP_EINTR && !PL_sig_pending)
        continue;
}

/* No destructor may run meanwhile: it could run the loop, which still lists the object or those who are
 * in it, and hand out references to a hash that is gone. So values are not released but made mortal, and
 * go when the statement ends. */
static int free_object(pTHX_ SV *sv, MAGIC *mg)
{
    etcp_object *o = (etcp_object *)mg->mg_ptr;

    PERL_UNUSED_ARG(sv);
    if (!o)
        return 0;
    mg->mg_ptr = NULL;
    if (o->async) {
        etcp_watches_remove_all(aTHX_ o);
        etcp_request_drop_all(aTHX_ o->async);
        etcp_async_free(aTHX_ o);
    }
    if (o->srv)
        etcp_server_part_free(aTHX_ o);
    if (o->held)
        etcp_server_part_unlist(o); /* only global destruction frees one that is listed */
    if (o->conn) {
        etcp_conn_set_user(o->conn, NULL);
        deliver(aTHX_ o->conn);
        etcp_conn_unref(o->conn);
    }
    if (!PL_dirty) {
        etcp_bucket_clear(aTHX_ & o->bucket);
        if (o->withdraw)
            o->withdraw(aTHX_ o);
        sv_2mortal(o->slot);
        sv_2mortal(o->handle);
    }
    etcp_policy_unref(aTHX_ o->policy);
    etcp_tls_unref(o->tls);
    Safefree(o);
    return 0;
}

#ifdef USE_ITHREADS
/* A new thread gets its own structure on a duplicated descriptor. Its serverclients belong to no
 * server: they can send and receive, the loop that lists them stays in the old thread. Messages
 * already in the bucket stay there too. What cannot be copied, for want of descriptors for example,
 * is missing in the copy, whose methods fail. */
static int dup_object(pTHX_ MAGIC *mg, CLONE_PARAMS *param)
{
    const etcp_object *old = (const etcp_object *)mg->mg_ptr;
    etcp_object *copy;

    if (!old)
        return 0;
    Newxz(copy, 1, etcp_object);
    copy->kind = old->kind;
    copy->donot = old->donot;
    copy->raises = old->raises;
    copy->serial = old->serial;
    copy->cipher = etcp_object_cipher(old);
    copy->over_tls = etcp_object_over_tls(old);
    copy->tls = old->tls ? etcp_tls_clone(old->tls) : NULL;
    copy->compressor = etcp_object_compressor(old);
    copy->told = etcp_object_told(old);
    copy->hash = (HV *)sv_dup((SV *)old->hash, param);
    copy->handle = sv_dup_inc(old->handle, param);
    copy->slot = sv_dup_inc(old->slot, param);
    copy->withdraw = old->withdraw;
    copy->policy = etcp_policy_clone(aTHX_ old->policy, param);
    if (old->conn && !old->async)
        copy->conn = etcp_conn_clone(old->conn);
    copy->is_of_other_thread =
        old->is_of_other_thread ||
        (copy->over_tls && old->conn && etcp_conn_is_open(old->conn) && !old->async);
    if (old->srv && old->kind == ETCP_KIND_SERVER)
        copy->srv = etcp_server_part_clone(aTHX_ old->srv, param);
    else if (old->srv)
        copy->srv = etcp_server_part_new(aTHX); /* an async client belongs to its thread */
    mg->mg_ptr = (char *)copy;
    return 0;
}
#endif
