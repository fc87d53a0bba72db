/* A message for peers that nobody knows yet: kept until there is a connection, or on its way to other
 * processes. */
#ifndef ETCP_PERL_FORMS_H
#define ETCP_PERL_FORMS_H

#include "bridge.h"

/* What peers can receive who get the best form of a structure: ETCP_CAN_... */
enum { ETCP_FORMS_BEST = ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS };

typedef struct etcp_forms {
    unsigned flags; /* ETCP_MESSAGE_COMPLEX or 0 */
    SV *best;       /* its bytes */
    SV *any;        /* the same for peers that cannot take these; NULL: all can */
} etcp_forms;

/* Makes the forms of data, whose magic was read, as mortals. May run Perl code. Returns 1, or 0 with
 * the text in $@. */
int etcp_forms_make(pTHX_ SV *data, etcp_forms *f);

/* The bytes for a peer that can so much. */
static inline SV *etcp_forms_for(const etcp_forms *f, unsigned can)
{
    return f->any && (can & ETCP_FORMS_BEST) != ETCP_FORMS_BEST ? f->any : f->best;
}

#endif
