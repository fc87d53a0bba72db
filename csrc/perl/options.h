/* Constructor arguments become configurations, connections and servers. */
#ifndef ETCP_PERL_OPTIONS_H
#define ETCP_PERL_OPTIONS_H

#include "object.h"

/* Makes a client object of the class from named arguments (lower-case keys): connects and negotiates.
 * Returns a new reference, or &PL_sv_undef with $@ set. May die when a signal handler does. */
SV *etcp_options_new_client(pTHX_ const char *class_name, HV *args);

/* Makes a server object likewise. */
SV *etcp_options_new_server(pTHX_ const char *class_name, HV *args);

/* Makes a serverclient on an open descriptor, without negotiation. */
SV *etcp_options_wrap(pTHX_ const char *class_name, HV *args, int fd);

#endif
