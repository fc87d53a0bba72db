/* What OpenSSL's policy on this machine leaves, for tests that need it. */
#ifndef ETCP_T_POLICY_H
#define ETCP_T_POLICY_H

#include "base/error.h"
#include "base/provider.h"
#include "tap.h"

/* Whether there is a SHA-256, which TLS and passwords inside need. If not, that is told as a skipped
 * test. */
static inline int policy_leaves_sha256(void)
{
    uint8_t digest[ETCP_SHA256];

    if (etcp_provider_sha256("", 0, digest) != ETCP_ECRYPT)
        return 1;
    tap_skip(1, "OpenSSL's policy leaves no SHA-256");
    return 0;
}

#endif
