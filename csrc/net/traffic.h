/* What went over connections: counters that only ever grow. For the files of csrc/net/ and, to be
 * read, for the users of connections and servers. */
#ifndef ETCP_NET_TRAFFIC_H
#define ETCP_NET_TRAFFIC_H

#include <stdint.h>

typedef struct etcp_traffic {
    uint64_t messages_in, messages_out;
    uint64_t payload_in, payload_out; /* bytes of messages, as they are without compression */
    uint64_t bytes_in, bytes_out;     /* bytes of connections, as the kernel sees them */
} etcp_traffic;

#endif
