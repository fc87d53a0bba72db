/* The file of known hosts: "host:port SHA256:hex" on each line, lower case. */
#ifndef ETCP_TLS_KNOWN_HOSTS_H
#define ETCP_TLS_KNOWN_HOSTS_H

#include "tls/context.h"

typedef enum etcp_known {
    ETCP_KNOWN_YES,     /* a line has this key */
    ETCP_KNOWN_UNKNOWN, /* no line has this endpoint */
    ETCP_KNOWN_OTHER    /* lines have this endpoint, with other keys only */
} etcp_known;

/* Makes the file if it is missing, for its owner only, and tells whether it can be read and
 * written. Returns 0, or ETCP_ESYSTEM with errno. */
int etcp_known_hosts_check(const char *path);

/* Looks endpoint up. Returns 0 (*known is filled) or ETCP_ESYSTEM with errno. */
int etcp_known_hosts_find(const char *path, const char *endpoint,
                          const uint8_t fingerprint[ETCP_FINGERPRINT], etcp_known *known);

/* Adds a line unless there is one by now. Returns 0, ETCP_EPOLICY (by now, only with another key)
 * or ETCP_ESYSTEM with errno. */
int etcp_known_hosts_add(const char *path, const char *endpoint,
                         const uint8_t fingerprint[ETCP_FINGERPRINT]);

#endif
