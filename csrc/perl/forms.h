/* A message for peers that nobody knows yet: kept until there is a connection, or on its way to other
 * processes. */
#ifndef ETCP_PERL_FORMS_H
#define ETCP_PERL_FORMS_H

#include "bridge.h"

enum { ETCP_FORMS = 3 };

/* What a peer must be able to receive to get each form of a structure: sets of ETCP_CAN_..., the best
 * form first. The last is for everybody. */
extern const unsigned etcp_forms_need[ETCP_FORMS];

typedef struct etcp_forms {
    unsigned flags;        /* ETCP_MESSAGE_COMPLEX or 0 */
    SV *bytes[ETCP_FORMS]; /* NULL, but never the first: the same as the one before */
} etcp_forms;

/* Makes the forms of data, whose magic was read, as mortals. May run Perl code. Returns 1, or 0 with
 * the text in $@. */
int etcp_forms_make(pTHX_ SV *data, etcp_forms *f);

/* Adds or drops a reference of each. */
void etcp_forms_hold(pTHX_ const etcp_forms *f);
void etcp_forms_drop(pTHX_ const etcp_forms *f);

/* The best form for a peer that can so much. */
int etcp_forms_kind(unsigned can);

/* Its bytes. */
SV *etcp_forms_for(const etcp_forms *f, unsigned can);

#endif
