#include "watches.h"

#include <errno.h>

#include "arguments.h"
#include "net/clock.h"
#include "server_part.h"

struct etcp_watching {
    etcp_watching *next;
    etcp_watch *core;   /* our reference */
    etcp_object *owner; /* on whom it was asked for: it is forgotten with it */
    SV *handle;         /* counted; NULL: a moment */
    IO *io;             /* the handle's, counted; NULL: it has none that we know */
    int fd;             /* the handle's */
    SV *code;           /* a subroutine, counted */
};

/* The IO behind a handle that perl itself reads: those that are tied have methods instead. */
static IO *io_of(pTHX_ SV *handle)
{
    SV *sv = SvROK(handle) ? SvRV(handle) : handle;
    IO *io = NULL;

    if (isGV_with_GP(sv))
        io = GvIO((GV *)sv);
    else if (SvTYPE(sv) == SVt_PVIO)
        io = (IO *)sv;
    return io && SvTIED_mg((SV *)io, PERL_MAGIC_tiedscalar) ? NULL : io;
}

/* Whether its handle is open, and the same file still. */
static int is_open(pTHX_ const etcp_watching *w)
{
    return !w->io || (IoIFP(w->io) && PerlIO_fileno(IoIFP(w->io)) == w->fd);
}

/* Frees one that is in no list any more. Its values go when the statement ends, and nothing is half
 * removed: they have destructors, which may run the very loop. */
static void forget(pTHX_ etcp_watching *w)
{
    etcp_watch_set_user(w->core, NULL);
    etcp_server_unwatch(w->core);
    etcp_watch_unref(w->core);
    if (!PL_dirty) {
        sv_2mortal(w->handle);
        sv_2mortal((SV *)w->io);
        sv_2mortal(w->code);
    }
    Safefree(w);
}

/* Says of one whether it is meant. Runs no code. */
typedef int choice(pTHX_ const etcp_watching *w, const void *arg);

/* Takes all that chosen says yes to out of the list, and forgets them. */
static void remove_those(pTHX_ etcp_object *host, choice *chosen, const void *arg)
{
    etcp_watching **place = &host->srv->watches;

    while (*place) {
        etcp_watching *w = *place;

        if (chosen(aTHX_ w, arg)) {
            *place = w->next;
            forget(aTHX_ w);
        } else {
            place = &w->next;
        }
    }
}

static int is_closed(pTHX_ const etcp_watching *w, const void *arg)
{
    PERL_UNUSED_ARG(arg);
    return !is_open(aTHX_ w);
}

static int is_of_owner(pTHX_ const etcp_watching *w, const void *owner)
{
    PERL_UNUSED_CONTEXT;
    return w->owner == (const etcp_object *)owner;
}

static int is_any(pTHX_ const etcp_watching *w, const void *arg)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_ARG(w);
    PERL_UNUSED_ARG(arg);
    return 1;
}

typedef struct handle_id {
    SV *handle;
    IO *io;
    int fd; /* -1: it is closed */
} handle_id;

static int is_of_handle(pTHX_ const etcp_watching *w, const void *arg)
{
    const handle_id *id = (const handle_id *)arg;

    PERL_UNUSED_CONTEXT;
    if (!w->handle)
        return 0;
    if (id->fd >= 0 && w->fd == id->fd)
        return 1;
    if (id->io)
        return w->io == id->io;
    return SvROK(id->handle) && SvROK(w->handle) && SvRV(id->handle) == SvRV(w->handle);
}

void etcp_watches_look_after(pTHX_ etcp_object *host)
{
    if (host->srv->watches)
        remove_those(aTHX_ host, is_closed, NULL);
}

void etcp_watches_remove(pTHX_ etcp_object *host, SV *handle, int fd)
{
    handle_id id;

    id.handle = handle;
    id.io = io_of(aTHX_ handle);
    id.fd = fd;
    remove_those(aTHX_ host, is_of_handle, &id);
}

void etcp_watches_remove_own(pTHX_ etcp_object *o)
{
    if (o->server && o->server->srv->watches)
        remove_those(aTHX_ o->server, is_of_owner, o);
}

void etcp_watches_remove_all(pTHX_ etcp_object *o)
{
    if (o->srv->watches)
        remove_those(aTHX_ o, is_any, NULL);
    etcp_watches_remove_own(aTHX_ o);
}

int etcp_watches_fileno(pTHX_ SV *handle)
{
    int fd = -1;
    SV *number;
    dSP;

    if (!SvOK(handle))
        return -1;
    PUSHMARK(SP);
    XPUSHs(handle);
    PUTBACK;
    if (call_pv("Net::EasyTCP::_fileno", G_SCALAR) == 1) {
        SPAGAIN;
        number = POPs;
        fd = SvOK(number) ? (int)SvIV(number) : -1;
        PUTBACK;
    }
    return fd;
}

/* Adds one for a core watch, or says in $@ why there is none. */
static etcp_watching *add(pTHX_ etcp_object *host, etcp_object *o, etcp_watch *core, SV *code)
{
    etcp_watching *w;

    if (!core || etcp_server_watch(host->srv->core, core) < 0) {
        etcp_fail(aTHX_ "Cannot watch the handle: %s", Strerror(errno));
        etcp_watch_unref(core);
        return NULL;
    }
    Newxz(w, 1, etcp_watching);
    w->core = core;
    w->owner = o;
    w->fd = -1;
    w->code = SvREFCNT_inc_simple_NN(SvRV(code));
    w->next = host->srv->watches;
    host->srv->watches = w;
    etcp_watch_set_user(core, w);
    return w;
}

static int is_code(pTHX_ SV *code, const char *method)
{
    if (etcp_arguments_code(code))
        return 1;
    etcp_fail(aTHX_ "%s() needs a code reference", method);
    return 0;
}

int etcp_watches_add(pTHX_ etcp_object *host, etcp_object *o, SV *handle, int fd, SV *code)
{
    etcp_watching *w;

    if (!is_code(aTHX_ code, "watch"))
        return 0;
    if (fd < 0) {
        etcp_fail(aTHX_ "Cannot watch the handle: %s", Strerror(EBADF));
        return 0;
    }
    etcp_watches_remove(aTHX_ host, handle, fd);
    w = add(aTHX_ host, o, etcp_watch_new(fd), code);
    if (!w)
        return 0;
    w->handle = newSVsv(handle);
    w->io = (IO *)SvREFCNT_inc((SV *)io_of(aTHX_ handle));
    w->fd = fd;
    return 1;
}

int etcp_watches_add_moment(pTHX_ etcp_object *host, etcp_object *o, NV seconds, SV *code)
{
    etcp_watching *w;

    if (!is_code(aTHX_ code, "_wake"))
        return 0;
    w = add(aTHX_ host, o, etcp_watch_new(-1), code);
    if (!w)
        return 0;
    etcp_server_watch_until(host->srv->core, w->core,
                            etcp_clock_ms() + (seconds > 0 ? (uint64_t)(seconds * 1000) : 0));
    return 1;
}

static int is_this(pTHX_ const etcp_watching *w, const void *arg)
{
    PERL_UNUSED_CONTEXT;
    return w == (const etcp_watching *)arg;
}

SV *etcp_watches_due(pTHX_ etcp_watch *core, SV *arguments[3])
{
    etcp_watching *w = (etcp_watching *)etcp_watch_user(core);
    etcp_object *host;
    int is_same;
    SV *code;

    if (!w)
        return NULL;
    host = w->owner->kind == ETCP_KIND_SERVER ? w->owner : w->owner->server;
    is_same = !w->handle || (is_open(aTHX_ w) && etcp_watch_is_of(core, w->fd));
    code = sv_2mortal(SvREFCNT_inc_simple_NN(w->code));
    etcp_object_protect(aTHX_ w->owner);
    arguments[0] = sv_2mortal(newRV_inc((SV *)w->owner->hash));
    arguments[1] = w->handle ? sv_mortalcopy(w->handle) : NULL;
    arguments[2] = NULL;
    if (!w->handle || !is_same || etcp_watch_is_lost(core))
        remove_those(aTHX_ host, is_this, w);
    return is_same ? code : NULL;
}
