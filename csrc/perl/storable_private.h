/* What storable.c keeps per interpreter for storable_freeze.c and storable_thaw.c. Nobody else
 * includes this. */
#ifndef ETCP_PERL_STORABLE_PRIVATE_H
#define ETCP_PERL_STORABLE_PRIVATE_H

#include "storable.h"

#include "storable/reader.h"
#include "storable/writer.h"

enum { ETCP_NATIVE_HEADER_MAX = 40, ETCP_KEY_CACHE = 256 };

typedef struct etcp_storable_state {
    struct etcp_freezer *freezer; /* NULL while it is in use, or there is none yet */
    etcp_storable_reader *reader;
    SV *frozen; /* the image that Storable itself made last, or NULL */
    SV *number; /* turns floating-point numbers into text */

    size_t max_depth; /* the deepest that images may nest that came in so far */

    /* Variables by which users steer Storable. Globs, because local() exchanges the scalars. */
    GV *canonical;
    GV *recursion_limit;
    GV *recursion_limit_hash;
    GV *flags;
    GV *accept_future_minor;
    GV *eval;
    GV *forgive_me;

    /* The dialect of the Storable beside us, as found by freezing. */
    U8 minor;
    int writes_booleans; /* true and false have items of their own */
    int writes_netint;   /* integers of 32 bits are written in binary */
    etcp_storable_options options;
    U8 native_header[ETCP_NATIVE_HEADER_MAX];
} etcp_storable_state;

/* This interpreter's state. */
etcp_storable_state *etcp_storable_state_of(pTHX);

/* 0 if policy allows class c, else ETCP_EPOLICY. */
int etcp_storable_allow(pTHX_ const etcp_thaw_policy *policy, const etcp_storable_class *c);

/* Whether Storable may be given an image: only after every item was found whole, every class
 * allowed, and nothing was met that is known to crash it, or that it would give up at half-way, for
 * then it leaves for ever what it has made so far. Loads the modules of classes as Storable would.
 * Returns as etcp_perl_thaw; ETCP_THAW_OK: Storable may have it. */
int etcp_storable_check(pTHX_ etcp_storable_state *s, const U8 *data, STRLEN len,
                        const etcp_thaw_policy *policy, int may_run_perl, SV **error);

/* What etcp_perl_thaw tells its caller when the reader failed with rc. */
int etcp_storable_failure(pTHX_ const etcp_storable_state *s, int rc, SV **error);

/* Whether objects are made: $Storable::flags, unless BLESS_OK was taken away. */
int etcp_storable_may_bless(pTHX_ const etcp_storable_state *s);

/* Calls a function of Storable with one argument, on a stack of its own so that no loop control
 * leaves it. Returns its result, a new reference count. flags are those of call_pv. */
SV *etcp_storable_call(pTHX_ const char *function, SV *argument, I32 flags);

/* The scalar behind one of the globs above, or NULL. */
static inline SV *etcp_storable_setting(pTHX_ GV *gv)
{
    PERL_UNUSED_CONTEXT;
    return gv ? GvSV(gv) : NULL;
}

#endif
