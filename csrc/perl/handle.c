#include "handle.h"

#include <unistd.h>

static IO *io_of(const etcp_object *o)
{
    if (!o->handle || !SvROK(o->handle) || SvTYPE(SvRV(o->handle)) != SVt_PVGV)
        return NULL;
    return GvIO((GV *)SvRV(o->handle));
}

int etcp_handle_dup_fd(const etcp_object *o)
{
    int fd = o->kind == ETCP_KIND_SERVER ? etcp_server_fd(o->srv->core)
                                         : (o->conn ? etcp_conn_fd(o->conn) : -1);

    return fd < 0 ? -1 : dup(fd);
}

void etcp_handle_set(pTHX_ etcp_object *o, SV *handle)
{
    SvREFCNT_dec(o->handle);
    o->handle = newSVsv(handle);
    etcp_object_slot(aTHX_ o, "_sock", newSVsv(handle));
}

void etcp_handle_close(pTHX_ etcp_object *o)
{
    SV *handle = o->handle;

    if (!handle)
        return;
    if (io_of(o))
        (void)do_close((GV *)SvRV(handle), FALSE);
    o->handle = NULL;
    etcp_object_slot(aTHX_ o, "_sock", newSV(0));
    SvREFCNT_dec(handle);
}

int etcp_handle_was_closed(const etcp_object *o)
{
    IO *io = io_of(o);

    return io && !IoIFP(io);
}
