/* csrc/perl/ is the bridge: the only C that sees Perl. It hangs core objects on blessed hashes, turns
 * events into callbacks, values into bytes and back, and core errors into the texts of $@.
 *
 * This header: what every file of the bridge includes first. */
#ifndef ETCP_PERL_BRIDGE_H
#define ETCP_PERL_BRIDGE_H

#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"
#include "ppport.h"

#include "base/error.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/server.h"
#include "tls/context.h"
#include "wire/config.h"
#include "wire/session.h"

#endif
