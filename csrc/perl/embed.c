#include "embed.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "server_part.h"

static SV *no_descriptor(pTHX)
{
    if (errno == ENOTSUP)
        return etcp_fail(aTHX_ "No pollable descriptor on this system");
    return etcp_fail(aTHX_ "Could not make a pollable descriptor: %s", Strerror(errno));
}

SV *etcp_embed_pollfd(pTHX_ etcp_object *server)
{
    int fd = etcp_server_descriptor(server->srv->core);

    return fd < 0 ? no_descriptor(aTHX) : sv_2mortal(newSViv(fd));
}

/* Takes over fd. NULL with errno. */
static SV *new_handle(pTHX_ int fd)
{
    GV *gv = (GV *)newSV(0);
    SV *handle = newRV_noinc((SV *)gv);
    PerlIO *io = PerlIO_fdopen(fd, "r");
    int saved = errno;

    gv_init(gv, gv_stashpvs("Net::EasyTCP", GV_ADD), "pollhandle", 10, 0); /* in no symbol table */
    if (!io) {
        (void)close(fd);
        SvREFCNT_dec(handle);
        errno = saved;
        return NULL;
    }
    IoIFP(GvIOn(gv)) = io;
    IoTYPE(GvIOp(gv)) = IoTYPE_RDONLY;
    return sv_bless(handle, gv_stashpvs("IO::Handle", GV_ADD));
}

SV *etcp_embed_pollhandle(pTHX_ etcp_object *server)
{
    etcp_server_part *srv = server->srv;
    int fd;

    if (!srv->pollhandle) {
        fd = etcp_server_copy_descriptor(srv->core);
        if (fd < 0)
            return no_descriptor(aTHX);
        srv->pollhandle = new_handle(aTHX_ fd);
        if (!srv->pollhandle)
            return no_descriptor(aTHX);
    }
    return sv_mortalcopy(srv->pollhandle);
}

SV *etcp_embed_polltimeout(pTHX_ const etcp_object *server)
{
    int64_t ms = etcp_server_due_in(server->srv->core);

    return ms < 0 ? &PL_sv_undef : sv_2mortal(newSVnv((NV)ms / 1000));
}

int etcp_embed_wait_ms(pTHX_ SV *seconds)
{
    NV given;

    SvGETMAGIC(seconds);
    given = SvOK(seconds) ? SvNV_nomg(seconds) : 0;
    if (!(given > 0))
        return 0;
    return given > (NV)(INT_MAX / 1000) ? INT_MAX : (int)(given * 1000);
}

SV *etcp_embed_attachment(const etcp_object *server)
{
    return server->srv->attachment;
}

/* Forgetting one runs Perl code, which may look here. */
void etcp_embed_set_attachment(pTHX_ etcp_object *server, SV *attachment)
{
    SV *copy = SvTRUE(attachment) ? newSVsv(attachment) : NULL;
    SV *old = server->srv->attachment;

    server->srv->attachment = copy;
    SvREFCNT_dec(old);
}
