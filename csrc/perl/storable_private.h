/* What storable.c keeps per interpreter, and what the files that thaw share. Nobody else includes
 * this. */
#ifndef ETCP_PERL_STORABLE_PRIVATE_H
#define ETCP_PERL_STORABLE_PRIVATE_H

#include "storable.h"
#include "storable_keys.h"

#include "storable/reader.h"
#include "storable/writer.h"

enum { ETCP_NATIVE_HEADER_MAX = 40 };

/* How many symbol tables one interpreter makes for classes that it does not have; they last for ever. */
enum { ETCP_NEW_CLASSES_MAX = 1000 };

typedef struct etcp_storable_state {
    struct etcp_freezer *freezer; /* NULL while it is in use, or there is none yet */
    etcp_storable_reader *reader;
    etcp_storable_keys keys;
    SV *frozen; /* the image that Storable itself made last, or NULL */
    SV *number; /* turns floating-point numbers into text */
    unsigned new_classes;      /* symbol tables made so far */
    SV *signal_error;          /* what a signal handler died of while a hook ran, or NULL */
    unsigned guards;           /* hooks that are running inside each other */
    CV *despatch;              /* runs signal handlers, as Perl does: */
#if PERL_VERSION >= 14
    despatch_signals_proc_t signal_hook;
#else
    runops_proc_t runops;
#endif
    HV *brought; /* names of the classes that only this module has brought into the program */

    size_t thawed;    /* bytes that the structure thawed last became */
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

/* An image that is being thawed. */
typedef struct etcp_thawer {
#ifdef MULTIPLICITY
    PerlInterpreter *perl;
#endif
    etcp_storable_state *state;
    const etcp_thaw_policy *policy;
    int may_bless;      /* $Storable::flags, unless BLESS_OK was taken away */
    int is_tainted;     /* under -T what comes from the network is not to be trusted */
    int may_run_perl;   /* anybody's code runs meanwhile, and may do what it likes with what is there */
    AV *replaced;       /* values of hash keys that came twice, or NULL */
    SV *error;          /* what Perl code died of, or NULL */
    int is_interrupted; /* that was a signal handler */
} etcp_thawer;

#ifdef MULTIPLICITY
#define dTHAWER                                                                                    \
    etcp_thawer *t = (etcp_thawer *)arg;                                                           \
    dTHXa(t->perl)
#else
#define dTHAWER etcp_thawer *t = (etcp_thawer *)arg
#endif

/* storable_hooks.c: what takes Perl code, for the builder. */
int etcp_storable_thaw_object(void *arg, void **object, etcp_storable_class *c, const uint8_t *frozen,
                              size_t len, void *const *referents, size_t count);
void *etcp_storable_make_code(void *arg, void *text);
void *etcp_storable_make_regexp(void *arg, const uint8_t *pattern, size_t len,
                                const uint8_t *modifiers, size_t modifiers_len);

/* storable_classes.c. The symbol table of a class: that of the program, or a new one while
 * ETCP_NEW_CLASSES_MAX is not reached; else NULL, and objects stay plain values. */
HV *etcp_storable_stash(pTHX_ etcp_storable_state *s, const etcp_storable_class *c);

/* Makes value, which is ours, an object of a class that is none of the keyword's. */
void etcp_storable_bless(pTHX_ SV *value, HV *stash);

/* Whether perl would warn, when it looks for a method of the class, of a parent that is not there: that
 * may run Perl code. */
int etcp_storable_may_warn(pTHX_ HV *stash);

/* Whether a class overloads operators: 1, 0, or -1 if by methods that do not exist. */
int etcp_storable_overloads(pTHX_ HV *stash);

/* Whether a class can make its objects, or overloads operators, as an image says. Modules are loaded if
 * policy names the class. Returns as etcp_perl_thaw. */
int etcp_storable_need_hook(pTHX_ etcp_storable_state *s, const etcp_thaw_policy *policy,
                            const char *name, STRLEN len, SV **error);
int etcp_storable_need_overloading(pTHX_ etcp_storable_state *s, const etcp_thaw_policy *policy,
                                   const char *name, STRLEN len, SV **error);

/* storable_guard.c. While Perl code runs between the two, exceptions of signal handlers are told from
 * its own: the second one returns 1 if error is such an exception. ENTER and LEAVE surround both. */
void etcp_storable_guard(pTHX_ etcp_storable_state *s);
int etcp_storable_unguard(pTHX_ etcp_storable_state *s, SV *error);

/* 0 if policy allows class c, else ETCP_EPOLICY. */
int etcp_storable_allow(pTHX_ const etcp_thaw_policy *policy, const etcp_storable_class *c);

/* Whether an image may be built that takes Perl code: only after every item was found whole and every
 * class allowed. Loads the modules of classes that the policy names. Returns as etcp_perl_thaw;
 * ETCP_THAW_OK: it may be built. */
int etcp_storable_check(pTHX_ etcp_storable_state *s, const U8 *data, STRLEN len,
                        const etcp_thaw_policy *policy, int may_run_perl, SV **error);

/* What etcp_perl_thaw tells its caller when the reader failed with rc. */
int etcp_storable_failure(pTHX_ const etcp_storable_reader *reader, int rc, SV **error);

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
