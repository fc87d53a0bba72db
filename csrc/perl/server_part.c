#include "server_part.h"

#include <errno.h>

#include "handle.h"
#include "watches.h"

etcp_server_part *etcp_server_part_new(pTHX)
{
    etcp_server_part *srv;

    PERL_UNUSED_CONTEXT;
    Newxz(srv, 1, etcp_server_part);
    return srv;
}

void etcp_server_part_unlist(etcp_object *o)
{
    if (o->prev)
        o->prev->next = o->next;
    else if (o->server)
        o->server->srv->clients = o->next;
    if (o->next)
        o->next->prev = o->prev;
    o->prev = o->next = o->server = NULL;
    o->held = o->passed = NULL;
}

void etcp_server_part_forget(pTHX_ etcp_object *o)
{
    SV *held = o->held;
    SV *passed = o->passed;

    if (!held)
        return;
    etcp_server_part_unlist(o);
    o->cipher = etcp_object_cipher(o);
    o->over_tls = etcp_object_over_tls(o);
    o->compressor = etcp_object_compressor(o);
    o->told = etcp_object_told(o);
    if (o->conn)
        etcp_conn_set_user(o->conn, NULL);
    sv_2mortal(passed);
    sv_2mortal(held); /* may free o, when the statement ends */
}

void etcp_server_part_add_guest(etcp_object *host, etcp_object *o)
{
    o->server = host;
    o->prev = NULL;
    o->next = host->srv->guests;
    if (o->next)
        o->next->prev = o;
    host->srv->guests = o;
}

void etcp_server_part_remove_guest(etcp_object *o)
{
    if (!o->server)
        return;
    if (o->prev)
        o->prev->next = o->next;
    else
        o->server->srv->guests = o->next;
    if (o->next)
        o->next->prev = o->prev;
    o->prev = o->next = o->server = NULL;
}

/* What was sent before the object went away still arrives. No handler of a signal can run while it
 * goes: a signal ends the wait, so that its handler runs then. */
static void deliver_all(pTHX_ etcp_server *core)
{
    uint64_t since = 0;

    while (etcp_server_linger(core, &since) == ETCP_EINTR && !PL_sig_pending)
        continue;
}

/* A script may go on with objects that it holds, in a forked child for example. */
static void let_held_ones_live(pTHX_ const etcp_server_part *srv)
{
    etcp_object *o;

    for (o = srv->clients; o && !PL_dirty; o = o->next)
        if (SvREFCNT(o->hash) > (o->passed ? 2 : 1))
            etcp_conn_outlive_server(o->conn);
}

static void drop_clients(pTHX_ etcp_server_part *srv)
{
    while (srv->clients) {
        if (PL_dirty) {
            /* The hashes may be gone already: only cut the links. */
            etcp_object *c = srv->clients;
            srv->clients = c->next;
            c->server = c->prev = c->next = NULL;
            c->held = c->passed = NULL;
        } else {
            etcp_server_part_forget(aTHX_ srv->clients);
        }
    }
}

/* Clients in this loop are closed with it; a handle that the program has would keep the connection. */
static void drop_guest(pTHX_ etcp_object *guest)
{
    etcp_server_part_remove_guest(guest);
    if (!PL_dirty)
        etcp_handle_close(aTHX_ guest);
}

static void drop_values(pTHX_ const etcp_server_part *srv)
{
    SV *const values[] = {srv->on_connect, srv->on_data,     srv->on_disconnect, srv->on_error,
                          srv->on_drain,   srv->on_finished, srv->topic,         srv->pollhandle,
                          (SV *)srv->rooms, srv->spare,       srv->attachment}; /* the last goes first */
    size_t i;

    for (i = 0; i < sizeof values / sizeof values[0]; i++)
        sv_2mortal(values[i]);
}

void etcp_server_part_free(pTHX_ etcp_object *server)
{
    etcp_server_part *srv = server->srv;

    etcp_watches_remove_all(aTHX_ server);
    let_held_ones_live(aTHX_ srv);
    if (srv->core)
        deliver_all(aTHX_ srv->core);
    drop_clients(aTHX_ srv);
    while (srv->guests)
        drop_guest(aTHX_ srv->guests);
    etcp_server_free(srv->core);
    if (!PL_dirty)
        drop_values(aTHX_ srv);
    Safefree(srv);
}

int etcp_server_part_is_usable(pTHX_ const etcp_object *server)
{
    const etcp_server_part *srv = server->srv;

    if (srv->core)
        return 1;
    etcp_fail(aTHX_ "This thread has no copy of the server: %s", Strerror(srv->clone_errno));
    return 0;
}

etcp_object *etcp_server_part_loop(pTHX_ etcp_object *o)
{
    etcp_object *host = o->kind == ETCP_KIND_SERVER ? o : o->server;

    if (host)
        return etcp_server_part_is_usable(aTHX_ host) ? host : NULL;
    etcp_fail(aTHX_ "The loop of this client is gone");
    return NULL;
}

etcp_object *etcp_server_part_client(const etcp_object *server, IV serial)
{
    etcp_object *o;

    for (o = server->srv->clients; o; o = o->next)
        if (o->serial == serial && etcp_conn_is_open(o->conn))
            return o;
    return NULL;
}

static void add_client(etcp_conn *conn, void *list)
{
    dTHX;
    etcp_object *o = (etcp_object *)etcp_conn_user(conn);

    if (o)
        av_push((AV *)list, newRV_inc((SV *)o->hash));
}

AV *etcp_server_part_clients(pTHX_ const etcp_object *server)
{
    AV *list = newAV();

    etcp_server_each_client(server->srv->core, add_client, list);
    return list;
}

int etcp_server_part_adopt(pTHX_ etcp_object *server, int fd)
{
    etcp_conn *conn;
    etcp_error error;

    Zero(&error, 1, etcp_error);
    if (etcp_server_adopt(server->srv->core, fd, &conn, &error) < 0) {
        etcp_fail(aTHX_ "Cannot adopt the connection: %s", error.text);
        return 0;
    }
    etcp_conn_set_serial(conn, (long)etcp_object_next_serial(aTHX));
    return 1;
}

/* The handle that scripts may have is on a descriptor of its own, which would go on listening. */
void etcp_server_part_finish(pTHX_ etcp_object *server, unsigned spread_ms)
{
    etcp_handle_close(aTHX_ server);
    etcp_server_finish(server->srv->core, spread_ms);
}

SV *etcp_server_part_room(pTHX_ const etcp_object *server, SV *name)
{
    AV *list = newAV();
    SV *result = sv_2mortal(newRV_noinc((SV *)list));
    I32 count;
    dSP;

    PUSHMARK(SP);
    XPUSHs(sv_2mortal(newRV_inc((SV *)server->hash)));
    XPUSHs(name);
    PUTBACK;
    count = call_pv("Net::EasyTCP::room", G_LIST);
    SPAGAIN;
    while (count-- > 0)
        av_push(list, newSVsv(POPs));
    PUTBACK;
    return result;
}

#ifdef USE_ITHREADS
etcp_server_part *etcp_server_part_clone(pTHX_ const etcp_server_part *old, CLONE_PARAMS *param)
{
    etcp_server_part *copy;

    Newx(copy, 1, etcp_server_part);
    *copy = *old;
    copy->clients = copy->guests = NULL;
    copy->rooms = NULL;
    copy->watches = NULL;
    copy->calling = copy->spare = NULL;
    copy->topic = copy->pollhandle = copy->attachment = NULL; /* of the old thread's loop */
    if (old->core) {
        errno = 0;
        copy->core = etcp_server_clone(old->core);
        copy->clone_errno = errno ? errno : ENOMEM;
    }
    copy->on_connect = sv_dup_inc(old->on_connect, param);
    copy->on_data = sv_dup_inc(old->on_data, param);
    copy->on_disconnect = sv_dup_inc(old->on_disconnect, param);
    copy->on_error = sv_dup_inc(old->on_error, param);
    copy->on_finished = sv_dup_inc(old->on_finished, param);
    copy->on_drain = sv_dup_inc(old->on_drain, param);
    return copy;
}
#endif
