/* How many connections each address has: a hash table that holds the addresses with any. For the
 * files of csrc/net/ only. */
#ifndef ETCP_NET_ADDRESS_COUNT_H
#define ETCP_NET_ADDRESS_COUNT_H

#include <stddef.h>
#include <stdint.h>

#include "socket.h"

typedef struct etcp_address_tally etcp_address_tally;

/* All zero: nobody. */
typedef struct etcp_address_count {
    etcp_address_tally **rows; /* chains */
    size_t row_count;          /* a power of two, or 0 */
    size_t used;               /* addresses */
} etcp_address_count;

/* One more for the address. Returns how many it has now, or 0: out of memory, nothing changed. */
size_t etcp_address_count_add(etcp_address_count *c, const etcp_address *address);

/* One less; it must have been added. */
void etcp_address_count_remove(etcp_address_count *c, const etcp_address *address);

size_t etcp_address_count_of(const etcp_address_count *c, const etcp_address *address);

void etcp_address_count_clear(etcp_address_count *c);

#endif
