/* The tables of ciphers and compressors, as the module's own Perl code reads them. */
#ifndef ETCP_PERL_CODECS_H
#define ETCP_PERL_CODECS_H

#include "bridge.h"

/* A new list with a line for each cipher, "key name version cbc merges", in order of preference. */
AV *etcp_codecs_ciphers(pTHX);

/* A new list with a line for each compressor, "key name version", likewise. */
AV *etcp_codecs_compressors(pTHX);

#endif
