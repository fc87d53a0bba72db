#include "message.h"

#include <errno.h>

#include "base/mem.h"
#include "base/rare.h"

#include "async.h"
#include "forms.h"
#include "policy.h"
#include "server_part.h"
#include "spare.h"
#include "taint.h"

#define DEFAULT_RECEIVE_SECONDS 300

enum { LEAST_STRUCTURE = 65536 /* may come however much is buffered */ };

/* ---- large payloads in scalars --------------------------------------------------------------- */

static void *payload_create(void *arg, size_t cap, uint8_t **data)
{
    dTHX;
    SV *sv;

    PERL_UNUSED_ARG(arg);
    if (!etcp_is_to_be_had(cap + 2))
        return NULL;
    /* Two bytes more than the content: Perl's NUL, and the count that copy-on-write keeps behind. */
    sv = newSV(cap + 2);
    *data = (uint8_t *)SvPVX(sv);
    return sv;
}

static uint8_t *payload_grow(void *arg, void *handle, size_t cap)
{
    dTHX;

    PERL_UNUSED_ARG(arg);
    if (!etcp_is_to_be_had(cap + 2))
        return NULL;
    return (uint8_t *)SvGROW((SV *)handle, cap + 2);
}

static void payload_destroy(void *arg, void *handle)
{
    dTHX;

    PERL_UNUSED_ARG(arg);
    SvREFCNT_dec((SV *)handle);
}

const etcp_payload_ops *etcp_message_payload_ops(void)
{
    static const etcp_payload_ops ops = {payload_create, payload_grow, payload_destroy};

    return &ops;
}

/* ---- arriving -------------------------------------------------------------------------------- */

/* NULL: out of memory. */
static inline SV *bytes_of_event(pTHX_ const etcp_event *event)
{
    SV *sv = (SV *)event->payload;

    if (!sv && event->len >= ETCP_LARGE_MESSAGE && !etcp_is_to_be_had(event->len + 2))
        return NULL;
    if (!sv)
        return newSVpvn((const char *)event->data, event->len);
    if (SvLEN(sv) / 4 > event->len / 3 + ETCP_LARGE_MESSAGE)
        SvPV_renew(sv, event->len + 2); /* it was made for more, before all was decoded */
    SvPVX(sv)[event->len] = '\0';
    SvCUR_set(sv, event->len);
    SvPOK_only(sv);
    return sv;
}

/* The same as an image that is not read. */
static SV *image_of_event(pTHX_ const etcp_event *event)
{
    SV *bytes = bytes_of_event(aTHX_ event);

    return bytes ? sv_bless(newRV_noinc(bytes), gv_stashpvs(ETCP_IMAGE_CLASS, GV_ADD)) : NULL;
}

/* An image and what becomes of it may take together what is left of maxbuffered. */
static void limit_size(pTHX_ etcp_object *o, etcp_thaw_policy *rule, STRLEN len)
{
    size_t room = etcp_conn_room(o->conn);

    PERL_UNUSED_CONTEXT;
    room = room > len + LEAST_STRUCTURE ? room - len : LEAST_STRUCTURE;
    if (rule->max_size > room)
        rule->max_size = room;
}

/* Thaws and files the result. Returns 1 (stored), 0 (damaged, $@ set), -1 (not stored: it needs Perl, or
 * was interrupted by an exception, which goes into result). forgets as in etcp_thaw_policy. */
static int thaw_into_bucket(pTHX_ etcp_object *o, const U8 *data, STRLEN len, int may_run_perl,
                            U8 *forgets, etcp_message *result)
{
    etcp_thaw_policy rule = o->policy->rule;
    SV *out = NULL;
    SV *error = NULL;

    result->size = len + ETCP_MESSAGE_OVERHEAD;
    limit_size(aTHX_ o, &rule, len);
    rule.forgets = forgets;
    rule.takes_exact = (etcp_object_told(o) & ETCP_CAN_EXACT_NUMBERS) != 0;
    switch (etcp_perl_thaw(aTHX_ data, len, &rule, may_run_perl, &out, &error)) {
    case ETCP_THAW_OK:
        result->size = etcp_perl_thawed_size(aTHX) + ETCP_MESSAGE_OVERHEAD;
        result->sv = out;
        result->state = ETCP_MESSAGE_READY;
        return 1;
    case ETCP_THAW_NEEDS_PERL:
        return -1;
    case ETCP_THAW_INTERRUPTED:
        result->sv = error;
        return -1;
    case ETCP_THAW_REFUSED:
        result->sv = newSVpvf("Received data refused: %" SVf, SVfARG(error));
        result->state = ETCP_MESSAGE_REFUSED;
        return 1;
    default:
        etcp_fail(aTHX_ "Error decoding received data: %" SVf, SVfARG(error));
        return 0;
    }
}

static int out_of_memory(pTHX)
{
    etcp_fail(aTHX_ "Error decoding received data: out of memory");
    return 0;
}

static ETCP_RARE int store_any(pTHX_ etcp_object *o, const etcp_event *event)
{
    etcp_message m;

    m.size = event->len + ETCP_MESSAGE_OVERHEAD;
    if ((event->flags & ETCP_MESSAGE_COMPLEX) && o->policy->passes_images) {
        m.sv = image_of_event(aTHX_ event);
        m.state = ETCP_MESSAGE_READY;
    } else if (event->flags & ETCP_MESSAGE_COMPLEX) {
        SV *own = (SV *)event->payload;
        int rc = thaw_into_bucket(aTHX_ o, event->data, event->len, 0,
                                  own ? (U8 *)SvPVX(own) : NULL, &m);
        if (rc >= 0 && event->payload)
            SvREFCNT_dec((SV *)event->payload);
        if (rc == 0)
            return 0;
        if (rc < 0) {
            m.sv = bytes_of_event(aTHX_ event);
            m.state = ETCP_MESSAGE_FROZEN;
        }
    } else {
        m.sv = bytes_of_event(aTHX_ event);
        m.state = ETCP_MESSAGE_READY;
    }
    if (!m.sv)
        return out_of_memory(aTHX);
    if (m.state == ETCP_MESSAGE_READY)
        etcp_taint(aTHX_ m.sv);
    etcp_bucket_push(aTHX_ &o->bucket, m);
    return 1;
}

int etcp_message_store(pTHX_ etcp_object *o, const etcp_event *event, SV **spare)
{
    etcp_message m;

    if ((event->flags & ETCP_MESSAGE_COMPLEX) || event->payload || event->len >= ETCP_LARGE_MESSAGE)
        return store_any(aTHX_ o, event);
    m.sv = etcp_spare_newSVpvn(aTHX_ spare, (const char *)event->data, event->len);
    m.state = ETCP_MESSAGE_READY;
    m.size = event->len + ETCP_MESSAGE_OVERHEAD;
    etcp_taint(aTHX_ m.sv);
    etcp_bucket_push(aTHX_ &o->bucket, m);
    return 1;
}

void etcp_message_count(pTHX_ etcp_object *o)
{
    PERL_UNUSED_CONTEXT;
    if (o->conn && o->bucket.size != o->counted)
        etcp_conn_set_undelivered(o->conn, o->counted = o->bucket.size);
}

static void end_thawing(pTHX_ void *pin)
{
    etcp_object *o = etcp_object_unpin(aTHX_ pin);

    if (o)
        o->thawing = 0;
}

/* Puts back the message that a signal handler interrupted, and lets the program have its exception. */
static void interrupted(pTHX_ etcp_object *o, SV *image, SV *exception)
{
    etcp_message m;

    m.sv = SvREFCNT_inc_simple_NN(image);
    m.state = ETCP_MESSAGE_FROZEN;
    m.size = SvCUR(image) + ETCP_MESSAGE_OVERHEAD;
    etcp_bucket_unshift(aTHX_ &o->bucket, m);
    SvSetSV(ERRSV, exception);
    croak(NULL);
}

static int thaw_first(pTHX_ etcp_object *o)
{
    etcp_message m;
    SV *image;
    int rc;

    /* Hooks run, which may drop this object or come back to it: the image is taken out first. */
    etcp_object_protect(aTHX_ o);
    image = sv_2mortal(etcp_bucket_shift(&o->bucket).sv);
    ENTER;
    SAVEDESTRUCTOR_X(end_thawing, etcp_object_pin(o));
    o->thawing = 1;
    rc = thaw_into_bucket(aTHX_ o, (const U8 *)SvPVX(image), SvCUR(image), 1, NULL, &m);
    LEAVE;
    if (rc < 0)
        interrupted(aTHX_ o, image, m.sv);
    if (rc == 0)
        return 0;
    if (m.state == ETCP_MESSAGE_READY)
        etcp_taint(aTHX_ m.sv);
    etcp_bucket_unshift(aTHX_ &o->bucket, m);
    return 1;
}

static inline int prepare(pTHX_ etcp_object *o)
{
    if (etcp_bucket_is_empty(&o->bucket) || o->thawing)
        return 1;
    if (etcp_bucket_first(&o->bucket)->state != ETCP_MESSAGE_FROZEN)
        return 1;
    return thaw_first(aTHX_ o);
}

int etcp_message_prepare(pTHX_ etcp_object *o)
{
    return prepare(aTHX_ o);
}

SV *etcp_message_fetch(pTHX_ etcp_object *o, int *failed)
{
    etcp_message m;

    *failed = 0;
    if (!prepare(aTHX_ o)) {
        etcp_conn_close(o->conn);
        *failed = 1;
        return NULL;
    }
    if (etcp_bucket_is_empty(&o->bucket) || o->thawing)
        return NULL;
    m = etcp_bucket_shift(&o->bucket);
    if (o->counted)
        etcp_message_count(aTHX_ o);
    if (m.state == ETCP_MESSAGE_REFUSED) {
        etcp_fail(aTHX_ "%" SVf, SVfARG(sv_2mortal(m.sv)));
        *failed = 1;
        return NULL;
    }
    return m.sv;
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void release_scalar(void *owner)
{
    dTHX;

    SvREFCNT_dec((SV *)owner);
}

int etcp_message_is_interrupted(void)
{
    dTHX;

    return PL_sig_pending != 0;
}

static ETCP_RARE int send_failed(pTHX_ const etcp_object *o, int rc)
{
    const etcp_error *e = etcp_conn_error(o->conn);
    const int saved = errno;

    if (rc == ETCP_ECLOSED && !etcp_conn_is_open(o->conn))
        etcp_fail(aTHX_ "Error sending data: Socket handle not supplied");
    else if (rc == ETCP_ESYSTEM && saved) {
        etcp_fail(aTHX_ "Error writing to socket while sending data: %s", Strerror(saved));
        errno = saved;
    } else if (rc == ETCP_EFULL && o->async)
        etcp_fail(aTHX_ "Output queue is full");
    else
        etcp_fail(aTHX_ "Error sending data: %s", e->code == rc && e->text[0] ? e->text
                                                                              : etcp_code_text(rc));
    return 0;
}

/* Waits until the peer has read enough, letting signal handlers run. */
static int wait_for_room(pTHX_ etcp_object *o)
{
    uint64_t since = 0;
    size_t mark;
    int rc;

    etcp_object_protect(aTHX_ o); /* a handler may drop it */
    while (etcp_conn_wants_drain(o->conn, &mark)) {
        /* It may have come while the message was compressed and encrypted. */
        if (PL_sig_pending) {
            PERL_ASYNC_CHECK();
            continue;
        }
        rc = etcp_conn_drain(o->conn, mark, &since);
        if (rc == 0)
            return 1;
        if (rc != ETCP_EINTR)
            return send_failed(aTHX_ o, rc);
        PERL_ASYNC_CHECK();
    }
    return 1;
}

/* A message was given to the connection, with this result. */
static ETCP_RARE int finish_sending(pTHX_ etcp_object *o, int rc)
{
    if (rc < 0)
        return send_failed(aTHX_ o, rc);
    if (etcp_conn_wants_drain(o->conn, NULL) && !wait_for_room(aTHX_ o))
        return 0;
    etcp_object_succeeded(aTHX_ o);
    return 1;
}

static ETCP_RARE int send_bytes(pTHX_ etcp_object *o, unsigned flags, const U8 *bytes, STRLEN len,
                                SV *keep)
{
    (void)etcp_conn_settle_now(o->conn);
    return finish_sending(aTHX_ o, etcp_conn_send(o->conn, flags, bytes, len,
                                                  keep ? release_scalar : NULL, keep));
}

/* The same for what need not be kept. Nearly always it leaves at once, or is queued where there is
 * room. */
static inline int send_copied(pTHX_ etcp_object *o, unsigned flags, const U8 *bytes, STRLEN len)
{
    int rc = etcp_conn_send_usual(o->conn, flags, bytes, len);

    if (rc == 0)
        return send_bytes(aTHX_ o, flags, bytes, len, NULL);
    if (rc != 1)
        return finish_sending(aTHX_ o, rc);
    etcp_object_succeeded(aTHX_ o);
    return 1;
}

/* Keeps both until the statement ends: Perl code is about to run, or may. */
static void hold(pTHX_ etcp_object *o, SV *data)
{
    etcp_object_protect(aTHX_ o);
    sv_2mortal(SvREFCNT_inc_simple_NN(data));
}

static ETCP_RARE int send_structure(pTHX_ etcp_object *o, SV *data)
{
    const unsigned can = etcp_object_peer_can(o);
    etcp_frozen frozen;
    int rc;

    if (!etcp_perl_freeze_pieces(aTHX_ data, can, 0, &frozen)) {
        hold(aTHX_ o, data);
        (void)etcp_perl_freeze_pieces(aTHX_ data, can, 1, &frozen);
    }
    if (!frozen.pieces)
        return send_copied(aTHX_ o, ETCP_MESSAGE_COMPLEX, frozen.bytes, frozen.len);
    (void)etcp_conn_settle_now(o->conn);
    rc = etcp_conn_send_pieces(o->conn, ETCP_MESSAGE_COMPLEX, frozen.pieces, frozen.count, frozen.len);
    etcp_free(frozen.pieces);
    return finish_sending(aTHX_ o, rc);
}

/* A scalar that shares data's bytes by copy-on-write, so that a queue can hold them in place. */
static SV *shared_copy(pTHX_ SV *data)
{
    SV *copy = newSV(0);

#ifdef SV_DO_COW_SVSETSV
    sv_setsv_flags(copy, data, SV_GMAGIC | SV_DO_COW_SVSETSV | SV_COW_SHARED_HASH_KEYS);
#else
    sv_setsv(copy, data);
#endif
    return copy;
}

/* Whether a queue may borrow what is sent: it does not where that is sealed, which is over when the call
 * returns. */
static int may_be_borrowed(const etcp_object *o)
{
    return !etcp_session_cipher(etcp_conn_session(o->conn)) && !etcp_conn_is_tls(o->conn);
}

static int send_scalar(pTHX_ etcp_object *o, SV *data)
{
    STRLEN len;
    const char *bytes = SvPV_nomg_const(data, len);
    SV *keep = NULL;

    if (SvUTF8(data)) {
        SV *narrow = sv_2mortal(newSVpvn_utf8(bytes, len, 1));
        if (!sv_utf8_downgrade(narrow, TRUE)) {
            etcp_fail(aTHX_ "Error sending data: Wide character in data");
            return 0;
        }
        bytes = SvPV_const(narrow, len);
    } else if (len >= ETCP_LARGE_MESSAGE && SvPOK(data) && !SvMAGICAL(data) && may_be_borrowed(o)) {
        keep = shared_copy(aTHX_ data);
        bytes = SvPVX_const(keep);
        len = SvCUR(keep);
    }
    return send_bytes(aTHX_ o, 0, (const U8 *)bytes, len, keep);
}

/* Waits for the answer with data, which is to be sent afterwards: as it is now, whatever a handler makes
 * of the variable. Returns data, or a copy; what has magic is read later. */
static SV *settle_with(pTHX_ etcp_object *o, SV *data)
{
    uint64_t since = 0;
    int is_copied = !data || SvGMAGICAL(data);

    if (!o->conn || etcp_conn_is_settled(o->conn))
        return data;
    etcp_object_protect(aTHX_ o);
    while (o->conn && etcp_conn_settle(o->conn, ETCP_NEGOTIATION_TIMEOUT_MS, &since) == ETCP_EINTR) {
        if (!is_copied)
            data = sv_mortalcopy(data);
        is_copied = 1;
        PERL_ASYNC_CHECK();
    }
    return data;
}

void etcp_message_settle(pTHX_ etcp_object *o)
{
    (void)settle_with(aTHX_ o, NULL);
}

static int can_send(const etcp_object *o)
{
    return o->async ? etcp_async_takes(o) : o->conn && etcp_conn_is_open(o->conn);
}

/* A string that needs no care: no magic, in bytes, not worth to be kept in place. */
static inline int is_short_bytes(const SV *data)
{
    return (SvFLAGS(data) & (SVf_POK | SVf_ROK | SVf_UTF8 | SVs_GMG)) == SVf_POK &&
           SvCUR(data) < ETCP_LARGE_MESSAGE;
}

/* How structures are written depends on what the peer can read. A large string that leaves before it is
 * known that the peer decompresses takes longer, as a rule, than to learn that. */
static int is_worth_an_answer(const SV *data)
{
    return SvROK(data) || SvGMAGICAL(data) || (SvPOK(data) && SvCUR(data) >= ETCP_LARGE_MESSAGE);
}

static ETCP_RARE int send_any(pTHX_ etcp_object *o, SV *data)
{
    if (o->async ? SvROK(data) : o->conn && !etcp_conn_is_settled(o->conn))
        hold(aTHX_ o, data);
    if (is_worth_an_answer(data))
        data = settle_with(aTHX_ o, data);
    if (!can_send(o)) {
        etcp_fail(aTHX_ "Error sending data: %s",
                  o->is_of_other_thread ? ETCP_OTHER_THREAD : "Socket handle not supplied");
        return 0;
    }
    SvGETMAGIC(data); /* may close it: sending fails then */
    if (!SvOK(data)) {
        etcp_fail(aTHX_ "Error sending data: Data not supplied");
        return 0;
    }
    if (o->async && !etcp_async_is_through(o))
        return etcp_async_keep(aTHX_ o, data);
    if (!SvROK(data))
        return send_scalar(aTHX_ o, data);
    if (o->policy->passes_images && sv_isa(data, ETCP_IMAGE_CLASS) && SvPOK(SvRV(data)))
        return send_bytes(aTHX_ o, ETCP_MESSAGE_COMPLEX, (const U8 *)SvPVX_const(SvRV(data)),
                          SvCUR(SvRV(data)), NULL);
    return send_structure(aTHX_ o, data);
}

/* Most messages are short strings, or structures, on connections that are there: send_any would come to
 * the same. */
int etcp_message_send(pTHX_ etcp_object *o, SV *data)
{
    if (!o->async && o->conn && etcp_conn_is_open(o->conn)) {
        if (is_short_bytes(data))
            return send_copied(aTHX_ o, 0, (const U8 *)SvPVX_const(data), SvCUR(data));
        if (SvROK(data) && !SvGMAGICAL(data) && etcp_conn_is_settled(o->conn) &&
            !o->policy->passes_images)
            return send_structure(aTHX_ o, data);
    }
    return send_any(aTHX_ o, data);
}

/* ---- to many --------------------------------------------------------------------------------- */

/* Copies of the references to clients that who holds, a reference to an array or to one client, in a
 * mortal array. Runs what is tied or magical now, so that nothing will later. NULL with the text in
 * $@: it is neither. */
static AV *clients_in(pTHX_ SV *who, const char *option)
{
    AV *list = (AV *)sv_2mortal((SV *)newAV());
    AV *from;
    SSize_t i;

    SvGETMAGIC(who);
    if (SvROK(who) && SvOBJECT(SvRV(who))) {
        av_push(list, newSVsv(who));
        return list;
    }
    if (!SvROK(who) || SvTYPE(SvRV(who)) != SVt_PVAV) {
        etcp_fail(aTHX_ "Invalid %s: must be a client or a reference to an array of clients", option);
        return NULL;
    }
    from = (AV *)SvRV(who);
    for (i = 0; i <= av_len(from); i++) {
        SV **client = av_fetch(from, i, 0);

        if (client) {
            SvGETMAGIC(*client);
            av_push(list, newSVsv_nomg(*client));
        }
    }
    return list;
}

/* Selects clients of this server; what else is in the list does not matter. */
static void select_clients(pTHX_ const etcp_object *server, AV *list, int is_selected)
{
    SSize_t i;

    for (i = 0; i <= av_len(list); i++) {
        SV *client = *av_fetch(list, i, 0);
        etcp_object *o = SvROK(client) ? etcp_object_find(aTHX_ SvRV(client)) : NULL;

        if (o && o->server == server && o->conn)
            etcp_conn_select(o->conn, is_selected);
    }
}

static void unref_parcel(pTHX_ void *parcel)
{
    PERL_UNUSED_CONTEXT;
    etcp_parcel_unref((etcp_parcel *)parcel);
}

/* A message for peers that can so much, until the scope is left. NULL with the text in $@. */
static etcp_parcel *new_parcel(pTHX_ unsigned flags, unsigned needs, const U8 *bytes, STRLEN len,
                               size_t max)
{
    etcp_parcel *parcel;

    if (len > max) {
        etcp_fail(aTHX_ "Error sending data: %s", etcp_code_text(ETCP_ETOOBIG));
        return NULL;
    }
    parcel = etcp_parcel_new(flags, bytes, len, NULL, NULL);
    if (!parcel) {
        etcp_fail(aTHX_ "Error sending data: %s", etcp_code_text(ETCP_ENOMEM));
        return NULL;
    }
    parcel->needs = needs;
    SAVEDESTRUCTOR_X(unref_parcel, parcel);
    return parcel;
}

/* What data is on the wire for peers that can so much. The same. */
static etcp_parcel *parcel_of(pTHX_ SV *data, unsigned can, size_t max)
{
    const U8 *bytes;
    STRLEN len;

    if (SvROK(data)) {
        etcp_perl_freeze(aTHX_ data, can, &bytes, &len);
        return new_parcel(aTHX_ ETCP_MESSAGE_COMPLEX, can, bytes, len, max);
    }
    data = sv_mortalcopy(data);
    if (SvUTF8(data) && !sv_utf8_downgrade(data, TRUE)) {
        etcp_fail(aTHX_ "Error sending data: Wide character in data");
        return NULL;
    }
    bytes = (const U8 *)SvPV_const(data, len);
    return new_parcel(aTHX_ 0, 0, bytes, len, max);
}

/* The forms of structures that are there clients for. */
static void note_kind(etcp_conn *c, void *is_there)
{
    ((int *)is_there)[etcp_forms_kind(etcp_session_peer_can(etcp_conn_session(c)))] = 1;
}

/* Freezes a structure for the kinds of clients that are there. That may run Perl code, and others may
 * be there afterwards. Returns 0 with the text in $@. */
static int make_parcels(pTHX_ etcp_server *core, SV *data, etcp_parcel *parcels[ETCP_FORMS])
{
    const size_t max = etcp_server_config(core)->message_max;
    int made = 0;
    int kind;

    do {
        int is_there[ETCP_FORMS] = {0};

        if (SvROK(data))
            etcp_server_each_client(core, note_kind, is_there);
        for (kind = 0; kind < ETCP_FORMS && (parcels[kind] || !is_there[kind]); kind++)
            ;
        if (kind == ETCP_FORMS && made)
            return 1;
        kind = kind < ETCP_FORMS ? kind : ETCP_FORMS - 1;
        parcels[kind] = parcel_of(aTHX_ data, etcp_forms_need[kind], max);
        made = 1;
    } while (parcels[kind]);
    return 0;
}

/* NULL for chosen: all, but those that are left out. */
static IV send_to(pTHX_ const etcp_object *server, etcp_parcel *const parcels[ETCP_FORMS], AV *chosen,
                  AV *left_out)
{
    etcp_server *core = server->srv->core;

    etcp_server_select_all(core, !chosen);
    if (chosen)
        select_clients(aTHX_ server, chosen, 1);
    if (left_out)
        select_clients(aTHX_ server, left_out, 0);
    return (IV)etcp_server_broadcast(core, parcels, ETCP_FORMS);
}

static IV broadcast(pTHX_ etcp_object *server, SV *data, SV *to, SV *except)
{
    AV *chosen = to ? clients_in(aTHX_ to, "to") : NULL;
    AV *left_out = except ? clients_in(aTHX_ except, "except") : NULL;
    etcp_parcel *parcels[ETCP_FORMS] = {NULL};

    if ((to && !chosen) || (except && !left_out))
        return -1;
    SvGETMAGIC(data);
    if (!SvOK(data)) {
        etcp_fail(aTHX_ "Error sending data: Data not supplied");
        return -1;
    }
    if (!make_parcels(aTHX_ server->srv->core, data, parcels))
        return -1;
    return send_to(aTHX_ server, parcels, chosen, left_out);
}

IV etcp_message_broadcast(pTHX_ etcp_object *server, SV *data, SV *to, SV *except)
{
    IV count;

    ENTER;
    count = broadcast(aTHX_ server, data, to, except);
    LEAVE;
    return count;
}

/* The same of bytes in a plain scalar. */
static etcp_parcel *parcel_of_bytes(pTHX_ const etcp_object *server, unsigned flags, unsigned needs,
                                    SV *sv)
{
    const size_t max = etcp_server_config(server->srv->core)->message_max;
    STRLEN len;
    const U8 *bytes = (const U8 *)SvPV_const(sv, len);

    return new_parcel(aTHX_ flags, needs, bytes, len, max);
}

/* What a peer must be able to receive to get a form: it is for those of the next ones, too, which are
 * missing. */
static unsigned need_of(const etcp_forms *forms, int form)
{
    while (form + 1 < ETCP_FORMS && !forms->bytes[form + 1])
        form++;
    return etcp_forms_need[form];
}

static IV relay(pTHX_ const etcp_object *server, const etcp_forms *forms, SV *to, SV *except)
{
    AV *chosen = to ? clients_in(aTHX_ to, "to") : NULL;
    AV *left_out = except ? clients_in(aTHX_ except, "except") : NULL;
    etcp_parcel *parcels[ETCP_FORMS] = {NULL};
    int form;

    if ((to && !chosen) || (except && !left_out))
        return -1;
    for (form = 0; form < ETCP_FORMS; form++) {
        if (!forms->bytes[form])
            continue;
        parcels[form] = parcel_of_bytes(aTHX_ server, forms->flags, need_of(forms, form),
                                        forms->bytes[form]);
        if (!parcels[form])
            return -1;
    }
    return send_to(aTHX_ server, parcels, chosen, left_out);
}

IV etcp_message_relay(pTHX_ const etcp_object *server, const etcp_forms *forms, SV *to, SV *except)
{
    IV count;

    ENTER;
    count = relay(aTHX_ server, forms, to, except);
    LEAVE;
    return count;
}

/* ---- receive() ------------------------------------------------------------------------------- */

static void receive_failed(pTHX_ const etcp_object *o, int rc)
{
    const etcp_error *e = etcp_conn_error(o->conn);

    switch (rc) {
    case ETCP_ETIMEOUT:
        etcp_fail(aTHX_ "Timed out waiting to receive data");
        break;
    case ETCP_ECLOSED:
        etcp_fail(aTHX_ "Socket closed when attempted reading");
        break;
    case ETCP_ESYSTEM:
        errno = e->sys_errno;
        etcp_fail(aTHX_ "Failed to read from socket: %s", Strerror(errno));
        errno = e->sys_errno;
        break;
    default:
        etcp_fail(aTHX_ "Failed to read from socket: %s",
                  e->text[0] ? e->text : etcp_code_text(rc));
    }
}

SV *etcp_message_receive(pTHX_ etcp_object *o, NV seconds)
{
    unsigned timeout_ms;
    uint64_t since = 0;
    etcp_event event;
    SV *spare = NULL;
    int failed;
    int rc;
    SV *sv;

    if (seconds < 0)
        seconds = 0; /* does not wait */
    else if (!(seconds > 0))
        seconds = DEFAULT_RECEIVE_SECONDS;
    if (o->thawing) {
        etcp_fail(aTHX_ "Cannot receive while a message is being decoded");
        return NULL;
    }
    timeout_ms = seconds > 4000000 ? 4000000000u : (unsigned)(seconds * 1000);
    for (;;) {
        sv = etcp_message_fetch(aTHX_ o, &failed);
        if (sv)
            etcp_object_succeeded(aTHX_ o);
        if (sv || failed)
            return sv;
        if (!o->conn || !etcp_conn_is_open(o->conn)) {
            etcp_fail(aTHX_ o->is_of_other_thread
                          ? "Failed to read from socket: " ETCP_OTHER_THREAD
                          : "Timed out waiting to receive data");
            return NULL;
        }
        rc = etcp_conn_receive(o->conn, timeout_ms, &since, &event);
        if (rc == ETCP_EINTR) {
            PERL_ASYNC_CHECK();
        } else if (rc < 0) {
            receive_failed(aTHX_ o, rc);
            return NULL;
        } else if (rc == 1 && event.type == ETCP_EVENT_MESSAGE &&
                   !etcp_message_store(aTHX_ o, &event, &spare)) {
            etcp_conn_close(o->conn);
            return NULL;
        }
    }
}
