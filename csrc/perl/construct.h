/* Options become configurations, connections and servers, and these objects. */
#ifndef ETCP_PERL_CONSTRUCT_H
#define ETCP_PERL_CONSTRUCT_H

#include "object.h"

/* Makes a client object of the class from named arguments (lower-case keys): connects and
 * negotiates; or begins to, with async. Returns a new reference, or &PL_sv_undef with $@ set. May
 * die when a signal handler or the reading of an option does. */
SV *etcp_construct_client(pTHX_ SV *class_name, HV *args);

/* Makes a server object likewise. */
SV *etcp_construct_server(pTHX_ SV *class_name, HV *args);

/* Makes a serverclient on an open descriptor, without negotiation; takes over fd on success. */
SV *etcp_construct_wrapped(pTHX_ SV *class_name, HV *args, int fd);

#endif
