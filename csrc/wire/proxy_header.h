/* The header by which a proxy tells the real address of a client, in front of everything else: the
 * PROXY protocol, versions 1 and 2, as haproxy.org's proxy-protocol.txt describes it. Sans input
 * and output: bytes in, an address out. */
#ifndef ETCP_WIRE_PROXY_HEADER_H
#define ETCP_WIRE_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    ETCP_PROXY_TEXT_MAX = 107,  /* of version 1, with its line end */
    ETCP_PROXY_FIXED = 16,      /* what version 2 begins with */
    ETCP_PROXY_REST_MAX = 4096, /* of version 2, behind that: a limit of ours */
    ETCP_PROXY_MAX = ETCP_PROXY_FIXED + ETCP_PROXY_REST_MAX
};

/* All zero at first. */
typedef struct etcp_proxy_header {
    uint8_t family;     /* 4 or 6, the client's address follows; 0: the real ends of the connection
                           count (LOCAL, UNKNOWN, and families without IP addresses) */
    uint8_t source[16]; /* IPv4 in the first four */
    uint16_t port;

    size_t len; /* private from here on */
    uint8_t bytes[ETCP_PROXY_MAX];
} etcp_proxy_header;

/* Takes what belongs to the header of bytes[0..len), and not a byte more: *used says how many.
 * Returns 1 (it is complete: the address is filled in), ETCP_AGAIN (all were used, more are
 * needed), or ETCP_EPROXY (what came is no such header). Not to be called again after 1 or an
 * error. */
int etcp_proxy_header_feed(etcp_proxy_header *h, const uint8_t *bytes, size_t len, size_t *used);

#endif
