/* What the options about TLS make of a configuration. */
#ifndef ETCP_PERL_SECURITY_H
#define ETCP_PERL_SECURITY_H

#include "bridge.h"
#include "options.h"
#include "tls/context.h"

/* Sets the flags of config, which all other options have been put into, and makes what TLS is spoken
 * with. Returns 1 (*tls is a context with one reference, or NULL: no TLS) or 0, with the reason in $@.
 */
int etcp_security_apply(pTHX_ const etcp_options *options, etcp_config *config, etcp_tls **tls);

#endif
