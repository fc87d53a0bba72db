#include "dispatch.h"

#include "base/rare.h"

#include "arguments.h"
#include "async.h"
#include "handle.h"
#include "lifetime.h"
#include "message.h"
#include "policy.h"
#include "request.h"
#include "server_part.h"
#include "spare.h"
#include "watches.h"

/* Seconds after which a server draws a new Crypt::RSA pair. */
#define RSA_LIFETIME 3600

/* ---- calling Perl ---------------------------------------------------------------------------- */

/* However a loop is left, by an exception too, whoever watches the server's descriptor hears of what is
 * left to do, and the reference that the callback got goes. */
static void rest(pTHX_ void *hash)
{
    const etcp_object *server = etcp_object_find(aTHX_ (SV *)hash);

    if (!server)
        return;
    sv_2mortal(server->srv->calling);
    if (server->srv->core)
        etcp_server_rest(server->srv->core, server->srv->owes);
}

/* Callbacks run on a Perl stack of their own, one for all of them: it keeps `last` and friends from
 * jumping over C frames that would wake up later. Returns what leave_callbacks takes. */
static bool enter_callbacks(pTHX_ const etcp_object *server)
{
    const bool caught = CATCH_GET;
    dSP;

    ENTER;
    SAVEFREESV(SvREFCNT_inc_simple_NN((SV *)server->hash));
    SAVESPTR(server->srv->calling); /* of the loop further out */
    server->srv->calling = NULL;
    SAVEDESTRUCTOR_X(rest, server->hash);
    SAVETMPS;
    SAVEOP();
    TAINT_NOT;
    CATCH_SET(TRUE);
    PUSHSTACKi(PERLSI_MAGIC);
    return caught;
}

static void leave_callbacks(pTHX_ bool caught)
{
    POPSTACK;
    CATCH_SET(caught);
    FREETMPS;
    LEAVE;
}

/* Whether only call_sv can call: for the debugger, or where perl counts what is on its stacks. */
#ifdef PERL_RC_STACK
#define TAKES_CALL_SV 1
#else
#define TAKES_CALL_SV PERLDB_SUB
#endif

/* Calls code with one argument, in void context and without an eval: a die goes through to whoever
 * called the loop, as it always did. Perl holds on to code while it runs; self is the caller's to keep
 * alive, and temporary values are the caller's to free. What call_sv does around each call, so that an
 * exception finds PL_op as it was and every eval inside has a level of its own, enter_callbacks has done
 * for all. */
static inline void call_with(pTHX_ SV *code, SV *self)
{
    dSP;
    OP *const was = PL_op;
    LOGOP call;

    PUSHMARK(SP);
    EXTEND(SP, 2);
    PUSHs(self);
    if (TAKES_CALL_SV) {
        PUTBACK;
        call_sv(code, G_VOID);
    } else {
        PUSHs(code);
        PUTBACK;
        Zero(&call, 1, LOGOP);
        call.op_flags = OPf_STACKED | OPf_WANT_VOID;
        PL_op = (OP *)&call;
        PL_op = PL_ppaddr[OP_ENTERSUB](aTHX);
        if (PL_op)
            CALLRUNOPS(aTHX);
        PL_op = was;
    }
    PL_stack_sp = PL_stack_base; /* whatever it returned */
    TAINT_NOT;                   /* and had read */
}

/* The same with several arguments, a NULL at their end. */
static void call_with_all(pTHX_ SV *code, SV *const *arguments)
{
    dSP;

    PUSHMARK(SP);
    for (; *arguments; arguments++)
        XPUSHs(*arguments);
    PUTBACK;
    call_sv(code, G_VOID);
    PL_stack_sp = PL_stack_base;
    TAINT_NOT;
}

/* Takes the reference that callbacks get, for one of them. Making one for each message would take long,
 * so it is made anew only if a callback has assigned to it, weakened it or kept a reference to it, or is
 * running still. */
static inline SV *take_reference(pTHX_ etcp_object *o)
{
    SV *old = o->passed;
    const U32 looked_at = SVf_ROK | SVprv_WEAKREF | SVf_READONLY | SVs_GMG | SVs_SMG | SVs_RMG;

    o->passed = NULL;
    if (old && (SvFLAGS(old) & looked_at) == SVf_ROK && SvRV(old) == (SV *)o->hash &&
        SvREFCNT(old) == 1)
        return old;
    sv_2mortal(old); /* the destructor of what was assigned to it may drop o */
    return newRV_inc((SV *)o->hash);
}

/* Whose callbacks are called for a client: an async client has its own. */
static const etcp_server_part *callbacks_of(const etcp_object *server, const etcp_object *client)
{
    return client->srv ? client->srv : server->srv;
}

/* What a callback for a client is called with: mortal so that it outlives the table's interest. NULL:
 * the table has none any more. Nobody else would hold an async client. */
static inline SV *self_of(pTHX_ etcp_object *client)
{
    if (client->async)
        return sv_2mortal(newRV_inc((SV *)client->hash));
    if (!client->held)
        return NULL;
    client->passed = take_reference(aTHX_ client);
    return sv_2mortal(SvREFCNT_inc_simple_NN(client->passed));
}

/* Runs one callback for a client. */
static inline void call_back(pTHX_ SV *code, etcp_object *client)
{
    SV *self = code ? self_of(aTHX_ client) : NULL;

    if (self)
        call_with(aTHX_ code, self);
}

/* ---- clients come and go --------------------------------------------------------------------- */

/* Makes the object of a client that finished its negotiation and lists it with its server. */
static etcp_object *admit(pTHX_ etcp_object *server, etcp_conn *conn)
{
    HV *hash = newHV();
    etcp_object *o = etcp_object_attach(aTHX_ hash, ETCP_KIND_SERVERCLIENT);

    o->conn = etcp_conn_ref(conn);
    o->donot = server->donot;
    o->raises = server->raises;
    o->serial = (IV)etcp_conn_serial(conn);
    o->policy = etcp_policy_ref(server->policy);
    o->server = server;
    o->next = server->srv->clients;
    if (o->next)
        o->next->prev = o;
    server->srv->clients = o;
    o->held = newRV_noinc((SV *)hash);
    sv_bless(o->held, SvSTASH((SV *)server->hash));
    etcp_conn_set_user(conn, o);
    etcp_object_slot(aTHX_ o, "_mode", newSVpvs("serverclient"));
    etcp_handle_offer(aTHX_ o);
    etcp_object_slot(aTHX_ o, "_serial", newSViv(o->serial));
    etcp_object_list_peer(aTHX_ o);
    return o;
}

/* A script that closes the handle it got from socket() means the connection. */
static inline void notice_closed_handle(const etcp_object *o)
{
    if (etcp_handle_was_closed(o))
        etcp_conn_close(o->conn);
}

/* Thaws the oldest message. Returns whether there is still something to call back for: hooks
 * may have closed the client or fetched the message. */
static int thaw_first(pTHX_ etcp_object *o)
{
    etcp_object_protect(aTHX_ o);
    if (!etcp_message_prepare(aTHX_ o)) {
        etcp_conn_fail(o->conn);
        return 0;
    }
    return etcp_conn_is_open(o->conn) && !etcp_bucket_is_empty(&o->bucket);
}

/* Calls the code of a request. text is why there is no reply, or &PL_sv_undef. */
static void answer(pTHX_ SV *code, SV *reply, SV *text)
{
    SV *arguments[3] = {NULL};

    arguments[0] = reply;
    arguments[1] = text;
    call_with_all(aTHX_ code, arguments);
}

/* The oldest message is the reply that the code of a request waits for. */
static void hand_reply(pTHX_ etcp_object *o, SV *code)
{
    SV *reply;
    int failed;

    etcp_object_protect(aTHX_ o);
    reply = etcp_message_fetch(aTHX_ o, &failed);
    answer(aTHX_ code, reply ? sv_2mortal(reply) : &PL_sv_undef,
           failed ? sv_mortalcopy(ERRSV) : &PL_sv_undef);
}

/* Calls back for a message that is ready: the oldest request that has no reply yet gets it. */
static inline void hand_out(pTHX_ const etcp_object *server, etcp_object *o)
{
    SV *code = o->async ? etcp_request_take(aTHX_ o) : NULL;

    if (code)
        hand_reply(aTHX_ o, code);
    else
        call_back(aTHX_ callbacks_of(server, o)->on_data, o);
}

static void end_telling(pTHX_ void *pin)
{
    etcp_object *o = etcp_object_unpin(aTHX_ pin);

    if (o && o->async)
        o->async->telling--;
}

/* Tells all requests whose message has left that they failed. An exception leaves the others for the
 * next round. */
static void fail_requests(pTHX_ etcp_object *o)
{
    SV *code;

    etcp_object_protect(aTHX_ o);
    ENTER;
    if (o->async) {
        SAVEDESTRUCTOR_X(end_telling, etcp_object_pin(o));
        o->async->telling++;
    }
    while (o->async && o->async->failure && (code = etcp_request_take(aTHX_ o)) != NULL)
        answer(aTHX_ code, &PL_sv_undef, sv_mortalcopy(o->async->failure));
    LEAVE;
    if (!o->async)
        return;
    SvREFCNT_dec(o->async->failure);
    o->async->failure = NULL;
}

/* Notes that these are to be told; an empty text is that the peer has closed. */
static void begin_failing(pTHX_ etcp_object *o, SV *text)
{
    etcp_async *a = o->async;

    if (!etcp_request_is_open(a) || a->failure)
        return;
    a->failure = SvCUR(text) ? newSVsv(text) : newSVpvs("Connection closed");
    if (o->server)
        o->server->srv->owes = 1;
}

/* Calls back for the messages of a client that are due, unless an older one is still being thawed, in a
 * loop further out. A thaw that does not end leaves its message due. */
static void hand_over(pTHX_ etcp_object *server, etcp_object *o)
{
    etcp_object_protect(aTHX_ o);
    while (o->owed && !o->thawing) {
        if (etcp_bucket_is_empty(&o->bucket) ||
            (etcp_bucket_first(&o->bucket)->state == ETCP_MESSAGE_FROZEN && !thaw_first(aTHX_ o))) {
            o->owed = 0;
            return;
        }
        o->owed--;
        hand_out(aTHX_ server, o);
        notice_closed_handle(o);
        if (server->srv->running > 0 && server->srv->stop_requested)
            return;
    }
}

/* The first of a list whose messages can be handed over now, or whose requests have failed. *owes is set
 * if any are waiting. */
static etcp_object *debtor_in(etcp_object *o, int *owes)
{
    for (; o; o = o->next) {
        if (o->owed)
            *owes = 1;
        if (o->async && o->async->failure) {
            *owes = 1;
            return o;
        }
        if (o->owed && !o->thawing)
            return o;
    }
    return NULL;
}

/* Messages whose turn was put off because a hook was running, or because it did not end. Callbacks may
 * change the lists. */
static void pay_debts(pTHX_ etcp_object *server)
{
    etcp_server_part *srv = server->srv;

    while (srv->owes) {
        int owes = 0;
        etcp_object *o = debtor_in(srv->clients, &owes);

        if (!o)
            o = debtor_in(srv->guests, &owes);
        srv->owes = owes;
        if (!o)
            return;
        if (o->async && o->async->failure)
            fail_requests(aTHX_ o);
        else
            hand_over(aTHX_ server, o);
        if (srv->running > 0 && srv->stop_requested)
            return;
    }
}

static ETCP_RARE int is_listed(const etcp_object *server, const etcp_object *client)
{
    const etcp_object *o;

    for (o = server->srv->clients; o; o = o->next)
        if (o == client)
            return 1;
    return 0;
}

/* Whether a reference is to a client and keeps it. */
static inline int refers_to(pTHX_ const SV *reference, const etcp_object *client)
{
    return (SvFLAGS(reference) & (SVf_ROK | SVprv_WEAKREF)) == SVf_ROK &&
           etcp_object_find(aTHX_ SvRV(reference)) == client;
}

/* Calls back for a message of a client of the server. The reference that the callback gets keeps the
 * client alive, unless it assigns to it. Returns the client, or NULL: it may be gone. */
static inline etcp_object *hand_to_server(pTHX_ const etcp_object *server, etcp_object *o)
{
    etcp_server_part *srv = server->srv;
    SV *self;

    if (!srv->on_data || !o->held)
        return o;
    self = srv->calling = take_reference(aTHX_ o);
    call_with(aTHX_ srv->on_data, self);
    srv->calling = NULL;
    if (!refers_to(aTHX_ self, o) && !is_listed(server, o))
        o = NULL;
    if (o && o->held && !o->passed)
        o->passed = self;
    else
        sv_2mortal(self);
    return o;
}

/* The same where the message is not ready, is for an async client, or has others before it. */
static ETCP_RARE void hand_with_care(pTHX_ etcp_object *server, etcp_object *o)
{
    etcp_object_protect(aTHX_ o); /* a callback may assign to the reference it got, too */
    if (o->owed || o->thawing || etcp_bucket_first(&o->bucket)->state == ETCP_MESSAGE_FROZEN) {
        o->owed++;
        server->srv->owes = 1;
        hand_over(aTHX_ server, o);
        return;
    }
    hand_out(aTHX_ server, o);
    notice_closed_handle(o);
}

static void deliver(pTHX_ etcp_object *server, const etcp_server_event *event)
{
    etcp_object *o = (etcp_object *)etcp_conn_user(event->conn);

    if (!o || !etcp_message_store(aTHX_ o, &event->message, &server->srv->spare)) {
        etcp_conn_fail(event->conn);
        return;
    }
    if (o->async || o->owed || o->thawing ||
        etcp_bucket_first(&o->bucket)->state == ETCP_MESSAGE_FROZEN) {
        hand_with_care(aTHX_ server, o);
    } else {
        o = hand_to_server(aTHX_ server, o);
        if (!o)
            return;
        notice_closed_handle(o);
    }
    if (!etcp_bucket_is_empty(&o->bucket))
        etcp_message_count(aTHX_ o);
}

/* The kind that the error callback is told; NULL: this is no error, but how connections end. */
static const char *kind_of(int code, int was_open)
{
    switch (code) {
    case ETCP_OK: return NULL;
    case ETCP_EREJECTED: return "password";
    case ETCP_EPROXY: return "proxy";
    case ETCP_ETOOBIG: return "toobig";
    case ETCP_ETIMEOUT: return "timeout";
    case ETCP_ECLOSED:
    case ETCP_ESYSTEM: return was_open ? NULL : "negotiation";
    default: return was_open ? "decode" : "negotiation";
    }
}

/* Why a connection ended, as a mortal: empty if the peer closed it. */
static SV *reason_of(pTHX_ const etcp_conn *conn, int was_open)
{
    const etcp_error *e = etcp_conn_error(conn);

    if (e->code == ETCP_ECLOSED && etcp_conn_is_unproven(conn))
        return sv_2mortal(newSVpvs("The client left without proving the password"));
    if (e->code == ETCP_ECLOSED && !was_open)
        return sv_2mortal(newSVpvs("The client closed the connection during the negotiation"));
    if (e->code == ETCP_OK || e->code == ETCP_ECLOSED)
        return sv_2mortal(newSVpvs(""));
    return sv_2mortal(newSVpv(e->text[0] ? e->text : etcp_code_text(e->code), 0));
}

/* Tells the server of an error of a connection; client is its object's reference, if it has one. */
static void tell_error(pTHX_ etcp_object *server, const etcp_conn *conn, SV *client)
{
    const char *kind = etcp_conn_is_unproven(conn)
                           ? "password"
                           : kind_of(etcp_conn_error(conn)->code, client != NULL);
    SV *arguments[6] = {NULL};
    char ip[64];

    if (!kind)
        return;
    if (etcp_stats_kind(kind) >= 0)
        server->srv->failed[etcp_stats_kind(kind)]++;
    if (!server->srv->on_error)
        return;
    arguments[0] = sv_2mortal(newRV_inc((SV *)server->hash));
    arguments[1] = reason_of(aTHX_ conn, client != NULL);
    arguments[2] = sv_2mortal(newSVpv(kind, 0));
    arguments[3] = sv_2mortal(newSVpv(etcp_conn_remote_ip(conn, ip, sizeof ip), 0));
    arguments[4] = client;
    call_with_all(aTHX_ server->srv->on_error, arguments);
}

static void client_left(pTHX_ etcp_object *server, etcp_conn *conn)
{
    etcp_object *o = (etcp_object *)etcp_conn_user(conn);
    SV *arguments[3] = {NULL};
    SV *code;

    if (!o || !(o->async || o->held))
        return;
    etcp_object_protect(aTHX_ o);
    arguments[0] = sv_2mortal(newRV_inc((SV *)o->hash));
    arguments[1] = reason_of(aTHX_ conn, 1);
    if (o->async)
        begin_failing(aTHX_ o, arguments[1]);
    code = callbacks_of(server, o)->on_disconnect;
    if (code)
        call_with_all(aTHX_ code, arguments);
    if (o->async)
        fail_requests(aTHX_ o);
    else
        tell_error(aTHX_ server, conn, arguments[0]);
}

/* Nobody stays in a room without being a client. */
static void leave_rooms(pTHX_ const etcp_object *server, const etcp_object *client)
{
    dSP;

    if (!server->srv->rooms)
        return;
    PUSHMARK(SP);
    XPUSHs(sv_2mortal(newRV_inc((SV *)server->srv->rooms)));
    XPUSHs(sv_2mortal(newSViv(client->serial)));
    PUTBACK;
    call_pv("Net::EasyTCP::Rooms::left", G_VOID | G_DISCARD);
}

/* A client that will not connect again has no use for what waits. */
static void end_if_over(pTHX_ etcp_object *o, SV *text)
{
    if (etcp_dialer_has_future(o->async->dialer))
        return;
    etcp_async_stop(aTHX_ o);
    begin_failing(aTHX_ o, text);
    fail_requests(aTHX_ o);
}

static void client_forgotten(pTHX_ etcp_object *server, etcp_conn *conn)
{
    etcp_object *o = (etcp_object *)etcp_conn_user(conn);

    if (o && o->async) {
        etcp_object_protect(aTHX_ o);
        etcp_async_forget(aTHX_ o, conn);
        end_if_over(aTHX_ o, reason_of(aTHX_ conn, 1));
    } else if (o) {
        leave_rooms(aTHX_ server, o);
        etcp_handle_close(aTHX_ o);
        etcp_server_part_forget(aTHX_ o);
    } else if (etcp_conn_has_heard(conn) && !etcp_conn_is_dialed(conn)) {
        /* Scanners of ports send nothing; of a client in this loop that was dropped nobody is told. */
        tell_error(aTHX_ server, conn, NULL);
    }
}

static void server_finished(pTHX_ etcp_object *server)
{
    server->srv->is_finished = 1;
    if (server->srv->on_finished)
        call_with(aTHX_ server->srv->on_finished, sv_2mortal(newRV_inc((SV *)server->hash)));
}

static void drained(pTHX_ const etcp_object *server, const etcp_conn *conn)
{
    etcp_object *o = (etcp_object *)etcp_conn_user(conn);

    if (!o)
        return;
    etcp_object_protect(aTHX_ o);
    if (o->async)
        etcp_async_flush(aTHX_ o);
    if (!o->async || etcp_async_is_through(o))
        call_back(aTHX_ callbacks_of(server, o)->on_drain, o);
    notice_closed_handle(o);
}

static void dialed(pTHX_ const etcp_server_event *event)
{
    etcp_object *o = (etcp_object *)etcp_dialer_user(event->dialer);

    etcp_object_protect(aTHX_ o);
    etcp_async_connected(aTHX_ o, event->conn);
    call_back(aTHX_ o->srv->on_connect, o);
    notice_closed_handle(o);
}

static void dial_failed(pTHX_ const etcp_dialer *dialer)
{
    etcp_object *o = (etcp_object *)etcp_dialer_user(dialer);
    const int is_connecting = etcp_dial_phase_of(etcp_dialer_dial(dialer)) == ETCP_DIAL_CONNECTING;
    SV *arguments[4] = {NULL};

    etcp_object_protect(aTHX_ o);
    arguments[0] = self_of(aTHX_ o);
    arguments[1] = etcp_async_failure(aTHX_ o);
    arguments[2] = sv_2mortal(
        newSVpv(is_connecting ? "connect" : kind_of(etcp_dialer_code(dialer), 0), 0));
    if (!etcp_dialer_has_future(dialer)) {
        etcp_async_stop(aTHX_ o);
        begin_failing(aTHX_ o, arguments[1]);
    }
    if (o->srv->on_error)
        call_with_all(aTHX_ o->srv->on_error, arguments);
    fail_requests(aTHX_ o);
}

/* The time of a request is over. A reply that comes later would be taken for that of the next one, so
 * the connection ends. */
static void woken(pTHX_ const etcp_dialer *dialer)
{
    etcp_object *o = (etcp_object *)etcp_dialer_user(dialer);
    SV *text = sv_2mortal(newSVpvs("No reply in time"));
    SV *code;

    etcp_object_protect(aTHX_ o);
    if (etcp_request_is_late(o) && o->conn)
        etcp_conn_fail_with(o->conn, ETCP_ETIMEOUT, SvPVX_const(text));
    while (o->async && (code = etcp_request_take_late(aTHX_ o)) != NULL)
        answer(aTHX_ code, &PL_sv_undef, text);
}

static void watched(pTHX_ etcp_watch *watch)
{
    SV *arguments[3];
    SV *code = etcp_watches_due(aTHX_ watch, arguments);

    if (code)
        call_with_all(aTHX_ code, arguments);
}

static void dispatch(pTHX_ etcp_object *server, const etcp_server_event *event)
{
    etcp_object *o;

    switch (event->type) {
    case ETCP_SERVER_ACCEPTED:
        etcp_conn_set_serial(event->conn, (long)etcp_object_next_serial(aTHX));
        break;
    case ETCP_SERVER_CONNECT:
        o = admit(aTHX_ server, event->conn);
        etcp_object_protect(aTHX_ o);
        call_back(aTHX_ server->srv->on_connect, o);
        notice_closed_handle(o);
        break;
    case ETCP_SERVER_MESSAGE:
        deliver(aTHX_ server, event);
        break;
    case ETCP_SERVER_DISCONNECT: client_left(aTHX_ server, event->conn); break;
    case ETCP_SERVER_FORGOTTEN: client_forgotten(aTHX_ server, event->conn); break;
    case ETCP_SERVER_FINISHED: server_finished(aTHX_ server); break;
    case ETCP_SERVER_DRAINED: drained(aTHX_ server, event->conn); break;
    case ETCP_SERVER_DIALED: dialed(aTHX_ event); break;
    case ETCP_SERVER_DIAL_FAILED: dial_failed(aTHX_ event->dialer); break;
    case ETCP_SERVER_WOKEN: woken(aTHX_ event->dialer); break;
    case ETCP_SERVER_WATCHED: watched(aTHX_ event->watch); break;
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Callbacks may run loops, in which others are called. Each takes some of the C stack, and how many they
 * are may be up to a peer that sends one message after another. */
enum { NESTED_MAX = 1000 };

/* Counts what runs on Perl stacks of its own, in which ties and sort go, too. */
static int is_too_deep(pTHX)
{
    const PERL_SI *si;
    int depth = 0;

    for (si = PL_curstackinfo; si; si = si->si_prev)
        depth++;
    return depth > NESTED_MAX;
}

static int may_nest(pTHX)
{
    if (!is_too_deep(aTHX))
        return 1;
    etcp_fail(aTHX_ "Too many loops inside each other");
    return 0;
}

static int renew_rsa_when_due(pTHX_ etcp_object *server)
{
    etcp_server_part *srv = server->srv;
    NV now;

    if (!srv->uses_rsa)
        return 1;
    now = (NV)time(NULL);
    if (now - srv->rsa_made_at < RSA_LIFETIME && now >= srv->rsa_made_at)
        return 1;
    srv->rsa_made_at = now;
    if (etcp_config_renew_rsa(etcp_server_config(srv->core)) < 0) {
        etcp_fail(aTHX_ "Could not generate global Crypt::RSA keypairs. ");
        return 0;
    }
    return 1;
}

static int loop_failed(pTHX_ int rc)
{
    etcp_fail(aTHX_ "Error while waiting for connections: %s", etcp_code_text(rc));
    return 0;
}

/* The $_ of callbacks, while users of it beside the server are others: one that a callback has kept a
 * reference to, or tied, is the callback's for good. What it refers to may have a destructor. */
static int is_reusable(const SV *topic, U32 others)
{
    return topic && SvREFCNT(topic) == 1 + others && SvTYPE(topic) < SVt_PVMG && !SvREADONLY(topic) &&
           !SvROK(topic);
}

static inline SV *empty_topic(pTHX_ etcp_server_part *srv, U32 others)
{
    if (!is_reusable(srv->topic, others)) {
        sv_2mortal(srv->topic);
        srv->topic = newSV(0);
    } else if (SvOK(srv->topic))
        sv_setsv(srv->topic, &PL_sv_undef);
    return srv->topic;
}

/* Gives callbacks a $_ of their own, as the loops of the original did: they may assign to it, or read
 * lines into it, wherever the program runs the loop. Ends with the scope. */
static void localize_topic(pTHX_ etcp_server_part *srv)
{
    SV *topic = empty_topic(aTHX_ srv, 0);

    SAVEGENERICSV(GvSV(PL_defgv));
    GvSV(PL_defgv) = SvREFCNT_inc_simple_NN(topic);
}

/* The next callbacks see nothing of what those before have left there. */
static void renew_topic(pTHX_ etcp_server_part *srv)
{
    SV *was = GvSV(PL_defgv);
    SV *topic = empty_topic(aTHX_ srv, was == srv->topic);

    if (topic == was)
        return;
    GvSV(PL_defgv) = SvREFCNT_inc_simple_NN(topic);
    SvREFCNT_dec(was);
}

/* Waits once, and calls back for all that happened. Leaves no temporary values. Returns 0 after an
 * error. */
static int go_round(pTHX_ etcp_object *server, int timeout_ms)
{
    const I32 scope = PL_savestack_ix;
    etcp_server_event event;
    int rc;

    pay_debts(aTHX_ server);
    etcp_watches_look_after(aTHX_ server);
    rc = etcp_server_poll(server->srv->core, timeout_ms);
    if (rc == ETCP_EINTR) {
        PERL_ASYNC_CHECK();
        return 1;
    }
    if (rc < 0)
        return loop_failed(aTHX_ rc);
    renew_topic(aTHX_ server->srv);
    while ((rc = etcp_server_next(server->srv->core, &event)) > 0) {
        dispatch(aTHX_ server, &event);
        etcp_spare_free_tmps(aTHX_ &server->srv->spare);
        if (server->srv->running == ETCP_RUNNING && server->srv->stop_requested)
            break; /* the rest stays noted */
    }
    LEAVE_SCOPE(scope); /* each call_sv saved PL_op */
    if (rc < 0)
        return loop_failed(aTHX_ rc);
    return renew_rsa_when_due(aTHX_ server);
}

int etcp_dispatch_loop(pTHX_ etcp_object *server, int timeout_ms)
{
    bool caught;
    int ok;

    if (!may_nest(aTHX))
        return 0;
    etcp_object_protect(aTHX_ server);
    caught = enter_callbacks(aTHX_ server);
    localize_topic(aTHX_ server->srv);
    ok = go_round(aTHX_ server, timeout_ms);
    leave_callbacks(aTHX_ caught);
    return ok;
}

static int go_on(pTHX_ etcp_object *server, SV *idle)
{
    const I32 scope = PL_savestack_ix;
    int ok;

    if (idle) /* which gets the $_ of the program */
        localize_topic(aTHX_ server->srv);
    ok = go_round(aTHX_ server, idle ? ETCP_TICK_MS : -1);
    LEAVE_SCOPE(scope);
    PERL_ASYNC_CHECK();
    if (ok && idle) {
        call_with(aTHX_ idle, sv_2mortal(newRV_inc((SV *)server->hash)));
        LEAVE_SCOPE(scope);
    }
    FREETMPS;
    return ok;
}

int etcp_dispatch_start(pTHX_ etcp_object *server, SV *idle)
{
    etcp_server_part *srv = server->srv;
    bool caught;
    int ok = 1;

    if (srv->attachment) {
        etcp_fail(aTHX_ "start() cannot be used while attached");
        return 0;
    }
    if (!may_nest(aTHX))
        return 0;
    etcp_object_protect(aTHX_ server);
    srv->running = ETCP_RUNNING;
    srv->stop_requested = 0;
    caught = enter_callbacks(aTHX_ server);
    if (!idle)
        localize_topic(aTHX_ srv);
    while (ok && !srv->stop_requested && !srv->is_finished)
        ok = go_on(aTHX_ server, idle);
    leave_callbacks(aTHX_ caught);
    if (!ok)
        return 0;
    etcp_server_flush(srv->core);
    srv->running = ETCP_STOPPED;
    srv->stop_requested = 0;
    return 1;
}

void etcp_dispatch_closed(pTHX_ etcp_object *o)
{
    bool caught;

    etcp_object_protect(aTHX_ o);
    begin_failing(aTHX_ o, sv_2mortal(newSVpvs("")));
    if (o->async->telling || is_too_deep(aTHX))
        return; /* whoever tells them goes on, or the next round does */
    caught = enter_callbacks(aTHX_ o->server ? o->server : o);
    localize_topic(aTHX_ o->srv);
    fail_requests(aTHX_ o);
    leave_callbacks(aTHX_ caught);
}

int etcp_dispatch_request(pTHX_ etcp_object *o, SV *data, SV *code, NV seconds)
{
    SvGETMAGIC(code);
    if (!etcp_arguments_code(code)) {
        etcp_fail(aTHX_ "request() needs a code reference");
        return 0;
    }
    code = sv_2mortal(SvREFCNT_inc_simple_NN(SvRV(code)));
    o->async->appended = NULL;
    if (!etcp_message_send(aTHX_ o, data))
        return 0;
    etcp_request_add(aTHX_ o, code, seconds);
    return 1;
}
