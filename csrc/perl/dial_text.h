/* What is said of an attempt to connect that failed. */
#ifndef ETCP_PERL_DIAL_TEXT_H
#define ETCP_PERL_DIAL_TEXT_H

#include "bridge.h"

/* What the words are about: where it goes, and for how many seconds the negotiation has gone on, and
 * may. */
typedef struct etcp_dial_facts {
    SV *destination;
    int passed_s;
    int allowed_s;
} etcp_dial_facts;

/* A mortal: what new() says in $@ when dial ended by the code rc. */
SV *etcp_dial_text(pTHX_ const etcp_dial *dial, int rc, const etcp_dial_facts *facts);

#endif
