/* ppport.h brings it to perls before 5.14. */
#define NEED_mg_findext
#include "handle.h"

#include <unistd.h>

#include "server_part.h"

static IO *io_of(const etcp_object *o)
{
    if (!o->handle || !SvROK(o->handle) || SvTYPE(SvRV(o->handle)) != SVt_PVGV)
        return NULL;
    return GvIO((GV *)SvRV(o->handle));
}

static int fd_of(const etcp_object *o)
{
    if (o->kind == ETCP_KIND_SERVER)
        return o->srv->core ? etcp_server_fd(o->srv->core) : -1;
    return o->conn ? etcp_conn_fd(o->conn) : -1;
}

int etcp_handle_dup_fd(const etcp_object *o)
{
    int fd = fd_of(o);

    return fd < 0 ? -1 : dup(fd);
}

void etcp_handle_set(pTHX_ etcp_object *o, SV *handle)
{
    SV *copy = newSVsv(handle);
    SV *old = o->handle;

    o->handle = copy;
    SvREFCNT_dec(old);
}

SV *etcp_handle_get(pTHX_ etcp_object *o)
{
    dSP;

    if (!o->handle && fd_of(o) >= 0) {
        PUSHMARK(SP);
        XPUSHs(sv_2mortal(newRV_inc((SV *)o->hash)));
        PUTBACK;
        call_pv("Net::EasyTCP::_make_handle", G_SCALAR | G_DISCARD);
    }
    return o->handle;
}

void etcp_handle_close(pTHX_ etcp_object *o)
{
    SV *handle = o->handle;

    if (!handle)
        return;
    if (io_of(o))
        (void)do_close((GV *)SvRV(handle), FALSE);
    o->handle = NULL;
    sv_2mortal(handle); /* what it is tied to may come back to us */
}

/* ---- the slot _sock -------------------------------------------------------------------------- */

/* Reading the slot is asking for the handle. */
static int get_slot(pTHX_ SV *sv, MAGIC *mg)
{
    etcp_object *o = mg->mg_obj && !PL_dirty ? etcp_object_find(aTHX_ mg->mg_obj) : NULL;
    SV *handle = o ? etcp_handle_get(aTHX_ o) : NULL;

    sv_setsv(sv, handle ? handle : &PL_sv_undef);
    return 0;
}

static const MGVTBL slot_vtbl = {
    get_slot, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
};

/* Cuts the slot off from an object that goes away; scripts may have taken a reference to it. */
static void withdraw_slot(pTHX_ etcp_object *o)
{
    MAGIC *mg = mg_findext(o->slot, PERL_MAGIC_ext, &slot_vtbl);

    if (mg)
        mg->mg_obj = NULL;
}

void etcp_handle_offer(pTHX_ etcp_object *o)
{
    MAGIC *mg;

    o->slot = newSV(0);
    o->withdraw = withdraw_slot;
    mg = sv_magicext(o->slot, NULL, PERL_MAGIC_ext, (MGVTBL *)&slot_vtbl, NULL, 0);
    mg->mg_obj = (SV *)o->hash; /* not counted: the hash holds the slot */
    etcp_object_slot(aTHX_ o, "_sock", SvREFCNT_inc_simple_NN(o->slot));
}

int etcp_handle_was_closed(const etcp_object *o)
{
    IO *io = io_of(o);

    return io && !IoIFP(io);
}
