/* Which servers this process spoke TLS with lately: whoever takes the offer of TLS away from one of
 * them is found out. Only the fact is kept, since a server may make a new key whenever it starts.
 */
#ifndef ETCP_NET_SPOKEN_H
#define ETCP_NET_SPOKEN_H

#include <stdint.h>

enum {
    ETCP_SPOKEN_MAX = 1024, /* servers; the one spoken with longest ago makes room */
    ETCP_SPOKEN_MS =
        60 * 60 * 1000 /* after so long it may have been replaced by an older release */
};

/* Notes that TLS was spoken with "host:port". For any thread. */
void etcp_spoken_note(const char *endpoint, uint64_t now_ms);

/* Whether it was. */
int etcp_spoken_lately(const char *endpoint, uint64_t now_ms);

#endif
