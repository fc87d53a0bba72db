#include "async.h"

#include "dial_text.h"
#include "forms.h"
#include "handle.h"
#include "server_part.h"

/* A message that was sent before there was a connection. */
struct etcp_async_message {
    etcp_async_message *next;
    int is_request;
    etcp_forms forms; /* counted */
};

enum { LONG_QUEUE = 64 << 10 }; /* as of a connection */

/* ---- coming and going ------------------------------------------------------------------------ */

etcp_async *etcp_async_new(pTHX_ etcp_dialer *dialer, const etcp_conn_limits *limits)
{
    etcp_async *a;

    PERL_UNUSED_CONTEXT;
    Newxz(a, 1, etcp_async);
    a->dialer = dialer;
    a->limits = *limits;
    return a;
}

void etcp_async_enter(etcp_object *o, etcp_object *host)
{
    etcp_server_part_add_guest(host, o);
    etcp_dialer_set_user(o->async->dialer, o);
    etcp_server_dial(host->srv->core, o->async->dialer);
}

static void drop_message(pTHX_ etcp_async_message *m)
{
    if (!PL_dirty)
        etcp_forms_drop(aTHX_ &m->forms);
    Safefree(m);
}

static void drop_messages(pTHX_ etcp_async *a)
{
    etcp_async_message *m;

    while ((m = a->first) != NULL) {
        a->first = m->next;
        drop_message(aTHX_ m);
    }
    a->last = a->appended = NULL;
    a->bytes = a->kept_requests = 0;
}

void etcp_async_free(pTHX_ etcp_object *o)
{
    etcp_async *a = o->async;

    if (o->server)
        etcp_server_undial(o->server->srv->core, a->dialer);
    etcp_server_part_remove_guest(o);
    if (o->conn) {
        etcp_conn_set_user(o->conn, NULL);
        etcp_conn_close(o->conn);
    }
    etcp_dialer_unref(a->dialer);
    drop_messages(aTHX_ a);
    if (!PL_dirty) {
        sv_2mortal(a->destination);
        SvREFCNT_dec(a->failure);
    }
    o->async = NULL;
    Safefree(a);
}

void etcp_async_stop(pTHX_ etcp_object *o)
{
    etcp_server_stop_dialing(o->async->dialer);
    drop_messages(aTHX_ o->async);
}

/* ---- sending --------------------------------------------------------------------------------- */

static int is_connected(const etcp_object *o)
{
    return o->conn && etcp_conn_is_live(o->conn);
}

int etcp_async_takes(const etcp_object *o)
{
    return is_connected(o) || etcp_dialer_has_future(o->async->dialer);
}

int etcp_async_is_through(const etcp_object *o)
{
    return is_connected(o) && !o->async->first;
}

size_t etcp_async_queued(const etcp_object *o)
{
    return o->async->bytes + (o->conn ? etcp_conn_queued(o->conn) : 0);
}

static void append(pTHX_ etcp_async *a, const etcp_forms *made)
{
    etcp_async_message *m;

    Newxz(m, 1, etcp_async_message);
    m->forms = *made;
    etcp_forms_hold(aTHX_ &m->forms);
    if (a->last)
        a->last->next = m;
    else
        a->first = m;
    a->last = a->appended = m;
    a->bytes += SvCUR(m->forms.bytes[0]);
    if (a->bytes >= LONG_QUEUE)
        a->was_long = 1;
}

static int refuse(pTHX_ etcp_object *o)
{
    o->async->was_long = 1;
    if (o->async->limits.when_full == ETCP_FULL_CLOSE) {
        etcp_async_stop(aTHX_ o);
        if (o->conn)
            etcp_conn_fail(o->conn);
    }
    etcp_fail(aTHX_ "Output queue is full");
    return 0;
}

/* What is only gathered is no reason to refuse anything. */
static int is_full(const etcp_object *o)
{
    const size_t high = o->async->limits.high_water;

    if (!high || etcp_async_queued(o) <= high)
        return 0;
    return !o->conn || etcp_conn_stays_full(o->conn) || etcp_async_queued(o) > high;
}

int etcp_async_keep(pTHX_ etcp_object *o, SV *data)
{
    etcp_forms made;

    if (is_full(o))
        return refuse(aTHX_ o);
    if (!etcp_forms_make(aTHX_ data, &made))
        return 0;
    if (SvCUR(made.bytes[0]) > o->async->message_max) {
        etcp_fail(aTHX_ "Error sending data: %s", etcp_code_text(ETCP_ETOOBIG));
        return 0;
    }
    if (!etcp_async_takes(o)) { /* a hook has closed it */
        etcp_fail(aTHX_ "Error sending data: Socket handle not supplied");
        return 0;
    }
    append(aTHX_ o->async, &made);
    if (is_connected(o))
        etcp_async_flush(aTHX_ o);
    return 1;
}

/* Takes the message out that place refers to, and drops it. */
static void take_out(pTHX_ etcp_async *a, etcp_async_message **place)
{
    etcp_async_message *m = *place;
    etcp_async_message *at;

    *place = m->next;
    if (a->last == m)
        for (a->last = NULL, at = a->first; at; at = at->next)
            a->last = at;
    if (a->appended == m)
        a->appended = NULL;
    a->bytes -= SvCUR(m->forms.bytes[0]);
    a->kept_requests -= m->is_request != 0;
    drop_message(aTHX_ m);
}

void etcp_async_mark_request(etcp_object *o)
{
    etcp_async *a = o->async;

    if (!a->appended)
        return;
    a->appended->is_request = 1;
    a->kept_requests++;
    a->appended = NULL;
}

void etcp_async_drop_request(pTHX_ etcp_object *o, size_t n)
{
    etcp_async_message **place;

    for (place = &o->async->first; *place; place = &(*place)->next)
        if ((*place)->is_request && n-- == 0) {
            take_out(aTHX_ o->async, place);
            return;
        }
}

static void release_scalar(void *owner)
{
    dTHX;

    SvREFCNT_dec((SV *)owner);
}

/* Returns 0 if the connection cannot take it, ever. */
static int send_message(etcp_conn *conn, const etcp_async_message *m)
{
    SV *bytes = etcp_forms_for(&m->forms, etcp_session_peer_can(etcp_conn_session(conn)));

    SvREFCNT_inc_simple_void_NN(bytes);
    return etcp_conn_send(conn, m->forms.flags, (const uint8_t *)SvPVX_const(bytes), SvCUR(bytes),
                          release_scalar, bytes) == 0;
}

void etcp_async_flush(pTHX_ etcp_object *o)
{
    etcp_async *a = o->async;
    etcp_async_message *m;

    while ((m = a->first) != NULL && is_connected(o) && !etcp_conn_stays_full(o->conn)) {
        int sent = send_message(o->conn, m);

        take_out(aTHX_ a, &a->first);
        if (!sent)
            etcp_conn_fail(o->conn);
    }
    if (!a->first && a->was_long && is_connected(o)) {
        a->was_long = 0;
        etcp_conn_tell_drained(o->conn);
    }
}

/* ---- the connection -------------------------------------------------------------------------- */

void etcp_async_forget(pTHX_ etcp_object *o, const etcp_conn *conn)
{
    if (o->conn != conn)
        return;
    o->over_tls = etcp_object_over_tls(o);
    o->cipher = etcp_object_cipher(o);
    o->compressor = etcp_object_compressor(o);
    o->told = etcp_object_told(o);
    etcp_conn_set_user(o->conn, NULL);
    etcp_handle_close(aTHX_ o);
}

void etcp_async_connected(pTHX_ etcp_object *o, etcp_conn *conn)
{
    etcp_conn *old = o->conn;

    if (old) {
        etcp_async_forget(aTHX_ o, old);
        o->conn = NULL;
        etcp_conn_unref(old);
    }
    o->conn = etcp_conn_ref(conn);
    o->over_tls = 0;
    etcp_conn_set_user(conn, o);
    etcp_async_flush(aTHX_ o);
    etcp_object_list_peer(aTHX_ o);
}

SV *etcp_async_failure(pTHX_ const etcp_object *o)
{
    const etcp_async *a = o->async;
    etcp_dial_facts facts;

    facts.destination = a->destination;
    facts.passed_s = (int)etcp_dialer_seconds(a->dialer);
    facts.allowed_s = a->negotiation_s;
    return etcp_dial_text(aTHX_ etcp_dialer_dial(a->dialer), etcp_dialer_code(a->dialer), &facts);
}
