/* The Perl API of Net::EasyTCP: one short XSUB per public method. Bodies live in csrc/perl/. */
#include "csrc/perl/bridge.h"

#include "csrc/perl/arguments.h"
#include "csrc/perl/async.h"
#include "csrc/perl/callbacks.h"
#include "csrc/perl/codecs.h"
#include "csrc/perl/construct.h"
#include "csrc/perl/dispatch.h"
#include "csrc/perl/embed.h"
#include "csrc/perl/forms.h"
#include "csrc/perl/handle.h"
#include "csrc/perl/lifetime.h"
#include "csrc/perl/message.h"
#include "csrc/perl/object.h"
#include "csrc/perl/policy.h"
#include "csrc/perl/server_part.h"
#include "csrc/perl/stats.h"
#include "csrc/perl/storable.h"
#include "csrc/perl/watches.h"

/* Most methods belong to some kinds of object only; the others get the old text in $@ and undef. */
#define SERVERS_ONLY(o, name)                                                                      \
    if ((o)->kind != ETCP_KIND_SERVER)                                                             \
        RETURN_FAILURE(o, "%s cannot use method " name "()", etcp_object_mode(o))
#define CONNECTIONS_ONLY(o, name)                                                                  \
    if ((o)->kind == ETCP_KIND_SERVER)                                                             \
        RETURN_FAILURE(o, "%s cannot use method " name "()", etcp_object_mode(o))
/* What servers and async clients can. */
#define LOOPS_ONLY(o, name)                                                                        \
    if (!(o)->srv)                                                                                 \
    RETURN_FAILURE(o, "%s cannot use method " name "()", etcp_object_mode(o))
/* What is done to the loop that an object is in: loop becomes the object whose it is. */
#define FIND_LOOP(o, loop)                                                                         \
    if (!((loop) = etcp_server_part_loop(aTHX_ o)))                                                \
    RETURN_SV(etcp_object_failed(aTHX_ o))
/* A server's copy in a thread may lack what it needs. */
#define USABLE_SERVERS_ONLY(o, name)                                                               \
    SERVERS_ONLY(o, name);                                                                         \
    if (!etcp_server_part_is_usable(aTHX_ o))                                                      \
    RETURN_SV(etcp_object_failed(aTHX_ o))
#define RETURN_FAILURE(o, ...)                                                                     \
    do {                                                                                           \
        etcp_fail(aTHX_ __VA_ARGS__);                                                              \
        RETURN_SV(etcp_object_failed(aTHX_ o));                                                    \
    } while (0)
#define RETURN_SV(sv)                                                                              \
    do {                                                                                           \
        ST(0) = (sv);                                                                              \
        XSRETURN(1);                                                                               \
    } while (0)

MODULE = Net::EasyTCP    PACKAGE = Net::EasyTCP

PROTOTYPES: DISABLE

BOOT:
    etcp_lifetime_boot();
    etcp_perl_storable_boot(aTHX);

SV *
_new_client(class_name, args)
    SV *class_name
    HV *args
CODE:
    RETVAL = etcp_construct_client(aTHX_ class_name, args);
OUTPUT:
    RETVAL

SV *
_new_server(class_name, args)
    SV *class_name
    HV *args
CODE:
    RETVAL = etcp_construct_server(aTHX_ class_name, args);
OUTPUT:
    RETVAL

SV *
_new_wrapped(class_name, args, fd)
    SV *class_name
    HV *args
    int fd
CODE:
    RETVAL = etcp_construct_wrapped(aTHX_ class_name, args, fd);
OUTPUT:
    RETVAL

void
setcallback(self, ...)
    etcp_object *self
PREINIT:
    I32 i;
PPCODE:
    LOOPS_ONLY(self, "setcallback");
    etcp_arguments_keep(aTHX_ self, ax, items);
    for (i = 1; i < items; i += 2) {
        SV *code = i + 1 < items ? ST(i + 1) : &PL_sv_undef;
        if (!etcp_callbacks_set(aTHX_ self, ST(i), code)) {
            (void)etcp_object_failed(aTHX_ self);
            XSRETURN_IV(0);
        }
    }
    XSRETURN_IV(1);

void
start(self, idle = NULL, ...)
    etcp_object *self
    SV *idle
PREINIT:
    etcp_object *loop;
PPCODE:
    LOOPS_ONLY(self, "start");
    etcp_arguments_keep(aTHX_ self, ax, items); /* callbacks may drop any */
    PUTBACK;
    if (idle)
        SvGETMAGIC(idle);
    if (idle && !etcp_arguments_code(idle))
        idle = NULL;
    FIND_LOOP(self, loop);
    if (!etcp_dispatch_start(aTHX_ loop, idle ? sv_2mortal(newRV_inc(SvRV(idle))) : NULL))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
do_one_loop(self, seconds = NULL, ...)
    etcp_object *self
    SV *seconds
PREINIT:
    etcp_object *loop;
    int wait_ms;
PPCODE:
    LOOPS_ONLY(self, "do_one_loop");
    etcp_arguments_keep(aTHX_ self, ax, items); /* callbacks may drop any */
    PUTBACK;
    wait_ms = seconds ? etcp_embed_wait_ms(aTHX_ seconds) : ETCP_TICK_MS;
    FIND_LOOP(self, loop);
    if (!etcp_dispatch_loop(aTHX_ loop, wait_ms))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
process(self, seconds = NULL, ...)
    etcp_object *self
    SV *seconds
PREINIT:
    etcp_object *loop;
    int wait_ms;
PPCODE:
    LOOPS_ONLY(self, "process");
    etcp_arguments_keep(aTHX_ self, ax, items); /* callbacks may drop any */
    PUTBACK;
    wait_ms = seconds ? etcp_embed_wait_ms(aTHX_ seconds) : 0;
    FIND_LOOP(self, loop);
    if (!etcp_dispatch_loop(aTHX_ loop, wait_ms))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
pollfd(self, ...)
    etcp_object *self
PREINIT:
    etcp_object *loop;
    SV *result;
PPCODE:
    LOOPS_ONLY(self, "pollfd");
    FIND_LOOP(self, loop);
    result = etcp_embed_pollfd(aTHX_ loop);
    RETURN_SV(SvOK(result) ? result : etcp_object_failed(aTHX_ self));

void
pollhandle(self, ...)
    etcp_object *self
PREINIT:
    etcp_object *loop;
    SV *result;
PPCODE:
    LOOPS_ONLY(self, "pollhandle");
    FIND_LOOP(self, loop);
    result = etcp_embed_pollhandle(aTHX_ loop);
    RETURN_SV(SvOK(result) ? result : etcp_object_failed(aTHX_ self));

void
polltimeout(self, ...)
    etcp_object *self
PREINIT:
    etcp_object *loop;
PPCODE:
    LOOPS_ONLY(self, "polltimeout");
    FIND_LOOP(self, loop);
    RETURN_SV(etcp_embed_polltimeout(aTHX_ loop));

void
watch(self, handle = &PL_sv_undef, code = &PL_sv_undef, ...)
    etcp_object *self
    SV *handle
    SV *code
PREINIT:
    etcp_object *loop;
    int fd;
PPCODE:
    LOOPS_ONLY(self, "watch");
    etcp_arguments_keep(aTHX_ self, ax, items); /* a tied glob has methods, too */
    PUTBACK;
    handle = sv_mortalcopy(handle);
    code = sv_mortalcopy(code);
    fd = etcp_watches_fileno(aTHX_ handle);
    FIND_LOOP(self, loop);
    if (!etcp_watches_add(aTHX_ loop, self, handle, fd, code))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
unwatch(self, handle = &PL_sv_undef, ...)
    etcp_object *self
    SV *handle
PREINIT:
    etcp_object *loop;
    int fd;
PPCODE:
    LOOPS_ONLY(self, "unwatch");
    etcp_arguments_keep(aTHX_ self, ax, items); /* a tied glob has methods, too */
    PUTBACK;
    handle = sv_mortalcopy(handle);
    fd = etcp_watches_fileno(aTHX_ handle);
    FIND_LOOP(self, loop);
    etcp_watches_remove(aTHX_ loop, handle, fd);
    XSRETURN_YES;

void
_wake(self, seconds, code)
    etcp_object *self
    SV *seconds
    SV *code
PREINIT:
    etcp_object *loop;
    NV delay;
PPCODE:
    LOOPS_ONLY(self, "_wake");
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    delay = SvNV(seconds);
    FIND_LOOP(self, loop);
    if (!etcp_watches_add_moment(aTHX_ loop, self, delay, code))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
_attachment(self, method, attachment = &PL_sv_undef)
    etcp_object *self
    SV *method
    SV *attachment
PPCODE:
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    if (!self->srv)
        RETURN_SV(etcp_fail(aTHX_ "%s cannot use method %" SVf "()", etcp_object_mode(self),
                            SVfARG(method)));
    if (items > 2)
        etcp_embed_set_attachment(aTHX_ self, attachment);
    RETURN_SV(etcp_embed_attachment(self) ? sv_mortalcopy(etcp_embed_attachment(self)) : &PL_sv_no);

void
_loop(self)
    etcp_object *self
PREINIT:
    etcp_object *loop;
PPCODE:
    loop = self->srv ? etcp_server_part_loop(aTHX_ self) : self;
    RETURN_SV(loop ? sv_2mortal(newRV_inc((SV *)loop->hash)) : &PL_sv_undef);

void
stop(self, ...)
    etcp_object *self
PREINIT:
    etcp_object *loop;
PPCODE:
    if (!self->srv)
        RETURN_FAILURE(self, "%s cannot call method stop()", etcp_object_mode(self));
    loop = self->kind == ETCP_KIND_SERVER ? self : self->server;
    if (loop)
        loop->srv->stop_requested = 1;
    XSRETURN_IV(1);

void
running(self, ...)
    etcp_object *self
PREINIT:
    etcp_object *loop;
PPCODE:
    LOOPS_ONLY(self, "running");
    loop = self->kind == ETCP_KIND_SERVER ? self : self->server;
    if (!loop || loop->srv->running == ETCP_NEVER_STARTED)
        XSRETURN_UNDEF;
    XSRETURN_IV(loop->srv->running == ETCP_RUNNING);

void
_rooms(self, method, mode)
    etcp_object *self
    SV *method
    SV *mode
PREINIT:
    etcp_object *server;
PPCODE:
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    if (strNE(etcp_object_mode(self), SvPV_nolen_const(mode)))
        RETURN_SV(etcp_fail(aTHX_ "%s cannot use method %" SVf "()", etcp_object_mode(self),
                            SVfARG(method)));
    server = self->kind == ETCP_KIND_SERVERCLIENT ? self->server : self;
    if (!server)
        RETURN_SV(sv_2mortal(newRV_noinc((SV *)newHV())));
    if (!server->srv->rooms)
        server->srv->rooms = newHV();
    RETURN_SV(sv_2mortal(newRV_inc((SV *)server->srv->rooms)));

void
_raises(self)
    etcp_object *self
PPCODE:
    RETURN_SV(boolSV(self->raises));

void
_is_listed(self)
    etcp_object *self
PPCODE:
    if (self->server && self->conn && etcp_conn_is_open(self->conn))
        XSRETURN_YES;
    XSRETURN_NO;

void
clients(self, ...)
    etcp_object *self
PREINIT:
    AV *list;
    I32 i;
PPCODE:
    USABLE_SERVERS_ONLY(self, "clients");
    if (GIMME_V != G_ARRAY) {
        size_t count = etcp_server_client_count(self->srv->core);
        if (count == 0)
            XSRETURN_UNDEF;
        XSRETURN_IV((IV)count);
    }
    list = (AV *)sv_2mortal((SV *)etcp_server_part_clients(aTHX_ self));
    if (av_len(list) < 0)
        XSRETURN_UNDEF;
    EXTEND(SP, av_len(list) + 1);
    for (i = 0; i <= av_len(list); i++)
        PUSHs(sv_mortalcopy(*av_fetch(list, i, 0)));

void
clientlist(self, ...)
    etcp_object *self
PREINIT:
    AV *list;
    I32 i;
PPCODE:
    USABLE_SERVERS_ONLY(self, "clientlist");
    if (GIMME_V != G_ARRAY)
        XSRETURN_IV((IV)etcp_server_client_count(self->srv->core));
    list = (AV *)sv_2mortal((SV *)etcp_server_part_clients(aTHX_ self));
    EXTEND(SP, av_len(list) + 1);
    for (i = 0; i <= av_len(list); i++)
        PUSHs(sv_mortalcopy(*av_fetch(list, i, 0)));

void
client(self, serial = &PL_sv_undef, ...)
    etcp_object *self
    SV *serial
PREINIT:
    etcp_object *found;
    IV number;
PPCODE:
    USABLE_SERVERS_ONLY(self, "client");
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    SvGETMAGIC(serial);
    number = SvOK(serial) ? SvIV_nomg(serial) : 0;
    found = etcp_server_part_client(self, number);
    RETURN_SV(found ? sv_2mortal(newRV_inc((SV *)found->hash)) : &PL_sv_undef);

void
port(self, ...)
    etcp_object *self
PPCODE:
    USABLE_SERVERS_ONLY(self, "port");
    XSRETURN_IV((IV)etcp_server_port(self->srv->core));

void
localip(self, ...)
    etcp_object *self
PREINIT:
    char ip[64];
PPCODE:
    USABLE_SERVERS_ONLY(self, "localip");
    XSRETURN_PV(etcp_server_ip(self->srv->core, ip, sizeof ip));

void
addclientip(self, ...)
    etcp_object *self
PREINIT:
    I32 i;
PPCODE:
    USABLE_SERVERS_ONLY(self, "addclientip");
    etcp_arguments_keep(aTHX_ self, ax, items);
    for (i = 1; i < items; i++) {
        const char *address = SvPV_nolen_const(ST(i));
        int rc = etcp_server_allow(self->srv->core, address);
        if (rc == ETCP_EINVAL)
            RETURN_FAILURE(self, "'%s' is not an address", address);
        if (rc < 0)
            RETURN_FAILURE(self, "Out of memory");
    }
    XSRETURN_IV(1);

void
deleteclientip(self, ...)
    etcp_object *self
PREINIT:
    I32 i;
PPCODE:
    USABLE_SERVERS_ONLY(self, "deleteclientip");
    etcp_arguments_keep(aTHX_ self, ax, items);
    for (i = 1; i < items; i++) {
        const char *address = SvPV_nolen_const(ST(i));
        if (etcp_server_disallow(self->srv->core, address) < 0)
            RETURN_FAILURE(self, "'%s' is not an address", address);
    }
    XSRETURN_IV(1);

void
_adopt(self, fd)
    etcp_object *self
    SV *fd
PPCODE:
    USABLE_SERVERS_ONLY(self, "adopt");
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    if (!etcp_server_part_adopt(aTHX_ self, (int)SvIV(fd)))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
finish(self, seconds = &PL_sv_undef, ...)
    etcp_object *self
    SV *seconds
PREINIT:
    NV spread;
PPCODE:
    USABLE_SERVERS_ONLY(self, "finish");
    etcp_arguments_keep(aTHX_ self, ax, items);
    SvGETMAGIC(seconds);
    spread = SvOK(seconds) ? SvNV_nomg(seconds) : 30;
    if (!(spread >= 0) || spread > 86400)
        RETURN_FAILURE(self, "Invalid seconds '%" SVf "': must be between 0 and 86400", SVfARG(seconds));
    etcp_server_part_finish(aTHX_ self, (unsigned)(spread * 1000));
    XSRETURN_YES;

void
send(self, data = &PL_sv_undef, ...)
    etcp_object *self
    SV *data
CODE:
    CONNECTIONS_ONLY(self, "send");
    if (SvGMAGICAL(data))
        etcp_arguments_keep(aTHX_ self, ax, items);
    if (!etcp_message_send(aTHX_ self, data))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
broadcast(self, data = &PL_sv_undef, ...)
    etcp_object *self
    SV *data
PREINIT:
    SV *to = NULL;
    SV *room = NULL;
    SV *except = NULL;
    I32 i;
    IV count;
PPCODE:
    USABLE_SERVERS_ONLY(self, "broadcast");
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    for (i = 2; i + 1 < items; i += 2) {
        const char *name = SvPV_nolen_const(ST(i));
        if (strEQ(name, "to"))
            to = ST(i + 1);
        else if (strEQ(name, "room"))
            room = ST(i + 1);
        else if (strEQ(name, "except"))
            except = ST(i + 1);
    }
    if (room && to)
        RETURN_FAILURE(self, "Error sending data: room and to contradict each other");
    if (room)
        to = etcp_server_part_room(aTHX_ self, room);
    count = etcp_message_broadcast(aTHX_ self, data, to, except);
    if (count < 0)
        RETURN_SV(etcp_object_failed(aTHX_ self));
    if (count == 0)
        XSRETURN_PV("0E0");
    XSRETURN_IV(count);

void
_forms(self, data)
    etcp_object *self
    SV *data
PREINIT:
    etcp_forms forms;
    int form;
PPCODE:
    USABLE_SERVERS_ONLY(self, "_forms");
    etcp_arguments_keep(aTHX_ self, ax, items); /* hooks run */
    if (!SvOK(data)) {
        etcp_fail(aTHX_ "Error sending data: Data not supplied");
        XSRETURN_EMPTY;
    }
    PUTBACK;
    if (!etcp_forms_make(aTHX_ data, &forms))
        XSRETURN_EMPTY;
    if (SvCUR(forms.bytes[0]) > etcp_server_config(self->srv->core)->message_max) {
        etcp_fail(aTHX_ "Error sending data: %s", etcp_code_text(ETCP_ETOOBIG));
        XSRETURN_EMPTY;
    }
    SPAGAIN;
    EXTEND(SP, 1 + ETCP_FORMS);
    mPUSHi(forms.flags ? 1 : 0);
    for (form = 0; form < ETCP_FORMS; form++)
        PUSHs(forms.bytes[form] ? forms.bytes[form] : &PL_sv_undef);

void
_relay(self, is_structure, best, numbers, any, to = NULL, except = NULL)
    etcp_object *self
    SV *is_structure
    SV *best
    SV *numbers
    SV *any
    SV *to
    SV *except
PREINIT:
    etcp_forms forms;
    IV count;
PPCODE:
    USABLE_SERVERS_ONLY(self, "_relay");
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    forms.flags = SvTRUE(is_structure) ? ETCP_MESSAGE_COMPLEX : 0;
    forms.bytes[0] = best;
    forms.bytes[1] = SvOK(numbers) ? numbers : NULL;
    forms.bytes[2] = SvOK(any) ? any : NULL;
    count = etcp_message_relay(aTHX_ self, &forms, to && SvOK(to) ? to : NULL,
                               except && SvOK(except) ? except : NULL);
    if (count < 0)
        XSRETURN_UNDEF;
    XSRETURN_IV(count);

void
receive(self, seconds = &PL_sv_undef, ...)
    etcp_object *self
    SV *seconds
PREINIT:
    SV *message;
PPCODE:
    CONNECTIONS_ONLY(self, "receive");
    if (self->async) /* it would take the reply to a request, and each other would get the next one's */
        RETURN_FAILURE(self, "async client cannot use method receive()");
    etcp_arguments_keep(aTHX_ self, ax, items);
    etcp_object_protect(aTHX_ self); /* signal handlers and hooks may drop it */
    PUTBACK;
    SvGETMAGIC(seconds);
    message = etcp_message_receive(aTHX_ self, SvOK(seconds) ? SvNV_nomg(seconds) : 0);
    if (!message)
        RETURN_SV(etcp_object_failed(aTHX_ self));
    RETURN_SV(sv_2mortal(message));

void
data(self, ...)
    etcp_object *self
PREINIT:
    SV *message;
CODE:
    CONNECTIONS_ONLY(self, "data");
    message = etcp_message_take(aTHX_ self);
    ST(0) = message ? sv_2mortal(message) : &PL_sv_undef;
    if (GIMME_V != G_ARRAY)
        XSRETURN(1);
    SP = PL_stack_base + ax;
    EXTEND(SP, 1);
    ST(1) = message ? sv_2mortal(newSViv(1)) : &PL_sv_undef;
    XSRETURN(2);

void
pending(self, ...)
    etcp_object *self
PPCODE:
    CONNECTIONS_ONLY(self, "pending");
    if (!etcp_bucket_is_empty(&self->bucket) || (self->conn && etcp_conn_has_message(self->conn)))
        XSRETURN_IV(1);
    XSRETURN_IV(0);

void
request(self, data = &PL_sv_undef, code = &PL_sv_undef, ...)
    etcp_object *self
    SV *data
    SV *code
PREINIT:
    NV seconds = 0;
    I32 i;
PPCODE:
    if (!self->async)
        RETURN_FAILURE(self, "%s cannot use method request()", etcp_object_mode(self));
    etcp_arguments_keep(aTHX_ self, ax, items);
    PUTBACK;
    for (i = 3; i + 1 < items; i += 2) {
        if (strEQ(SvPV_nolen_const(ST(i)), "timeout"))
            seconds = SvNV(ST(i + 1));
    }
    if (!etcp_dispatch_request(aTHX_ self, data, code, seconds))
        RETURN_SV(etcp_object_failed(aTHX_ self));
    XSRETURN_YES;

void
queued(self, ...)
    etcp_object *self
PPCODE:
    CONNECTIONS_ONLY(self, "queued");
    if (self->async)
        XSRETURN_UV((UV)etcp_async_queued(self));
    XSRETURN_UV(self->conn ? (UV)etcp_conn_queued(self->conn) : 0);

void
close(self, ...)
    etcp_object *self
ALIAS:
    disconnect = 1
PPCODE:
    PERL_UNUSED_VAR(ix);
    CONNECTIONS_ONLY(self, "close");
    PUTBACK;
    etcp_object_protect(aTHX_ self);
    etcp_lifetime_close(aTHX_ self);
    if (self->async)
        etcp_dispatch_closed(aTHX_ self);
    XSRETURN_YES;

void
_handle(self, ...)
    etcp_object *self
PPCODE:
    etcp_arguments_keep(aTHX_ self, ax, items);
    if (items > 1)
        etcp_handle_set(aTHX_ self, ST(1));
    if (!self->handle)
        XSRETURN_UNDEF;
    RETURN_SV(sv_mortalcopy(self->handle));

void
_dup_fd(self)
    etcp_object *self
PREINIT:
    int fd;
PPCODE:
    fd = etcp_handle_dup_fd(self);
    if (fd < 0)
        XSRETURN_UNDEF;
    XSRETURN_IV(fd);

void
socket(self, ...)
    etcp_object *self
PREINIT:
    SV *handle;
PPCODE:
    CONNECTIONS_ONLY(self, "socket");
    PUTBACK;
    etcp_message_settle(aTHX_ self); /* or select would report what is no message */
    handle = etcp_handle_get(aTHX_ self);
    RETURN_SV(handle ? sv_mortalcopy(handle) : &PL_sv_undef);

void
mode(self, ...)
    etcp_object *self
PPCODE:
    RETURN_SV(sv_2mortal(newSVpv(self->kind == ETCP_KIND_SERVER ? "server" : "client", 0)));

void
serial(self, ...)
    etcp_object *self
PPCODE:
    if (!self->serial) {
        etcp_object_protect(aTHX_ self); /* the counter or an older slot may have magic */
        self->serial = etcp_object_next_serial(aTHX);
        etcp_object_slot(aTHX_ self, "_serial", newSViv(self->serial));
    }
    XSRETURN_IV(self->serial);

void
compression(self, ...)
    etcp_object *self
PREINIT:
    const etcp_compressor *row;
PPCODE:
    etcp_message_settle(aTHX_ self);
    row = etcp_object_compressor(self);
    if (!row || (self->donot & ETCP_DONOT_COMPRESS))
        XSRETURN_UNDEF;
    XSRETURN_PV(row->name);

void
encryption(self, ...)
    etcp_object *self
PREINIT:
    const etcp_cipher *row;
PPCODE:
    if (etcp_object_over_tls(self))
        XSRETURN_PV("TLS");
    row = etcp_object_cipher(self);
    if (!row || (self->donot & ETCP_DONOT_ENCRYPT))
        XSRETURN_UNDEF;
    XSRETURN_PV(row->name);

void
fingerprint(self, ...)
    etcp_object *self
PPCODE:
    RETURN_SV(sv_2mortal(etcp_object_fingerprint(aTHX_ self)));

void
peerfingerprint(self, ...)
    etcp_object *self
PPCODE:
    CONNECTIONS_ONLY(self, "peerfingerprint");
    RETURN_SV(sv_2mortal(etcp_object_peer_fingerprint(aTHX_ self)));

void
trust(self, ...)
    etcp_object *self
PPCODE:
    CONNECTIONS_ONLY(self, "trust");
    RETURN_SV(sv_2mortal(etcp_object_trust(aTHX_ self)));

void
remoteip(self, ...)
    etcp_object *self
PREINIT:
    char ip[64];
PPCODE:
    CONNECTIONS_ONLY(self, "remoteip");
    if (!self->conn)
        XSRETURN_UNDEF;
    XSRETURN_PV(etcp_conn_remote_ip(self->conn, ip, sizeof ip));

void
stats(self, ...)
    etcp_object *self
PPCODE:
    if (self->kind == ETCP_KIND_SERVERCLIENT)
        RETURN_FAILURE(self, "%s cannot use method stats()", etcp_object_mode(self));
    if (self->kind == ETCP_KIND_CLIENT)
        RETURN_SV(etcp_stats_of_client(aTHX_ self));
    USABLE_SERVERS_ONLY(self, "stats");
    RETURN_SV(etcp_stats_of_server(aTHX_ self));

void
proxyip(self, ...)
    etcp_object *self
PREINIT:
    char text[64];
    const char *ip;
PPCODE:
    CONNECTIONS_ONLY(self, "proxyip");
    ip = self->conn ? etcp_conn_proxy_ip(self->conn, text, sizeof text) : NULL;
    if (!ip)
        XSRETURN_UNDEF;
    XSRETURN_PV(ip);

void
remoteport(self, ...)
    etcp_object *self
PPCODE:
    CONNECTIONS_ONLY(self, "remoteport");
    if (!self->conn)
        XSRETURN_UNDEF;
    XSRETURN_IV((IV)etcp_conn_remote_port(self->conn));

void
_codecs(kind)
    const char *kind
PREINIT:
    AV *lines;
    I32 i;
PPCODE:
    lines = strEQ(kind, "encrypt") ? etcp_codecs_ciphers(aTHX) : etcp_codecs_compressors(aTHX);
    sv_2mortal((SV *)lines);
    EXTEND(SP, av_len(lines) + 1);
    for (i = 0; i <= av_len(lines); i++)
        PUSHs(*av_fetch(lines, i, 0));

SV *
_freeze(structure, can = 0)
    SV *structure
    unsigned can
PREINIT:
    const U8 *image;
    STRLEN len;
CODE:
    etcp_perl_freeze(aTHX_ structure, can, &image, &len);
    RETVAL = newSVpvn((const char *)image, len);
OUTPUT:
    RETVAL

SV *
_thaw(image, mode = 0, classes = NULL, max_size = 0, takes_exact = 0)
    SV *image
    int mode
    AV *classes
    UV max_size
    int takes_exact
PREINIT:
    etcp_policy *policy;
    SV *error = NULL;
    STRLEN len;
    const char *bytes;
    int rc;
CODE:
    bytes = SvPVbyte(image, len);
    policy = etcp_policy_new(aTHX_ (etcp_thaw_mode)mode, classes);
    policy->rule.max_size = (size_t)max_size;
    policy->rule.takes_exact = takes_exact;
    rc = etcp_perl_thaw(aTHX_ (const U8 *)bytes, len, &policy->rule, 1, &RETVAL, &error);
    etcp_policy_unref(aTHX_ policy);
    if (rc != ETCP_THAW_OK)
        croak("%" SVf, SVfARG(error));
OUTPUT:
    RETVAL

void
_despatch_signals()
CODE:
    etcp_storable_despatch_signals(aTHX);

void
CLONE(...)
CODE:
    PERL_UNUSED_VAR(items);
    etcp_perl_storable_clone(aTHX);
