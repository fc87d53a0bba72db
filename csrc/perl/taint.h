/* What comes from the network is tainted where perl runs with -T or -t. */
#ifndef ETCP_PERL_TAINT_H
#define ETCP_PERL_TAINT_H

#include "bridge.h"

#ifndef TAINTING_get
#define TAINTING_get (PL_tainting) /* perls before 5.18 */
#endif

/* Taints a value from the network and, if it is a reference, all that can be reached through it without
 * running Perl code. Keys of hashes cannot be tainted. */
void etcp_taint_all(pTHX_ SV *sv);

/* The same, but nothing where perl does not taint. */
static inline void etcp_taint(pTHX_ SV *sv)
{
    if (TAINTING_get)
        etcp_taint_all(aTHX_ sv);
}

#endif
