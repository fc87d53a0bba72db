/* What a program of several tests speaks TLS with. Include in one program's only source file. */
#ifndef ETCP_T_TLS_MAKE_H
#define ETCP_T_TLS_MAKE_H

#include <string.h>

#include "base/error.h"
#include "tap.h"
#include "tls/context.h"

/* Trusts whoever has fingerprint, or, where that is NULL, everybody. Returns NULL, and notes why, where
 * there is no TLS. The caller drops it by etcp_tls_unref. */
static inline etcp_tls *tls_make(unsigned flags, const uint8_t (*fingerprint)[ETCP_FINGERPRINT])
{
    etcp_tls_options o;
    etcp_error error;
    etcp_tls *tls = NULL;

    memset(&o, 0, sizeof o);
    memset(&error, 0, sizeof error);
    o.flags = flags;
    o.fingerprints = fingerprint;
    o.fingerprint_count = fingerprint != NULL;
    if (etcp_tls_new(&o, &tls, &error) < 0)
        tap_note("%s", error.text);
    return tls;
}

#endif
