/* How often somebody at an address was let guess a password, and how long the next answer waits for
 * that. Nobody is refused: others behind the same address get in, only later. */
#ifndef ETCP_NET_GUESSES_H
#define ETCP_NET_GUESSES_H

#include <stddef.h>
#include <stdint.h>

#include "socket.h"

enum {
    ETCP_GUESSES_FREE = 8,             /* outstanding ones without a delay */
    ETCP_GUESSES_STEPS = 8,            /* delays that there are: the first is this, */
    ETCP_GUESSES_DELAY_MS = 100,       /* each further one twice as long as the one before, */
    ETCP_GUESSES_DELAY_MAX_MS = 10000, /* and this is the longest */
    ETCP_GUESSES_FORGIVE_MS = 10000,   /* one is forgiven in so long */
    ETCP_GUESSES_MAX = 1024            /* addresses; the one that was quiet for longest goes */
};

typedef struct etcp_guess {
    uint64_t since_ms; /* when the last one was forgiven, or the first made */
    uint64_t last_ms;
    uint32_t count;
    uint8_t family;    /* 4 or 6 */
    uint8_t prefix[8]; /* IPv4 in the first four; of IPv6 a household has 64 bits */
} etcp_guess;

/* All zero at first. */
typedef struct etcp_guesses {
    etcp_guess *entries;
    size_t count;
    size_t room;
} etcp_guesses;

void etcp_guesses_deinit(etcp_guesses *g);

/* Counts a guess from this address as a failure. Returns the step of its delay: 0 for none, up to
 * ETCP_GUESSES_STEPS. Addresses of no family have no counter. IPv4 is IPv4 here, never inside IPv6:
 * etcp_address_unmap. Out of memory it forgets. */
unsigned etcp_guesses_count(etcp_guesses *g, const etcp_address *from, uint64_t now_ms);

/* It was right: it is not counted any more. */
void etcp_guesses_take_back(etcp_guesses *g, const etcp_address *from, uint64_t now_ms);

/* The delay of a step from 1 on. */
unsigned etcp_guesses_delay_ms(unsigned step);

#endif
