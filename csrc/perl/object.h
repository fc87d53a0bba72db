/* The C structure behind an object: found by magic on the blessed hash, freed with it. */
#ifndef ETCP_PERL_OBJECT_H
#define ETCP_PERL_OBJECT_H

#include "bridge.h"
#include "bucket.h"

typedef enum etcp_kind { ETCP_KIND_SERVER, ETCP_KIND_CLIENT, ETCP_KIND_SERVERCLIENT } etcp_kind;

typedef struct etcp_object etcp_object;
typedef struct etcp_server_part etcp_server_part;
typedef struct etcp_async etcp_async;
struct etcp_policy;

struct etcp_object {
    etcp_kind kind;
    unsigned donot;  /* ETCP_DONOT_... of this object, for encryption() and compression() */
    int raises;      /* raiseerror: methods die where they would fail */
    HV *hash;        /* the blessed hash; not counted, it owns us */
    etcp_conn *conn; /* client and serverclient: our reference; NULL before connect */
    etcp_bucket bucket;
    size_t counted; /* the size of the bucket that conn was told */
    SV *handle; /* what socket() returned, or NULL */
    SV *slot;   /* the value of _sock in the hash, counted: see handle.h */
    void (*withdraw)(pTHX_ etcp_object *o); /* what to call before slot goes; NULL: nothing */
    IV serial;                              /* 0: none yet */
    unsigned told; /* what the peer was told that we can receive, for then, too: ETCP_CAN_... */
    etcp_tls *tls; /* client and server: what TLS is spoken with, counted; NULL: none */
    int over_tls;  /* when the session is gone: whether it was inside TLS */
    int is_of_other_thread; /* the copy of a TLS connection, which has none: see ETCP_OTHER_THREAD */
    const etcp_cipher *cipher; /* what was agreed, for when the session is gone */
    const etcp_compressor *compressor;
    struct etcp_policy *policy; /* what may come in structures */
    unsigned thawing;           /* the oldest message is being thawed: nothing may overtake it */
    unsigned owed; /* messages in the bucket that the data callback was not called for yet */
    etcp_server_part *srv; /* objects with callbacks: servers and async clients */
    etcp_async *async;     /* async clients only */
    /* A serverclient while its server's table lists it: */
    SV *held;   /* the table's counted reference to the hash */
    SV *passed; /* one that callbacks get, or NULL */
    /* The same, and an async client: */
    etcp_object *server; /* whose loop it is in, maybe its own; NULL once that is gone */
    etcp_object *prev, *next;
};

/* Why copies of a TLS connection fail: two ends with the same keys would undo the encryption. */
#define ETCP_OTHER_THREAD "A TLS connection cannot be used in another thread"

/* By which the magic of our objects is known; set once, by etcp_lifetime_boot. */
extern const MGVTBL *etcp_object_vtbl;

/* The structure that hangs on a hash; NULL when there is none. */
static inline etcp_object *etcp_object_find(pTHX_ SV *hash)
{
    const MAGIC *mg;

    PERL_UNUSED_CONTEXT;
    if (SvTYPE(hash) != SVt_PVHV)
        return NULL;
    /* Every method begins here, and the first magic is the one: mg_findext would be two calls. */
    for (mg = SvMAGIC(hash); mg; mg = mg->mg_moremagic)
        if (mg->mg_type == PERL_MAGIC_ext && mg->mg_virtual == etcp_object_vtbl)
            return (etcp_object *)mg->mg_ptr;
    return NULL;
}

/* Croaks: method was called on what is no Net::EasyTCP object. */
void etcp_object_missing(pTHX_ CV *method);

/* The structure behind the invocant of method. Croaks when it is no Net::EasyTCP object. What else the
 * caller's statement has read does not taint what the method makes: so it is in a subroutine. */
static inline etcp_object *etcp_object_of(pTHX_ SV *self, CV *method)
{
    etcp_object *o = SvROK(self) ? etcp_object_find(aTHX_ SvRV(self)) : NULL;

    TAINT_NOT;
    if (!o)
        etcp_object_missing(aTHX_ method);
    return o;
}

/* The next number of the process-wide counter $Net::EasyTCP::_SERIAL. */
IV etcp_object_next_serial(pTHX);

/* "server", "client" or "serverclient", as error texts name it. */
const char *etcp_object_mode(const etcp_object *o);

/* What the peer was told that we can receive, also when the connection has ended; and what it can,
 * 0 then: sets of ETCP_CAN_... */
unsigned etcp_object_told(const etcp_object *o);
unsigned etcp_object_peer_can(const etcp_object *o);

/* What the connection agreed on, also when it has ended; NULL if nothing. */
const etcp_cipher *etcp_object_cipher(const etcp_object *o);
const etcp_compressor *etcp_object_compressor(const etcp_object *o);
int etcp_object_over_tls(const etcp_object *o);

/* The values of fingerprint(), peerfingerprint() and trust(), not mortal; undef where there is
 * none. */
SV *etcp_object_fingerprint(pTHX_ const etcp_object *o);
SV *etcp_object_peer_fingerprint(pTHX_ const etcp_object *o);
SV *etcp_object_trust(pTHX_ const etcp_object *o);

/* Keeps the object alive until the current statement of the caller ends, or an exception leaves it. */
void etcp_object_protect(pTHX_ etcp_object *o);

/* For what needs o when a scope is left: exceptions end what etcp_object_protect does before they leave
 * the scope. SAVEDESTRUCTOR_X(f, etcp_object_pin(o)) keeps o alive for f, which gets it by
 * etcp_object_unpin; NULL: it is gone, in global destruction. */
void *etcp_object_pin(etcp_object *o);
etcp_object *etcp_object_unpin(pTHX_ void *pin);

/* Stores value under a slot name the original used; takes over value. May free what a script had
 * stored there: keep o alive. */
void etcp_object_slot(pTHX_ etcp_object *o, const char *name, SV *value);

/* Enters the peer's address and port into the slots _remoteip and _remoteport. */
void etcp_object_list_peer(pTHX_ etcp_object *o);

/* Whether $@ is anything but an empty text. */
static inline int etcp_has_error(pTHX)
{
    const SV *error = ERRSV;

    return SvROK(error) || !SvPOK(error) || SvCUR(error);
}

/* Empties $@, as a method of 0.26 that used eval did when it succeeded; but not in a destructor,
 * which may run because of an exception. */
void etcp_succeed(pTHX);

/* The same after o has sent or received, if its messages are compressed or encrypted: then 0.26
 * did. */
void etcp_object_clear_error(pTHX_ const etcp_object *o);

static inline void etcp_object_succeeded(pTHX_ const etcp_object *o)
{
    if (etcp_has_error(aTHX))
        etcp_object_clear_error(aTHX_ o);
}

/* How a method of o that failed ends, with its reason in $@: dies of it if o raises errors,
 * otherwise returns &PL_sv_undef. Call it last: nothing may be left to be released. */
SV *etcp_object_failed(pTHX_ const etcp_object *o);

/* Sets $@ to text and returns &PL_sv_undef: the failure value of every method. */
SV *etcp_fail(pTHX_ const char *format, ...);

#endif
