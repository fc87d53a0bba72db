/* The memory of servers that spoke TLS. */
#include <stdio.h>

#include "net/spoken.h"
#include "tap.h"

int main(void)
{
    char name[32];
    unsigned known = 0;
    unsigned i;

    tap_ok(!etcp_spoken_lately("a:1", 1000), "nobody at first");
    etcp_spoken_note("a:1", 1000);
    tap_ok(etcp_spoken_lately("a:1", 1000), "noted");
    tap_ok(!etcp_spoken_lately("a:10", 1000), "another port");
    tap_ok(etcp_spoken_lately("a:1", 1000 + ETCP_SPOKEN_MS - 1), "for an hour");
    tap_ok(!etcp_spoken_lately("a:1", 1000 + ETCP_SPOKEN_MS), "and no longer");
    etcp_spoken_note("a:1", 5000);
    tap_ok(etcp_spoken_lately("a:1", 1000 + ETCP_SPOKEN_MS), "after the last time");
    for (i = 0; i < ETCP_SPOKEN_MAX; i++) {
        (void)snprintf(name, sizeof name, "host%u:7", i);
        etcp_spoken_note(name, 6000 + i);
    }
    tap_ok(!etcp_spoken_lately("a:1", 8000), "the oldest made room");
    for (i = 0; i < ETCP_SPOKEN_MAX; i++) {
        (void)snprintf(name, sizeof name, "host%u:7", i);
        known += (unsigned)etcp_spoken_lately(name, 8000);
    }
    tap_is_int((int)known, ETCP_SPOKEN_MAX, "all others are known");
    return tap_done();
}
