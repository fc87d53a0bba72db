/* Structures as Storable images and back: native for plain data, through Storable for the rest. */
#ifndef ETCP_PERL_STORABLE_H
#define ETCP_PERL_STORABLE_H

#include "base/piece.h"
#include "bridge.h"

typedef enum etcp_thaw_mode {
    ETCP_THAW_ALL,   /* every class but those that only this module has brought into the program */
    ETCP_THAW_NONE,
    ETCP_THAW_LISTED /* the keys of classes; their modules are loaded when they are needed */
} etcp_thaw_mode;

/* What an image may become. A zero-filled structure has no limits. */
typedef struct etcp_thaw_policy {
    etcp_thaw_mode mode; /* which classes it may bless into */
    HV *classes;         /* of LISTED; not counted here, must outlive the policy */
    size_t max_depth;    /* how deep items may nest; 0: ETCP_STORABLE_DEPTH */
    size_t max_size;     /* bytes that a structure may become; 0: no limit */
    int takes_exact;     /* the peer was told that exact numbers may come (ETCP_CAN_EXACT_NUMBERS) */
    U8 *forgets; /* the image itself, unless it must outlive being thawed without Perl code: its memory
                  * may be given back while the structure grows; or NULL */
} etcp_thaw_policy;

enum {
    ETCP_THAW_OK = 0,
    ETCP_THAW_NEEDS_PERL = 1, /* it takes Perl code, which was not allowed to run */
    ETCP_THAW_FAILED = 2,     /* the image is damaged */
    ETCP_THAW_REFUSED = 3,    /* the image is sound as far as read, but the policy forbids it */
    ETCP_THAW_INTERRUPTED = 4 /* a signal handler died while Perl code ran: *error is its exception */
};

/* Makes this interpreter's caches and asks the installed Storable for its dialect. Call it at boot. */
void etcp_perl_storable_boot(pTHX);

/* The same for a new thread, from CLONE, with the dialect of the thread that makes it: however often
 * perl calls that, it is done once. */
void etcp_perl_storable_clone(pTHX);

/* The minor number of the images that Storable, and so etcp_perl_freeze, writes. */
U8 etcp_perl_storable_minor(pTHX);

/* Freezes what rv refers to, in network order, as Storable::nfreeze would, or with what the peer can
 * receive beyond that (can: ETCP_CAN_...) if nothing in it has to be read by Storable. *data is valid
 * until the next call in this interpreter, and not the caller's. Croaks with Storable's message where
 * nfreeze does; may run Perl code (STORABLE_freeze, tied data), which may come back to this function.
 * Returns 1, or 0 if Storable was needed: then the image is what any peer gets. */
int etcp_perl_freeze(pTHX_ SV *rv, unsigned can, const U8 **data, STRLEN *len);

typedef struct etcp_frozen {
    const U8 *bytes; /* as *data of etcp_perl_freeze, unless there are pieces */
    STRLEN len;      /* of all */
    etcp_piece *pieces; /* NULL: the image is small, or Storable's. Else the caller releases each, and
                         * frees the list by etcp_free */
    size_t count;
} etcp_frozen;

/* The same for an image that goes out: a large one is the caller's, and long strings of the
 * structure are pieces of it where they are, without a copy. What happens to the structure
 * afterwards does not show. Returns 1, or 0: this takes Perl code, and may_run_perl is 0. */
int etcp_perl_freeze_pieces(pTHX_ SV *rv, unsigned can, int may_run_perl, etcp_frozen *frozen);

/* Runs the handlers of signals that have come, as Perl does between two statements. */
void etcp_storable_despatch_signals(pTHX);

/* Thaws the image data[0..len) under policy. ETCP_THAW_OK: *out is a new reference that the caller owns.
 * With may_run_perl == 0 no Perl code runs at all, neither hooks nor DESTROY, and what takes it gives
 * ETCP_THAW_NEEDS_PERL. Otherwise hooks are called in an eval, for images that a scan found sound and
 * free of classes that policy forbids; modules of listed classes may be loaded before. After all other
 * results everything made was freed, and *error, a mortal, says why. $@ is left alone. Protocol.pod,
 * "Structures". */
int etcp_perl_thaw(pTHX_ const U8 *data, STRLEN len, const etcp_thaw_policy *policy,
                   int may_run_perl, SV **out, SV **error);

/* The size of what was thawed last, in bytes, as max_size counts. */
size_t etcp_perl_thawed_size(pTHX);

#endif
