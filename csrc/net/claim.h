/* Whose a TLS channel is after a fork: of the process that uses it first, and of nobody else, for
 * two that go on with the same keys would undo the encryption of both. The word that says so lies
 * in memory that all processes share; they have tokens, because process numbers come back.
 *
 * Where there is no such memory, the process that made the channel keeps it. */
#ifndef ETCP_NET_CLAIM_H
#define ETCP_NET_CLAIM_H

#include <stdint.h>

#include "process.h"

typedef struct etcp_claim etcp_claim;
struct etcp_claim {
    etcp_fork_hook hook;           /* must be first; listed until this thread forks */
    int (*is_idle)(etcp_claim *c); /* before a fork: brings everything out; whether it could */
    uint32_t *word;                /* 0: nobody's; NULL: no shared memory */
    unsigned generation;           /* the process that made it */
};

/* Makes a claim of this process. is_idle is called before this thread forks: only if it says 1, the
 * processes may claim anew. Cannot fail. */
void etcp_claim_init(etcp_claim *c, int (*is_idle)(etcp_claim *c));

/* Gives up this process's view of it; others are not disturbed. */
void etcp_claim_deinit(etcp_claim *c);

/* Whether the channel is this process's; asks for it if it is nobody's. */
int etcp_claim_take(etcp_claim *c);

/* The same without asking for it: closing does not claim what others have, too. */
int etcp_claim_is_ours(const etcp_claim *c);

#endif
