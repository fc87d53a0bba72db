/* What may arrive in structures: the options allowclasses, maxdepth and maxmessage, as storable.h takes
 * them. */
#ifndef ETCP_PERL_POLICY_H
#define ETCP_PERL_POLICY_H

#include "bridge.h"
#include "storable.h"

/* A thaw policy that a server shares with its serverclients. */
typedef struct etcp_policy {
    unsigned references;
    etcp_thaw_policy rule;
    int passes_images; /* structures are not read at all: see message.h */
} etcp_policy;

/* Makes a policy with one reference; classes are the names for ETCP_THAW_LISTED (NULL:
 * none). Reading a name may run Perl code and die; nothing is left behind then. */
etcp_policy *etcp_policy_new(pTHX_ etcp_thaw_mode mode, AV *classes);

/* Adds or drops a reference; the last one frees. NULL does nothing. */
etcp_policy *etcp_policy_ref(etcp_policy *policy);
void etcp_policy_unref(pTHX_ etcp_policy *policy);

#ifdef USE_ITHREADS
/* A copy for a new thread, with one reference; NULL for NULL. */
etcp_policy *etcp_policy_clone(pTHX_ const etcp_policy *old, CLONE_PARAMS *param);
#endif

#endif
